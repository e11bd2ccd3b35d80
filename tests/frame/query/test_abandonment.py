"""Does a query that nobody waits for leave anything behind?"""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache, process_scheduler
from polars_rasteret.testing import FaultySource, MemorySource
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, reference, verb
from tests.support.query_shapes import PIXEL

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = tuple(range(8))
FACES_AND_ENGINES = [
    ("verb", "streaming"),
    ("verb", "in-memory"),
    ("expressions", "streaming"),
    ("batched_expressions", "streaming"),
    pytest.param("expressions", "in-memory", marks=pytest.mark.slow),
    pytest.param("batched_expressions", "in-memory", marks=pytest.mark.slow),
]


class SwitchedSource:
    """The files of the world, through whatever source a test puts before them."""

    def __init__(self) -> None:
        self.plain = MemorySource(world.files())
        self.now: Any = self.plain

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Any:
        return self.now.get(href, byte_start, byte_stop, etag=etag)


class SlowSource:
    def __init__(self, inner: Any, pause_s: float) -> None:
        self.inner, self.pause_s = inner, pause_s

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Any:
        time.sleep(self.pause_s)
        return self.inner.get(href, byte_start, byte_stop, etag=etag)


class BrokenSource:
    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Any:
        raise OSError(f"{href}: the cable is cut")


@pytest.fixture
def source(in_memory: pl.LazyFrame) -> Iterator[SwitchedSource]:
    switched = SwitchedSource()
    pr.configure_store(world.PREFIX, store=switched)
    clear_cache()
    yield switched
    pr.configure_store(world.PREFIX, store=switched.plain)
    clear_cache()


def held() -> dict[str, int]:
    state = process_scheduler().state()
    return {
        "running": state.n_running,
        "queued": state.n_queued,
        "delayed": state.n_delayed,
        "awaited": state.n_tiles_awaited,
        "bytes": state.bytes_in_flight,
        "lost": state.n_threads_lost,
    }


def settle(within_s: float = 5.0) -> None:
    """Wait until requests on their way have come home; then nothing may be held."""
    gc.collect()
    ends = time.monotonic() + within_s
    while any(held().values()) and time.monotonic() < ends:
        time.sleep(0.01)
    assert held() == dict.fromkeys(held(), 0)


def n_threads(prefix: str = "") -> int:
    return sum(one.name.startswith(prefix) for one in threading.enumerate())


@pytest.fixture(scope="module")
def n_warm(in_memory: pl.LazyFrame) -> int:
    """Start every thread that is ever started, and say how many of the fetching ones there are."""
    clear_cache()
    for engine in ENGINES:
        for face in FACES.values():
            face(in_memory, "null").collect(engine=engine)
    settle()
    return process_scheduler().state().n_threads


def check_all_is_well(collection: pl.LazyFrame) -> None:
    for engine in ENGINES:
        assert_frame_equal(verb(collection, "null").collect(engine=engine), reference(EVERYTHING, "null"))
    settle()


@pytest.mark.parametrize(("face", "engine"), FACES_AND_ENGINES)
def test_head_of_a_pixel_filter_leaves_nothing_behind(face, engine, source, n_warm, in_memory):
    source.now = SlowSource(source.plain, 0.003)
    expected = reference(EVERYTHING, "null").filter(PIXEL)
    for n in (1, 2, 5):
        clear_cache()
        got = FACES[face](in_memory, "null").filter(PIXEL).head(n).collect(engine=engine)
        assert_frame_equal(got, expected.head(n))
    settle()
    source.now = source.plain
    check_all_is_well(in_memory)


@pytest.mark.parametrize(("face", "engine"), FACES_AND_ENGINES)
def test_an_exception_downstream_leaves_nothing_behind(face, engine, source, n_warm, in_memory):
    def fails(value: int) -> int:
        raise ValueError(f"no use for {value}")

    asked = FACES[face](in_memory, "drop").with_columns(
        pl.col("red").map_elements(fails, return_dtype=pl.Int64, skip_nulls=True).alias("never")
    )
    for _ in range(3):
        clear_cache()
        with pytest.raises((pl.exceptions.PolarsError, ValueError), match="no use for"):
            asked.collect(engine=engine)
    settle()
    check_all_is_well(in_memory)


@pytest.mark.parametrize(("face", "engine"), FACES_AND_ENGINES)
def test_a_failing_source_leaves_nothing_behind(face, engine, source, n_warm, in_memory):
    source.now = FaultySource(source.plain, seed=7, error_rate=0.3, fatal=True)
    with pr.options(retries=0):
        asked = FACES[face](in_memory, "drop")
    for _ in range(3):
        clear_cache()
        with pytest.raises(pr.errors.FetchError, match="FaultySource"):
            asked.collect(engine=engine)
    settle()
    source.now = source.plain
    check_all_is_well(in_memory)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_of_a_foreign_source_is_a_fetch_error(engine, source, in_memory):
    source.now = BrokenSource()
    with pr.options(retries=0):
        asked = verb(in_memory, "null")
    with pytest.raises(pr.errors.FetchError, match=r"memory://frame-tests/.*the cable is cut|the cable is cut"):
        asked.collect(engine=engine)
    settle()
    source.now = source.plain
    check_all_is_well(in_memory)


@pytest.mark.parametrize("engine", ENGINES)
def test_passing_faults_are_not_seen(engine, source, in_memory):
    faulty = FaultySource(source.plain, seed=3, error_rate=0.15, short_rate=0.1)
    source.now = faulty
    with pr.options(retries=12):
        asked = verb(in_memory, "null")
    assert_frame_equal(asked.collect(engine=engine), reference(EVERYTHING, "null"))
    assert faulty.n_faults > 3
    settle()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_failed_reads_become_null_and_say_why(unmatched, engine, source, in_memory):
    class NoRed:
        def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Any:
            if href.endswith("scene-1/red.tif"):
                raise OSError("the cable is cut")
            return source.plain.get(href, byte_start, byte_stop, etag=etag)

    source.now = NoRed()
    with pr.options(retries=0, on_error="null"):
        asked = verb(in_memory, unmatched)
    failed = pl.col("serial") == 1
    whole = reference(EVERYTHING, unmatched)
    expected = whole.with_columns(red=pl.when(failed).then(None).otherwise("red"))
    got = asked.collect(engine=engine)
    assert_frame_equal(got.drop("read_error"), expected)
    assert (
        got["read_error"].is_not_null().to_list() == whole.select(failed.fill_null(value=False)).to_series().to_list()
    )
    for reason in got["read_error"].drop_nulls():
        assert reason.startswith("red")
        assert "the cable is cut" in reason
        assert "scene-1/red.tif" in reason
    only = asked.filter(pl.col("read_error").is_not_null()).select("serial", "red").collect(engine=engine)
    assert only.rows() == [(1, None)] * whole.filter(failed).height
    # A column that is not asked for cannot fail, but the reason of one that is must not depend on what else is.
    fine = asked.select("point", "nir").collect(engine=engine)
    assert_frame_equal(fine, whole.select("point", "nir"))
    settle()


@pytest.mark.parametrize(("face", "engine"), FACES_AND_ENGINES)
def test_dropped_batches_leave_nothing_behind(face, engine, source, n_warm, in_memory):
    source.now = SlowSource(source.plain, 0.002)
    first = reference(EVERYTHING, "null").filter(PIXEL)
    for _ in range(3):
        clear_cache()
        batches = FACES[face](in_memory, "null").filter(PIXEL).collect_batches(
            chunk_size=4, maintain_order=True, engine=engine
        )  # fmt: skip
        got = next(iter(batches))
        assert_frame_equal(got, first.head(got.height))
        del batches, got
    never = FACES[face](in_memory, "null").collect_batches(chunk_size=4, engine=engine)
    del never
    settle()
    source.now = source.plain
    check_all_is_well(in_memory)


def test_threads_do_not_grow_with_queries(source, n_warm, in_memory):
    python_threads = n_threads()
    for at in range(30):
        clear_cache()
        engine = ENGINES[at % 2]
        face = list(FACES.values())[at % len(FACES)]
        face(in_memory, "null").filter(PIXEL).head(1 + at % 3).collect(engine=engine)
    settle()
    state = process_scheduler().state()
    assert state.n_threads <= max(n_warm, 32)
    assert state.n_threads_lost == 0
    # Polars' own threads show up when they call Python; ours are fetch and decode threads that exist once.
    assert n_threads() <= python_threads + 32


def run_many(collection: pl.LazyFrame, n: int) -> None:
    few = world.points()[[36, 45, 47]]
    one = collection.filter(pl.col("serial").is_in([0, 2]))
    wanted = world.sampled(few, [0, 2], unmatched="drop")
    assert wanted.height >= 3
    frame = one.raster.sample_points(
        few, ["red"], crs=4326, unmatched="drop", record_columns=world.RECORD_COLUMNS
    ).select("point", "serial", "red")
    wanted = wanted.select("point", "serial", "red")
    bright = wanted.filter(pl.col("red") > 0)
    for at in range(n):
        engine = ENGINES[at % 2]
        if at % 3:
            assert frame.head(1).collect(engine=engine).row(0) == wanted.row(0)
        else:
            assert frame.filter(pl.col("red") > 0).head(1).collect(engine=engine).row(0) == bright.row(0)
    settle()


def test_hundreds_of_queries_run_after_abandoned_ones(source, n_warm, in_memory):
    clear_cache()
    for _ in range(5):
        clear_cache()
        batches = verb(in_memory, "null").filter(PIXEL).collect_batches(chunk_size=4)
        next(iter(batches))
        del batches
    run_many(in_memory, 200)
    assert process_scheduler().state().n_threads <= max(n_warm, 32)


@pytest.mark.slow
def test_a_thousand_queries_run_after_abandoned_ones(source, in_memory):
    for _ in range(50):
        clear_cache()
        batches = verb(in_memory, "null").filter(PIXEL).collect_batches(chunk_size=4)
        next(iter(batches))
        del batches
    run_many(in_memory, 1_000)
