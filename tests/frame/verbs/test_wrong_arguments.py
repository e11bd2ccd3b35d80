"""Do arguments that are wrong, but would give plausible answers, say so?

The cases are those of the table in the guide; its right-hand column tells whether a case is an error or a warning.
"""

from __future__ import annotations

import warnings

import geoarrow.pyarrow as ga
import geopandas as gpd
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import MemorySource, make_cog
from tests.support.engines import ENGINES

X, Y = 500_005.0, 4_999_995.0
LON, LAT = Transformer.from_crs(32632, 4326, always_xy=True).transform(X, Y)
POINT = shapely.Point(X, Y)
VERBS = {
    "sample_points": lambda lf, targets, **words: lf.raster.sample_points(targets, ["red"], **words),
    "read_windows": lambda lf, targets, **words: lf.raster.read_windows(targets, ["red"], **words),
    "pair": lambda lf, targets, **words: lf.raster.pair(targets, **words),
    "long": lambda lf, targets, **words: lf.raster.sample_points(targets, ["red"], layout="long", **words),
}


@pytest.fixture(scope="module")
def scenes():
    return pr.testing.example_scenes()


def ewkb(*geometries: tuple[shapely.Geometry | None, int], byte_order: int = 1) -> pl.DataFrame:
    values = [
        None
        if geometry is None
        else shapely.to_wkb(shapely.set_srid(geometry, srid), include_srid=True, byte_order=byte_order)
        for geometry, srid in geometries
    ]
    return pl.DataFrame({"geometry": pl.Series(values, dtype=pl.Binary)})


# Coordinates in two places.


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "more",
    [
        {"lon": LON, "lat": LAT},
        {"longitude": LON, "latitude": LAT},
        {"lng": LON, "lat": LAT},
        {"geometry": shapely.to_wkb(POINT)},
        {"geometry": {"xmin": X, "ymin": Y, "xmax": X, "ymax": Y}},
    ],
)
def test_coordinates_in_two_places_need_a_name(scenes, verb, more):
    frame = pl.DataFrame({"x": [X], "y": [Y], **{name: [value] for name, value in more.items()}})
    with pytest.raises(UsageError, match=r"several places.*x='x', y='y', or"):
        VERBS[verb](scenes, frame, crs=32632)
    assert VERBS[verb](scenes, frame, x="x", y="y", crs=32632).collect().height == 2


def test_a_geometry_column_of_text_is_no_second_place(scenes):
    frame = pl.DataFrame({"x": [X], "y": [Y], "geometry": ["POINT (1 2)"]})
    assert scenes.raster.sample_points(frame, ["red"], crs=32632).collect()["red"].to_list() == [1000, 2000]


def test_of_two_geoarrow_columns_the_one_named_geometry_is_meant(scenes):
    points = gpd.GeoDataFrame({"geometry": [POINT], "home": gpd.GeoSeries([shapely.Point(0, 0)], crs=32632)}, crs=32632)
    assert scenes.raster.sample_points(points, ["red"]).collect()["red"].to_list() == [1000, 2000]
    with pytest.raises(UsageError, match=r"several places.*geometry='home'"):
        scenes.raster.sample_points(points.rename_geometry("here"), ["red"])


# A CRS that contradicts another.


def stated(crs: int, form: str) -> object:
    """Give the point in a form that states its CRS."""
    xy = Transformer.from_crs(32632, crs, always_xy=True).transform(X, Y)
    point = shapely.Point(xy)
    if form == "geodataframe":
        return gpd.GeoDataFrame(geometry=[point], crs=crs)
    if form == "geoarrow":
        array = ga.with_crs(ga.as_geoarrow(ga.as_wkb([shapely.to_wkb(point)])), gpd.GeoSeries([point], crs=crs).crs)
        return pa.table({"geometry": array})
    if form == "ewkb":
        return ewkb((point, crs))
    if form == "big-endian ewkb":
        return ewkb((point, crs), byte_order=0)
    if form == "lazy ewkb":
        return ewkb((point, crs)).lazy().with_columns(n=1)
    return [shapely.set_srid(point, crs)]


FORMS = ["geodataframe", "geoarrow", "ewkb", "big-endian ewkb", "lazy ewkb", "shapely"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("form", FORMS)
def test_a_stated_crs_is_taken_and_a_contradicting_one_is_an_error(scenes, form, verb, engine):
    for crs in (32632, 4326, 3857):
        for words in ({}, {"crs": crs}):
            got = VERBS[verb](scenes, stated(crs, form), **words).collect(engine=engine)
            assert got["record_id"].to_list() == ["first", "second"]
            if verb == "long":
                assert got["point_crs"].to_list() == [crs, crs]
                assert got["value"].to_list() == [1000, 2000]
            if verb == "sample_points":
                assert got["red"].to_list() == [1000, 2000]
    for crs, other in ((32632, 4326), (4326, 32632), (3857, 32633), (4326, "EPSG:3857")):
        with pytest.raises(UsageError, match=f"contradicts.*EPSG:{crs}"):
            VERBS[verb](scenes, stated(crs, form), crs=other).collect(engine=engine)


def test_the_axis_order_of_an_authority_is_no_contradiction(scenes):
    for crs in ("OGC:CRS84", 4326, gpd.GeoSeries([POINT], crs=4326).crs.to_wkt()):
        assert scenes.raster.sample_points(stated(4326, "ewkb"), ["red"], crs=crs).collect()["red"].to_list() == [
            1000,
            2000,
        ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", FORMS)
def test_native_holds_where_the_stated_crs_is_that_of_the_records(scenes, form, engine):
    got = scenes.raster.sample_points(stated(32632, form), ["red"], crs="native").collect(engine=engine)
    assert got["red"].to_list() == [1000, 2000]
    with pytest.raises(UsageError, match=r"crs='native'.*EPSG:4326.*EPSG:32632"):
        scenes.raster.sample_points(stated(4326, form), ["red"], crs="native").collect(engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("face", ["sample_points", "read_window", "row_col"])
def test_expressions_take_and_compare_what_geometries_state(scenes, face, engine):
    def asked(frame, **words):
        red = pl.col("red").raster
        expr = {
            "sample_points": lambda: red.sample_points("geometry", **words),
            "read_window": lambda: red.read_window("geometry", shape=(1, 1), **words).arr.get(0).arr.get(0),
            "row_col": lambda: 1000 + red.row_col("geometry", **words).struct.field("col"),
        }[face]()
        pairs = scenes.head(1).drop("geometry").join(frame.lazy(), how="cross")
        return pairs.select(got=expr).collect(engine=engine)["got"].to_list()

    for crs in (32632, 3857, 4326):
        assert asked(stated(crs, "ewkb")) == asked(stated(crs, "ewkb"), crs=crs) == [1000]
        with pytest.raises(UsageError, match="contradicts"):
            asked(stated(crs, "ewkb"), crs=32633)
    assert asked(stated(32632, "ewkb"), crs="native") == [1000]
    with pytest.raises(UsageError, match="crs='native'"):
        asked(stated(4326, "ewkb"), crs="native")
    with pytest.raises(UsageError, match="not known"):
        asked(ewkb((POINT, 0)))


def test_srids_that_differ_or_are_missing_in_some_rows_are_no_crs(scenes):
    with pytest.raises(UsageError, match="several CRSs"):
        scenes.raster.sample_points(ewkb((POINT, 32632), (POINT, 32633)), ["red"])
    with pytest.raises(UsageError, match=r"others state no CRS; pass crs='EPSG:32632'"):
        scenes.raster.sample_points(ewkb((POINT, 32632), (POINT, 0)), ["red"])
    with pytest.raises(UsageError, match="not known"):
        scenes.raster.sample_points(ewkb((POINT, 0)), ["red"])
    some = scenes.raster.sample_points(ewkb((POINT, 32632), (POINT, 0), (None, 0)), ["red"], crs=32632).collect()
    assert some["red"].to_list() == [1000, 2000, 1000, 2000, None]
    nulls = scenes.raster.sample_points(ewkb((POINT, 32632), (None, 0), (shapely.Point(), 32632)), ["red"]).collect()
    assert nulls["red"].to_list() == [1000, 2000, None, None]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0, 4326, 32632, 3857]), st.booleans(), st.booleans()), max_size=6))
def test_srids_are_those_that_shapely_reads(rows):
    from polars_rasteret.pairing.stated_crs import srids_of

    values = [
        None
        if is_null
        else shapely.to_wkb(
            shapely.set_srid(shapely.box(0, 0, 1, 1), srid), include_srid=True, byte_order=int(is_little)
        )
        for srid, is_little, is_null in rows
    ]
    got = srids_of(pl.Series("geometry", values, dtype=pl.Binary))
    assert got.dtype == pl.Int32
    expected = [None if one is None else int(shapely.get_srid(shapely.from_wkb(one))) for one in values]
    assert got.to_list() == expected


# Coordinates that are nowhere.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [(4326, [X, X], [Y, Y]), (4326, [10.0, 20.0], [95.0, -95.0]), (4258, [45.0], [99.0]), (32632, [1e30], [1e30])],
)
def test_coordinates_that_are_all_impossible_are_an_error(scenes, crs, x, y, verb, engine):
    frame = pl.DataFrame({"x": x, "y": y})
    with pytest.raises(UsageError, match=f"has a place in EPSG:{crs}.*crs="):
        VERBS[verb](scenes, frame, crs=crs).collect(engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_possible_coordinate_is_enough_whatever_is_filtered(scenes, engine):
    frame = pl.DataFrame({"n": [0, 1, 2], "x": [500.0, LON, None], "y": [95.0, LAT, 5.0]})
    asked = scenes.raster.sample_points(frame, ["red"], crs=4326)
    assert asked.collect(engine=engine)["red"].to_list() == [None, 1000, 2000, None]
    assert asked.filter(pl.col("n") == 0).collect(engine=engine)["red"].to_list() == [None]
    assert asked.head(1).collect(engine=engine)["red"].to_list() == [None]
    nowhere = scenes.raster.sample_points(frame.filter(n=0), ["red"], crs=4326)
    with pytest.raises(UsageError, match="latitudes end at 90"):
        nowhere.filter(pl.col("n") == 0).collect(engine=engine)


def test_null_and_empty_targets_are_no_error(scenes):
    frame = pl.DataFrame({"x": [None, float("nan")], "y": [95.0, 95.0]})
    assert scenes.raster.sample_points(frame, ["red"], crs=4326).collect()["red"].to_list() == [None, None]
    areas = ewkb((None, 0), (shapely.Polygon(), 0))
    assert scenes.raster.read_windows(areas, ["red"], crs=4326, unmatched="null").collect().height == 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "expr",
    [
        pl.col("red").raster.sample_points("x", "y", crs=4326),
        pl.col("red").raster.row_col("x", "y", crs=4326),
        pl.col("red").raster.read_window((10, 95, 20, 99), crs=4326),
    ],
)
def test_expressions_warn_of_coordinates_that_are_all_impossible(scenes, expr, engine):
    asked = scenes.with_columns(x=pl.lit(X), y=pl.lit(Y)).select(got=expr)
    with pytest.warns(UserWarning, match="has a place in EPSG:4326"):
        assert asked.collect(engine=engine)["got"].null_count() == 2


# Records that are nowhere.


@pytest.fixture(scope="module")
def unplaced():
    pixels = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)
    prefix = "memory://unplaced-records/"
    place = {"transform": (1.0, 0, 0, 0, -1.0, 8)}
    with rasterio.MemoryFile() as file:
        with warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning):
            file.open(driver="GTiff", dtype="uint16", count=1, width=8, height=8).close()
        files = {
            f"{prefix}placed.tif": make_cog(pixels, epsg=4326, **place),
            f"{prefix}CRS.tif": make_cog(pixels, epsg=None, **place),
            f"{prefix}transform.tif": file.read(),
        }
    pr.configure_store(prefix, store=MemorySource(files))
    return {
        name: pr.build_from_files([f"{prefix}{name}.tif"], bands=["red"]) for name in ("placed", "CRS", "transform")
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("has_bbox", [True, False])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("lacks", ["CRS", "transform"])
def test_a_query_in_which_no_record_can_be_placed_says_so(unplaced, lacks, verb, has_bbox, engine):
    records = unplaced[lacks] if has_bbox else unplaced[lacks].drop("geometry", "bbox")
    frame = pl.DataFrame({"x": [1.5], "y": [1.5]})
    with pytest.raises(UsageError, match=f"no record can be placed.*{lacks}.*{lacks}.tif") as told:
        VERBS[verb](records, frame, crs=4326).collect(engine=engine)
    for word in ("crs='native'", ".aux.xml", ".tfw", ".msk", ".ovr"):
        assert word in str(told.value)
    if lacks == "CRS":
        native = VERBS[verb](records, frame, crs="native").collect(engine=engine)
        assert native["record_id"].to_list() == ["CRS"]
    else:
        with pytest.raises(UsageError, match="no record can be placed"):
            VERBS[verb](records, frame, crs="native").collect(engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_record_that_can_be_placed_is_enough_wherever_it_is(unplaced, engine):
    both = pl.concat([unplaced["CRS"], unplaced["placed"]])
    away = pl.DataFrame({"x": [100.5], "y": [50.5]})
    asked = both.raster.sample_points(away, ["red"], crs=4326)
    assert asked.collect(engine=engine)["red"].to_list() == [None]
    assert asked.filter(pl.col("record_id").is_null()).collect(engine=engine).height == 1


@pytest.mark.filterwarnings("ignore:build_from_files. none")
def test_records_that_could_not_be_read_are_not_called_unplaced():
    scenes = pr.build_from_files(["memory://unplaced-records/gone.tif"], bands=["red"])
    got = scenes.raster.sample_points(pl.DataFrame({"x": [1.5], "y": [1.5]}), ["red"], crs=4326)
    assert got.collect()["red"].to_list() == [None]


# What newcomers do.


@pytest.mark.parametrize("engine", ENGINES)
def test_swapped_longitudes_and_latitudes_are_told_once_no_record_covers_a_place(scenes, engine):
    there, swapped = pl.DataFrame({"lon": [LON], "lat": [LAT]}), pl.DataFrame({"lon": [LAT], "lat": [LON]})
    with pytest.warns(UserWarning, match=rf"x and y swapped some would\..*x={str(LAT)[:6]}\d*, y={str(LON)[:6]}"):
        found = scenes.raster.sample_points(swapped, ["red"], crs=4326).collect(engine=engine)
    assert found["red"].to_list() == [None]
    box = pl.DataFrame({"geometry": [shapely.to_wkb(shapely.box(LAT - 1, LON - 1, LAT + 1, LON + 1))]})
    with pytest.warns(UserWarning, match="with x and y swapped some would"):
        scenes.raster.zonal_stats(box, ["red"], crs=4326).collect(engine=engine)
    for frame, words in (
        (pl.concat([swapped, there]), {"crs": 4326}),  # one place is covered
        (pl.DataFrame({"lon": [LAT + 20], "lat": [LON]}), {"crs": 4326}),  # swapped, it is not covered either
        (pl.DataFrame({"x": [Y], "y": [X]}), {"crs": 32632}),  # no longitude and latitude
    ):
        scenes.raster.sample_points(frame, ["red"], **words).collect(engine=engine)


def test_points_are_no_zones(scenes):
    points = pl.DataFrame({"lon": [LON], "lat": [LAT]})
    for verb in (scenes.raster.zonal_stats, scenes.raster.pixels):
        with pytest.raises(UsageError, match=r"the zones are points.*geometry=.*sample_points"):
            verb(points, ["red"], crs=4326).collect()
    with pytest.raises(UsageError, match=r"to_xarray: bounds: the table has points"):
        scenes.raster.to_xarray(points, ["red"], crs=4326)


def test_paths_in_place_of_what_they_hold_are_refused_with_the_way_to_read_them(scenes, tmp_path):
    with pytest.raises(UsageError, match=r"points is a str; .*pl\.read_csv"):
        scenes.raster.sample_points("plots.csv", ["red"], crs=4326)
    image = tmp_path / "image.tif"
    image.write_bytes(make_cog(np.ones((1, 16, 16), np.uint8)))
    for path in (image, tmp_path):
        with pytest.raises(UsageError, match=r"GeoTIFFs become a collection by pr\.build_from_files"):
            pr.scan_collection(path)
