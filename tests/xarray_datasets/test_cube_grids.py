"""Do cubes of unusual grids, of several resolutions and of areas in another CRS have the pixels that rasterio reads?"""

from __future__ import annotations

import multiprocessing
import operator
import warnings

import numpy as np
import polars as pl
import pytest
import rasterio.features
import rasterio.warp
import shapely
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window

import polars_rasteret as pr
from tests.support.recorded import Store, noise

SIZE = 96
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 4_999_000)
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
TURNED = Affine(8, 6, 500_000, 6, -8, 5_000_000)


def geotiff(pixels, transform, epsg=32632, nodata=0):
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        with memory.open(
            driver="GTiff", height=pixels.shape[1], width=pixels.shape[2], count=1, dtype=pixels.dtype.name,
            crs=f"EPSG:{epsg}", transform=transform, tiled=True, blockxsize=32, blockysize=32, nodata=nodata,
        ) as file:  # fmt: skip
            file.write(pixels)
        return bytes(memory.getbuffer())


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def scenes_of(store, files):
    """Build a record per entry of `files`: bands by name, each the bytes of a file."""
    rows = [
        {"id": f"r{at}", "datetime": f"2024-01-{at + 10}T10:00:00Z"}
        | {f"href_{band}": store.put(f"r{at}-{band}.tif", data) for band, data in bands.items()}
        for at, bands in enumerate(files)
    ]
    table = pl.DataFrame(rows).with_columns(pl.col("datetime").str.to_datetime("%+", time_zone="UTC", time_unit="us"))
    bands = {name: f"href_{name}" for name in files[0]}
    return pr.build_from_table(table, bands=bands, on_error="raise").collect().lazy()


def cube_transform(cube):
    return Affine(
        *(float(one) for one in np.array(cube.spatial_ref.attrs["GeoTransform"].split(), float)[[1, 2, 0, 4, 5, 3]])
    )


def on_grid(pixels, transform, epsg, cube, cube_epsg):
    """Return pixels on the grid of a cube as rasterio brings them there, with the nearest pixel."""
    expected = np.zeros((cube.sizes["y"], cube.sizes["x"]), pixels.dtype)
    rasterio.warp.reproject(
        pixels, expected, src_transform=transform, src_crs=f"EPSG:{epsg}", src_nodata=0,
        dst_transform=cube_transform(cube), dst_crs=f"EPSG:{cube_epsg}", dst_nodata=0, tolerance=0,
    )  # fmt: skip
    return expected


def test_south_up_images_keep_their_rows_and_windows_are_those_of_rasterio(store):
    data = geotiff(noise(1, height=SIZE, width=SIZE), SOUTH_UP)
    cube = scenes_of(store, [{"red": data}]).raster.to_xarray((500_105, 4_999_205, 500_395, 4_999_795), crs=32632)
    assert cube.y.values[0] < cube.y.values[-1]
    with MemoryFile(data) as memory, memory.open() as file:
        row, col = (round(one) for one in (~file.transform @ (cube.x.values[0] - 5, cube.y.values[0] - 5))[::-1])
        expected = file.read(1, window=Window(col, row, cube.sizes["x"], cube.sizes["y"]))
    assert cube.red.shape == (1, 60, 30)
    np.testing.assert_array_equal(cube.red.values[0], expected)


@pytest.mark.parametrize(("grid", "size"), [("finest", 10), ("coarsest", 20), ("red", 10), ("swir", 20)])
def test_bands_of_two_resolutions_meet_on_the_grid_that_is_chosen(store, grid, size):
    red, swir = noise(1, height=SIZE, width=SIZE), noise(2, height=SIZE // 2, width=SIZE // 2)
    fine, coarse = NORTH_UP, Affine(20, 0, 500_000, 0, -20, 5_000_000)
    cube = scenes_of(store, [{"red": geotiff(red, fine), "swir": geotiff(swir, coarse)}]).raster.to_xarray(grid=grid)
    assert cube_transform(cube)[0] == size
    for name, pixels, transform in (("red", red, fine), ("swir", swir, coarse)):
        expected = on_grid(pixels[0], transform, 32632, cube, 32632)
        np.testing.assert_array_equal(cube[name].values[0], expected)


def test_rotated_grids_are_refused_without_target_crs_and_equal_rasterio_with_it(store):
    pixels = noise(1, height=SIZE, width=SIZE)
    scenes = scenes_of(store, [{"red": geotiff(pixels, TURNED)}])
    with pytest.raises(pr.errors.UsageError, match=r"1 of 1 pixel grids are rotated.*target_crs"):
        scenes.raster.to_xarray()
    cube = scenes.raster.to_xarray(target_crs=32632, resolution=7)
    expected = on_grid(pixels[0], TURNED, 32632, cube, 32632)
    assert (expected > 0).mean() > 0.4
    np.testing.assert_array_equal(cube.red.values[0], expected)


def test_bounds_across_the_antimeridian_have_the_images_of_both_sides(store):
    west, east = noise(1, height=50, width=50), noise(2, height=50, width=50)
    scenes = scenes_of(
        store,
        [
            {"red": geotiff(west, Affine(0.02, 0, 179, 0, -0.02, 1), 4326)},
            {"red": geotiff(east, Affine(0.02, 0, -180, 0, -0.02, 1), 4326)},
        ],
    ).with_columns(day=pl.lit(1))
    cube = scenes.raster.to_xarray((179.5, 0.5, -179.5, 1.0), crs=4326, group_by="day")
    np.testing.assert_array_equal(cube.red.values[0], np.hstack([west[0, :25, 25:], east[0, :25, :25]]))


def test_areas_in_another_crs_with_rows_without_one_under_a_mask_and_a_median(store):
    red = [noise(at, height=SIZE, width=SIZE) for at in range(3)]
    scl = [(noise(at + 9, height=SIZE, width=SIZE) % 12).astype(np.uint8) for at in range(3)]
    scenes = scenes_of(
        store,
        [
            {"red": geotiff(a, NORTH_UP), "scl": geotiff(b, NORTH_UP, nodata=None)}
            for a, b in zip(red, scl, strict=True)
        ],
    )
    disc = shapely.Point(500_400, 4_999_500).buffer(205)
    moved = shapely.transform(disc, Transformer.from_crs(32632, 4326, always_xy=True).transform, interleaved=False)
    table = pl.DataFrame({"name": ["none", "disc", "empty"], "geometry": [None, moved.wkb, shapely.Polygon().wkb]})
    cube = scenes.raster.to_xarray(
        table,
        ["red"],
        crs=4326,
        coverage="center",
        masked=True,
        group_by="month",
        mosaic="median",
        valid=pl.col("scl") > 3,
    )
    assert cube.name.values.tolist() == ["none", "disc", "empty"]
    left, top = round((cube.x.values[0] - 5 - 500_000) / 10), round((5_000_000 - cube.y.values[0] - 5) / 10)
    part = np.s_[:, top : top + cube.sizes["y"], left : left + cube.sizes["x"]]
    burnt = rasterio.features.rasterize([(disc, 1)], (SIZE, SIZE), transform=NORTH_UP).astype(bool)[part[1:]]
    layers = np.where(np.concatenate(scl) > 3, np.concatenate(red), np.nan)[part]
    layers[layers == 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no layer has
        expected = np.where(burnt, np.nanmedian(layers, axis=0), np.nan)
    np.testing.assert_array_equal(cube.red.isel(geometry=1).values[0], expected)
    assert np.isnan(cube.red.isel(geometry=[0, 2]).values).all()


@pytest.mark.parametrize("kind", ["alpha", "mask"])
def test_pixels_that_an_alpha_band_or_a_mask_hides_are_not_valid_in_a_cube(tmp_path, kind):
    gray = np.random.default_rng(1).integers(1, 200, (64, 64)).astype(np.uint8)
    shown = np.random.default_rng(2).random((64, 64)) > 0.4
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "gray.tif", "w", driver="GTiff", height=64, width=64, count=1 + (kind == "alpha"), dtype="uint8",
            crs="EPSG:32632", transform=NORTH_UP, tiled=True, blockxsize=32, blockysize=32, photometric="MINISBLACK",
        ) as file,
    ):  # fmt: skip
        file.write(gray, 1)
        if kind == "alpha":
            file.write(shown.astype(np.uint8) * 255, 2)
            file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
        else:
            file.write_mask(shown)
    scenes = pr.build_from_files([str(tmp_path / "gray.tif")], bands={"gray": 0}).collect().lazy()
    cube = scenes.raster.to_xarray((500_055, 4_999_505, 500_505, 4_999_900), crs=32632)
    part = np.s_[10:50, 5:51]
    np.testing.assert_array_equal(cube.gray_valid.values[0], shown[part])
    np.testing.assert_array_equal(cube.gray.values[0], np.where(shown, gray, 0)[part])
    whole = scenes.raster.to_xarray(masked=True)
    np.testing.assert_array_equal(whole.gray.values[0], np.where(shown, gray, np.nan).astype(np.float32))


def test_bounds_outside_all_images_are_an_error_that_says_so(store):
    scenes = scenes_of(store, [{"red": geotiff(noise(1, height=32, width=32), NORTH_UP)}])
    with pytest.raises(pr.errors.UsageError, match=r"no (image|record)"):
        scenes.raster.to_xarray((900_000, 4_000_000, 901_000, 4_001_000), crs="native")


def test_a_spawned_process_reads_a_cube_that_it_is_handed(tmp_path):
    pixels = noise(1, height=32, width=32)
    (tmp_path / "red.tif").write_bytes(geotiff(pixels, NORTH_UP))
    cube = pr.build_from_files([str(tmp_path / "red.tif")], bands=["red"]).collect().lazy().raster.to_xarray()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        values = pool.apply_async(operator.attrgetter("values"), (cube.red,)).get(timeout=60)
    np.testing.assert_array_equal(values, pixels)


def test_an_estimate_of_a_cube_in_chunks_is_not_nothing(store):
    scenes = scenes_of(store, [{"red": geotiff(noise(1, height=64, width=64), NORTH_UP)}])
    cost = pr.estimate(scenes.raster.to_xarray(chunks={"y": 32}))
    assert cost.tiles == 4
