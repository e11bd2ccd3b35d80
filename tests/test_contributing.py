"""Does the example of CONTRIBUTING.md work: one product, read by an expression and by a verb?"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.pairing.words import Pairing

ROOT = Path(__file__).resolve().parents[1]
AREAS = {"25 pixels": (500_100, 4_999_800, 500_150, 4_999_850), "none": (0, 0, 10, 10)}


MODULES = (
    "polars_rasteret.pixels.pixel_count",
    "polars_rasteret.frame.expressions.pixel_count",
    "polars_rasteret.frame.verbs.pixel_count",
)
"""Where the guide says that its blocks go."""


@pytest.fixture
def example(monkeypatch):
    """Give the Python blocks of the guide as the modules that they become: the product, the expression, the verb."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL)
    modules = []
    for name, code in zip(MODULES, blocks, strict=True):
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, "CONTRIBUTING.md", "exec"), vars(module))
        modules.append(module)
    return modules


def areas() -> pl.DataFrame:
    return pl.DataFrame(
        {"area": list(AREAS), "geometry": [shapely.to_wkb(shapely.box(*box)) for box in AREAS.values()]}
    )


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_the_expression_counts_pixels(example, engine):
    pairs = pr.testing.example_scenes().raster.pair(areas(), crs=32632)
    counted = pairs.select("area", n=example[1].pixel_count(pl.col("red"), "geometry", crs=32632))
    assert counted.collect(engine=engine).rows() == [("25 pixels", 25)] * 2
    assert pr.estimate(counted).tiles == 2


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_the_verb_counts_pixels_and_prunes(example, engine):
    scenes = pr.testing.example_scenes()
    counted = example[2].pixel_count(scenes, areas(), ["red", "nir"], Pairing(crs=32632))
    chosen = counted.filter(pl.col("record_id") == "first").select("area", "nir")
    assert chosen.collect(engine=engine).rows() == [("25 pixels", 25)]
    assert counted.filter(pl.col("red") > 24).collect(engine=engine).height == 2
    assert counted.collect(engine=engine)["red"].to_list() == [25, 25, None]
