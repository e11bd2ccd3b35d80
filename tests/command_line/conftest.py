"""A world for commands: two images, a collection of them, and a way to run a line in this process."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.command_line.main import main
from tests.support.shell_world import BANDS, CALIFORNIA, FLORIDA, POINTS, ROOT


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """Give a folder with images, and collections; do not write into it."""
    folder: Path = tmp_path_factory.mktemp("shell")
    for name in (CALIFORNIA, FLORIDA):
        shutil.copy(ROOT / "examples" / "data" / name, folder)
    files = [str(folder / CALIFORNIA), str(folder / FLORIDA)]
    scenes = pr.build_from_files(
        files, bands=BANDS, id=["california", "florida"], datetime=["2020-04-15", "2011-08-15"]
    ).with_columns(pl.Series("eo:cloud_cover", [3.0, 60.0]))
    scenes.raster.sink_collection(folder / "naip", source="usda", description="Farms from above")
    scenes.head(1).raster.sink_collection(folder / "naip-west.parquet")
    POINTS.write_csv(folder / "points.csv")
    return folder


@pytest.fixture
def run(capsys, monkeypatch, world):
    monkeypatch.chdir(world)

    def called(*words: str) -> Said:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Said(code, out, err)

    return called
