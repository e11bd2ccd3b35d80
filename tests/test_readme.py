"""Do the snippets of README run, and do they print what README says?"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

import polars_rasteret as pr
from tests.support.stac_server import StacServer

ROOT = Path(__file__).resolve().parents[1]
API = "https://earth-search.aws.element84.com/v1"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str | None]]:
    """Give each Python block with the text block that follows it directly."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    pairs = []
    for at, (language, code) in enumerate(blocks):
        if language == "python":
            following = blocks[at + 1] if at + 1 < len(blocks) else ("", "")
            pairs.append((code, following[1] if following[0] == "text" else None))
    return pairs


@pytest.fixture
def readme_folder(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(code: str, names: dict) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pl.Config(tbl_width_chars=120):
        exec(compile(code, "README.md", "exec"), names)
    return out.getvalue()


@pytest.fixture
def api():
    """A STAC API that stands in for the one of README."""
    pr.testing.example_scenes()
    items = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "sentinel-2-l2a",
            "geometry": {"type": "Point", "coordinates": [9.001, 45.15]},
            "properties": {"datetime": f"2024-0{month}-01T10:00:00Z", "eo:cloud_cover": 3},
            "assets": {band: {"href": f"memory://example-scenes/{name}.tif"} for band in ("red", "nir")},
        }
        for name, month in (("first", 5), ("second", 6))
    ]
    with StacServer(items) as server:
        yield server


def test_every_snippet_runs_and_prints_what_readme_says(readme_folder, api):
    assert [path.name for path in readme_folder.iterdir()] == ["examples"]
    names: dict = {}
    pairs = snippets()
    assert len(pairs) >= 6
    assert any(API in code for code, _ in pairs)
    for code, expected in pairs:
        needs = next((one for one in ("torchgeo", "torch") if one in code), None)
        if needs is not None and find_spec(needs) is None:
            continue  # `.ci/run torch` runs it where PyTorch can be had
        output = printed(code.replace(API, api.url), names)
        if expected is not None:
            assert output.rstrip() == expected.rstrip(), code
