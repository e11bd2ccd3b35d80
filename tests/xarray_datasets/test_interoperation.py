"""Do rioxarray, odc-geo, Zarr and NetCDF find in a Dataset the grid and the values that it has?"""

from __future__ import annotations

import importlib

import numpy as np
import polars as pl
import pytest
import rasterio.warp
import xarray as xr
from rasterio.transform import Affine

import polars_rasteret as pr
from tests.support.recorded import Store, noise, tiff

pytest.importorskip("rioxarray")
pytest.importorskip("odc.geo.xr")
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

HEIGHT, WIDTH = 90, 130
TRANSFORM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
KEYS = [
    {},
    {"x": slice(20, 100), "y": slice(7, 60)},
    {"time": slice(1, 2), "x": slice(129, 130), "y": slice(3, 4)},
    {"time": 0, "x": slice(0, 2), "y": slice(88, 90)},
]


@pytest.fixture(scope="module")
def archive():
    store = Store()
    rows = []
    for at in range(2):
        red = tiff(noise(at, height=HEIGHT, width=WIDTH), tile=64, nodata=0)
        scl = tiff((noise(at + 5, height=HEIGHT, width=WIDTH) % 12).astype(np.uint8), tile=64)
        rows.append(
            {
                "id": f"r{at}",
                "datetime": f"2024-0{at + 1}-15T10:00:00Z",
                "href_red": store.put(f"r{at}-red.tif", red),
                "href_scl": store.put(f"r{at}-scl.tif", scl),
            }
        )
    table = pl.DataFrame(rows).with_columns(pl.col("datetime").str.to_datetime("%+", time_zone="UTC", time_unit="us"))
    found = pr.build_from_table(table, bands={"red": "href_red", "scl": "href_scl"}, on_error="raise")
    yield store, found.collect().lazy()
    store.close()


@pytest.fixture(scope="module")
def scenes(archive):
    return archive[1]


@pytest.fixture(scope="module")
def cube(scenes):
    return scenes.raster.to_xarray()


@pytest.mark.parametrize("key", KEYS)
def test_rioxarray_and_odc_know_the_grid_of_any_contiguous_part(cube, key):
    part = cube.isel(key)
    rows, cols = (key.get(axis, slice(None)).indices(size) for axis, size in (("y", HEIGHT), ("x", WIDTH)))
    expected = Affine(10, 0, 500_000 + 10 * cols[0], 0, -10, 5_000_000 - 10 * rows[0])
    shape = (rows[1] - rows[0], cols[1] - cols[0])
    for name in ("red", "scl"):
        assert part[name].rio.crs.to_epsg() == 32632
        assert part[name].rio.transform() == expected
        if shape != (1, 1):  # the size of a single pixel is known from GeoTransform alone
            assert part[name].rio.transform(recalc=True) == expected
        assert part[name].rio.shape == shape
        geobox = part[name].odc.geobox
        assert geobox.crs.to_epsg() == 32632
        assert tuple(geobox.shape) == shape
        assert tuple(geobox.affine)[:6] == tuple(expected)[:6]
    assert part.red.rio.nodata == part.red.odc.nodata == 0
    assert part.scl.rio.nodata is None


def test_every_second_pixel_has_a_grid_of_its_own(cube):
    part = cube.isel(x=slice(1, None, 2), y=slice(0, None, 3))
    assert part.red.rio.transform(recalc=True) == Affine(20, 0, 500_005, 0, -30, 5_000_010)


def test_rioxarray_reprojects_a_band_of_integers_as_rasterio_does(cube):
    band = cube.red.isel(time=0)
    found = band.rio.reproject("EPSG:32633")
    expected = np.zeros(found.shape, np.uint16)
    rasterio.warp.reproject(
        noise(0, height=HEIGHT, width=WIDTH)[0], expected, src_transform=TRANSFORM, src_crs="EPSG:32632", src_nodata=0,
        dst_transform=found.rio.transform(), dst_crs="EPSG:32633", dst_nodata=0,
    )  # fmt: skip
    np.testing.assert_array_equal(found.values, expected)


def test_accessors_read_no_pixel_until_values_are_used(archive):
    store, scenes = archive
    cube = scenes.raster.to_xarray(bands=["red"])
    store.clear()
    assert repr(cube)
    assert cube._repr_html_()
    assert (cube.rio.crs.to_epsg(), cube.red.odc.geobox.shape) == (32632, (HEIGHT, WIDTH))
    cut = cube.rio.clip_box(500_205, 4_999_405, 500_395, 4_999_595)
    assert cut.red.shape == (2, 20, 20)
    assert store.requests == []
    np.testing.assert_array_equal(cut.red.values[1], noise(1, height=HEIGHT, width=WIDTH)[0, 40:60, 20:40])


def written(dataset, kind, path, *, masked):
    if kind == "netcdf":
        pytest.importorskip("h5netcdf")
        dataset.to_netcdf(path / "cube.nc", engine="h5netcdf")
        return xr.open_dataset(path / "cube.nc", engine="h5netcdf", mask_and_scale=masked, decode_coords="all")
    importlib.import_module("zarr")
    form = int(kind[-1])
    dataset.to_zarr(path / "cube.zarr", zarr_format=form, consolidated=False)
    return xr.open_zarr(
        path / "cube.zarr",
        zarr_format=form,
        consolidated=False,
        chunks=None,
        mask_and_scale=masked,
        decode_coords="all",
    )


@pytest.mark.filterwarnings("error::xarray.SerializationWarning")
@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "netcdf"])
@pytest.mark.parametrize("words", [{}, {"masked": True}, {"group_by": "month", "mosaic": "mean"}])
def test_what_is_written_comes_back_identical(scenes, tmp_path, kind, words):
    cube = scenes.raster.to_xarray((500_100, 4_999_800, 500_300, 5_000_000), crs=32632, **words)
    with written(cube, kind, tmp_path, masked="masked" in words) as found:
        found.load()
        xr.testing.assert_identical(found.drop_encoding(), cube.load().drop_encoding())
        assert found.red.rio.crs.to_epsg() == 32632
        assert found.red.dtype == cube.red.dtype
