"""Is a bill that says it is exact what the read then does, and one that says upper not less, without a request for it?"""

from __future__ import annotations

import io

import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support import estimate_world as world
from tests.support.estimate_world import EVERYWHERE, SCATTERED
from tests.support.quiet import end_all_reads

CRS = world.EPSG


def sampled(scenes, bands, targets=SCATTERED, **words):
    return scenes.raster.sample_points(targets, bands, crs=CRS, **words)


def read(band="flat"):
    return pl.col(band).raster.sample_points("x", "y", crs=CRS)


def paired(scenes, targets=SCATTERED):
    return scenes.raster.pair(targets, crs=CRS)


def first_id(lf):
    return lf.filter(pl.col("record_id") == "a")


def wide_boxes(scenes):
    boxes = [shapely.box(500_100 + 900 * at, 4_995_500, 501_900 + 900 * at, 4_999_000) for at in range(3)]
    return scenes.raster.read_windows(boxes, ["cog", "r"], crs=CRS)


EXACT = {
    "one band": lambda s: sampled(s, ["flat"]),
    "all bands": lambda s: sampled(s, None),
    "a COG": lambda s: sampled(s, ["cog"]),
    "bands of one file": lambda s: sampled(s, ["r", "g"]),
    "a masked file": lambda s: sampled(s, ["m"]),
    "the windows of a masked file": lambda s: s.raster.read_windows(SCATTERED, ["m"], shape=(40, 40), crs=CRS, masked=True),
    "a selected band": lambda s: sampled(s, ["flat", "cog"]).select("plot", "cog"),
    "no band": lambda s: sampled(s, ["flat", "cog"]).select("plot", "record_id"),
    "a record filter": lambda s: first_id(sampled(s, ["cog"])),
    "a target filter": lambda s: sampled(s, ["cog"]).filter(pl.col("plot") < 7),
    "a pixel filter": lambda s: sampled(s, ["cog"]).filter(pl.col("cog") > 30_000),
    "a limit": lambda s: sampled(s, ["cog"]).head(5),
    "a limit behind a record filter": lambda s: first_id(sampled(s, ["cog"])).head(5),
    "an aggregate": lambda s: sampled(s, ["flat"]).group_by("plot").agg(pl.col("flat").mean()).sort("flat"),
    "the largest of all": lambda s: sampled(s, ["flat"]).sort("flat").head(3),
    "a window function": lambda s: sampled(s, ["cog"]).with_columns(m=pl.col("cog").mean().over("plot")),
    "an index": lambda s: sampled(s, ["r", "g"]).with_columns(n=pr.normalized_difference("r", "g")).select("n"),
    "interpolation": lambda s: sampled(s, ["cog"], method="bilinear"),
    "neighbourhoods": lambda s: sampled(s, ["cog"], max_distance_pixels=0, return_neighbourhood="always"),
    "long": lambda s: sampled(s, ["cog"], layout="long"),
    "windows": lambda s: s.raster.read_windows(SCATTERED, ["cog", "g"], shape=(40, 40), crs=CRS),
    "boxes": wide_boxes,
    "resampled windows of an overview": lambda s: s.raster.read_windows(
        [shapely.box(500_100, 4_995_500, 504_900, 4_999_000)], ["cog", "flat"], crs=CRS, shape=(60, 50), resampling="bilinear"
    ),
    "covered pixels": lambda s: s.raster.read_windows(
        [shapely.Point(502_000, 4_998_000).buffer(1_500)], ["cog"], crs=CRS, shape=(60, 60), coverage="center", masked=True
    ),
    "a resampled expression": lambda s: s.with_columns(v=pl.col("flat").raster.read_window(shape=(30, 30))).select("v"),
    "an expression": lambda s: paired(s).with_columns(v=read()),
    "an expression on one row": lambda s: paired(s).head(1).with_columns(v=read("cog")),
    "a limit above an expression": lambda s: paired(s).with_columns(v=read()).head(4),
    "a filter above an expression": lambda s: paired(s).with_columns(v=read()).filter(pl.col("v") > 9).select("v"),
    "two expressions": lambda s: paired(s).with_columns(v=read(), w=read("qa").alias("w")).drop("flat", "cog"),
    "bounded columns": lambda s: paired(s).raster.with_columns(v=read()),
    "whole images": lambda s: s.with_columns(pl.col("flat").raster.read_window(window=(0, 300, 0, 300))),
    "a read behind a join on ids": lambda s: sampled(s, ["flat"])
    .join(s.select("id", "qa"), left_on="record_id", right_on="id")
    .with_columns(w=read("qa")),
    "a read of targets that were read": lambda s: sampled(s, ["qa"], sampled(s, ["flat"], record_columns=[])),
    "two reads side by side": lambda s: pl.concat([sampled(s, ["flat"]), sampled(s, ["flat"], EVERYWHERE)]),
    "nothing": lambda s: s.select("id"),
}  # fmt: skip
UPPER = {
    "a pixel filter and a limit": lambda s: sampled(s, ["cog"]).filter(pl.col("cog") > 30_000).head(5),
    "one that nulls pass": lambda s: sampled(s, ["cog"]).filter(pl.col("cog").is_null()).head(1),
    "a limit above a filtered expression": lambda s: paired(s).with_columns(v=read()).filter(pl.col("v") > 9).head(1),
    "latest": lambda s: sampled(s, ["cog"], match="latest"),
    "latest clear": lambda s: sampled(s, ["cog", "r"], match="latest", valid=pl.col("qa") == 2),
    "all clear": lambda s: sampled(s, ["cog", "r"], valid=pl.col("qa") == 2),
    "distance": lambda s: sampled(s, ["cog"], max_distance_pixels=30),
    "distance in an expression": lambda s: paired(s).with_columns(
        v=pl.col("cog").raster.sample_points("x", "y", crs=CRS, max_distance_pixels=30)
    ),
    "an expression on a COG": lambda s: paired(s).with_columns(v=read("cog")),
    "reads of one COG side by side": lambda s: pl.concat([sampled(s, ["cog"]), sampled(s, ["cog"], EVERYWHERE)]),
    "one expression in two places": lambda s: pl.concat([paired(s).with_columns(v=read())] * 2).head(3),
    "a limit above two reads": lambda s: pl.concat([sampled(s, ["flat"]), sampled(s, ["cog"]).rename({"cog": "flat"})])
    .filter(pl.col("plot") > 3).head(3),
    "the first value": lambda s: sampled(s, ["cog"]).filter(pl.col("cog") > 9).select(pl.col("cog").head(2)),
}  # fmt: skip
UNKNOWN = {
    "a read behind a pixel filter": lambda s: paired(s).with_columns(v=read()).filter(pl.col("v") > 9).with_columns(w=read("qa")),
    "targets behind a pixel filter": lambda s: sampled(
        s, ["qa"], sampled(s, ["flat"]).filter(pl.col("flat") > 9).select("x", "y")
    ),
    "a join on pixels": lambda s: sampled(s, ["r"])
    .join(s.select(qa="qa", r=pl.lit(3, pl.UInt8)), on="r")
    .with_columns(w=read("qa")),
    "the place of a read": lambda s: paired(s).with_columns(v=read()).with_columns(
        w=pl.col("qa").raster.sample_points(pl.col("x") + pl.col("v"), "y", crs=CRS)
    ),
    "a read behind the best pixel": lambda s: paired(s).with_columns(v=read()).sort("v").head(3).with_columns(w=read("qa")),
    "a read behind distinct pixels": lambda s: paired(s).with_columns(v=read()).unique("v").with_columns(w=read("qa")),
    "a read in a filter": lambda s: paired(s).filter(read() > 30_000),
    "a read behind the record that was chosen": lambda s: sampled(s, ["flat"], match="latest")
    .join(s.select("id", "qa"), left_on="record_id", right_on="id")
    .with_columns(w=read("qa")),
    "bounded columns behind a pixel filter": lambda s: paired(s).with_columns(v=read()).filter(pl.col("v") > 9)
    .raster.with_columns(w=read("qa")),
}  # fmt: skip


def _plus_one(series):
    return series + 1


def moved(query, source, engine):
    """Give the tiles and bytes that a query moves with a cold cache, counted by the profile and by the store."""
    process_scheduler().clear_cache()
    source.clear()
    with pr.profile() as p:
        query.collect(engine=engine)
        end_all_reads()
    told = p.summary().row(0, named=True)
    assert told["bytes"] == source.bytes
    return told["tiles"] - told["cache_hits"] - told["shared_tiles"], source.bytes


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_bill_is_what_is_read(name, source, scenes, engine):
    query = EXACT[name](scenes)
    bill = pr.estimate(query)
    assert source.requests == []
    assert bill.bound == "exact"
    assert (bill.tiles, bill.bytes) == moved(query, source, engine)


@pytest.mark.parametrize("name", UPPER)
def test_an_upper_bill_is_not_less_than_what_is_read(name, source, scenes, engine):
    query = UPPER[name](scenes)
    bill = pr.estimate(query)
    assert source.requests == []
    assert bill.bound == "upper"
    tiles, n_bytes = moved(query, source, engine)
    assert 0 < tiles <= bill.tiles
    assert 0 < n_bytes <= bill.bytes


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_stands_behind_pixel_values_is_unknown(name, source, scenes):
    bill = pr.estimate(UNKNOWN[name](scenes))
    assert source.requests == []
    assert bill.bound == "unknown"


@pytest.mark.parametrize("max_answer_bytes", [2_000, 20_000])
def test_a_read_in_many_units_has_an_exact_bill(source, scenes, engine, max_answer_bytes):
    with pr.options(max_answer_bytes=max_answer_bytes):
        query = sampled(scenes, ["cog", "r"])
    bill = pr.estimate(query)
    assert bill.bound == "exact"
    assert (bill.tiles, bill.bytes) == moved(query, source, engine)


def test_a_limit_above_many_units_is_an_upper_bound(source, scenes, engine):
    with pr.options(max_answer_bytes=200):
        query = first_id(sampled(scenes, ["cog"])).head(3)
    bill = pr.estimate(query)
    assert bill.bound == "upper"
    tiles, n_bytes = moved(query, source, engine)
    assert tiles <= bill.tiles
    assert n_bytes <= bill.bytes


def test_tiles_that_the_cache_cannot_keep_are_counted_each_time(source, scenes, engine):
    with pr.options(cache_bytes=100_000, max_answer_bytes=200):
        query = sampled(scenes, ["cog"])
        bill = pr.estimate(query)
        tiles, n_bytes = moved(query, source, engine)
    assert bill.bound == "upper"
    assert tiles <= bill.tiles
    assert n_bytes <= bill.bytes
    assert bill.bytes > pr.estimate(query).bytes


def test_the_numbers_are_those_of_the_files(scenes, prefix):
    bill = pr.estimate(sampled(scenes, ["flat", "qa"], EVERYWHERE))
    n_records = len(world.RECORDS)
    assert bill.records == n_records
    assert bill.images == 2 * n_records
    assert bill.tiles == 2 * n_records * world.N_TILES
    decoded = n_records * world.SIZE**2 * (2 + 2)
    assert bill.decoded_bytes == decoded
    assert bill.by_host.row(0, named=True)["host"] == prefix.removesuffix("/")
    assert bill.by_record["record_id"].sort().to_list() == list(world.RECORDS)
    for name in ("tiles", "requests", "bytes", "decoded_bytes"):
        assert bill.by_host[name].sum() == bill.by_record[name].sum() == getattr(bill, name)
    assert bill.by_record["images"].to_list() == [2] * n_records
    flat = pr.estimate(sampled(scenes, ["flat"], EVERYWHERE))
    assert flat.bytes == n_records * world.SIZE**2 * 2


def test_bands_in_two_expressions_and_one_file_are_of_one_record(scenes):
    query = scenes.with_columns(
        pl.col("r").raster.read_window(window=(0, 9, 0, 9)), pl.col("g").raster.read_window(window=(0, 9, 0, 9))
    )
    bill = pr.estimate(query)
    assert (bill.records, bill.images) == (3, 6)


def test_cost_and_time_follow_from_prices_and_bytes(scenes, source, prefix):
    query = sampled(scenes, ["flat"], EVERYWHERE)
    free = pr.estimate(query)
    assert free.cost_usd is None
    assert free.by_host["cost_usd"].to_list() == [None]
    pr.configure_store(prefix, store=source, usd_per_gb=0.09, usd_per_1000_requests=0.4)
    bill = pr.estimate(query)
    assert bill.cost_usd == pytest.approx(bill.bytes / 1e9 * 0.09 + bill.requests / 1e3 * 0.4)
    assert bill.by_host["cost_usd"].sum() == pytest.approx(bill.cost_usd)
    assert bill.seconds > 0


def test_the_seconds_follow_what_was_seen_of_the_host(scenes):
    """Not timed: a host that was seen to take minutes makes the estimate as long."""
    hrefs = scenes.select(pl.col("flat").struct.field("href")).collect()["href"].to_list()
    speed = process_scheduler().speed(hrefs[0])
    before = pr.estimate(sampled(scenes, ["flat"])).seconds
    speed.observe(100, 10_000.0, at_once=1)
    waiting = speed.latency_s(0.0)
    assert waiting >= 1_000
    assert before < waiting <= pr.estimate(sampled(scenes, ["flat"])).seconds


def test_a_bill_is_not_in_the_profile(scenes):
    with pr.profile() as p:
        pr.estimate(sampled(scenes, ["flat", "cog"], max_distance_pixels=3))
    told = p.summary().row(0, named=True)
    assert (told["requests"], told["tiles"], told["decoded_tiles"], p.errors) == (0, 0, 0, [])


def test_a_bill_prints_and_renders(scenes):
    bill = pr.estimate(sampled(scenes, ["flat"], EVERYWHERE))
    assert f"bytes          {bill.bytes:,}" in repr(bill)
    assert "exact" in bill._repr_html_()
    with pytest.raises(AttributeError):
        bill.bytes = 1


@pytest.mark.parametrize("name", ["sink_parquet", "sink_csv", "sink_ipc"])
def test_a_query_that_ends_in_a_sink_is_refused(scenes, source, tmp_path, name):
    query = sampled(scenes, ["flat"]).select("plot", "flat")
    sink = getattr(query, name)(tmp_path / "out", lazy=True)
    with pytest.raises(UsageError, match="sink"):
        pr.estimate(sink)
    assert not (tmp_path / "out").exists()
    assert source.requests == []


def test_only_lazy_frames_have_a_bill(scenes):
    with pytest.raises(UsageError, match="DataFrame"):
        pr.estimate(scenes.collect())


def test_a_query_that_cannot_be_pickled_is_refused_in_words(scenes):
    import threading

    lock = threading.Lock()
    query = sampled(scenes, ["flat"]).with_columns(
        pl.col("plot").map_batches(lambda one: one if lock.locked() else -one)
    )
    with pytest.raises(UsageError, match=r"cannot be estimated.*pickle"):
        pr.estimate(query)


def test_the_query_itself_still_reads_after_its_bill_and_while_it_is_made(source, scenes, engine):
    query = sampled(scenes, ["flat"])
    expected = query.collect(engine=engine)
    assert expected["flat"].null_count() < expected.height
    process_scheduler().clear_cache()
    pr.estimate(query)
    assert query.collect(engine=engine).equals(expected)


def test_a_budget_does_not_stop_a_bill(source, scenes):
    with pr.options(budget_bytes=1):
        queries = [sampled(scenes, ["flat"]), paired(scenes).with_columns(v=read())]
    for query in queries:
        assert pr.estimate(query).bytes > 1


def test_a_collection_on_disk_and_functions_of_the_caller_are_fine(source, scenes, tmp_path, engine):
    scenes.raster.sink_collection(tmp_path / "scenes.parquet")
    held = pr.scan_collection(tmp_path / "scenes.parquet").filter(pl.col("id") != "b")
    query = (
        sampled(held, ["flat"])
        .with_columns(z=pl.col("flat").map_batches(_plus_one, return_dtype=pl.UInt16))
        .filter(pl.col("z") > 2)
    )
    bill = pr.estimate(query)
    assert bill.bound == "exact"
    assert bill.records == 2
    assert (bill.tiles, bill.bytes) == moved(query, source, engine)


def test_the_result_is_not_held_in_memory(scenes):
    # 60 points x 3 records x 400 x 400 pixels x 2 bytes: as zeros that nobody looks at, this costs nothing.
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    many = pl.concat([SCATTERED] * 40)
    bill = pr.estimate(scenes.raster.read_windows(many, ["flat"], shape=(400, 400), crs=CRS))
    assert bill.tiles == 3 * world.N_TILES
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 700e6


def test_what_polars_cannot_tell_is_unknown(scenes):
    query = pl.SQLContext(v=sampled(scenes, ["flat"]), eager=False).execute(
        "select plot, avg(flat) f from v group by plot"
    )
    bill = pr.estimate(query)
    assert bill.bound == "unknown"
    assert bill.tiles


UNREAD = {
    "points": lambda s, **how: sampled(s, ["flat", "qa"], **how),
    "windows": lambda s, **how: s.raster.read_windows(SCATTERED, ["flat", "qa"], shape=(2, 2), crs=CRS, **how),
    "an expression": lambda s, **how: paired(s).with_columns(
        pl.col("flat", "qa").raster.sample_points("x", "y", crs=CRS, **how)
    ),
}


@pytest.mark.parametrize("name", UNREAD)
@pytest.mark.filterwarnings("ignore:.*values are null:RuntimeWarning")
def test_files_that_nothing_reads_cost_nothing_where_their_rows_may_be_null(name, source, scenes, engine):
    href = pl.lit("nothing://reads/this.tif")
    flat = pl.when(pl.col("id") == "a").then(href).otherwise(pl.col("flat").struct.field("href")).alias("href")
    broken = scenes.with_columns(pl.col("flat").struct.with_fields(flat))
    query = UNREAD[name](broken, on_error="null")
    bill = pr.estimate(query)
    assert source.requests == []
    assert bill.bound == "exact"
    assert (bill.tiles, bill.bytes) == moved(query, source, engine)
    assert bill.by_host.height == 1
    with pytest.raises(UsageError, match="nothing reads nothing://"):
        pr.estimate(UNREAD[name](broken))


def test_the_host_of_a_path_that_looks_like_an_url_is_this_machine(scenes):
    # Messages show such a path as a URL; the speed seen of its host is asked for by what it is.
    broken = scenes.filter(pl.col("id") == "a").with_columns(
        pl.col("flat").struct.with_fields(pl.lit("odd:/name.tif").alias("href"))
    )
    assert pr.estimate(sampled(broken, ["flat"], on_error="null")).requests > 0


def test_a_deserialized_query_is_estimated_or_refused_and_never_read():
    scenes = pr.testing.example_scenes()
    points = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})
    verb = scenes.raster.sample_points(points, ["red"], crs=32632)
    expression = scenes.select(pl.col("red").raster.sample_points(500_005, 4_999_995, crs=32632))
    copies = [pl.LazyFrame.deserialize(io.BytesIO(one.serialize())) for one in (verb, expression)]
    with pr.profile() as profile:
        assert pr.estimate(copies[0]).tiles == pr.estimate(verb).tiles
        with pytest.raises(UsageError, match="deserialized"):
            pr.estimate(copies[1])
    assert profile.summary()["tiles"].item() == 0
