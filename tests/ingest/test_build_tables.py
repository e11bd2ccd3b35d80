"""Does a table with hrefs become a collection, with its own columns along?"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.ingest.build_from_table import build_from_table
from polars_rasteret.schema import RECORD_COLUMNS, raster_dtype
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene


@pytest.fixture
def scenes(tmp_path):
    write_scene(tmp_path / "r1.tif")
    write_scene(tmp_path / "n1.tif", pixel=20, size=(32, 24))
    write_scene(tmp_path / "r2.tif", origin=(600_000.0, 5_400_000.0))
    return pl.DataFrame(
        {
            "id": ["one", "two"],
            "datetime": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None],
            "eo:cloud_cover": [3.5, 99.0],
            "href_red": [str(tmp_path / "r1.tif"), str(tmp_path / "r2.tif")],
            "href_nir": [str(tmp_path / "n1.tif"), None],
        },
        schema_overrides={"datetime": pl.Datetime("ms", "UTC")},
    )


def test_one_record_per_row_with_the_other_columns_along(scenes):
    found = build_from_table(scenes, bands={"red": "href_red", "nir": "href_nir"}).collect()
    assert found.columns == [*RECORD_COLUMNS, "eo:cloud_cover", "href_red", "href_nir", "red", "nir"]
    assert {name: found.schema[name] for name in RECORD_COLUMNS} == RECORD_COLUMNS
    assert found["red"].struct.field("href").to_list() == scenes["href_red"].to_list()
    assert found["eo:cloud_cover"].to_list() == [3.5, 99.0]
    assert found["datetime"].to_list() == [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]


def test_a_null_href_is_a_null_raster_and_no_error(scenes):
    found = build_from_table(scenes, bands={"red": "href_red", "nir": "href_nir"}).collect()
    assert found["nir"].is_null().to_list() == [False, True]
    assert found["header_error"].to_list() == [None, None]


def test_bands_of_one_file_read_its_header_once(tmp_path):
    path = write_scene(tmp_path / "a.tif", count=3)
    with RangeServer({"a.tif": path}) as server:
        table = pl.DataFrame({"id": ["x", "y"], "image": [server.url("a.tif")] * 2})
        found = build_from_table(table, bands={"R": ("image", 0), "G": ("image", 1), "B": ("image", 2)}).collect()
        assert len(server.requests) == 1
    assert [found[band].struct.field("band_index").to_list() for band in "RGB"] == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("as_frame", [pl.DataFrame.lazy, pl.DataFrame.to_arrow, lambda frame: frame])
def test_frames_of_any_kind_are_taken(scenes, as_frame):
    found = build_from_table(as_frame(scenes), bands={"red": "href_red"}).collect()
    assert found["id"].to_list() == ["one", "two"]


def test_columns_of_other_names_become_id_datetime_and_geometry(scenes):
    box = shapely.to_wkb(shapely.box(8, 48, 12, 49))
    table = scenes.rename({"id": "fid", "datetime": "when"}).with_columns(geom=pl.lit(box), fid=pl.Series([7, 8]))
    found = build_from_table(table, bands={"red": "href_red"}, id="fid", datetime="when", geometry="geom").collect()
    assert found["id"].to_list() == ["7", "8"]
    assert found["geometry"].to_list() == [box, box]
    assert "fid" not in found.columns
    assert "geom" not in found.columns
    bbox = found["bbox"][0]
    assert bbox["xmin"] <= 8
    assert bbox["xmax"] >= 12


def test_bbox_encloses_the_given_footprint_and_the_images(scenes):
    point = shapely.to_wkb(shapely.Point(100, 10))
    found = build_from_table(scenes.with_columns(geometry=pl.lit(point)), bands={"red": "href_red"}).collect()
    own = build_from_table(scenes, bands={"red": "href_red"}).collect()
    assert found["bbox"][0]["xmin"] == own["bbox"][0]["xmin"]
    assert found["bbox"][0]["xmax"] == 100
    assert found["bbox"][0]["ymin"] == 10


def test_ewkb_becomes_wkb_and_a_null_geometry_the_footprint(scenes):
    ewkb = shapely.to_wkb(shapely.set_srid(shapely.box(8, 48, 12, 49), 4326), include_srid=True)
    found = build_from_table(scenes.with_columns(geometry=pl.Series([ewkb, None])), bands={"red": "href_red"}).collect()
    assert found["geometry"][0] == shapely.to_wkb(shapely.box(8, 48, 12, 49))
    assert shapely.from_wkb(found["geometry"][1]).geom_type == "Polygon"


def test_the_footprint_holds_the_images_of_all_bands(tmp_path):
    write_scene(tmp_path / "a.tif")
    write_scene(tmp_path / "b.tif", origin=(505_000.0, 5_400_000.0))
    table = pl.DataFrame({"id": ["x"], "a": [str(tmp_path / "a.tif")], "b": [str(tmp_path / "b.tif")]})
    both = build_from_table(table, bands={"a": "a", "b": "b"}).collect()
    each = [build_from_table(table, bands={name: name}).collect() for name in "ab"]
    footprint = shapely.from_wkb(both["geometry"][0])
    for one in each:
        assert shapely.covers(footprint.buffer(1e-9), shapely.from_wkb(one["geometry"][0]))
    assert both["bbox"][0]["xmax"] == each[1]["bbox"][0]["xmax"]
    assert both["bbox"][0]["xmin"] == each[0]["bbox"][0]["xmin"]


def test_bad_files_tell_which_band(scenes, tmp_path):
    (tmp_path / "n1.tif").write_bytes(b"II broken")
    (tmp_path / "r1.tif").write_bytes(b"")
    found = build_from_table(scenes, bands={"red": "href_red", "nir": "href_nir"}).collect()
    first, second = found["header_error"]
    assert first.startswith("red: ")
    assert "; nir: " in first
    assert second is None
    with pytest.raises(FileFormatError):
        build_from_table(scenes, bands={"red": "href_red", "nir": "href_nir"}, on_error="raise")


def test_a_band_may_take_the_name_of_its_column(scenes):
    found = build_from_table(scenes.select("id", red="href_red"), bands={"red": "red"}).collect()
    assert found.columns == [*RECORD_COLUMNS, "red"]
    assert found.schema["red"] == raster_dtype(pl.UInt16())


def test_naive_times_are_refused(scenes):
    naive = scenes.with_columns(pl.col("datetime").dt.replace_time_zone(None))
    with pytest.raises(UsageError, match=r"dt\.replace_time_zone\('UTC'\)"):
        build_from_table(naive, bands={"red": "href_red"})


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([dt.date(2024, 1, 1), None]),
        pl.Series(["2024-01-01", None]),
        pl.Series(["2024-01-01T00:00:00Z", None]),
    ],
)
def test_dates_and_iso_texts_are_times(scenes, column):
    found = build_from_table(scenes.with_columns(datetime=column), bands={"red": "href_red"}).collect()
    assert found["datetime"].to_list() == [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None]


def test_stac_words_of_the_table_are_kept(scenes):
    table = scenes.with_columns(
        start_datetime=pl.lit("2024-01-01T00:00:00Z"),
        end_datetime=pl.lit("2024-02-01T00:00:00Z"),
        collection=pl.lit("s2"),
    )
    found = build_from_table(table, bands={"red": "href_red"}).collect()
    assert found["end_datetime"].to_list() == [dt.datetime(2024, 2, 1, tzinfo=dt.UTC)] * 2
    assert found["collection"].to_list() == ["s2", "s2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bands": "assets"}, "column of STAC assets"),
        ({"bands": {}}, "bands is"),
        ({"bands": {"red": "nowhere"}}, "nowhere"),
        ({"bands": {"red": "eo:cloud_cover"}}, "expected String"),
        ({"bands": {"red": ("href_red", -1)}}, "0-based"),
        ({"bands": {"bbox": "href_red"}}, "record column"),
        ({"bands": {"red": "href_red"}, "id": "nope"}, "nope"),
        ({"bands": {"red": "href_red"}, "datetime": "nope"}, "nope"),
        ({"bands": {"red": "href_red"}, "geometry": "nope"}, "nope"),
        ({"bands": {"red": "href_red"}, "geometry": "href_nir"}, "WKB"),
    ],
)
def test_wrong_words_are_usage_errors_here(scenes, words, message):
    with pytest.raises(UsageError, match=message):
        build_from_table(scenes, **words)


def test_an_empty_table_is_an_empty_collection(scenes):
    found = build_from_table(scenes.head(0), bands={"red": "href_red"}).collect()
    assert found.height == 0
    assert found.schema["red"] == raster_dtype(pl.UInt8())


@pytest.mark.parametrize("form", ["geoarrow", "ewkb"])
def test_footprints_in_another_crs_are_brought_to_longitude_and_latitude(tmp_path, form):
    geopandas = pytest.importorskip("geopandas")
    path = tmp_path / "one.tif"
    path.write_bytes(pr.testing.make_cog(np.ones((10, 10), np.uint16)))
    footprint = shapely.box(500_000, 4_999_900, 500_100, 5_000_000)
    if form == "geoarrow":
        frame = geopandas.GeoDataFrame({"id": ["a"], "href": [str(path)]}, geometry=[footprint], crs=32632)
        table = pl.DataFrame(frame.to_arrow(index=False))
    else:
        wkb = shapely.to_wkb(shapely.set_srid(footprint, 32632), include_srid=True)
        table = pl.DataFrame({"id": ["a"], "href": [str(path)], "geometry": pl.Series([wkb], dtype=pl.Binary)})
    bbox = pr.build_from_table(table, bands={"red": "href"}).collect()["bbox"][0]
    assert 9 <= bbox["xmin"] < bbox["xmax"] < 9.01
    assert 45.14 < bbox["ymin"] < bbox["ymax"] < 45.16


def test_footprints_that_are_no_longitude_and_latitude_are_refused(tmp_path):
    wkb = shapely.to_wkb(shapely.box(500_000, 4_999_900, 500_100, 5_000_000))
    table = pl.DataFrame({"id": ["a"], "href": ["x.tif"], "geometry": pl.Series([wkb], dtype=pl.Binary)})
    with pytest.raises(UsageError, match="longitude and latitude"):
        pr.build_from_table(table, bands={"red": "href"})


def test_a_record_that_lacks_a_band_is_kept_by_a_second_build(tmp_path):
    first, second = (str(write_scene(tmp_path / name)) for name in ("a.tif", "b.tif"))
    table = pl.DataFrame({"id": ["both", "one"], "r": [first, first], "n": [second, None]})
    for _ in range(2):
        found = pr.build_from_table(table, bands={"red": "r", "nir": "n"}, into=tmp_path / "c")
        assert found.select("id", pl.col("nir").is_null()).sort("id").collect().rows() == [
            ("both", False),
            ("one", True),
        ]
    with pytest.raises(UsageError, match="with the bands red; asked for were again, red"):
        pr.build_from_table(table[1:], bands={"red": "r", "again": "r"}, into=tmp_path / "c")
