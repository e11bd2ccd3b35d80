"""Are blocks of cubes those that rasterio and NumPy make of the same files?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.stack import Stack
from polars_rasteret.grids.pixel_grid import PixelGrid
from tests.support.recorded import Store, build, noise, tiff


@pytest.fixture
def store():
    one = Store()
    yield one
    one.close()


def test_a_block_of_records_on_the_common_grid_has_their_pixels(store):
    pixels = [noise(seed) for seed in (1, 2)]
    records = [{"id": str(at), "href": store.put(f"{at}.tif", tiff(one))} for at, one in enumerate(pixels)]
    scenes = build(store, records, {"red": "href"}).collect()
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 512, 512)
    stack = Stack(grid=grid, rasters={"red": scenes["red"]}, bands=("red",), step=np.array([0, 1]), n_steps=2)
    block = read_block(stack, ["red"], [1, 0], (10, 30, 100, 200))
    expected = np.stack([pixels[1][0, 10:30, 100:200], pixels[0][0, 10:30, 100:200]])
    np.testing.assert_array_equal(block.values["red"], expected)
    assert block.valid["red"].all()
    assert pl.Series(block.values["red"].ravel()).dtype == pl.UInt16
