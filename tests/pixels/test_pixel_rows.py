"""Are the rows of ``pixels`` the cells that shapely and NumPy find, in order, however the question is asked?"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.errors import AnswerTooLargeError, BudgetError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.testing import example_scenes
from tests.support.engines import ENGINES
from tests.support.zone_world import NORTH, PIXEL, WEST, ZoneWorld, zones

BANDS = ["red", "nir", "clear"]
ALL = shapely.box(WEST, NORTH - 960, WEST + 960, NORTH)


@pytest.fixture(scope="module")
def world():
    return ZoneWorld()


@pytest.fixture(autouse=True)
def cold(world):
    clear_cache()
    world.source.requests.clear()


def frame_of(geometries):
    return pl.DataFrame({"zone": range(len(geometries)), "geometry": shapely.to_wkb(geometries).tolist()})


def cells(world, polygons, coverage="exact"):
    """Give the rows by shapely, on the grid of 10 m."""
    rows = []
    for (zone, polygon), scene in itertools.product(enumerate(polygons), ("scene-0", "scene-1")):
        red, nir, clear = (world.images[scene, band] for band in BANDS)
        weights = red.weights(polygon, coverage)
        for row, col in zip(*np.nonzero(weights > 1e-9), strict=True):
            rows.append(
                {
                    "zone": zone,
                    "record_id": scene,
                    "raster_crs": "EPSG:32632",
                    "x": WEST + PIXEL * (col + 0.5),
                    "y": NORTH - PIXEL * (row + 0.5),
                    "row": row,
                    "col": col,
                    "coverage": weights[row, col],
                    "red": red.pixels[row, col] if red.valid[row, col] else None,
                    "nir": nir.pixels[row, col] if nir.valid[row, col] else None,
                    "clear": clear.pixels[row // 2, col // 2],
                }
            )
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(BANDS, pl.UInt8))


@pytest.mark.parametrize(
    ("coverage", "engine"), [("exact", ENGINES[0]), ("center", ENGINES[1]), ("all_touched", ENGINES[0])]
)
def test_rows_are_the_cells_in_order(world, coverage, engine):
    polygons = zones(16, seed=1)
    query = world.scenes.raster.pixels(frame_of(polygons), coverage=coverage, crs=32632)
    found = query.collect(engine=engine)
    assert found.schema == query.collect_schema()
    assert found["datetime"].dt.day().to_list() == [1 + int(one[-1]) for one in found["record_id"]]
    expected = cells(world, polygons, coverage)
    assert len(expected) > 5_000
    assert_frame_equal(found.drop("datetime"), expected, abs_tol=1e-9, rel_tol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_in_any_order_are_the_same_rows(world, engine):
    polygons = frame_of(zones(8, seed=4))
    words = {"crs": 32632, "maintain_order": False}
    expected = cells(world, zones(8, seed=4))
    with pr.options(max_answer_bytes=100_000):
        found = world.scenes.raster.pixels(polygons, **words).collect(engine=engine)
    assert_frame_equal(found.drop("datetime"), expected, check_row_order=False, abs_tol=1e-9, rel_tol=1e-12)


PARTS = {
    "zone": pl.col("zone") > 3,
    "record": pl.col("record_id") == "scene-1",
    "either": (pl.col("zone") == 5) | (pl.col("record_id") == "scene-0"),
    "place": pl.col("row") % 7 < 4,
    "coverage": pl.col("coverage") < 1,
    "value": pl.col("red") > 3,
    "values": pl.col("nir").is_null() | (pl.col("clear") == 1),
    "mixed": pl.col("red").cast(pl.Int64) + pl.col("zone") > 8,
}


@pytest.fixture(scope="module")
def known(world):
    polygons = zones(10, seed=11)
    return frame_of(polygons), cells(world, polygons)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from(sorted(PARTS)), max_size=3, unique=True),
    first=st.none() | st.sampled_from([1, 30, 2_000]),
    limit_is_below=st.booleans(),
    names=st.lists(st.sampled_from(["zone", "record_id", "x", "coverage", *BANDS]), min_size=1, unique=True),
    max_answer_bytes=st.sampled_from([20_000, 300_000, 512_000_000]),
    engine=st.sampled_from(ENGINES),
)
def test_what_is_asked_above_acts_as_on_the_rows(
    world, known, parts, first, limit_is_below, names, max_answer_bytes, engine
):
    polygons, expected = known
    with pr.options(max_answer_bytes=max_answer_bytes):
        query = world.scenes.raster.pixels(polygons, crs=32632)

    def asked(rows):
        condition = [PARTS[one] for one in parts]
        if first is not None and limit_is_below:
            rows = rows.head(first).filter(*condition)
        else:
            rows = rows.filter(*condition)
            rows = rows if first is None else rows.head(first)
        return rows.select(names)

    assert_frame_equal(asked(query).collect(engine=engine), asked(expected.lazy()).collect(), abs_tol=1e-9)


@pytest.mark.parametrize("tile", [16, 96])
def test_rows_do_not_depend_on_tiles_or_batches(world, tile):
    polygons = frame_of([*zones(8, seed=2), ALL])
    whole = world.scenes.raster.pixels(polygons, crs=32632).collect()
    other = ZoneWorld(tile=tile).scenes.raster.pixels(polygons, crs=32632)
    assert other.collect().equals(whole)
    with pr.options(max_answer_bytes=60_000):
        assert other.collect().equals(whole)
        small = ZoneWorld(tile=tile).scenes.raster.pixels(polygons, crs=32632)
    assert small.collect(engine="streaming").equals(whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_weighted_mean_of_pixels_is_that_of_zonal_statistics(world, engine):
    polygons = frame_of(zones(24, seed=3))
    bands = {"nd": pr.normalized_difference("nir", "red"), "red": "red", "clear": "clear"}
    means = [pr.weighted_mean(name).alias(f"{name}_mean") for name in bands]
    pixels = world.scenes.raster.pixels(polygons, bands, crs=32632)
    found = pixels.group_by("zone", "record_id").agg(means).sort("zone", "record_id").collect(engine=engine)
    statistics = world.scenes.raster.zonal_stats(polygons, bands, ["mean"], crs=32632, unmatched="drop")
    asked = statistics.sort("zone", "record_id").drop("geometry", "datetime")
    expected = asked.join(found.lazy(), on=["zone", "record_id"], how="semi").collect(engine=engine)
    assert len(found) > 20
    assert_frame_equal(found, expected, rel_tol=1e-12, abs_tol=1e-12, check_row_order=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_valid_expression_makes_values_null_and_keeps_the_rows(world, engine):
    polygons = frame_of(zones(8, seed=4)).with_columns(limit=pl.lit(4, pl.UInt8))
    valid = (pl.col("clear") == 1) & (pl.col("red") < pl.col("limit")) & (pl.col("id") != "scene-1")
    found = world.scenes.raster.pixels(polygons, ["red", "nir"], crs=32632, valid=valid).collect(engine=engine)
    whole = world.scenes.raster.pixels(polygons, crs=32632).collect()
    is_valid = (whole["clear"] == 1) & (whole["red"] < 4).fill_null(value=False) & (whole["record_id"] != "scene-1")
    expected = whole.with_columns(pl.when(is_valid).then(pl.col("red", "nir"))).drop("clear")
    assert found.equals(expected)
    assert 0 < found["red"].count() < len(found)


@pytest.mark.parametrize("engine", ENGINES)
def test_bands_meet_on_the_grid_that_is_asked_for(engine):
    world = ZoneWorld(n_scenes=1, dtype="float32")
    image = world.images["scene-0", "red"]
    blocks = np.where(image.valid, image.pixels, np.nan).reshape(48, 2, 48, 2).swapaxes(1, 2).reshape(48, 48, 4)
    means = np.nanmean(blocks, axis=2)
    clear = world.images["scene-0", "clear"]
    zone = shapely.Point(WEST + 400, NORTH - 500).buffer(333)
    words = {"crs": 32632, "grid": "clear", "resampling": {"red": "average"}, "valid": pl.col("clear") > 0}
    bands = {"red": "red", "both": pl.col("red") * 2 + pl.col("clear")}
    found = world.scenes.raster.pixels(frame_of([zone]), bands, **words).collect(engine=engine)
    weights = clear.weights(zone, "exact")
    row, col = np.nonzero(weights > 1e-9)
    is_valid = (clear.pixels[row, col] > 0) & np.isfinite(means[row, col])
    assert (found["row"].to_list(), found["col"].to_list()) == (row.tolist(), col.tolist())
    assert found["x"].to_list() == (WEST + 20 * (col + 0.5)).tolist()
    assert found["coverage"].to_numpy() == pytest.approx(weights[row, col], abs=1e-9)
    assert found["red"].is_not_null().to_list() == is_valid.tolist()
    assert found["red"].drop_nulls().to_numpy() == pytest.approx(means[row, col][is_valid], rel=1e-6)
    both = means[row, col] * 2 + clear.pixels[row, col]
    assert found["both"].drop_nulls().to_numpy() == pytest.approx(both[is_valid], rel=1e-6)
    statistics = world.scenes.raster.zonal_stats(frame_of([zone]), bands, ["mean", "count"], **words).collect(
        engine=engine
    )
    weight = weights[row, col][is_valid]
    assert statistics["both_mean"][0] == pytest.approx(np.average(both[is_valid], weights=weight), rel=1e-6)
    assert statistics["both_count"][0] == pytest.approx(weight.sum(), rel=1e-9)


def test_unscaled_values_reach_columns_and_formulas(world):
    polygons = frame_of(zones(4, seed=8))
    scenes = world.scenes.with_columns(pl.col("red").raster.with_metadata(scale=-0.5, offset=3.0))
    raw = scenes.raster.pixels(polygons, ["red"], crs=32632).collect()
    bands = {"twice": pl.col("red") * 2, "red": "red"}
    found = scenes.raster.pixels(polygons, bands, crs=32632, unscale=True).collect()
    assert found["red"].to_list() == (3 - 0.5 * raw["red"].cast(pl.Float64)).to_list()
    assert found["twice"].equals((found["red"] * 2).alias("twice"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_latest_gives_all_pixels_of_the_newest_record_that_counts(world, unmatched, engine):
    north = shapely.box(WEST + 50, NORTH - 100, WEST + 250, NORTH - 20)  # no valid nir there in any scene
    south = shapely.box(WEST + 50, NORTH - 500, WEST + 250, NORTH - 305)
    half = shapely.box(WEST + 50, NORTH - 160, WEST + 250, NORTH - 100)
    polygons = frame_of([north, south, half])
    words = {"crs": 32632, "match": "latest", "unmatched": unmatched, "min_valid_fraction": 0.7}
    query = world.scenes.raster.pixels(polygons, ["nir"], **words)
    found = query.collect(engine=engine)
    newest = world.scenes.filter(id="scene-1").raster.pixels(polygons, ["nir"], crs=32632).collect()
    chosen = newest.filter(zone=1)
    alone = [0, 2] if unmatched == "null" else []
    assert found.filter(pl.col("zone") == 1).equals(chosen)
    assert found["zone"].unique().to_list() == sorted([1, *alone])
    nothing = found.filter(pl.col("zone") != 1)
    assert nothing.height == len(alone)
    assert nothing.drop("zone").null_count().row(0) == (len(alone),) * (found.width - 1)
    condition = pl.col("coverage") < 1
    assert query.filter(condition).collect(engine=engine).equals(found.filter(condition))
    assert query.head(7).collect(engine=engine).equals(found.head(7))


def test_zones_without_pixels_have_one_row_where_unmatched_ones_stay(world):
    none = [None, shapely.Polygon(), shapely.box(0, 0, 1, 1), shapely.box(WEST + 1, NORTH - 3, WEST + 2, NORTH - 1)]
    polygons = frame_of([*none, shapely.box(WEST, NORTH - 10, WEST + 10, NORTH)])
    asked = world.scenes.head(1).raster
    found = asked.pixels(polygons, ["red"], crs=32632, coverage="center", unmatched="null").collect()
    assert found["zone"].to_list() == [0, 1, 2, 3, 4]
    assert found["record_id"].to_list() == [None, None, None, "scene-0", "scene-0"]
    assert found["row"].to_list() == [None, None, None, None, 0]
    assert found["coverage"].null_count() == found["x"].null_count() == 4
    dropped = asked.pixels(polygons, ["red"], crs=32632, coverage="center").collect()
    assert dropped["zone"].to_list() == [4]


@pytest.mark.parametrize("match", ["all", "latest"])
def test_a_file_that_cannot_be_read_is_a_reason_in_its_rows(match):
    broken = ZoneWorld()
    href = next(one for one in broken.files if one.endswith("1-fine.tif"))
    broken.files[href] = broken.files[href][:200]
    polygons = frame_of(zones(6, seed=1))
    words = {"crs": 32632, "on_error": "null", "match": match}
    found = broken.scenes.raster.pixels(polygons, ["red", "clear"], **words).collect()
    if match == "latest":  # the other band of the record has pixels
        assert found["read_error"].null_count() == 0
    failed = found.filter(pl.col("read_error").is_not_null())
    assert set(failed["record_id"]) == {"scene-1"}
    assert failed["red"].null_count() == len(failed)
    assert failed["clear"].null_count() == failed["x"].null_count() == 0
    if match == "all":
        assert found.filter(record_id="scene-1").equals(failed)
        assert found.filter(record_id="scene-0")["read_error"].count() == 0
        alone = broken.scenes.raster.pixels(polygons, ["red"], **words, unmatched="null").collect()
        assert alone.filter(record_id="scene-1")["read_error"].null_count() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_that_are_not_wanted_are_not_read(world, engine):
    query = world.scenes.raster.pixels(frame_of(zones(8, seed=1)), crs=32632)
    whole = query.collect()
    clear_cache()
    world.source.requests.clear()
    names = ["zone", "x", "y", "row", "col", "coverage", "record_id"]
    assert query.select(names).collect(engine=engine).equals(whole.select(names))
    assert query.filter(pl.col("coverage") < 1).select(pl.len()).collect(engine=engine).item() > 100
    assert not world.source.requests
    assert query.select("clear").collect(engine=engine).equals(whole.select("clear"))
    assert {href.rpartition("-")[2] for href, _, _ in world.source.requests} == {"clear.tif"}


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_act_where_their_columns_are_known(world, engine):
    query = world.scenes.raster.pixels(frame_of(zones(8, seed=1)), ["red"], crs=32632)
    whole = query.collect()
    for condition in (
        pl.col("zone") == 2,
        pl.col("record_id") == "scene-0",
        (pl.col("zone") > 2) & (pl.col("record_id") == "scene-1") & (pl.col("red") > 4),
        (pl.col("zone") == 4) | (pl.col("record_id") == "scene-1"),
        pl.col("x") > WEST + 300,
    ):
        clear_cache()
        world.source.requests.clear()
        assert query.filter(condition).collect(engine=engine).equals(whole.filter(condition))
        files = {href.rpartition("/")[2] for href, _, _ in world.source.requests}
        if condition.meta.eq(pl.col("record_id") == "scene-0"):
            assert files == {"0-fine.tif"}
        if "scene-1" in str(condition) and "&" in str(condition):
            assert files == {"1-fine.tif"}
    clear_cache()
    world.source.requests.clear()
    query.filter(pl.col("zone") == 99).collect(engine=engine)
    assert not world.source.requests


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_a_limit_ends_the_read(engine, unmatched):
    # Tiles of noise, each a request of its own.
    world = ZoneWorld(size=512, tile=256, dtype="uint16")
    large = [shapely.box(WEST - 500, NORTH - 9, WEST - 400, NORTH), shapely.box(WEST, NORTH - 5120, WEST + 5120, NORTH)]
    query = world.scenes.raster.pixels(frame_of(large), ["red"], crs=32632, unmatched=unmatched)
    whole = query.collect(engine=engine)
    for n_rows in (1, 5, 200_000):
        with pr.options(cache_bytes=0):
            clear_cache()
            world.source.requests.clear()
            assert query.head(n_rows).collect(engine=engine).equals(whole.head(n_rows))
            hrefs = {href.rpartition("/")[2] for href, _, _ in world.source.requests}
            assert hrefs <= {"0-fine.tif"}
            if n_rows == 5:
                assert world.source.bytes < len(world.files[next(iter(world.files))]) * 0.6  # one of two rows of tiles
        condition = pl.col("red") > 4
        assert query.head(n_rows).filter(condition).collect(engine=engine).equals(whole.head(n_rows).filter(condition))
        world.source.clear()
    clear_cache()
    first = query.filter(condition).head(3).collect(engine="streaming")
    assert first.equals(whole.filter(condition).head(3))
    if unmatched == "drop":  # else the first unit is the row without a record, and the second has both scenes
        assert {href.rpartition("/")[2] for href, _, _ in world.source.requests} == {"0-fine.tif"}


def test_an_estimate_is_what_is_read_and_a_budget_holds(world):
    polygons = frame_of(zones(8, seed=1))
    asked = {"crs": 32632, "valid": pl.col("clear") == 1}
    questions = {
        "pixels": world.scenes.raster.pixels(polygons, ["red"], **asked),
        "formula": world.scenes.raster.pixels(polygons, {"nd": pl.col("red") - pl.col("clear")}, crs=32632),
        "statistics": world.scenes.raster.zonal_stats(polygons, ["red"], **asked),
        "windows": world.scenes.raster.read_windows(polygons, ["red"], crs=32632),
        "some": world.scenes.raster.pixels(polygons, ["red"], crs=32632).filter(pl.col("zone") > 3).select("red"),
    }
    for name, query in questions.items():
        clear_cache()
        world.source.clear()
        estimate = pr.estimate(query)
        assert not world.source.requests
        assert estimate.bound == "exact", name
        query.collect()
        assert estimate.bytes == world.source.bytes > 0, name
        assert estimate.requests == len(world.source.requests), name
    for name in ("pixels", "statistics"):
        enough = pr.estimate(questions[name]).bytes
        verb = getattr(world.scenes.raster, "zonal_stats" if name == "statistics" else name)
        clear_cache()
        verb(polygons, ["red"], budget_bytes=enough, **asked).collect()
        clear_cache()
        world.source.clear()
        with pytest.raises(BudgetError):
            verb(polygons, ["red"], budget_bytes=enough - 1, **asked).collect()
        assert not world.source.requests
    chosen = pr.estimate(world.scenes.raster.pixels(polygons, ["red"], crs=32632, match="latest"))
    assert chosen.bound == "upper"
    clear_cache()
    world.source.clear()
    world.scenes.raster.pixels(polygons, ["red"], crs=32632, match="latest").collect()
    assert world.source.bytes <= chosen.bytes


def test_a_zone_larger_than_an_answer_is_read_a_row_of_tiles_at_a_time(world, monkeypatch):
    from polars_rasteret.pixels.zones import pixel_rows

    made = []
    joined = pixel_rows.TilePixels.joined

    def watched(parts):
        made.append(sum(len(one.row) for one in parts))
        return joined(parts)

    monkeypatch.setattr(pixel_rows.TilePixels, "joined", watched)
    with pr.options(max_answer_bytes=100_000):
        query = world.scenes.raster.pixels(frame_of([ALL]), ["red"], crs=32632)
        newest = world.scenes.raster.pixels(frame_of([ALL]), ["red"], crs=32632, match="latest")
    assert query.select(pl.len()).collect(engine="streaming").item() == 2 * 96 * 96
    assert query.select(pl.col("red").count()).collect(engine="streaming").item() > 10_000
    assert max(made) <= 32 * 96
    with pytest.raises(AnswerTooLargeError):
        newest.collect()


def test_names_that_are_taken_are_told(world):
    polygons = frame_of(zones(1, seed=1))
    with pytest.raises(UsageError, match="another name"):
        world.scenes.raster.pixels(polygons, {"row": "red"}, crs=32632)
    found = world.scenes.raster.pixels(polygons.rename({"zone": "x"}), ["red"], crs=32632, geometry="geometry")
    assert "x_right" in found.collect_schema()
    assert "geometry" not in found.collect_schema()


@pytest.mark.parametrize(
    "zone", [shapely.Point(500_005, 4_999_995), shapely.LineString([(500_000, 4_999_990), (500_020, 4_999_980)])]
)
def test_points_and_lines_are_no_zones(zone):
    with pytest.raises(UsageError, match="sample_points"):
        example_scenes().raster.pixels([zone], ["red"], crs=32632).collect()
