"""Are area reads free of the faults that readers of satellite images are known for?

One test for each: upcasts, union grids, lost ids, ragged failures, nodata that bleeds, classes that are mixed, files that are
fetched once per band, and zeros that are taken for nothing. What is right is computed by NumPy or rasterio.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shapely
from rasterio.io import MemoryFile

import polars_rasteret as pr
from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.stack import Stack
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.grids.pixel_grid import PixelGrid
from tests.support.recorded import RESOLUTION, TILE, Store, build, noise, tiff

X, Y = 500_000.0, 5_000_000.0
BANDS = ["red", "green", "blue"]


@pytest.fixture
def store():
    process_scheduler().clear_cache()
    one = Store()
    yield one
    one.close()


def box(row, col, height, width):
    """Give the box of a window of pixels."""
    return shapely.box(
        X + col * RESOLUTION, Y - (row + height) * RESOLUTION, X + (col + width) * RESOLUTION, Y - row * RESOLUTION
    )


def one_file(store, pixels, bands=("red",), **profile):
    href = store.put("scene.tif", tiff(pixels, **profile))
    return build(store, [{"id": "scene", "href": href}], {band: ("href", at) for at, band in enumerate(bands)})


def test_several_areas_of_an_integer_band_stay_integers(store):
    pixels = noise(1)
    scenes = one_file(store, pixels, nodata=0)
    areas = [box(10, 10, 20, 20), box(200, 300, 20, 20), box(505, 500, 20, 20)]
    array, rows = pr.to_numpy(scenes.raster.read_windows(areas, ["red"], crs=32632, shape=(20, 20)))
    assert array.dtype == np.uint16
    assert rows.height == 3
    np.testing.assert_array_equal(array[1, 0], pixels[0, 200:220, 300:320])
    assert (array[2, 0, 7:] == 0).all()  # the part beyond the image is filled with nodata
    for one in next(scenes.raster.iter_rasters()).load(areas, ["red"], crs=32632):
        assert one.dtype == np.uint16


def test_areas_far_apart_take_the_memory_of_their_pixels_and_not_of_the_box_around_them(store):
    pixels = noise(2)
    scenes = one_file(store, pixels)
    areas = [box(0, 0, 3, 4), box(508, 507, 4, 5)]
    windows = scenes.raster.read_windows(areas, ["red"], crs=32632).collect()["red"]
    assert [(one["height"], one["width"]) for one in windows] == [(3, 4), (4, 5)]
    np.testing.assert_array_equal(np.reshape(windows[0]["pixels"], (3, 4)), pixels[0, :3, :4])
    np.testing.assert_array_equal(np.reshape(windows[1]["pixels"], (4, 5)), pixels[0, 508:, 507:])


def test_records_whose_grids_are_cut_otherwise_meet_on_one_grid_of_their_own_resolution(store):
    first, second = noise(3), noise(4)
    hrefs = [
        store.put("first.tif", tiff(first)),
        store.put("second.tif", tiff(second, x=X + 3.0, y=Y + 4.0)),  # a third of a pixel beside the first
    ]
    scenes = build(store, [{"id": str(at), "href": href} for at, href in enumerate(hrefs)], {"red": "href"}).collect()
    grid = PixelGrid("EPSG:32632", (RESOLUTION, 0.0, X, 0.0, -RESOLUTION, Y), 64, 64)
    stack = Stack(grid=grid, rasters={"red": scenes["red"]}, bands=("red",), step=np.array([0, 1]), n_steps=2)
    block = read_block(stack, ["red"], [0, 1], (0, 64, 0, 64))
    assert block.values["red"].shape == (2, 64, 64)
    assert block.values["red"].dtype == np.uint16
    np.testing.assert_array_equal(block.values["red"][0], first[0, :64, :64])
    # Centres of the common grid lie 2 m west and 4 m south of those of the second: in the pixel of the same number.
    np.testing.assert_array_equal(block.values["red"][1][:, 1:], second[0, :64, 1:64])


def test_every_array_knows_its_area_and_record_also_where_there_is_nothing(store):
    hrefs = [store.put(f"{at}.tif", tiff(noise(at))) for at in range(2)]
    scenes = build(store, [{"id": f"r{at}", "href": href} for at, href in enumerate(hrefs)], {"red": "href"})
    areas = pl.DataFrame(
        {
            "area": ["a", "elsewhere", "b"],
            "geometry": [box(0, 0, 8, 8).wkb, box(9000, 0, 8, 8).wkb, box(50, 50, 8, 8).wkb],
        }
    )
    windows = scenes.raster.read_windows(areas, ["red"], crs=32632, shape=(8, 8), unmatched="null")
    array, rows = pr.to_numpy(windows, fill_value=0)
    assert rows.select("area", "record_id").rows() == [
        ("a", "r0"),
        ("a", "r1"),
        ("elsewhere", None),
        ("b", "r0"),
        ("b", "r1"),
    ]
    assert array.shape == (5, 1, 8, 8)
    assert (array[2] == 0).all()
    np.testing.assert_array_equal(array[4, 0], noise(1)[0, 50:58, 50:58])


def test_areas_that_differ_by_a_pixel_are_read_and_brought_onto_one_shape_where_one_is_named(store):
    pixels = noise(5)
    scenes = one_file(store, pixels)
    areas = [box(10, 10, 20, 20), box(100, 100, 21, 20)]
    ragged = scenes.raster.read_windows(areas, ["red"], crs=32632)
    assert [one["height"] for one in ragged.collect()["red"]] == [20, 21]
    with pytest.raises(pr.errors.UsageError, match="shape="):
        pr.to_numpy(ragged)
    array, _ = pr.to_numpy(scenes.raster.read_windows(areas, ["red"], crs=32632, shape=(20, 20)))
    assert array.shape == (2, 1, 20, 20)
    np.testing.assert_array_equal(array[0, 0], pixels[0, 10:30, 10:30])


def test_a_band_named_twice_is_an_error_and_no_array_of_another_shape(store):
    scenes = one_file(store, noise(5))
    with pytest.raises(pr.errors.UsageError, match="red twice"):
        scenes.raster.read_windows([box(10, 10, 20, 20)], ["red", "red"], crs=32632)
    with pytest.raises(pr.errors.UsageError, match="red twice"):
        pr.to_numpy(scenes.raster.read_windows([box(10, 10, 20, 20)], ["red"], crs=32632), ["red", "red"])


@pytest.mark.parametrize("method", ["bilinear", "cubic", "average"])
def test_nodata_does_not_bleed_into_its_neighbours(store, method):
    pixels = np.full((1, 512, 512), 1000, np.uint16)
    pixels[0, 100:140, 100:140] = 0
    scenes = one_file(store, pixels, nodata=0)
    area = box(90, 90, 60, 60)
    found = scenes.raster.read_windows([area], ["red"], crs=32632, shape=(45, 45), resampling=method)
    array, _ = pr.to_numpy(found)
    assert set(np.unique(array)) == {0, 1000}
    scene = next(scenes.raster.iter_rasters())
    moved = scene.read("red", geometry=area, crs=32632, target_crs=3857, resampling=method)
    assert set(np.unique(moved)) == {0, 1000}


def test_classes_are_never_mixed_while_another_band_is(store):
    rng = np.random.default_rng(6)
    classes = rng.choice([3, 9], (1, 512, 512)).astype(np.uint16)
    pixels = np.concatenate([noise(6), classes])
    scenes = one_file(store, pixels, bands=("red", "scl"))
    scene = next(scenes.raster.iter_rasters())
    words = {"resampling": {"red": "bilinear"}, "crs": 32632}
    red, scl = scene.read(["red", "scl"], geometry=box(20, 20, 100, 100), target_crs=3035, **words)
    is_inside = scl != 0
    assert set(np.unique(scl[is_inside])) == {3, 9}
    assert not np.isin(red[is_inside], pixels[0]).all()  # red is mixed
    found = scenes.raster.read_windows([box(20, 20, 100, 100)], shape=(37, 37), **words).collect()
    assert set(found["scl"].to_numpy().ravel()) == {3, 9}


def test_an_interleaved_file_is_fetched_once_for_all_bands_of_an_area(store):
    pixels = noise(7, n_bands=3)
    scenes = one_file(store, pixels, bands=BANDS, interleave="pixel")
    area = box(10, 10, 60, 60)  # within the first tile
    array, _ = pr.to_numpy(scenes.raster.read_windows([area], BANDS, crs=32632))
    np.testing.assert_array_equal(array[0], pixels[:, 10:70, 10:70])
    assert len(store.requests) == 1
    assert store.bytes == TILE * TILE * 3 * 2
    process_scheduler().clear_cache()
    store.clear()
    scenes.raster.zonal_stats([area], BANDS, ["mean"], crs=32632).collect()
    assert store.bytes == TILE * TILE * 3 * 2


def test_a_genuine_zero_of_the_first_record_is_not_overwritten_by_the_next(store):
    first = np.zeros((1, 512, 512), np.uint16)
    first[0, :, 256:] = 7
    hrefs = [store.put("first.tif", tiff(first)), store.put("second.tif", tiff(noise(8)))]
    scenes = build(store, [{"id": str(at), "href": href} for at, href in enumerate(hrefs)], {"red": "href"}).collect()
    grid = PixelGrid("EPSG:32632", (RESOLUTION, 0.0, X, 0.0, -RESOLUTION, Y), 512, 512)
    stack = Stack(grid=grid, rasters={"red": scenes["red"]}, bands=("red",), step=np.array([0, 0]), n_steps=1)
    block = read_block(stack, ["red"], [0], (0, 512, 0, 512))
    np.testing.assert_array_equal(block.values["red"][0], first[0])
    assert block.valid["red"].all()
    assert store.names == {"first.tif"}  # nothing was left to fill
    # With nodata declared, the same zeros are holes.
    with MemoryFile(tiff(first, nodata=0)) as memory, memory.open() as file:
        assert file.read(1, masked=True).mask.any()
