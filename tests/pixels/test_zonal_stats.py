"""Are zonal statistics what shapely and NumPy say, cell by cell, whoever asks and however files are tiled?"""

from __future__ import annotations

import datetime as dt
import itertools
import re

import numpy as np
import polars as pl
import pytest
import shapely
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.errors import BudgetError, UsageError
from tests.support.zone_world import (
    NODATA,
    NORTH,
    PIXEL,
    WEST,
    Image,
    ZoneWorld,
    statistics,
    to_lonlat,
    weighted_quantile,
    zones,
)

STATS = ("count", "sum", "mean", "var", "std", "min", "max", "variety", "majority", "minority", "fractions", "median")
ENGINES = ("streaming", "in-memory")


@pytest.fixture(scope="module")
def world():
    return ZoneWorld()


def frame_of(geometries):
    return pl.DataFrame({"zone": range(len(geometries)), "geometry": shapely.to_wkb(geometries)})


def check(found, expected):
    for name, value in expected.items():
        got = found[name]
        if value is None or (isinstance(value, list) and not value):
            assert got == value, name
        elif name == "fractions":
            assert [one["value"] for one in got] == [one for one, _ in value]
            assert [one["fraction"] for one in got] == pytest.approx([one for _, one in value], rel=1e-9)
        elif name in ("var", "std"):
            assert got == pytest.approx(value, rel=1e-7, abs=1e-7), name
        else:
            assert got == pytest.approx(value, rel=1e-9, abs=1e-9), name


@pytest.mark.parametrize("coverage", ["exact", "center", "all_touched"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_statistic_is_that_of_the_cells(world, coverage, engine):
    polygons = zones(24, seed=1)
    query = world.scenes.raster.zonal_stats(frame_of(polygons), ["red", "clear"], STATS, coverage=coverage, crs=32632)
    found = query.collect(engine=engine)
    assert set(found["zone"]) == set(range(24))
    n_read = 0
    for row in found.iter_rows(named=True):
        for band in ("red", "clear"):
            got = {name: row[f"{band}_{name}"] for name in STATS}
            if row["record_id"] is None:
                assert all(value is None for value in got.values())
                image = world.images["scene-0", band]
                assert image.weights(polygons[row["zone"]], coverage).sum() == pytest.approx(0, abs=1e-6)
            else:
                n_read += 1
                check(got, world.expected(row["record_id"], band, polygons[row["zone"]], coverage))
    assert n_read > 40


def test_dtypes_are_those_of_the_schema(world):
    stats = (*STATS, "quantile(0.9)", "valid_fraction")
    query = world.scenes.raster.zonal_stats(frame_of(zones(3, seed=2)), ["red"], stats, crs=32632)
    found = query.collect()
    assert found.schema == query.collect_schema()
    assert found.schema["red_min"] == pl.UInt8
    assert found.schema["red_variety"] == pl.UInt32
    assert found.schema["red_q90"] == pl.Float64
    assert found.schema["red_fractions"] == pl.List(pl.Struct({"value": pl.UInt8, "fraction": pl.Float64}))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_expression_gives_what_the_verb_gives(world, engine):
    polygons = frame_of(zones(12, seed=3))
    stats = [*STATS, "quantile(0.25)"]
    verb = world.scenes.raster.zonal_stats(polygons, ["nir"], stats, crs=32632, unmatched="drop").collect(engine=engine)
    pairs = world.scenes.raster.pair(polygons, geometry="geometry", crs=32632, unmatched="drop")
    expression = pl.col("nir").raster.zonal_stats("geometry", stats, crs=32632)
    found = pairs.select("zone", "record_id", expression).collect(engine=engine).sort("zone", "record_id").unnest("nir")
    told = verb.sort("zone", "record_id").select("zone", "record_id", pl.selectors.starts_with("nir_"))
    assert len(told) > 10
    assert found.rows() == told.rows()


@pytest.mark.parametrize("tile", [16, 96])
def test_statistics_do_not_depend_on_tiles_units_or_neighbours(world, tile, monkeypatch):
    polygons = zones(16, seed=4)
    other = ZoneWorld(tile=tile)
    stats = ["count", "mean", "var", "max", "median", "variety"]

    def answer(of, some):
        return of.scenes.raster.zonal_stats(frame_of(some), ["red"], stats, crs=32632, unmatched="drop").collect()

    whole = answer(world, polygons)
    with monkeypatch.context() as patch:
        patch.setattr("polars_rasteret.pixels.zones.zone_reads._UNIT_BYTES", 3_000)
        cut = answer(other, polygons)
    alone = pl.concat([answer(other, [one]) for one in polygons])
    for found in (cut, alone):
        assert len(found) == len(whole)
        for name in (f"red_{one}" for one in stats):
            for one, two in zip(found[name], whole[name], strict=True):
                assert one == (two if two is None else pytest.approx(two, rel=1e-12, abs=1e-12))


def test_zones_in_another_crs_are_those_of_their_outline(world):
    polygons = [one for one in zones(12, seed=5) if one.area > 500]
    lonlat = [to_lonlat(one, 32632) for one in polygons]
    stats = ["count", "mean"]
    here = world.scenes.raster.zonal_stats(frame_of(polygons), ["red"], stats, crs=32632).collect()
    there = world.scenes.raster.zonal_stats(frame_of(lonlat), ["red"], stats, crs=4326).collect()
    joined = here.join(there, on=["zone", "record_id"], nulls_equal=True, suffix="_there")
    assert len(joined) == len(here)
    for name in ("red_count", "red_mean"):
        told = joined.filter(pl.col("red_count") > 1)
        assert told[f"{name}_there"].to_numpy() == pytest.approx(told[name].to_numpy(), rel=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_valid_expression_leaves_pixels_out(world, engine):
    polygons = zones(12, seed=6)
    query = world.scenes.raster.zonal_stats(
        frame_of(polygons), ["red"], STATS, crs=32632, valid=pl.col("clear") == 1, unmatched="drop"
    )
    found = query.collect(engine=engine)
    assert "clear" not in found.columns
    for row in found.iter_rows(named=True):
        fine = np.kron(world.images[row["record_id"], "clear"].pixels, np.ones((2, 2), int)) == 1
        got = {name: row[f"red_{name}"] for name in STATS}
        check(got, world.expected(row["record_id"], "red", polygons[row["zone"]], valid=fine))
    assert found["red_count"].max() > 100


def test_a_valid_expression_may_name_columns_of_zones_and_records(world):
    polygons = frame_of(zones(8, seed=6)).with_columns(limit=pl.lit(4, pl.UInt8) + pl.col("zone").cast(pl.UInt8) % 3)
    valid = (pl.col("red") < pl.col("limit")) & (pl.col("id") != "scene-1")
    found = world.scenes.raster.zonal_stats(
        polygons, ["red"], ["count", "max"], crs=32632, valid=valid, unmatched="drop"
    ).collect()
    geometries = zones(8, seed=6)
    for row in found.iter_rows(named=True):
        image = world.images[row["record_id"], "red"]
        is_valid = (image.pixels < row["limit"]) & (row["record_id"] != "scene-1")
        expected = world.expected(row["record_id"], "red", geometries[row["zone"]], valid=is_valid)
        assert row["red_count"] == pytest.approx(expected["count"], rel=1e-9)
        assert row["red_max"] == expected["max"]


@pytest.mark.parametrize("engine", ENGINES)
def test_latest_takes_the_newest_record_with_enough_valid_pixels(world, engine):
    north = shapely.box(WEST + 50, NORTH - 100, WEST + 250, NORTH - 20)  # no valid nir there in any scene
    south = shapely.box(WEST + 50, NORTH - 500, WEST + 250, NORTH - 300)
    found = world.scenes.raster.zonal_stats(
        frame_of([north, south]), ["nir"], ["count", "valid_fraction"], crs=32632, match="latest"
    ).collect(engine=engine)
    assert found["record_id"].to_list() == [None, "scene-1"]
    assert found["nir_count"][1] == pytest.approx(world.expected("scene-1", "nir", south)["count"], rel=1e-9)
    never = world.scenes.raster.zonal_stats(
        frame_of([south]), ["nir"], "count", crs=32632, match="latest", min_valid_fraction=1.0
    ).collect(engine=engine)
    assert never["record_id"].to_list() == [None]


def test_valid_fraction_counts_what_lies_beside_the_image(world):
    beside = shapely.box(WEST - 300, NORTH - 200, WEST + 100, NORTH - 100)
    found = world.scenes.head(1).raster.zonal_stats(frame_of([beside]), ["red"], ["count", "valid_fraction"], crs=32632)
    row = found.collect().row(0, named=True)
    assert row["red_valid_fraction"] == pytest.approx(row["red_count"] / 400, rel=1e-12)
    assert row["red_count"] == pytest.approx(world.expected("scene-0", "red", beside)["count"], rel=1e-12)


def test_unscaled_statistics_are_those_of_unscaled_values(world):
    polygons = frame_of(zones(6, seed=8))
    scenes = world.scenes.with_columns(pl.col("red").raster.with_metadata(scale=-0.5, offset=3.0))
    stats = ["count", "sum", "mean", "min", "max", "median", "majority"]
    raw = scenes.raster.zonal_stats(polygons, ["red"], stats, crs=32632, unmatched="drop").collect()
    found = scenes.raster.zonal_stats(polygons, ["red"], stats, crs=32632, unmatched="drop", unscale=True).collect()
    assert found.schema["red_min"] == pl.Float64
    for before, after in zip(raw.iter_rows(named=True), found.iter_rows(named=True), strict=True):
        assert after["red_count"] == before["red_count"]
        if before["red_mean"] is None:
            continue
        assert after["red_mean"] == pytest.approx(3 - 0.5 * before["red_mean"], rel=1e-12)
        assert after["red_sum"] == pytest.approx(3 * before["red_count"] - 0.5 * before["red_sum"], rel=1e-9)
        assert (after["red_min"], after["red_max"]) == (3 - 0.5 * before["red_max"], 3 - 0.5 * before["red_min"])


def test_a_tile_is_read_once_for_all_zones(world):
    fresh = ZoneWorld(size=256, tile=64)
    boxes = [
        shapely.box(WEST + x, NORTH - y - 70, WEST + x + 130, NORTH - y)
        for x in range(0, 2400, 120)
        for y in range(0, 2400, 120)
    ]
    with pr.options(cache_bytes=0):
        fresh.scenes.raster.zonal_stats(frame_of(boxes), ["red", "nir"], crs=32632).collect()
    ranges = list(fresh.source.requests)
    assert len(ranges) == len(set(ranges))
    overlaps = sorted(ranges)
    assert all(before[0] != after[0] or before[2] <= after[1] for before, after in itertools.pairwise(overlaps))


def test_columns_that_are_not_wanted_are_not_read(world):
    polygons = frame_of(zones(8, seed=1))
    query = world.scenes.raster.zonal_stats(polygons, None, ["mean"], crs=32632)
    world.source.requests.clear()
    with pr.options(cache_bytes=0):
        query.select("zone", "clear_mean").collect()
    assert {href.rpartition("-")[2] for href, _, _ in world.source.requests} == {"clear.tif"}
    world.source.requests.clear()
    query.select("zone", "record_id").collect()
    assert not world.source.requests


def test_an_estimate_is_what_is_read(world):
    query = world.scenes.raster.zonal_stats(frame_of(zones(8, seed=1)), ["red"], ["mean"], crs=32632)
    world.source.requests.clear()
    estimate = pr.estimate(query)
    assert not world.source.requests
    with pr.options(cache_bytes=0):
        query.collect()
    assert estimate.bound == "exact"
    assert estimate.bytes == sum(stop - start for _, start, stop in world.source.requests)
    assert estimate.requests == len(world.source.requests)
    with pytest.raises(BudgetError):
        world.scenes.raster.zonal_stats(
            frame_of(zones(8, seed=1)), ["red"], ["mean"], crs=32632, budget_bytes=100
        ).collect()


def test_float_pixels_that_are_nan_are_left_out():
    world = ZoneWorld(n_scenes=1, dtype="float32")
    zone = shapely.box(WEST, NORTH - 200, WEST + 200, NORTH)
    image = world.images["scene-0", "red"]
    pixels = image.pixels.copy()
    pixels[3:9, 3:9] = np.nan
    href = world._put("nan.tif", pixels[None], Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH), 32)
    scenes = pr.build_from_files([href], bands=["red"])
    row = scenes.raster.zonal_stats(frame_of([zone]), ["red"], STATS, crs=32632).collect().row(0, named=True)
    is_valid = np.isfinite(pixels) & (pixels != NODATA)
    check(
        {name: row[f"red_{name}"] for name in STATS},
        statistics(pixels[is_valid], image.weights(zone, "exact")[is_valid]),
    )


def test_quantiles_weigh_pixels_by_their_share(world):
    polygons = zones(10, seed=9)
    found = (
        world.scenes.head(1)
        .raster.zonal_stats(
            frame_of(polygons), ["red"], ["quantile(0)", "quantile(0.3)", "quantile(1)"], crs=32632, unmatched="drop"
        )
        .collect()
    )
    image = world.images["scene-0", "red"]
    for row in found.iter_rows(named=True):
        weights = image.weights(polygons[row["zone"]], "exact")
        is_in = image.valid & (weights > 1e-12)
        if not is_in.any():
            assert row["red_q30"] is None
            continue
        x, w = image.pixels[is_in].astype(float), weights[is_in]
        assert (row["red_q0"], row["red_q100"]) == (x.min(), x.max())
        assert row["red_q30"] == pytest.approx(weighted_quantile(x, w, 0.3), rel=1e-9, abs=1e-9)


def test_a_file_that_cannot_be_read_is_a_reason_in_its_rows(world):
    broken = ZoneWorld()
    href = next(one for one in broken.files if one.endswith("1-fine.tif"))
    broken.files[href] = broken.files[href][:200]
    polygons = frame_of(zones(6, seed=1))
    query = broken.scenes.raster.zonal_stats(
        polygons, ["red", "clear"], ["count"], crs=32632, on_error="null", unmatched="drop"
    )
    found = query.collect()
    failed = found.filter(pl.col("read_error").is_not_null())
    assert set(failed["record_id"]) == {"scene-1"}
    assert failed["red_count"].null_count() == len(failed)
    assert failed["clear_count"].null_count() == 0
    assert found.filter(record_id="scene-0")["red_count"].null_count() == 0


@pytest.mark.parametrize(
    ("stats", "told"),
    [([], "at least one"), (["average"], "'average'"), (["quantile(2)"], "quantile"), (["mean", "mean"], "each once")],
)
def test_wrong_statistics_are_refused(world, stats, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        world.scenes.raster.zonal_stats(frame_of(zones(1, seed=1)), ["red"], stats, crs=32632)


@pytest.mark.parametrize(
    "zone", [shapely.Point(WEST + 20, NORTH - 20), shapely.LineString([(WEST, NORTH), (WEST + 50, NORTH - 50)])]
)
def test_points_and_lines_are_no_zones(world, zone):
    with pytest.raises(UsageError, match="sample_points"):
        world.scenes.raster.zonal_stats(frame_of([zone]), ["red"], crs=32632).collect()


def test_null_and_empty_zones_are_unmatched(world):
    polygons = pl.DataFrame({"zone": [0, 1], "geometry": [None, shapely.to_wkb(shapely.Polygon())]})
    found = world.scenes.raster.zonal_stats(polygons, ["red"], crs=32632).collect()
    assert found.select("zone", "record_id", "red_count", "red_mean").rows() == [
        (0, None, None, None),
        (1, None, None, None),
    ]


def test_a_time_word_goes_with_zones(world):
    polygons = frame_of([shapely.box(WEST + 50, NORTH - 500, WEST + 250, NORTH - 300)] * 2).with_columns(
        when=pl.Series([dt.date(2024, 6, 1), dt.date(2024, 6, 9)])
    )
    found = world.scenes.raster.zonal_stats(polygons, ["red"], crs=32632, match="nearest", at="when").collect()
    assert found["record_id"].to_list() == ["scene-0", "scene-1"]


def test_statistics_do_not_depend_on_how_many_cells_are_reduced_at_once(world, monkeypatch):
    polygons, stats = zones(16, seed=4), ["count", "mean", "var", "min", "max", "median", "variety"]
    query = world.scenes.raster.zonal_stats(frame_of(polygons), ["red"], stats, crs=32632, unmatched="drop")
    whole = query.collect()
    monkeypatch.setattr("polars_rasteret.pixels.zones.zone_reads._CELLS_AT_ONCE", 14)
    cut = query.collect()
    assert whole["red_count"].max() > 400  # cut sixty times
    for name in (f"red_{one}" for one in stats):
        for one, two in zip(cut[name], whole[name], strict=True):
            assert one == (two if two is None else pytest.approx(two, rel=1e-12, abs=1e-12))


@pytest.mark.parametrize("coverage", ["exact", "center"])
def test_zones_that_cover_whole_tiles_with_and_without_nodata(coverage):
    world = ZoneWorld(n_scenes=1, size=96, tile=32)
    pixels = world.images["scene-0", "red"].pixels.copy()
    pixels[32:, :] = np.maximum(pixels[32:, :], 1) % 200  # no nodata below the first row of tiles
    image = Image(pixels, pixels != NODATA, world.images["scene-0", "red"].transform)
    href = world._put("whole.tif", pixels[None], image.transform, 32)
    scenes = pr.build_from_files([href], bands=["red"])
    everything = shapely.box(WEST - 20, NORTH - 1000, WEST + 1000, NORTH + 20)
    lower = shapely.box(WEST + 320, NORTH - 960, WEST + 640, NORTH - 320)  # two tiles
    ragged = everything.difference(shapely.Point(WEST + 300, NORTH - 500).buffer(333))
    polygons = [everything, lower, ragged]
    query = scenes.raster.zonal_stats(frame_of(polygons), ["red"], STATS, coverage=coverage, crs=32632)
    for row, zone in zip(query.collect().iter_rows(named=True), polygons, strict=True):
        expected = statistics(pixels[image.valid], image.weights(zone, coverage)[image.valid])
        check({name: row[f"red_{name}"] for name in STATS}, expected)


@pytest.mark.parametrize(
    "formula",
    [
        pr.normalized_difference("red", "nir"),
        (pl.col("nir") - pl.col("red")) / (pl.col("nir") + pl.col("red")),
        pl.col("red") * 2,
        pl.col("red").log(),
        pl.lit(3.0),
    ],
    ids=["ndvi", "ratio", "double", "log", "number"],
)
def test_the_expression_refuses_formulas_and_names_the_verb(formula):
    with pytest.raises(UsageError, match=r"computes numbers.*use the verb: scenes\.raster\.zonal_stats"):
        formula.raster.zonal_stats("geometry", ["mean"], crs=32632)


@pytest.mark.parametrize(
    "band",
    [
        pl.coalesce("red", "nir"),
        pl.when(pl.col("day") > 5).then(pl.col("red")).otherwise(pl.col("nir")),
        pl.col("red").raster.with_metadata(scale=pl.col("day") * 2),
    ],
    ids=["coalesce", "when", "metadata"],
)
def test_the_expression_takes_whatever_gives_a_raster(world, band):
    pairs = world.scenes.raster.pair(frame_of(zones(6, seed=3)), geometry="geometry", crs=32632, unmatched="drop")
    pairs = pairs.with_columns(day=pl.col("datetime").dt.day().cast(pl.Float64) + 5)
    query = pairs.select(told=band.raster.zonal_stats("geometry", ["max"], crs=32632).struct.field("max"))
    red = pairs.select(told=pl.col("red").raster.zonal_stats("geometry", ["max"], crs=32632).struct.field("max"))
    assert query.collect().equals(red.collect())
