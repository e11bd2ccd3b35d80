"""Do columns of other names and forms become the columns of records: years, bounds, EPSG texts, structs of assets?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import raster_columns
from tests.support.range_server import Fault, RangeServer
from tests.support.scene_files import write_scene


@pytest.fixture
def image(tmp_path):
    return str(write_scene(tmp_path / "a.tif", count=3))


def _hrefs(scenes, band):
    return scenes[band].struct.field("href").to_list()


def test_the_index_of_an_annual_dataset_is_taken_by_its_column_map(image):
    """The columns of AlphaEarth's index: integer ids and years, EPSG numbers as text, bounds of another order."""
    table = pl.DataFrame(
        {
            "fid": [7, 8],
            "geom": [shapely.box(9, 45, 10, 46).wkb] * 2,
            "year": [2020, None],
            "bbox": [{"xmax": 10, "xmin": 9, "ymin": 45, "ymax": 46}] * 2,
            "path": [image, None],
            "crs": ["EPSG:32632", "nonsense"],
            "utm_zone": ["32N", "32N"],
        }
    )
    names = {"fid": "id", "geom": "geometry", "year": "datetime", "crs": "proj:epsg"}
    bands = {f"A{number:02}": ("path", number) for number in range(3)}
    scenes = pr.build_from_table(table, bands=bands, column_map=names, columns=["utm_zone"]).collect()
    assert scenes["id"].to_list() == ["7", "8"]
    assert scenes["utm_zone"].to_list() == ["32N", "32N"]
    assert {"fid", "geom", "year", "crs", "path"}.isdisjoint(scenes.columns)
    start, end = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2020, 12, 31, 23, 59, 59, 999_999, dt.UTC)
    assert scenes["datetime"].to_list() == [start, None]
    assert scenes["start_datetime"].to_list() == [start, None]
    assert scenes["end_datetime"].to_list() == [end, None]
    assert scenes["proj:epsg"].to_list() == [32632, None]
    assert scenes["bbox"].to_list()[1] == {"xmin": 9.0, "ymin": 45.0, "xmax": 10.0, "ymax": 46.0}
    assert [scenes[band].struct.field("band_index")[0] for band in bands] == [0, 1, 2]
    assert scenes.lazy().raster.subset(datetime="2020-07").select("id").collect().item() == "7"


@pytest.mark.parametrize(
    ("column", "first"),
    [
        (["2020", "2021"], dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        (["20200105", "2020-01-06"], dt.datetime(2020, 1, 5, tzinfo=dt.UTC)),
        (["2020-01-05T23:30:00.123456789-02:30", None], dt.datetime(2020, 1, 6, 2, 0, 0, 123_456, dt.UTC)),
        (["2020-01-05 23:30:00Z", None], dt.datetime(2020, 1, 5, 23, 30, tzinfo=dt.UTC)),
    ],
)
def test_times_as_text_are_understood(image, column, first):
    table = pl.DataFrame({"id": ["a", "b"], "href": image, "datetime": column})
    assert pr.build_from_table(table, bands={"red": "href"}).collect()["datetime"][0] == first


def test_years_leave_stated_intervals_alone_and_other_numbers_are_refused(image):
    stated = dt.datetime(2020, 5, 1, tzinfo=dt.UTC)
    table = pl.DataFrame({"id": ["a"], "href": image, "datetime": [2020], "start_datetime": [stated]})
    with pytest.raises(UsageError, match="expected a Datetime"):  # an interval that is stated, and a year beside it
        pr.build_from_table(table, bands={"red": "href"})
    seconds = pl.DataFrame({"id": ["a"], "href": image, "datetime": [1_600_000_000]})
    with pytest.raises(UsageError, match="from_epoch"):
        pr.build_from_table(seconds, bands={"red": "href"})


@pytest.mark.parametrize(
    "bbox",
    [
        pl.Series([[9.0, 45.0, 10.0, 46.0]]),
        pl.Series([[9.0, 45.0, -5.0, 10.0, 46.0, 900.0]]),
        pl.Series([{"minx": 9.0, "miny": 45.0, "maxx": 10.0, "maxy": 46.0}]),
        pl.Series([[9, 45, 10, 46]], dtype=pl.Array(pl.Int32, 4)),
    ],
    ids=["four", "six", "minx", "array"],
)
def test_bounds_in_any_form_place_records_without_an_image(bbox):
    table = pl.DataFrame({"id": ["a"], "href": pl.Series([None], dtype=pl.String), "bbox": bbox})
    scenes = pr.build_from_table(table, bands={"red": "href"}).collect()
    assert scenes["bbox"][0] == {"xmin": 9.0, "ymin": 45.0, "xmax": 10.0, "ymax": 46.0}


@pytest.mark.parametrize("bbox", [[9.0, 45.0, 10.0], [9.0, None, 10.0, 46.0], [float("nan")] * 4])
def test_bounds_that_are_none_are_left_out(bbox):
    table = pl.DataFrame({"id": ["a"], "href": pl.Series([None], dtype=pl.String), "bbox": [bbox]})
    assert pr.build_from_table(table, bands={"red": "href"}).collect()["bbox"].to_list() == [None]


def test_bounds_in_another_crs_are_not_taken_for_longitude_and_latitude(tmp_path):
    wkb = shapely.to_wkb(shapely.set_srid(shapely.box(5e5, 5e6, 6e5, 5.1e6), 32632), include_srid=True)
    bbox = {"xmin": 5e5, "ymin": 5e6, "xmax": 6e5, "ymax": 5.1e6}
    table = pl.DataFrame({"id": ["a"], "href": ["gone.tif"], "geometry": [wkb], "bbox": [bbox]})
    assert pr.build_from_table(table, bands={"red": "href"}).collect()["bbox"][0]["xmax"] < 11


def test_a_struct_of_assets_gives_its_geotiffs_of_data(image):
    tiff, jp2 = "image/tiff; application=geotiff; profile=cloud-optimized", "image/jp2"
    assets = {
        "red": {"href": image, "type": tiff, "roles": ["data", "reflectance"], "bands": None},
        "plain": {"href": image, "type": None, "roles": None, "bands": None},
        "rgb": {"href": image, "type": tiff, "roles": ["data"], "bands": [{"name": one} for one in "abc"]},
        "scl": {"href": image, "type": tiff, "roles": ["snow-ice", "cloud"], "bands": None},
        "red-jp2": {"href": "x.jp2", "type": jp2, "roles": ["data"], "bands": None},
        "visual": {"href": image, "type": tiff, "roles": ["visual"], "bands": None},
        "angles": {"href": image, "type": tiff, "roles": ["metadata"], "bands": None},
        "info": {"href": "x.json", "type": None, "roles": None, "bands": None},
    }
    second = {name: {**asset, "href": None} for name, asset in assets.items()}
    table = pl.DataFrame({"id": ["a", "b", "c"], "assets": [assets, second, None], "label": 1})
    scenes = pr.build_from_table(table, bands="assets").collect()
    assert raster_columns(scenes.schema) == ["red", "plain", "rgb.1", "rgb.2", "rgb.3", "scl"]
    assert scenes["rgb.3"].struct.field("band_index").to_list() == [2, None, None]
    assert scenes["red"].is_null().to_list() == [False, True, True]
    assert "assets" not in scenes.columns
    assert "label" in scenes.columns
    # Names choose, and reach what the rule leaves out.
    chosen = pr.build_from_table(table, bands={"tc": "assets.visual", "g": ("assets.rgb.href", 1)}).collect()
    assert raster_columns(chosen.schema) == ["tc", "g"]
    assert chosen["g"].struct.field("band_index")[0] == 1


def test_assets_with_their_own_band_index_are_read_by_it(image):
    """What rasteret keeps of assets: an href, and a band index that counts from 0 and may be missing."""
    assets = [
        {"R": {"href": image, "band_index": None}, "B": {"href": image, "band_index": 2}},
        {"R": {"href": image, "band_index": 1}, "B": None},
    ]
    scenes = pr.build_from_table(pl.DataFrame({"id": ["a", "b"], "assets": assets}), bands="assets").collect()
    assert scenes["R"].struct.field("band_index").to_list() == [0, 1]
    assert scenes["B"].struct.field("band_index").to_list() == [2, None]


def test_columns_named_by_their_path_are_assets_too(image):
    table = pl.DataFrame(
        {"id": ["a"], "assets.red.href": image, "assets.red.type": "image/tiff", "assets.x.href": "x.json"}
    )
    scenes = pr.build_from_table(table, bands="assets").collect()
    assert raster_columns(scenes.schema) == ["red"]
    assert _hrefs(scenes, "red") == [image]


@pytest.mark.parametrize(
    ("assets", "message"),
    [
        ({"info": {"href": "x.json"}}, "no asset there is a GeoTIFF"),
        ({"bbox": {"href": "x.tif"}}, "record column"),
        ({"red": {"url": "x.tif"}}, "expected the name of a column of STAC assets"),
        ({"red": {"href": "x.tif", "band_index": -1}}, "count from 0"),
    ],
)
def test_assets_that_are_no_bands_are_refused(assets, message):
    with pytest.raises(UsageError, match=message):
        pr.build_from_table(pl.DataFrame({"id": ["a"], "assets": [assets]}), bands="assets")


def test_a_published_table_of_naip_is_taken_as_it_is(shared_file):
    """Real STAC-GeoParquet, whose images cannot be reached: every column is there, and each band says why it is null."""
    path = shared_file("geoparquet/stac-geoparquet__naip.parquet")
    with pr.options(allowed_hrefs=["memory://nowhere/"]):
        scenes = pr.build_from_table(path, bands={"R": ("assets.image", 0), "NIR": ("assets.image", 3)}).collect()
    told = pq.read_table(path)
    assert scenes["id"].to_list() == told["id"].to_pylist()
    assert scenes["datetime"].to_list() == told["datetime"].to_pylist()
    np.testing.assert_allclose([list(one.values()) for one in scenes["bbox"].to_list()], told["bbox"].to_pylist())
    assert scenes["naip:state"].to_list() == told["naip:state"].to_pylist()
    assert scenes["header_error"].str.starts_with("R, NIR: ").all()


def test_a_resumed_build_reads_no_header_twice(image, tmp_path):
    table = pl.DataFrame({"fid": [1, 2], "year": [2020, 2021], "assets": [{"R": {"href": image, "band_index": 1}}] * 2})
    words = {"bands": "assets", "column_map": {"fid": "id", "year": "datetime"}, "into": tmp_path / "built"}
    first = pr.build_from_table(table.head(1), **words).collect()
    with pr.profile() as seen:
        both = pr.build_from_table(table, **words).collect()
    assert both.filter(pl.col("id") == "1")["indexed_at"].item() == first["indexed_at"].item()
    assert both["id"].sort().to_list() == ["1", "2"]
    assert seen.summary()["bytes"].item() <= 16  # whether the file is unchanged


def test_the_crs_of_the_file_counts_whatever_the_columns_say(image):
    for stated in ({}, {"proj:epsg": None}, {"proj:epsg": 4326, "proj:code": "EPSG:4326"}):
        table = pl.DataFrame({"id": ["a"], "href": image, **stated})
        scenes = pr.build_from_table(table, bands={"red": "href"}).collect()
        assert scenes["proj:epsg"].to_list() == [32632]
        points = pl.DataFrame({"x": [500_005.0], "y": [5_399_995.0]})
        assert scenes.lazy().raster.sample_points(points, crs=32632).collect()["red"].to_list() == [0]


def test_other_words_are_not_answered_by_what_is_there(image, tmp_path):
    table = pl.DataFrame({"id": ["a", "b"], "href": [image] * 2, "label": [1, 2]})
    words = {"bands": {"red": "href"}, "into": tmp_path / "built"}
    pr.build_from_table(table, filter=pl.col("label") == 1, **words)
    more = pr.build_from_table(table, filter=pl.col("label") == 2, **words).collect()
    assert sorted(more["id"]) == ["a", "b"]
    with pytest.raises(UsageError, match="bands"):
        pr.build_from_table(table, bands={"nir": ("href", 1)}, into=tmp_path / "built")


@pytest.mark.parametrize("more", [{}, {"into": True}, {"read_headers": False, "pixel_dtypes": pl.UInt16}], ids=str)
def test_signatures_in_assets_open_files_now_and_are_kept_nowhere(tmp_path, image, more):
    with RangeServer({"a.tif": Path(image)}) as server:
        signed = f"{server.url('a.tif')}?se=2030&sig=s3cr3tS1gnature&v=7"
        server.fault = lambda seen: None if "sig=s3cr3tS1gnature" in seen.target else Fault(status=403)
        pl.DataFrame({"id": ["a"], "assets": [{"red": {"href": signed, "type": "image/tiff"}}]}).write_parquet(
            tmp_path / "t.parquet"
        )
        more = {name: tmp_path / "built" if name == "into" else value for name, value in more.items()}
        with pytest.warns(UserWarning, match="signature"):
            scenes = pr.build_from_table(tmp_path / "t.parquet", bands="assets", **more)
        found = scenes.collect()
        assert found["header_error"].to_list() == [None]
        assert _hrefs(found, "red") == [f"{server.url('a.tif')}?v=7"]
        kept = [str(found.to_dicts()), str(scenes.serialize())]
        for part in tmp_path.glob("built/*.parquet"):
            kept += [str(pl.read_parquet(part).to_dicts()), str(pl.read_parquet_metadata(part))]
        assert not any("s3cr3t" in one for one in kept)
