"""Does a query end in time as a whole, though each of its requests does?"""

from __future__ import annotations

import time

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.fault_plans import RateLimit
from tests.support.range_server import Fault
from tests.support.workloads import EACH_TILE_ALONE, sample, windows

FACES = [("verb", "streaming"), ("verb", "in-memory"), ("expression", "streaming"), ("expression", "in-memory")]
LIMIT_S = 0.5
SLOW = {"query_timeout_s": LIMIT_S, "max_concurrency": 2, **EACH_TILE_ALONE}
"""512 tiles, two at a time, 50 ms each: 13 s."""


@pytest.fixture
def slow(archive, server):
    """Records on a server that answers every request well, after a while."""
    records = archive.records(server.origin + "/").collect().lazy()
    server.fault = lambda _seen: Fault(delay_s=0.05)
    clear_cache()
    return records


def timed(query, engine):
    began = time.monotonic()
    with pytest.raises(
        pr.errors.QueryTimeoutError, match=r"query_timeout_s=0\.5.*pr\.options\(query_timeout_s="
    ) as caught:
        query.collect(engine=engine)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("read", [sample, windows], ids=["points", "windows"])
@pytest.mark.parametrize(("face", "engine"), FACES)
def test_a_query_ends_in_time(archive, slow, face, engine, read):
    with pr.options(**SLOW):
        query = read(slow, archive.points(400), face)
        timed(query, engine)


@pytest.mark.parametrize(("face", "engine"), FACES[1:3])
@pytest.mark.parametrize("most", [0, 20])
def test_a_query_that_waits_for_its_turn_at_a_store_of_few_requests_a_second_ends_in_time(
    archive, slow, server, most, face, engine
):
    server.fault = RateLimit(most)
    with pr.options(query_timeout_s=LIMIT_S, **EACH_TILE_ALONE):
        timed(sample(slow, archive.points(400), face), engine)


@pytest.mark.parametrize(("face", "engine"), FACES)
def test_null_on_error_does_not_hide_it(archive, slow, face, engine):
    with pr.options(on_error="null", **SLOW):
        timed(sample(slow, archive.points(400), face), engine)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_reads_that_follow_each_other_share_the_time(archive, slow, engine):
    """Each unit is quick; all of them are not."""
    with pr.options(max_answer_bytes=4_000, **SLOW):
        timed(sample(slow, archive.points(400), "verb"), engine)
        pairs = slow.raster.pair(archive.points(400), crs="native")
        timed(pairs.raster.with_columns(v=pl.col("red").raster.sample_points("x", "y", crs="native")), engine)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_neighbours_that_are_looked_for_share_the_time(archive, slow, engine):
    with pr.options(**SLOW):
        points = archive.points(400)
        timed(slow.raster.sample_points(points, ["red"], crs="native", max_distance_pixels=3), engine)
        pairs = slow.raster.pair(points, crs="native").collect().lazy()
        near = pl.col("red").raster.sample_points("x", "y", crs="native", max_distance_pixels=3)
        timed(pairs.with_columns(v=near), engine)


@pytest.mark.parametrize(("face", "engine"), FACES)
def test_every_run_of_a_query_has_the_whole_time(archive, slow, face, engine):
    points = archive.points(4)
    with pr.options(query_timeout_s=2.0):
        query = sample(slow, points, face)
        began = time.monotonic()
        while time.monotonic() - began < 2.2:
            clear_cache()
            assert_frame_equal(query.collect(engine=engine), archive.sampled(points))


def test_without_a_limit_nothing_ends(archive, slow):
    points = archive.points(12)
    assert_frame_equal(sample(slow, points, "verb").collect(), archive.sampled(points))


def test_an_estimate_ends_in_time_too(archive, slow):
    def late(frame):
        time.sleep(0.02)
        return frame

    points = archive.points(20).lazy().map_batches(late)
    with pr.options(query_timeout_s=0.01):
        query = sample(slow, points, "verb")
        with pytest.raises(pr.errors.QueryTimeoutError):
            pr.estimate(query)
    with pr.options(query_timeout_s=60):
        assert pr.estimate(sample(slow, points, "verb")).requests > 0


@pytest.mark.parametrize("wrong", [0, -1, "1", True, float("nan")])
def test_a_limit_that_is_none_is_refused(wrong):
    with pytest.raises(pr.errors.UsageError, match="query_timeout_s"):
        pr.options(query_timeout_s=wrong)
