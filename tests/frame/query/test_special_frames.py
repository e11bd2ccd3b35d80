"""Do frames, coordinates and rasters of every odd kind give what the eager reference gives?"""

# ruff: noqa: E501 - one query per line reads best

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import shapely
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, UNMATCHED, paired, reference, samples, serials_of, verb
from tests.support.query_shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


# Frames without rows.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("form", ["memory", "parquet"])
def test_an_empty_collection_answers_no_row(face, form, unmatched, engine, collections: Mapping[str, pl.LazyFrame]):
    nothing = collections[form].filter(pl.col("serial") > 99)
    expected = reference((), unmatched)
    assert expected.height == (world.points().height if unmatched == "null" else 0)
    asked = FACES[face](nothing, unmatched)
    assert_frame_equal(asked.collect(engine=engine), expected)
    condition = pl.col("red").is_null() & (pl.col("eo:cloud_cover").is_null() | (pl.col("weight") > 100))
    assert_frame_equal(asked.filter(condition).collect(engine=engine), expected.filter(condition))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("name", ["everything", "filter_pixel", "filter_mixed_true_without_record", "head", "group_by_ordered", "select_length", "self_join_on_point"])  # fmt: skip
def test_an_empty_frame_of_points_gives_an_empty_answer(name, unmatched, engine, in_memory):
    nobody = world.points().clear()
    expected = world.sampled(nobody, list(range(8)), unmatched=unmatched)
    query = SHAPES[name].query
    assert_frame_equal(
        query(verb(in_memory, unmatched, nobody)).collect(engine=engine), query(expected.lazy()).collect()
    )
    pairs = in_memory.raster.pair(nobody, crs=4326, unmatched=unmatched, record_columns=world.RECORD_COLUMNS)
    assert_frame_equal(query(pairs.with_columns(samples())).collect(engine=engine), query(expected.lazy()).collect())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("value", [None, math.nan])
def test_points_without_coordinates_meet_nothing(value, unmatched, engine, written):
    nowhere = world.points().with_columns(lon=pl.lit(value, pl.Float64), lat=pl.lit(value, pl.Float64))
    expected = world.sampled(nowhere, [], unmatched=unmatched)
    assert_frame_equal(verb(written, unmatched, nowhere).collect(engine=engine), expected)
    everything = pl.all_horizontal(pl.col("red", "nir").is_null())
    assert_frame_equal(
        verb(written, unmatched, nowhere).filter(everything).collect(engine=engine), expected.filter(everything)
    )
    pairs = paired(written, "drop").with_columns(lon=pl.lit(value, pl.Float64))
    got = pairs.select(samples()).collect(engine=engine)
    assert got.height > 100
    assert got.null_count().row(0) == (got.height,) * 4


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
def test_a_band_without_any_raster_is_null(unmatched, engine, in_memory):
    without = in_memory.filter(pl.col("serial") == 4)
    got = without.raster.sample_points(world.points(), ["swir"], crs=4326, unmatched=unmatched).collect(engine=engine)
    assert got.height == (world.points().height if unmatched == "null" else 0)
    assert got.schema["swir_right"] == pl.Int16
    assert got["swir_right"].null_count() == got.height
    assert (
        without.select(pl.col("swir").raster.sample_points(12.0, 45.0, crs=4326)).collect(engine=engine).item() is None
    )


# Coordinates.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["memory", "parquet"])
def test_literal_coordinates_read_the_same_place_of_every_record(form, engine, collections):
    lon, lat = world.points().row(47)[1:3]
    collection = collections[form]
    read = {band: pl.col(band).raster.sample_points(lon, lat, crs=4326) for band in world.BANDS}
    got = collection.select("serial", **read).collect(engine=engine)
    for row in got.iter_rows(named=True):
        for band in world.BANDS:
            (pair,) = world.pairs([(lon, lat)], [row["serial"]], bands=(band,), unmatched="null")
            assert row[band] == world.value_at(pair, band)
    assert 3 < got["red"].count() < 8
    none = collection.filter(pl.col("serial") > 99).select("serial", **read).collect(engine=engine)
    assert none.shape == (0, 5)
    assert none.schema == got.schema
    one = collection.filter(pl.col("serial") == 2).select(read["red"]).collect(engine=engine)
    assert one.item() == got.filter(pl.col("serial") == 2)["red"].item()


@pytest.mark.parametrize("engine", ENGINES)
def test_expressions_as_coordinates_are_evaluated_by_row(engine, in_memory):
    pairs = paired(in_memory, "drop")
    moved = pl.col("red").raster.sample_points(pl.col("lon") + 0.0007, pl.lit(45.0005), crs=4326)
    got = pairs.select("point", "serial", moved).collect(engine=engine)
    lons = dict(world.points().select("point", "lon").iter_rows())
    for point, serial, value in got.iter_rows():
        (pair,) = world.pairs([(lons[point] + 0.0007, 45.0005)], [serial], bands=("red",), unmatched="null")
        assert value == world.value_at(pair, "red")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("crs", ["native", "EPSG:32632", 32632])
def test_projected_and_native_coordinates_are_exact_on_pixel_borders(crs, unmatched, engine, collections):
    left, top = world.ZONES["EPSG:32632"]
    steps = np.arange(-40, 1_600, 130.0)
    caller = pl.DataFrame({"x": left + np.tile(steps, len(steps)), "y": top - np.repeat(steps, len(steps))})
    caller = pl.concat([caller, pl.DataFrame({"x": [None, math.nan], "y": [top, top]})])
    found = world.pairs(
        world.xy_of(caller, "x", "y"),
        list(range(8)),
        crs="native" if crs == "native" else "EPSG:32632",
        unmatched=unmatched,
    )
    got = collections["memory"].raster.sample_points(
        caller, crs=crs, unmatched=unmatched, record_columns=["serial"]
    ).collect(engine=engine)  # fmt: skip
    assert got["serial"].to_list() == [pair.scene.serial if pair.scene else None for pair in found]
    for band in world.BANDS:
        assert got[band].to_list() == pl.Series([world.value_at(pair, band) for pair in found], dtype=world.DTYPES[band]).to_list()  # fmt: skip


def test_a_missing_crs_is_asked_for(in_memory):
    with pytest.raises(pr.errors.UsageError, match="crs"):
        in_memory.raster.sample_points(world.points()).collect()
    with pytest.raises(pr.errors.UsageError, match="crs"):
        pl.col("red").raster.sample_points("lon", "lat")


# Geometry.


def placed() -> pl.DataFrame:
    """Points that have a place; null and empty geometries are added by the tests."""
    points = world.points()
    return points.filter(pl.col("lon").is_finite() & pl.col("lat").is_finite())


def expected_with_gaps(unmatched: str) -> pl.DataFrame:
    caller = placed().drop("lon", "lat")
    xy = [(None, None) if at in (4, 9) else one for at, one in enumerate(world.xy_of(placed()))]
    found = world.pairs(xy, list(range(8)), unmatched=unmatched)
    return (
        world.caller_rows(caller, found)
        .select("point")
        .with_columns(
            serial=pl.Series([pair.scene.serial if pair.scene else None for pair in found], dtype=pl.Int64),
            red=pl.Series([world.value_at(pair, "red") for pair in found], dtype=pl.UInt16),
            temp=pl.Series([world.value_at(pair, "temp") for pair in found], dtype=pl.Float32),
        )
    )


def geometries() -> list[shapely.Geometry | None]:
    points: list[shapely.Geometry | None] = [shapely.Point(x, y) for x, y in world.xy_of(placed())]
    points[4], points[9] = None, shapely.Point()
    return points


def wkb_frame() -> pl.DataFrame:
    wkb = [None if one is None else shapely.to_wkb(one) for one in geometries()]
    return placed().drop("lon", "lat").with_columns(geometry=pl.Series(wkb, dtype=pl.Binary))


def ewkb_frame() -> pl.DataFrame:
    wkb = [
        None if one is None else shapely.to_wkb(shapely.set_srid(one, 4326), include_srid=True, byte_order=at % 2)
        for at, one in enumerate(geometries())
    ]
    return placed().drop("lon", "lat").with_columns(geometry=pl.Series(wkb, dtype=pl.Binary))


def geo_data_frame() -> object:
    geopandas = pytest.importorskip("geopandas")
    frame = placed().drop("lon", "lat").to_pandas()
    return geopandas.GeoDataFrame(frame, geometry=geometries(), crs=4326)


def projected_geo_data_frame() -> object:
    return geo_data_frame().to_crs(32633)


def geoarrow_frame() -> pl.DataFrame:
    return pl.DataFrame(geo_data_frame().to_arrow(index=False))


def arrow_table() -> object:
    import pyarrow as pa

    return pa.table(geo_data_frame().to_arrow(index=False))


def native_geoarrow() -> object:
    import pyarrow as pa

    return pa.table(geo_data_frame().drop(9).to_arrow(index=False, geometry_encoding="geoarrow"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize(
    ("make", "crs"),
    [(wkb_frame, 4326), (ewkb_frame, "OGC:CRS84"), (geo_data_frame, None), (projected_geo_data_frame, None),
     (geoarrow_frame, None), (arrow_table, None), (native_geoarrow, None)],
)  # fmt: skip
def test_points_come_as_geometries_of_every_kind(make, crs, unmatched, engine, in_memory):
    expected = expected_with_gaps(unmatched)
    if make is native_geoarrow:  # an empty point has no native form
        expected = expected.filter(pl.col("point") != placed()["point"][9])
    frame = make()
    if (
        make is projected_geo_data_frame
    ):  # there and back again moves a point by nanometres: not those on borders of pixels
        on_border = pl.col("point").is_in(range(34, 44))
        expected, frame = expected.filter(~on_border), frame[~frame["point"].isin(range(34, 44))]
    got = in_memory.raster.sample_points(
        frame, ["red", "temp"], crs=crs, unmatched=unmatched, record_columns=["serial"]
    )
    assert_frame_equal(got.select("point", "serial", "red", "temp").collect(engine=engine), expected)
    clear = pl.col("red").is_null() | (pl.col("serial") == 2)
    assert_frame_equal(
        got.filter(clear).select("point", "serial", "red", "temp").collect(engine=engine), expected.filter(clear)
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_points_come_as_a_list_of_shapely_geometries(engine, in_memory):
    expected = expected_with_gaps("null")
    got = in_memory.raster.sample_points(geometries(), ["red", "temp"], crs=4326, record_columns=["serial"])
    assert_frame_equal(got.drop("geometry").collect(engine=engine), expected.drop("point"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [wkb_frame, geoarrow_frame])
def test_expressions_take_point_geometries(make, engine, in_memory):
    expected = expected_with_gaps("null")
    crs = 4326 if make is wkb_frame else None
    pairs = in_memory.raster.pair(make(), crs=crs, unmatched="null", record_columns=["serial"])
    got = pairs.with_columns(pl.col("red", "temp").raster.sample_points("geometry", crs=crs))
    assert_frame_equal(got.select("point", "serial", "red", "temp").collect(engine=engine), expected)


# Pixel dtypes.


@pytest.fixture
def relaxed(in_memory: pl.LazyFrame) -> pl.LazyFrame:
    """Two collections whose band `v` is uint16 in one and int16 in the other."""
    first = in_memory.filter(pl.col("serial") < 4).select("id", "datetime", "serial", "geometry", "bbox", v="red")
    second = in_memory.filter(pl.col("serial") >= 4).select("id", "datetime", "serial", "geometry", "bbox", v="swir")
    return pl.concat([first, second], how="vertical_relaxed")


def band_of(serial: int) -> str:
    return "red" if serial < 4 else "swir"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("face", ["verb", "expression", "written"])
def test_pixels_are_exact_after_a_relaxed_concat_of_dtypes(face, unmatched, engine, relaxed, tmp_path):
    caller = world.points()
    wanted = []
    for target in range(caller.height):
        before = len(wanted)
        for scene in world.in_result_order(list(range(8))):
            band = band_of(scene.serial)
            if (scene.serial, band) not in world.grids():
                continue
            (pair,) = world.pairs([world.xy_of(caller)[target]], [scene.serial], bands=(band,), unmatched="null")
            if pair.scene is not None:
                wanted.append((target, scene.serial, world.value_at(pair, band)))
        if len(wanted) == before and unmatched == "null":
            wanted.append((target, None, None))
    collection = relaxed
    if face == "written":
        relaxed.raster.sink_collection(tmp_path / "both.parquet")
        collection = pr.scan_collection(tmp_path / "both.parquet")
    how = {"crs": 4326, "unmatched": unmatched, "record_columns": ["serial"]}
    if face == "expression":
        asked = collection.raster.pair(caller, **how).with_columns(pl.col("v").raster.sample_points("lon", "lat", crs=4326))  # fmt: skip
    else:
        asked = collection.raster.sample_points(caller, **how)
    got = asked.collect(engine=engine)
    assert got.schema["v"] == pl.Int32
    assert got.select("point", "serial", "v").rows() == wanted
    negative = asked.filter((pl.col("v") < 0) & (pl.col("serial") > 4)).collect(engine=engine)
    assert negative.select("point", "serial", "v").rows() == [one for one in wanted if one[2] is not None and one[2] < 0 and one[1] > 4]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
def test_windows_are_exact_after_a_relaxed_concat_of_dtypes(engine, relaxed):
    got = relaxed.select("serial", pl.col("v").raster.read_window(window=(20, 50, 30, 70))).unnest("v").collect(engine=engine)  # fmt: skip
    assert got.schema["pixels"] == pl.List(pl.Int32)
    for row in got.iter_rows(named=True):
        grid = world.grids().get((row["serial"], band_of(row["serial"])))
        assert row["pixels"] == (None if grid is None else grid.values[20:50, 30:70].ravel().tolist())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("face", ["verb", "expression"])
def test_metadata_of_the_user_replaces_what_the_file_says(face, engine, in_memory):
    """Another nodata, none at all, and scale and offset by record."""
    changed = in_memory.with_columns(
        pl.col("red").raster.with_metadata(nodata=None),
        pl.col("swir").raster.with_metadata(nodata=3_557),
        pl.col("temp").raster.with_metadata(scale=2.0, offset=pl.col("serial").cast(pl.Float64)),
    )
    caller = world.points()
    found = world.pairs(world.xy_of(caller), list(range(8)), unmatched="drop")
    how = {"crs": 4326, "unmatched": "drop", "record_columns": ["serial"]}
    if face == "verb":
        asked = changed.raster.sample_points(caller, ["red", "swir", "temp"], unscale=["temp"], **how)
    else:
        asked = changed.raster.pair(caller, **how).with_columns(
            pl.col("red", "swir_right").raster.sample_points("lon", "lat", crs=4326),
            pl.col("temp").raster.sample_points("lon", "lat", crs=4326, unscale=True),
        )
    got = asked.collect(engine=engine)
    assert got.schema["red"] == pl.UInt16
    assert got.schema["swir_right"] == pl.Int16
    assert got.schema["temp"] == pl.Float64

    assert got["red"].to_list() == [world.raw_value_at(pair, "red") for pair in found]
    assert 0 in got["red"].to_list()
    swir = [world.raw_value_at(pair, "swir") for pair in found]
    assert got["swir_right"].to_list() == [None if one == 3_557 else one for one in swir]
    assert -32_768 in got["swir_right"].to_list()
    temp = [None if (one := world.value_at(pair, "temp")) is None else one * 2.0 + pair.scene.serial for pair in found]
    assert got["temp"].to_list() == temp


# Callers' columns.


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_every_dtype_come_back_as_they_were(engine, in_memory):
    caller = world.points().with_columns(
        pl.col("crop").cast(pl.Categorical).alias("categorical"),
        pl.col("platform").cast(pl.Enum(["s2a", "s2b"])).alias("enum"),
        pl.concat_list("weight", "swir").alias("list"),
        pl.struct("crop", "weight").alias("struct"),
        pl.col("planting").dt.date().alias("date"),
        pl.col("planting").dt.replace_time_zone(None).cast(pl.Datetime("ns")).alias("naive"),
        pl.col("weight").cast(pl.Decimal(10, 2)).alias("decimal"),
        (pl.col("point") % 2 == 0).alias("boolean"),
        pl.lit(None).alias("null"),
        pl.col("point").cast(pl.String).str.encode("hex").cast(pl.Binary).alias("binary"),
        pl.concat_arr("weight", "swir").alias("array"),
    )
    expected = world.sampled(caller, list(range(8)), unmatched="null")
    asked = verb(in_memory, "null", caller)
    assert_frame_equal(asked.collect(engine=engine), expected)
    for condition in (
        pl.col("categorical") == "maize",
        pl.col("enum") == "s2a",
        pl.col("boolean") & (pl.col("red") > 1_000),
        pl.col("struct").struct.field("weight") > pl.col("red"),
        pl.col("date") < pl.col("datetime").dt.date(),
    ):
        assert_frame_equal(asked.filter(condition).collect(engine=engine), expected.filter(condition))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_callers_frame_may_be_any_query(engine, written):
    lazy = (
        world.points().lazy().sort("weight", "point").filter(pl.col("point") % 3 != 0).with_row_index("rank").head(30)
    )
    expected = world.sampled(lazy.collect(), list(serials_of(written)), unmatched="null")
    asked = written.raster.sample_points(lazy, world.BANDS, crs=4326, record_columns=world.RECORD_COLUMNS)
    for query in (lambda lf: lf, lambda lf: lf.filter(pl.col("rank") > 9), lambda lf: lf.head(11), lambda lf: lf.filter(pl.col("red") > pl.col("rank"))):  # fmt: skip
        assert_frame_equal(query(asked).collect(engine=engine), query(expected))


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_on_the_collection_itself_choose_records(engine, collections):
    for collection in collections.values():
        for condition in (pl.col("eo:cloud_cover") < 20, pl.col("id") == "A", pl.col("datetime").is_null()):
            chosen = collection.filter(condition)
            expected = world.sampled(world.points(), list(serials_of(chosen)), unmatched="null")
            assert_frame_equal(verb(chosen, "null").collect(engine=engine), expected)


@pytest.mark.parametrize("suffix", ["_right", "_of_record"])
def test_names_that_are_taken_get_the_suffix(suffix, in_memory):
    got = in_memory.raster.sample_points(
        world.points(), world.BANDS, crs=4326, suffix=suffix, record_columns=world.RECORD_COLUMNS
    )
    names = [*world.points().columns, "record_id", "datetime", "eo:cloud_cover", f"platform{suffix}", "serial", "red", "nir", f"swir{suffix}", "temp"]  # fmt: skip
    assert got.collect_schema().names() == names
    filtered = got.filter(pl.col(f"platform{suffix}") == "s2a", pl.col(f"swir{suffix}") > 0).collect()
    expected = reference(tuple(range(8)), "null").filter(pl.col("platform_right") == "s2a", pl.col("swir_right") > 0)
    assert_frame_equal(filtered, expected.rename({"platform_right": f"platform{suffix}", "swir_right": f"swir{suffix}"}))  # fmt: skip


def test_names_that_stay_taken_are_an_error_of_the_schema(in_memory):
    caller = world.points().with_columns(swir_right=1)
    with pytest.raises(pr.errors.UsageError, match="swir_right"):
        verb(in_memory, "null", caller).collect_schema()


def test_names_that_look_like_patterns_are_names(in_memory):
    caller = world.points().rename({"crop": "*", "weight": "^p.*$"})
    expected = reference(tuple(range(8)), "null").rename({"crop": "*", "weight": "^p.*$"})
    assert_frame_equal(verb(in_memory, "null", caller).collect(), expected)
    assert_frame_equal(verb(in_memory, "null", caller).head(5).collect(), expected.head(5))


# Collections.


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("lacks", ["bbox and geometry", "some bbox", "some geometry", "time", "id and time"])
def test_a_record_is_placed_and_ordered_by_what_it_has(lacks, unmatched, engine, collections):
    """Only raster columns are required; a concat of frames leaves nulls in some rows."""
    for collection in collections.values():
        serials = list(serials_of(collection))
        expected = reference(tuple(serials), unmatched)
        changed = {
            "bbox and geometry": lambda lf: lf.drop("bbox", "geometry"),
            "some bbox": lambda lf: lf.with_columns(pl.when(pl.col("serial") > 0).then("bbox")),
            "some geometry": lambda lf: lf.with_columns(pl.when(pl.col("serial") > 0).then("geometry")),
            "time": lambda lf: lf.drop("datetime"),
            "id and time": lambda lf: lf.drop("datetime", "id"),
        }[lacks](collection)
        got = verb(changed, unmatched).collect(engine=engine)
        if "time" in lacks:
            rank = dict(zip(serials, range(8), strict=True))
            ids = {scene.serial: scene.id if lacks == "time" else None for scene in world.SCENES}
            order = sorted(serials, key=lambda one: (ids[one] is None, ids[one] or "", rank[one]))
            keys = expected.select(
                "point", at=pl.col("serial").replace_strict(order, range(8), default=None, return_dtype=pl.Int64)
            )
            expected = expected[keys.with_row_index().sort("point", "at")["index"]]
            expected = expected.drop("datetime", *(["record_id"] if lacks == "id and time" else []))
        assert_frame_equal(got, expected)


# One thread.


def test_a_sample_of_shapes_runs_with_one_polars_thread():
    """A callback that waits for a thread of Polars would wait for itself."""
    names = ["everything", "head", "filter_pixel", "filter_mixed_true_without_record", "self_join_on_point",
             "concat", "group_by", "filter_udf_on_pixel", "sort_by_pixel"]  # fmt: skip
    wanted = " or ".join(f"{name}-" for name in names)
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(HERE / "test_shapes.py"), "-k", wanted],
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout[-3_000:] + answer.stderr[-1_000:]
    assert "passed" in answer.stdout
