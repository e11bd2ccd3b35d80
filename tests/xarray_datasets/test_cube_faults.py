"""Do cubes keep dtypes, zeros, steps and single reads, where such cubes are known to lose them?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.cubes.kept_blocks import KeptBlocks
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.recorded import Store, noise, tiff

SIZE = 128


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def scenes_of(rows, bands):
    table = pl.DataFrame(rows).with_columns(pl.col("datetime").str.to_datetime("%+", time_zone="UTC", time_unit="us"))
    return pr.build_from_table(table, bands=bands, on_error="raise").collect().lazy()


@pytest.mark.parametrize("cache_bytes", [0, 10_000_000])
def test_bands_in_the_same_tiles_are_read_once_though_xarray_loads_them_one_by_one(store, cache_bytes):
    pixels = noise(1, height=SIZE, width=SIZE, n_bands=3)
    href = store.put("a.tif", tiff(pixels, tile=64, interleave="pixel", nodata=0))
    bands = {name: ("file", at) for at, name in enumerate(("red", "green", "blue"))}
    scenes = scenes_of([{"id": "a", "datetime": "2024-01-15T10:00:00Z", "file": href}], bands)
    with pr.options(cache_bytes=cache_bytes):
        clear_cache()
        store.clear()
        cube = scenes.raster.to_xarray().load()
    assert store.bytes == 3 * SIZE * SIZE * 2
    np.testing.assert_array_equal([cube[name].values[0] for name in bands], pixels)


def test_what_is_kept_for_other_bands_is_bounded_and_handed_out_once():
    kept = KeptBlocks(3_000)
    for name in "abcd":
        kept.put(name, (np.zeros(500, np.uint8), np.ones(500, np.bool_), {}))
    assert [kept.take(name) is not None for name in "abcdb"] == [False, True, True, True, False]
    kept.put("large", (np.zeros(3_000, np.uint8), np.ones(3_000, np.bool_), {}))
    assert kept.take("large") is None


def test_a_pixel_that_is_zero_stays_where_no_nodata_value_is_declared_and_integers_stay_integers(store):
    first, second = np.zeros((1, 64, 64), np.int16), np.ones((1, 64, 64), np.int16)
    rows = [
        {"id": name, "datetime": "2024-01-15T10:00:00Z", "file": store.put(f"{name}.tif", tiff(one, x=x, tile=64))}
        for name, one, x in (("a", first, 500_000.0), ("b", second, 500_320.0))
    ]
    cube = scenes_of(rows, {"red": "file"}).raster.to_xarray()
    assert (cube.red.dtype, cube.red.shape) == (np.int16, (1, 64, 96))
    assert cube.record_id.values.tolist() == [["a", "b"]]
    np.testing.assert_array_equal(cube.red.values[0, 0], [0] * 64 + [1] * 32)
    assert cube.red_valid.values.all()


def test_a_coarser_grid_has_pixels_of_the_file_and_no_mixtures(store):
    fine = noise(1, height=64, width=64)
    rows = [{"id": "a", "datetime": "2024-01-15T10:00:00Z", "file": store.put("a.tif", tiff(fine, tile=64))}]
    scenes = scenes_of(rows, {"red": "file"})
    cube = scenes.raster.to_xarray(resolution=20)
    assert cube.red.shape == (1, 32, 32)
    assert np.isin(cube.red.values, fine).all()


def test_records_without_a_time_have_steps_of_their_own_after_all_others(store):
    rows = [
        {
            "id": f"r{at}",
            "datetime": time,
            "file": store.put(f"r{at}.tif", tiff(noise(at, height=64, width=64), tile=64)),
        }
        for at, time in enumerate([None, "2024-01-15T10:00:00Z", None])
    ]
    cube = scenes_of(rows, {"red": "file"}).raster.to_xarray()
    assert cube.record_id.values.tolist() == ["r1", "r0", "r2"]
    assert np.isnat(cube.time.values).tolist() == [False, True, True]
    np.testing.assert_array_equal(cube.red.values, [noise(at, height=64, width=64)[0] for at in (1, 0, 2)])
