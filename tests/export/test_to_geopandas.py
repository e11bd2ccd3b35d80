"""Does a GeoDataFrame have the rows, pixels and CRSs of the frame it was made of?"""

from __future__ import annotations

import datetime as dt

import geopandas as gpd
import numpy as np
import polars as pl
import pyarrow as pa
import pyproj
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError

CRS = 32632
FIELDS = [shapely.box(500_005, 4_999_980, 500_020, 5_000_000), shapely.box(500_100, 4_999_900, 500_130, 4_999_930)]


@pytest.fixture
def scenes() -> pl.LazyFrame:
    return pr.testing.example_scenes()


@pytest.fixture
def fields() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"plot": ["a", "b"], "n": [1, 2]}, geometry=FIELDS, crs=CRS)


@pytest.mark.parametrize("words", [{}, {"shape": (2, 3)}], ids=["structs", "arrays"])
def test_windows_are_two_dimensional_arrays_beside_their_transform_and_crs(scenes, fields, words, engine):
    lonlat = fields.to_crs(4326)
    windows = scenes.raster.read_windows(lonlat, ["red", "nir"], **words).collect(engine=engine)
    table = pr.to_geopandas(windows)
    assert isinstance(table, gpd.GeoDataFrame)
    assert table.crs == lonlat.crs
    assert table.geometry.name == "geometry"
    assert table.geometry.geom_equals_exact(gpd.GeoSeries(lonlat.geometry.repeat(2).to_list(), crs=4326), 0).all()
    assert table["plot"].tolist() == ["a", "a", "b", "b"]
    assert table["record_id"].tolist() == ["first", "second"] * 2
    assert table["n"].dtype == np.int64
    assert set(table["raster_crs"]) == {"EPSG:32632"}
    column = "transform" if words else "red_transform"
    for row, got in enumerate(windows.iter_rows(named=True)):
        if words:
            want, transform = np.array(got["nir"], np.uint16), got["transform"]
        else:
            one = got["nir"]
            want, transform = (
                np.array(one["pixels"], np.uint16).reshape(one["height"], one["width"]),
                got["red"]["transform"],
            )
        cell = table["nir"][row]
        assert cell.dtype == np.uint16
        np.testing.assert_array_equal(cell, want)
        assert table[column][row] == tuple(transform)


def test_points_and_statistics_keep_their_geometry_and_whole_numbers(scenes, fields):
    statistics = pr.to_geopandas(scenes.raster.zonal_stats(fields, ["red"], ["mean", "max"]))
    assert statistics.crs.to_epsg() == CRS
    assert statistics["red_max"].tolist()[0] == 1065
    centres = fields.set_geometry(fields.centroid)
    far = gpd.GeoDataFrame({"plot": ["far"], "n": [3]}, geometry=[shapely.Point(0, 0)], crs=CRS)
    points = pr.to_geopandas(scenes.raster.sample_points(gpd.pd.concat([centres, far]), ["red"]))
    assert points.geometry.geom_type.unique().tolist() == ["Point"]
    assert str(points["red"].dtype) == "UInt16"  # nulls do not make it a float
    assert points["red"].isna().tolist() == [False, False, False, False, True]
    # The centres are at rows 1 and 8, columns 1 and 11.
    assert points["red"].tolist()[:4] == [1000 + 64 + 1, 2000 + 64 + 1, 1000 + 8 * 64 + 11, 2000 + 8 * 64 + 11]


def test_coordinate_columns_become_points_in_the_crs_that_was_passed(scenes):
    plots = pl.DataFrame({"lon": [9.001, 9.002], "lat": [45.15, 45.151], "name": ["a", None]})
    table = pr.to_geopandas(scenes.head(1).raster.sample_points(plots, ["red"], crs=4326), crs=4326)
    assert table.geometry.x.tolist() == [9.001, 9.002]
    assert table.crs.to_epsg() == 4326
    with pytest.raises(UsageError, match=r"CRS of the coordinates is not known. Pass crs="):
        pr.to_geopandas(scenes.raster.sample_points(plots, ["red"], crs=4326))


def test_native_coordinates_get_the_crs_of_the_rasters(scenes):
    windows = scenes.raster.read_windows(FIELDS, ["red"], crs="native")
    assert pr.to_geopandas(windows, crs="native").crs.to_epsg() == CRS


def test_null_windows_and_masked_pixels_stay_null(scenes):
    triangle = shapely.Polygon([(500_000, 5_000_000), (500_040, 5_000_000), (500_040, 4_999_970)])
    areas = [triangle, shapely.box(0, 0, 1, 1)]
    found = scenes.head(1).raster.read_windows(
        areas, ["red"], crs=CRS, masked=True, coverage="center", unmatched="null"
    )
    table = pr.to_geopandas(found, crs=CRS)
    assert isinstance(table["red"][0], np.ma.MaskedArray)
    assert 0 < table["red"][0].mask.sum() < 12
    assert table["red"][1] is None
    assert table["raster_crs"][0] == "EPSG:32632"
    assert table["raster_crs"].isna().tolist() == [False, True]
    assert table["red_transform"][1] is None


def test_a_collection_is_its_footprints_in_longitude_and_latitude(scenes):
    table = pr.to_geopandas(scenes.drop("red", "nir").with_columns(cloud=pl.Series([1, None])), crs="OGC:CRS84")
    assert table.crs == pyproj.CRS("OGC:CRS84")
    assert str(table["cloud"].dtype) == "Int64"
    assert pr.to_geopandas(scenes).crs == pyproj.CRS("OGC:CRS84")


def test_a_frame_without_a_place_is_an_error(scenes):
    with pytest.raises(UsageError, match="no coordinates are found"):
        pr.to_geopandas(scenes.select("id"))
    with pytest.raises(UsageError, match="got a dict"):
        pr.to_geopandas({})


def test_footprints_are_the_outlines_of_the_images(scenes):
    want = gpd.GeoSeries([shapely.box(500_000, 4_999_360, 500_640, 5_000_000)], crs=CRS)
    for words in ({}, {"band": "nir"}):
        lonlat = scenes.raster.footprints(**words)
        assert lonlat.crs == pyproj.CRS("OGC:CRS84")
        assert lonlat["datetime"].tolist() == [
            dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC),
            dt.datetime(2024, 6, 1, 10, tzinfo=dt.UTC),
        ]
        table = scenes.raster.footprints(crs=CRS, **words)
        assert table.crs.to_epsg() == CRS
        difference = table.geometry[0].symmetric_difference(want[0])
        assert difference.area < 1e-4 * want[0].area
        assert table.geometry[0].covers(want[0].buffer(-0.1))
    assert scenes.drop("geometry", "bbox").raster.footprints()["id"].tolist() == ["first", "second"]
    with pytest.raises(UsageError, match="no band 'blue'; the collection has red, nir"):
        scenes.raster.footprints(band="blue")


def test_the_resolution_is_that_of_the_finest_pixels(scenes):
    coarse = scenes.with_columns(
        pl.col("nir").struct.with_fields(
            transform=pl.lit([20.0, 0, 500_000, 0, -30, 5_000_000], pl.Array(pl.Float64, 6))
        )
    )
    assert coarse.raster.native_resolution() == (10.0, 10.0)
    assert coarse.raster.native_resolution("nir") == (20.0, 30.0)
    degrees = scenes.with_columns(pl.col("red").struct.with_fields(crs=pl.lit("EPSG:4326")))
    with pytest.raises(UsageError, match="different units"):
        degrees.raster.native_resolution()
    with pytest.raises(UsageError, match="no band 'blue'"):
        scenes.raster.native_resolution("blue")
    with pytest.raises(UsageError, match="no raster is georeferenced"):
        scenes.head(0).raster.native_resolution()


def test_arrow_carries_the_geometry_and_its_crs_to_others(scenes):
    table = scenes.raster.to_arrow()
    told = gpd.GeoDataFrame.from_arrow(table.select(["id", "geometry"]))
    assert told.crs == pyproj.CRS("OGC:CRS84")
    assert shapely.equals_exact(told.geometry.to_numpy(), scenes.raster.footprints().geometry.to_numpy(), 0).all()
    assert scenes.raster.to_reader().read_all().equals(table)
    back = pl.DataFrame(pl.from_arrow(table.drop(["geometry"])))
    assert back.equals(scenes.drop("geometry").collect())
    with_place = scenes.drop("geometry", "bbox").raster.to_arrow()
    assert with_place.num_rows == 2
    assert with_place.schema.field("geometry").metadata[b"ARROW:extension:name"] == b"geoarrow.wkb"
    assert scenes.drop("geometry", "bbox").raster.to_reader().read_all().equals(with_place)


@pytest.mark.parametrize("places", [[], ["geometry", "bbox"]], ids=["own geometry", "made geometry"])
def test_arrow_has_the_columns_and_types_that_are_requested(scenes, places):
    lf = scenes.drop(places)
    wanted = pa.schema({"geometry": pa.large_binary(), "id": pa.string(), "datetime": pa.timestamp("ms", "UTC")})
    for table in (lf.raster.to_arrow(wanted), lf.raster.to_reader(requested_schema=wanted).read_all()):
        assert table.schema.names == wanted.names
        assert table.schema.types == wanted.types
        assert table["id"].to_pylist() == ["first", "second"]
        assert table.schema.field("geometry").metadata[b"ARROW:extension:name"] == b"geoarrow.wkb"
        assert table["geometry"].null_count == 0
    assert lf.select("id").raster.to_arrow().schema.field("id").metadata is None
    with pytest.raises(UsageError, match="no column cloud"):
        lf.raster.to_arrow(pa.schema({"cloud": pa.string()}))
    with pytest.raises(UsageError, match="requested_schema"):
        lf.raster.to_reader(pa.schema({"datetime": pa.list_(pa.int8())}))
