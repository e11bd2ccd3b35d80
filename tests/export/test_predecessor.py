"""Do the counterparts of the predecessor's reads give what it recorded of the same files?

Its arrays (`get_gdf`) and points were written down with its release 0.4.1; where it is wrong, the test says what is right.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr

FOLDERS = {
    "naip_multiband": (
        ["m_3211605"],
        [{band: ("tif/u8x4_zstd_pixel_p2.tif", at) for at, band in enumerate(["R", "G", "B", "NIR"])}],
    ),
    "landsat_per_band": (
        ["s1", "s2"],
        [
            {"B04": ("tif/u16_deflate_p2_t64.tif", 0), "B05": ("tif/COG_u16_zstd_b128.tif", 0)},
            {"B04": ("tif/u16_deflate_p2_t64.tif", 0)},
        ],
    ),
    "aef_record_index": (
        ["11", "12"],
        [{f"A0{at}": (f"tif/e12_{year}.tif", at) for at in range(4)} for year in (2022, 2023)],
    ),
}


def collection(folder: Path, ids: list[str], records: list[dict[str, tuple[str, int]]]) -> pl.LazyFrame:
    """The records of a fixture, made from the files beside it."""
    bands = {band: at for one in records for band, (_, at) in one.items()}
    columns = {band: [str(folder / one[band][0]) if band in one else None for one in records] for band in bands}
    times = pl.Series([f"202{at}-01-01T00:00:00Z" for at in range(len(ids))]).str.to_datetime(time_zone="UTC")
    frame = pl.DataFrame({"id": ids, "datetime": times, **{f"href_{band}": hrefs for band, hrefs in columns.items()}})
    return pr.build_from_table(
        frame, bands={band: (f"href_{band}", at) for band, at in bands.items()}, on_error="raise"
    )


@pytest.fixture(params=FOLDERS)
def fixture(request, shared_data: Path) -> tuple[pl.LazyFrame, dict]:
    folder = shared_data / "rasteret" / request.param
    if not folder.exists():
        pytest.skip("the collections of the predecessor are not beside the repository")
    return collection(folder, *FOLDERS[request.param]), json.loads((folder / "oracle.json").read_text())


def area_of(told: dict) -> shapely.Geometry:
    return shapely.box(*told["aoi_bbox_lonlat"])


def recorded(told: dict) -> dict[tuple[str, str], dict]:
    return {(one["record_id"], one["band"]): one for one in told["get_gdf"]}


def test_get_gdf_is_to_geopandas_of_read_windows(fixture):
    scenes, told = fixture
    table = pr.to_geopandas(scenes.raster.read_windows([area_of(told)], crs=4326, coverage="center"), crs=4326)
    found = {
        (row["record_id"], band): (row[band], row[f"{band}_transform"], row["raster_crs"])
        for _, row in table.iterrows()
        for band in scenes.raster.bands()
        if row[band] is not None
    }
    assert found.keys() == recorded(told).keys()
    for key, one in recorded(told).items():
        values, transform, crs = found[key]
        assert values.dtype == one["dtype"]
        np.testing.assert_array_equal(values, one["data"])
        np.testing.assert_allclose(transform, one["transform"][:6], rtol=1e-12)
        assert crs == scenes.filter(id=key[0]).raster.crs()[0]  # its CRS was that of the area
    assert table.crs.to_epsg() == 4326


def test_load_bands_and_get_first_raster_are_load_and_iter_rasters(fixture):
    scenes, told = fixture
    area, expected = area_of(told), recorded(told)
    for handle in scenes.raster.iter_rasters():  # iterate_rasters
        assert handle.intersects(area)
        for band in handle.bands:
            one = expected[handle.id, band]
            np.testing.assert_array_equal(handle.read(band, geometry=area, crs=4326, coverage="center"), one["data"])
            (array,) = asyncio.run(handle.load_async(area, band, crs=4326, coverage="center"))
            np.testing.assert_array_equal(array, [one["data"]])
            (dataset,) = handle.load(area, band, as_="xarray", crs=4326, coverage="center")
            np.testing.assert_array_equal(dataset[band], one["data"])
            assert dataset[band].dtype == one["dtype"]
    first = next(scenes.raster.iter_rasters())  # get_first_raster
    one = first.metadata(first.bands[0])  # try_get_band_cog_metadata
    assert one.dtype == expected[first.id, first.bands[0]]["dtype"]


def test_get_numpy_is_to_numpy_of_read_windows_and_no_row_is_lost(fixture):
    scenes, told = fixture
    expected = recorded(told)
    bands = [band for band in scenes.raster.bands() if all((one, band) in expected for one, _ in expected)]
    windows = scenes.raster.read_windows([area_of(told)], bands, crs=4326, coverage="center")
    array, rows = pr.to_numpy(windows, bands)
    assert array.shape[:2] == (rows.height, len(bands))
    for at, record in enumerate(rows["record_id"]):
        for number, band in enumerate(bands):
            np.testing.assert_array_equal(array[at, number], expected[record, band]["data"])


def test_sample_points_of_a_handle_are_its_points(fixture):
    scenes, told = fixture
    lon, lat = np.array(told["points_lonlat"]).T
    values = {(one["record_id"], one["band"], one["point_index"]): one["value"] for one in told["sample_points"]}
    n_compared = 0
    for handle in scenes.raster.iter_rasters():
        found = handle.sample_points(lon, lat, crs=4326)
        for band in handle.bands:
            nodata = handle.metadata(band).nodata
            for point, value in enumerate(found[band]):
                if (handle.id, band, point) in values:
                    want = values[handle.id, band, point]
                    assert value == (None if want == nodata else want)  # it returns nodata as a number
                    n_compared += 1
    assert n_compared >= 16
