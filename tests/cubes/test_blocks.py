"""Are blocks of cubes those that rasterio and NumPy make of the same files?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.pointwise import read_points
from polars_rasteret.cubes.stack import Stack
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.pixel_grid import PixelGrid
from polars_rasteret.options import ReadOptions
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


def test_a_coarser_band_and_a_missing_one_go_onto_the_common_grid(store):
    fine, coarse = noise(1), noise(2, height=256, width=256)
    records = [
        {"id": "a", "fine": store.put("a.tif", tiff(fine)), "coarse": store.put("c.tif", tiff(coarse))},
        {"id": "b", "fine": store.put("b.tif", tiff(fine)), "coarse": None},
    ]
    scenes = build(store, records, {"B02": "fine", "SCL": "coarse"}).collect()
    assert scenes["SCL"].null_count() == 1
    at_20_m = pl.lit([20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_000.0], dtype=pl.Array(pl.Float64, 6))
    with_grid = pl.col("SCL").struct.with_fields(transform=at_20_m)
    scenes = scenes.with_columns(pl.when(pl.col("SCL").is_not_null()).then(with_grid).alias("SCL"))
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 512, 512)
    rasters = {name: scenes[name] for name in ("B02", "SCL")}
    stack = Stack(grid=grid, rasters=rasters, bands=("B02", "SCL"), step=np.array([0, 1]), n_steps=2)
    block = read_block(stack, ["SCL", "B02"], [0, 1], (3, 40, 5, 50))
    np.testing.assert_array_equal(block.values["SCL"][0], np.kron(coarse[0], np.ones((2, 2), np.uint16))[3:40, 5:50])
    np.testing.assert_array_equal(block.values["B02"], np.stack([fine[0, 3:40, 5:50]] * 2))
    assert block.valid["SCL"].sum(axis=(1, 2)).tolist() == [37 * 45, 0]


def test_a_record_without_a_crs_is_told_and_a_window_off_the_grid_is_refused(store):
    records = [{"id": "a", "href": store.put("a.tif", tiff(noise(1)))}]
    scenes = build(store, records, {"red": "href"}).collect()
    nowhere = scenes.with_columns(pl.col("red").struct.with_fields(crs=pl.lit(None, pl.String)))
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 512, 512)

    def stack_of(frame, **how):
        return Stack(grid=grid, rasters={"red": frame["red"]}, bands=("red",), step=np.zeros(1, int), n_steps=1, **how)

    for read in (
        lambda stack: read_block(stack, ["red"], [0], (0, 9, 0, 9)),
        lambda stack: read_points(stack, ["red"], [0], [1], [1]),
    ):
        with pytest.raises(UsageError, match="has no CRS"):
            read(stack_of(nowhere))
        block = read(stack_of(nowhere, options=ReadOptions(on_error="null")))
        assert not block.valid["red"].any()
        assert "has no CRS" in block.errors[0]
    with pytest.raises(UsageError, match="not within the common grid of 512 x 512"):
        read_block(stack_of(scenes), ["red"], [0], (0, 513, 0, 9))
