"""Do filters, wherever they are written, choose records before any byte of theirs moves?"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.range_server import RangeServer
from tests.support.recorded import (
    DAYS_PER_PLACE,
    FIRST_DAY,
    SIZE,
    Store,
    alias,
    build,
    noise,
    place_of,
    place_origin,
    points,
    tiff,
)

N_PLACES, N_PER_PLACE, ROW_GROUP_SIZE = 40, 75, 75
BANDS = ["B01", "B02", "B03"]
RECORD_COLUMNS = ["id", "datetime", "eo:cloud_cover"]
PLACES = [3, 17, 31]
"""Where the caller has points, far from each other."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Serve 3,000 records in 40 row groups over HTTP; their pixels are in memory."""
    store = Store()
    record = {"id": ["one"], **{band: [store.put(f"{band}.tif", tiff(noise(n)))] for n, band in enumerate(BANDS)}}
    scene = build(store, record, {band: band for band in BANDS})
    frame = alias(store, scene, BANDS, n_places=N_PLACES, n_per_place=N_PER_PLACE)
    path = tmp_path_factory.mktemp("collection") / "scenes.parquet"
    frame.lazy().raster.sink_collection(path, row_group_size=ROW_GROUP_SIZE)
    with RangeServer({"scenes.parquet": path.read_bytes()}) as server:
        store.server = server
        store.scenes = pr.scan_collection(server.url("scenes.parquet"))
        yield store
    store.close()


@pytest.fixture(scope="module")
def whole_bytes(world):
    """Give the Parquet bytes of a query that needs every record."""
    everywhere = sampled(world.scenes, points=plots(range(N_PLACES)))
    everywhere.collect()
    world.server.clear()
    everywhere.collect()
    return world.server.n_bytes


@pytest.fixture
def read(world, engine):
    """Run a query cold, and give its answer with what it took."""

    def run(query):
        clear_cache()
        world.clear()
        world.server.clear()
        frame = query.collect(engine=engine)
        return frame, {place_of(href) for href in world.hrefs}, world.server.n_bytes

    return run


def plots(places=PLACES, pixel=(200, 300), **columns):
    frames = [
        points([pixel], x=place_origin(place)[0], y=place_origin(place)[1], plot=[f"plot {place}"]) for place in places
    ]
    return pl.concat(frames).with_columns(**columns)


def sampled(scenes, **words):
    words = {"record_columns": RECORD_COLUMNS, "crs": 32632, **words}
    return scenes.raster.sample_points(words.pop("points", plots()), ["B01"], **words)


def window(first, last):
    """Give the instants between two places' times."""
    return [FIRST_DAY + dt.timedelta(days=DAYS_PER_PLACE * place) for place in (first, last)]


RECORD_FILTERS = {
    "cloud cover": pl.col("eo:cloud_cover").is_between(17, 17.5),
    "datetime": pl.col("datetime").is_between(*window(17, 17.5)),
    "both": (pl.col("eo:cloud_cover") < 17.5) & (pl.col("datetime") >= window(17, 0)[0]),
}


def test_without_a_filter_every_record_that_meets_a_point_is_read_and_no_row_group_between(world, read, whole_bytes):
    frame, places, parquet_bytes = read(sampled(world.scenes))
    assert parquet_bytes < whole_bytes / 3
    assert frame.height == len(PLACES) * N_PER_PLACE
    assert places == set(PLACES)
    assert len(world.requests) == frame.height


@pytest.mark.parametrize(("name", "unmatched"), [*((name, "null") for name in RECORD_FILTERS), ("both", "drop")])
def test_a_filter_on_the_collection_reads_no_byte_of_other_records_and_skips_their_row_groups(
    world, read, whole_bytes, name, unmatched
):
    condition = RECORD_FILTERS[name]
    frame, places, parquet_bytes = read(sampled(world.scenes.filter(condition), unmatched=unmatched))
    assert places == {17}
    assert len(world.requests) == frame["record_id"].drop_nulls().len() == N_PER_PLACE // 2 + 1
    assert frame.height == N_PER_PLACE // 2 + 1 + (2 if unmatched == "null" else 0)
    assert parquet_bytes < whole_bytes / 4


@pytest.mark.parametrize(("name", "unmatched"), [*((name, "null") for name in RECORD_FILTERS), ("both", "drop")])
def test_the_same_filter_after_the_verb_reads_no_byte_of_other_records_and_skips_their_row_groups(
    world, read, whole_bytes, name, unmatched
):
    condition = RECORD_FILTERS[name]
    before = sampled(world.scenes.filter(condition), unmatched="drop").collect()
    frame, places, parquet_bytes = read(sampled(world.scenes, unmatched=unmatched).filter(condition))
    assert places == {17}
    assert len(world.requests) == N_PER_PLACE // 2 + 1
    assert frame.equals(before)
    assert parquet_bytes < whole_bytes / 4


def test_a_filter_written_in_several_steps_around_other_verbs_of_polars_still_lands_in_the_scan(
    world, read, whole_bytes
):
    query = (
        sampled(world.scenes)
        .with_columns(double=pl.col("B01").cast(pl.Float64) * 2)
        .rename({"record_id": "scene"})
        .filter(pl.col("eo:cloud_cover") < 17.5)
        .select("scene", "double", "datetime")
        .filter(pl.col("datetime") >= window(17, 0)[0])
    )
    frame, places, parquet_bytes = read(query)
    assert (frame.height, places) == (N_PER_PLACE // 2 + 1, {17})
    assert parquet_bytes < whole_bytes / 4


def test_a_null_record_is_kept_by_a_filter_that_accepts_it(world, read):
    late = (pl.col("eo:cloud_cover") > 17.9) & (pl.col("eo:cloud_cover") < 18)
    query = sampled(world.scenes.filter(late)).filter(pl.col("eo:cloud_cover").is_null() | (pl.col("B01") > 0))
    frame, places, _ = read(query)
    assert places == {17}
    assert frame.filter(pl.col("record_id").is_null())["plot"].to_list() == ["plot 3", "plot 31"]


def test_targets_in_one_place_leave_row_groups_elsewhere_unread(world, read, whole_bytes):
    frame, places, parquet_bytes = read(sampled(world.scenes, points=plots([17])))
    assert (frame.height, places) == (N_PER_PLACE, {17})
    assert parquet_bytes < whole_bytes / 4


def seasons():
    """Give plots with a season of their own: the first third of the place's days, but none for the last plot."""
    frame = plots()
    spans = [window(place, place + 1 / 3) for place in PLACES]
    spans[-1] = window(0, 1)
    return frame.with_columns(
        planting=pl.Series([one[0] for one in spans]).cast(pl.Datetime("us", "UTC")),
        harvest=pl.Series([one[1] for one in spans]).cast(pl.Datetime("us", "UTC")),
    )


@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_a_filter_that_compares_a_record_with_the_callers_row_chooses_pairs_before_any_request(world, read, unmatched):
    in_season = pl.col("datetime").is_between("planting", "harvest")
    everything = sampled(world.scenes, points=seasons(), unmatched=unmatched).collect()
    frame, places, _ = read(sampled(world.scenes, points=seasons(), unmatched=unmatched).filter(in_season))
    assert places == set(PLACES[:-1])
    assert len(world.requests) == frame.height == 2 * (N_PER_PLACE // 3 + 1)
    assert frame.equals(everything.filter(in_season))


def test_a_pair_filter_with_a_pixel_filter_requests_only_what_the_pair_filter_leaves(world, read):
    in_season = pl.col("datetime").is_between("planting", "harvest")
    query = sampled(world.scenes, points=seasons(), unmatched="drop")
    frame, _, _ = read(query.filter(in_season & (pl.col("B01") > 60_000)))
    assert frame.is_empty()
    assert len(world.requests) == 2 * (N_PER_PLACE // 3 + 1)


def test_a_filter_on_the_callers_columns_reads_nothing_for_other_rows(world, read):
    frame, places, parquet_bytes = read(sampled(world.scenes).filter(pl.col("plot") == "plot 17"))
    requests, first_bytes = sorted(world.requests), parquet_bytes
    assert (frame.height, places) == (N_PER_PLACE, {17})
    same, _, second_bytes = read(sampled(world.scenes, points=plots().filter(pl.col("plot") == "plot 17")))
    assert sorted(world.requests) == requests
    assert second_bytes == first_bytes
    assert frame.equals(same)


def test_filters_on_caller_record_and_both_equal_the_same_filters_written_before_the_verb(world, read):
    of_caller, of_record = pl.col("plot") != "plot 3", pl.col("eo:cloud_cover") < 17.2
    frame, places, _ = read(sampled(world.scenes).filter(of_caller & of_record))
    requests = sorted(world.requests)
    before = sampled(world.scenes.filter(of_record), points=plots().filter(of_caller), unmatched="drop")
    same, _, _ = read(before)
    assert sorted(world.requests) == requests
    assert places == {17}
    assert frame.equals(same)


def test_a_python_function_in_a_filter_sees_the_answer_and_not_the_collection(world, read):
    seen = []

    def is_early(times: pl.Series) -> pl.Series:
        seen.append(len(times))
        return times < window(17, 17.5)[1]

    query = sampled(world.scenes, points=plots([17])).filter(
        pl.col("datetime").map_batches(is_early, return_dtype=pl.Boolean, is_elementwise=True)
    )
    frame, _, _ = read(query)
    assert frame.height == N_PER_PLACE // 2 + 1
    assert sum(seen) <= 2 * N_PER_PLACE


def test_expressions_on_pairs_read_only_what_filters_leave_wherever_they_stand(world, read):
    pairs = world.scenes.raster.pair(plots(), crs=32632, record_columns=RECORD_COLUMNS)
    query = pairs.with_columns(value=pl.col("B01").raster.sample_points("x", "y", crs=32632)).filter(
        RECORD_FILTERS["cloud cover"]
    )
    frame, places, _ = read(query.select("plot", "record_id", "value"))
    assert places == {17}
    assert len(world.requests) == frame.height == N_PER_PLACE // 2 + 1


def test_points_outside_every_image_issue_no_request(world, read):
    nowhere = plots(PLACES, pixel=(SIZE + 20, 5))  # between two images
    frame, places, _ = read(sampled(world.scenes, points=nowhere))
    assert places == set()
    assert frame["B01"].null_count() == frame.height == len(PLACES)
