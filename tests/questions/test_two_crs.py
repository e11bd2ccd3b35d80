"""Do bands of one record line up when they lie in different CRSs?"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pyproj
import pytest

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource, make_cog
from tests.support.engines import ENGINES

PREFIX = "memory://two-crs/"
LEFT, TOP, STEP = 500_000.0, 5_000_000.0, 10.0
to_lonlat = pyproj.Transformer.from_crs(32632, 4326, always_xy=True)
_LON, _LAT = to_lonlat.transform(LEFT, TOP)
DEGREES = 0.00015
"""Pixel of the other band: about 12 by 17 m, so the coarser one."""
WEST, NORTH = _LON - 0.0005, _LAT + 0.0003
RNG = np.random.default_rng(0)
RED = RNG.integers(1, 1_000, (40, 40)).astype("uint16")
SCL = RNG.integers(1, 8, (30, 30)).astype("uint8")


@pytest.fixture(scope="module")
def collection() -> pl.LazyFrame:
    transform = (DEGREES, 0, WEST, 0, -DEGREES, NORTH)
    files = {
        f"{PREFIX}red.tif": make_cog(RED, nodata=0, transform=(STEP, 0, LEFT, 0, -STEP, TOP)),
        f"{PREFIX}scl.tif": make_cog(SCL, nodata=0, epsg=4326, transform=transform),
    }
    pr.configure_store(PREFIX, store=MemorySource(files))
    table = pl.DataFrame({"id": ["a"], "r": [f"{PREFIX}red.tif"], "s": [f"{PREFIX}scl.tif"]})
    return pr.build_from_table(table, bands={"red": "r", "scl": "s"}, on_error="raise").collect().lazy()


def red_at(x: float, y: float) -> int | None:
    row, col = math.floor((TOP - y) / STEP), math.floor((x - LEFT) / STEP)
    return int(RED[row, col]) if 0 <= row < 40 and 0 <= col < 40 else None


def scl_pixel(x: float, y: float) -> tuple[int, int]:
    lon, lat = to_lonlat.transform(x, y)
    return math.floor((NORTH - lat) / DEGREES), math.floor((lon - WEST) / DEGREES)


def is_clear(row: int, col: int) -> bool:
    return 0 <= row < 30 and 0 <= col < 30 and bool(SCL[row, col] > 3)


def on_fine_grid(x: float, y: float) -> int | None:
    """Validity at the centre of the red pixel."""
    x = LEFT + (math.floor((x - LEFT) / STEP) + 0.5) * STEP
    y = TOP - (math.floor((TOP - y) / STEP) + 0.5) * STEP
    return red_at(x, y) if is_clear(*scl_pixel(x, y)) else None


def on_coarse_grid(x: float, y: float) -> int | None:
    """Red at the centre of the pixel of validity."""
    row, col = scl_pixel(x, y)
    center = to_lonlat.transform(WEST + (col + 0.5) * DEGREES, NORTH - (row + 0.5) * DEGREES, direction="INVERSE")
    return red_at(*center) if is_clear(row, col) else None


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("grid", ["finest", "red", "coarsest"])
def test_validity_may_lie_in_another_crs(grid: str, engine: str, collection: pl.LazyFrame):
    xy = RNG.random((500, 2)) * 400
    points = pl.DataFrame({"x": LEFT + xy[:, 0], "y": TOP - xy[:, 1]})
    asked = collection.raster.sample_points(points, ["red"], crs=32632, valid=pl.col("scl") > 3, grid=grid)
    rule = on_coarse_grid if grid == "coarsest" else on_fine_grid
    wanted = [rule(x, y) for x, y in points.rows()]
    assert asked.collect(engine=engine)["red"].to_list() == wanted
    other = [(on_fine_grid if grid == "coarsest" else on_coarse_grid)(x, y) for x, y in points.rows()]
    assert wanted != other
