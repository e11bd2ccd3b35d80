"""Are the rows of all parts the rows of the query, whatever it asks?"""

from __future__ import annotations

import dataclasses

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.distribute.cutting.cut import cut
from polars_rasteret.distribute.cutting.cut_query import part_query
from polars_rasteret.errors import FileFormatError, UsageError
from tests.support.part_queries import KEYS, MATCHES, VERBS, verb_query
from tests.support.part_world import CRS, part_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return part_world(tmp_path_factory.mktemp("parts"))


def in_parts(query, *, min_parts=8, engine="streaming"):
    whole = cut(query, min_parts=min_parts)
    assert len(whole.parts) >= min_parts
    frames = [
        part_query(whole.plan, part, whole.targets[slice(*part.targets)], whole.records).collect(engine=engine)
        for part in whole.parts
    ]
    assert [part.number for part in whole.parts] == list(range(len(whole.parts)))
    return pl.concat(frames), whole


def same(query, keys, **how):
    expected = query.collect()
    found, whole = in_parts(query, **how)
    assert_frame_equal(found.sort(keys, maintain_order=True), expected.sort(keys, maintain_order=True))
    return whole


@pytest.mark.parametrize("unmatched", ["null", "drop"])
@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("verb", VERBS)
def test_parts_of_every_verb_have_the_rows_of_the_whole(world, verb, match, unmatched):
    whole = same(*verb_query(world, verb, match, unmatched))
    assert whole.bound == ("exact" if match == "all" else "upper")


def test_pairs_whose_expressions_read_have_the_rows_of_the_whole(world):
    pairs = world.scenes.raster.pair(world.points, x="x", y="y", crs=CRS)
    whole = same(pairs.select("pid", "record_id", red=pl.col("red").raster.sample_points("x", "y", crs=CRS)), KEYS)
    assert whole.duplication == 1
    assert min(part.bytes for part in whole.parts) > 0
    read = pl.col("red").raster.read_window("geometry", crs=CRS, shape=(3, 3))
    boxes = world.scenes.raster.pair(world.boxes, crs=CRS)
    same(boxes.raster.with_columns(chip=read).select("pid", "record_id", "chip"), KEYS)


def test_other_forms_of_points_have_the_rows_of_the_whole(world):
    scenes, points = world.scenes, world.points
    same(scenes.raster.sample_points(points, crs=CRS, layout="long"), ["point_index", "record_id", "band"])
    near = scenes.raster.sample_points(
        points, ["red"], crs=CRS, max_distance_pixels=2, return_neighbourhood="always", match="latest"
    )
    same(near, KEYS)
    clear = scenes.raster.sample_points(points, ["red"], crs=CRS, match="latest", valid=pl.col("nir") > 2000)
    same(clear, KEYS)
    moments = points.with_columns(seen=pl.lit("2024-01-03").str.to_datetime(time_zone="UTC"))
    same(
        scenes.raster.sample_points(moments, ["red"], crs=CRS, match="nearest", at="seen", tolerance="1d"),
        KEYS,
    )
    in_memory = scenes.collect().lazy()
    whole = same(in_memory.raster.sample_points(points, ["red"], crs=CRS), KEYS)
    assert whole.records is not None
    assert len(whole.plan) < 20_000


@pytest.mark.parametrize("unmatched", ["null", "drop"])
@pytest.mark.parametrize("match", MATCHES)
def test_records_that_are_written_down_are_those_near_the_rows(world, match, unmatched):
    scenes = world.scenes.collect()
    box = pl.struct(xmin=pl.lit(20.0), ymin=pl.lit(10.0), xmax=pl.lit(21.0), ymax=pl.lit(11.0))
    far = scenes.with_columns(pl.format("far {}", "id").alias("id"), box.alias("bbox"))
    both = dataclasses.replace(world, scenes=pl.concat([far, scenes]).lazy())
    whole = same(*verb_query(both, "sample_points", match, unmatched))
    assert sorted(whole.records["id"]) == sorted(scenes["id"])


def first_is_there(column):
    """Return a column as it is; an empty one has no first value."""
    assert column.len()
    return column


@pytest.mark.parametrize("engine", ["streaming", pytest.param("in-memory", marks=pytest.mark.slow)])
def test_steps_above_the_read_have_the_rows_of_the_whole(world, engine):
    read = world.scenes.raster.sample_points(world.points, ["red"], crs=CRS)
    some = pl.LazyFrame({"record_id": ["s0_0", "s1_1", "s9_9"], "weight": [1.0, 2.0, 3.0]})
    for query, keys in (
        (read.filter(pl.col("red") > 2500), KEYS),
        (read.filter(pl.col("record_id") == "s0_0"), KEYS),
        (read.filter(pl.col("record_id").is_null() | (pl.col("pid") < 100)), KEYS),
        (read.filter(pl.col("pid") % 2 == 0).with_columns(double=pl.col("red") * 2).drop("x"), KEYS),
        (read.join(some, on="record_id", how="left"), KEYS),
        (read.join(some, on="record_id"), KEYS),
        (read.join(some, on="record_id", how="anti"), KEYS),
        (read.group_by("pid").agg(pl.col("red").mean(), n=pl.len()), ["pid"]),
        (read.rename({"pid": "plot"}).group_by("plot", "x").agg(pl.col("red").max()), ["plot"]),
        (read.group_by("pid").agg(pl.col("red").mean()).filter(pl.col("red") > 2000), ["pid"]),
        (read.select("pid", "record_id", n=pl.lit(1)), KEYS),
        (read.select(pl.lit(1).alias("n"), cs.by_name("pid", "record_id")), KEYS),
        (read.select("pid", "record_id", pl.col("red").cast(pl.Float32)).fill_nan(0), KEYS),
        (
            read.with_columns(pl.col("pid").map_batches(first_is_there, is_elementwise=True, return_dtype=pl.Int64)),
            KEYS,
        ),
    ):
        same(query, keys, engine=engine)


@pytest.mark.parametrize("date", range(4))
def test_records_without_a_raster_at_some_time_have_their_rows_once(world, date):
    is_faulty = pl.col("id").str.starts_with(f"s{date}_")
    scenes = world.scenes.with_columns(red=pl.when(~is_faulty).then("red"))
    whole = same(scenes.raster.zonal_stats(world.boxes, ["red"], ["mean"], crs=CRS), KEYS, min_parts=12)
    assert whole.by == "tiles and time"


def test_intervals_and_unknown_times_are_cut_once(world):
    is_west = pl.col("id").str.ends_with("_0")
    span = pl.duration(days=2)
    for scenes in (
        world.scenes.with_columns(datetime=pl.when(is_west).then("datetime")),
        world.scenes.with_columns(datetime=pl.lit(None, dtype=pl.Datetime("us", "UTC"))),
        world.scenes.with_columns(
            start_datetime=pl.when(is_west).then(pl.col("datetime") - span), end_datetime=pl.col("datetime") + span
        ),
    ):
        same(scenes.raster.zonal_stats(world.boxes, ["red"], ["mean"], crs=CRS), KEYS)


def refused(world):
    read = world.scenes.raster.sample_points(world.points, ["red"], crs=CRS)
    other = pl.LazyFrame({"record_id": ["other"]})
    return {
        "group_by of records": (read.group_by("record_id").agg(pl.col("red").mean()), "group_by"),
        "group_by of an overwritten key": (read.with_columns(pid=pl.lit(1)).group_by("pid").agg(pl.len()), "group_by"),
        "group_by of a value": (read.group_by("red").agg(pl.len()), "group_by"),
        "unique": (read.unique("record_id"), "unique"),
        "head": (read.head(7), "head"),
        "tail": (read.tail(7), "tail"),
        "sort": (read.sort("red"), "sort"),
        "top_k": (read.top_k(3, by="red"), "head"),
        "over": (read.with_columns(m=pl.col("red").mean().over("record_id")), "over"),
        "mean": (read.with_columns(m=pl.col("red") - pl.col("red").mean()), "mean"),
        "shift": (read.with_columns(pl.col("red").shift(1)), "shift"),
        "cum_sum": (read.with_columns(pl.col("red").cum_sum()), "cum_sum"),
        "filter by others": (read.filter(pl.col("red") > pl.col("red").median()), "median"),
        "row index": (read.with_row_index(), "with_row_index"),
        "right join": (read.join(other, on="record_id", how="right"), "Right"),
        "full join": (read.join(other, on="record_id", how="full"), "Full"),
        "cross join": (read.join(other, how="cross"), "Cross"),
        "right side": (other.join(read, on="record_id", how="left"), "right side"),
        "asof": (read.sort("x").join_asof(other.with_columns(x=pl.lit(1.0)).sort("x"), on="x"), "join"),
        "checked join": (read.join(other, on="record_id", how="left", validate="1:1"), "validates"),
        "concat": (pl.concat([read, read]), "concat"),
        "two reads": (read.join(read, on="pid"), "right side"),
        "read of a read": (
            world.scenes.raster.sample_points(read.filter(pl.col("red") > 2000).select("pid", "x", "y"), crs=CRS),
            "another read",
        ),
        "count": (read.select(pl.len()), "len"),
        "constant": (read.select(pl.lit(1)), "constants"),
        "constant beside a selector": (read.select(pl.lit(1), cs.starts_with("none")), "constants"),
        "constant beside a pattern": (read.select(pl.lit(1), pl.col("^none.*$") * 2), "constants"),
        "constant beside nothing": (read.select(pl.lit(1).alias("n"), pl.exclude("^.*$")), "constants"),
        "nan by others": (read.select(pl.col("x")).fill_nan(pl.col("x").max()), "max"),
        "fill of others": (read.fill_null(strategy="forward"), "fill_null"),
        "reverse": (read.reverse(), "reverse"),
        "aggregate of the frame": (read.select("red").sum(), "aggregate"),
        "gather_every": (read.gather_every(3), "gather_every"),
        "sorted": (read.set_sorted("pid"), "set_sorted"),
        "wide": (read.pivot("record_id", on_columns=["s0_0"], index="pid", values="red"), "pivot"),
        "sql": (read.sql("select max(red) from self"), "sql"),
        "update by position": (read.update(pl.LazyFrame({"red": pl.Series([7], dtype=pl.UInt16)})), "row_index"),
        "join on other rows": (
            read.join(pl.LazyFrame({"red": pl.Series([7], dtype=pl.UInt16)}), on=pl.col("red").max()),
            "max",
        ),
        "group_by of a renamed value": (read.drop("pid").rename({"red": "pid"}).group_by("pid").agg(pl.len()), "keys"),
        "group_by of a swapped value": (
            read.select(pl.col("red").alias("pid"), pl.col("pid").alias("k")).group_by("pid").agg(pl.len()),
            "keys",
        ),
        "group_by of unpivoted keys": (read.unpivot(["x", "y"], index=["pid"]).group_by("pid").agg(pl.len()), "keys"),
        "sum of groups": (read.group_by("pid").agg(pl.len()).select(pl.col("len").sum()), "sum"),
        "own function of frames": (read.map_batches(lambda frame: frame), "map_batches"),
        "own function of columns": (read.with_columns(pl.col("red").map_batches(lambda one: one)), "is_elementwise"),
        "cache": (read.cache(), "cache"),
        "sink": (read.sink_parquet("never.parquet", lazy=True), "sink"),
        "pivot": (read.unpivot(["red"], index=["pid"]).group_by("pid").head(1), "group_by|head"),
        "no verb": (world.scenes.select(pl.col("red").raster.sample_points(500_005, 4_999_995, crs=CRS)), "no verb"),
        "at of other rows": (
            world.scenes.raster.sample_points(
                world.points.with_columns(t=pl.lit("2024-01-02").str.to_datetime(time_zone="UTC")),
                ["red"],
                crs=CRS,
                match="latest",
                at=pl.col("t").max(),
            ),
            "at=",
        ),
    }


def test_steps_that_would_give_other_rows_are_refused_before_a_request(world):
    for name, (query, words) in refused(world).items():
        with pr.profile() as profile, pytest.raises(UsageError, match=words):
            cut(query, min_parts=8)
        assert profile.summary()["requests"].item() == 0, name


def test_a_group_by_on_keys_that_rows_share_is_refused(world):
    twice = pl.concat([world.points, world.points.head(1)])
    read = world.scenes.raster.sample_points(twice, ["red"], crs=CRS)
    with pytest.raises(UsageError, match=r"241 rows of your table have 240 keys"):
        cut(read.group_by("pid").agg(pl.len()))


STEPS = {
    "filter": lambda lf: lf.filter(pl.col("red").fill_null(0) % 3 != 1),
    "of_rows": lambda lf: lf.filter(pl.col("pid") % 5 != 0),
    "of_records": lambda lf: lf.filter(pl.col("record_id").str.ends_with("_0").fill_null(value=True)),
    "columns": lambda lf: lf.with_columns(n=pl.col("red") + pl.col("pid")),
    "joined": lambda lf: lf.join(pl.LazyFrame({"pid": [1, 2, 2, 7], "w": [1, 2, 3, 4]}), on="pid", how="left").drop(
        "w"
    ),
    "lists": lambda lf: lf.with_columns(t=pl.concat_list("pid", "red")).explode("t").drop("t"),
    "swapped": lambda lf: lf.rename({"x": "y", "y": "x"}),
    "index": lambda lf: lf.with_row_index("i").drop("i"),
    "sorted": lambda lf: lf.sort("red", "pid"),
    "ranked": lambda lf: lf.with_columns(r=pl.col("red").rank()).drop("r"),
    "first": lambda lf: lf.unique("pid", keep="first", maintain_order=True),
}
WRONG_IN_PARTS = {"index", "sorted", "ranked", "first"}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
    match=st.sampled_from(["all", "latest"]),
    min_parts=st.integers(1, 12),
)
def test_a_chain_of_steps_is_refused_or_has_the_rows_of_the_whole(world, names, match, min_parts):
    query = world.scenes.raster.sample_points(world.points[:80], ["red"], crs=CRS, match=match)
    for name in names:
        query = STEPS[name](query)
    if WRONG_IN_PARTS.intersection(names):
        with pytest.raises(UsageError, match="rows of the whole"):
            cut(query, min_parts=min_parts)
        return
    columns = [name for name in query.collect_schema().names() if name != "datetime"]
    same(query, [*columns], min_parts=1)
    found, _ = in_parts(query, min_parts=1)
    assert found.height == query.collect().height


def test_a_plan_of_another_version_and_a_damaged_one_are_refused(world):
    whole = cut(world.scenes.raster.sample_points(world.points, ["red"], crs=CRS))
    part = whole.parts[0]
    for plan in (b"\xff\xff" + whole.plan[2:], whole.plan[:200], b""):
        with pytest.raises(FileFormatError, match=r"[Rr]un the query again"):
            part_query(plan, part, whole.targets, whole.records)
