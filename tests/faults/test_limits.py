"""Are the limits of the process kept while 64 queries run at once, and does no reader suffer from another's end?"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.pending import RequestState
from polars_rasteret.fetch.scheduling.scheduler import FileKey, Scheduler, clear_cache, process_scheduler
from polars_rasteret.options import ReadOptions
from polars_rasteret.testing import MemorySource
from tests.support.range_server import RangeServer
from tests.support.workloads import EACH_TILE_ALONE, sample, windows, windows_truth

N_QUERIES = 64


class Watch:
    """Looks at the scheduler all the time; keeps the most it saw."""

    def __init__(self) -> None:
        self.most = {"n_running": 0, "bytes_in_flight": 0, "cache_bytes": 0}
        self.n_looks = 0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.001):
            state = process_scheduler().state()
            self.n_looks += 1
            for name, most in self.most.items():
                self.most[name] = max(most, getattr(state, name))


@pytest.mark.parametrize("engine", ["streaming", pytest.param("in-memory", marks=pytest.mark.slow)])
def test_process_limits_hold_under_64_queries(archive, engine):
    limits = {"max_concurrency": 12, "max_bytes_in_flight": 150_000, "cache_bytes": 400_000}
    with RangeServer(archive.files, latency_s=0.002) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        server.clear()
        clear_cache()
        points, frames = [archive.points(60 + n) for n in range(N_QUERIES)], {}

        def query(n: int) -> None:
            with pr.options(timeout_s=60, **EACH_TILE_ALONE):
                asked = sample(records.filter(id=f"scene-{n % 4}"), points[n], "verb" if n % 2 else "expression")
            frames[n] = asked.collect(engine=engine)

        with pr.options(**limits), Watch() as watch, ThreadPoolExecutor(N_QUERIES) as pool:
            list(pool.map(query, range(N_QUERIES)))
    for n, got in frames.items():
        truth = archive.sampled(points[n])
        assert_frame_equal(got, truth.filter(truth["record_id"] == f"scene-{n % 4}"))
    assert watch.n_looks > 50
    assert server.most_running <= limits["max_concurrency"]
    assert watch.most["n_running"] <= limits["max_concurrency"]
    assert watch.most["bytes_in_flight"] <= limits["max_bytes_in_flight"] * 1.1
    assert watch.most["cache_bytes"] <= limits["cache_bytes"] * 1.1
    # The limits were reached, so that keeping them means something.
    assert watch.most["bytes_in_flight"] > limits["max_bytes_in_flight"] * 0.5
    assert watch.most["cache_bytes"] > limits["cache_bytes"] * 0.8


def test_an_answer_larger_than_its_limit_comes_in_units_or_is_refused(archive, server):
    records, points = archive.records(server.origin + "/"), archive.points(50)
    limit = 200_000
    with pr.options(max_answer_bytes=limit):
        verb, expression = windows(records, points, "verb"), windows(records, points, "expression")
    sizes = []
    for frame in verb.collect_batches(chunk_size=None, maintain_order=True):
        sizes.append(frame.height)
    truth = windows_truth(archive, points)
    assert_frame_equal(verb.collect(), truth)
    assert sum(sizes) == truth.height
    with pytest.raises(pr.errors.UsageError, match=r"max_answer_bytes \(0\.2 MB\)"):
        expression.collect(engine="in-memory")


def test_units_of_a_verb_hold_no_more_than_max_answer_bytes(archive, server, monkeypatch):
    from polars_rasteret.pixels import reading

    records, points = archive.records(server.origin + "/"), archive.points(50)
    asked_bytes: list[int] = []
    inner = reading.begin_windows

    def spy(reads, *more, **options):
        asked_bytes.append(sum(int((one.height * one.width).sum()) * one.dtype.itemsize for one in reads))
        return inner(reads, *more, **options)

    monkeypatch.setattr(reading, "begin_windows", spy)
    with pr.options(max_answer_bytes=200_000):
        asked = windows(records, points, "verb")
    asked.collect()
    assert len(asked_bytes) > 5
    assert max(asked_bytes) <= 200_000
    assert sum(asked_bytes) == 50 * 4 * 2 * 48 * 48 * 2


# -- a leader that goes before its requests are queued ------------------------------------------------------------------


class RefusedError(Exception):
    pass


class Told:
    def __init__(self) -> None:
        self.tiles: dict[int, bytes] = {}
        self.errors: dict[int, Exception] = {}
        self.done = threading.Event()
        self.n_wanted = 0

    def fetch(self, href: str, start: np.ndarray, **more: object) -> None:
        self.n_wanted = len(start)
        process_scheduler().fetch(
            [FileKey(href)],
            np.zeros(len(start), np.int64),
            start,
            start + 10,
            group=lambda _file, begin, _end: np.arange(len(begin)),
            deliver=self.deliver,
            fail=self.fail,
            options=ReadOptions(timeout_s=10),
            **more,
        )

    def deliver(self, tile, data, done):
        self.tiles[tile] = bytes(data)
        done()
        self._count()

    def fail(self, tile, error):
        self.errors[tile] = error
        self._count()

    def _count(self) -> None:
        if len(self.tiles) + len(self.errors) == self.n_wanted:
            self.done.set()


@pytest.mark.parametrize("stop", [RefusedError, KeyboardInterrupt])
def test_when_the_leader_is_refused_its_tiles_are_taken_over(stop):
    """The leader has looked up its tiles, two others come to wait for some of them, then it is refused."""
    data = bytes(range(256)) * 4
    href = "memory://leader/x"
    pr.configure_store("memory://leader/", store=MemorySource({href: data}))
    clear_cache()
    first, second, leader = Told(), Told(), Told()

    def refuse(*_what):
        first.fetch(href, np.arange(0, 500, 10))
        second.fetch(href, np.arange(200, 700, 10))
        raise stop

    with pytest.raises(stop):
        leader.fetch(href, np.arange(0, 1000, 10), admit=refuse)
    assert first.done.wait(5)
    assert second.done.wait(5)
    assert not first.errors
    assert not second.errors
    assert first.tiles == {n: data[n * 10 : n * 10 + 10] for n in range(50)}
    assert second.tiles == {n: data[200 + n * 10 : 210 + n * 10] for n in range(50)}
    assert not leader.tiles
    state = process_scheduler().state()
    assert (state.n_tiles_awaited, state.n_queued) == (0, 0)


def test_ctrl_c_while_requests_are_queued_leaves_nobody_waiting(monkeypatch):
    data = bytes(range(256)) * 4
    href = "memory://leader/x"
    pr.configure_store("memory://leader/", store=MemorySource({href: data}))
    clear_cache()
    other, leader = Told(), Told()

    def interrupted(self, call, requests):
        monkeypatch.undo()
        assert all(one.state is RequestState.NEW and one.tiles[0].request is None for one in requests)
        other.fetch(href, np.arange(0, 500, 10))
        raise KeyboardInterrupt

    monkeypatch.setattr(Scheduler, "_submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        leader.fetch(href, np.arange(0, 1000, 10))
    assert other.done.wait(5)
    assert len(other.tiles) == 50


def test_a_request_that_nobody_waits_for_any_more_is_not_made(archive):
    """The one who led it went first, while another waited; then that one went, too."""
    href = "memory://two/x"

    class Counting(MemorySource):
        n = 0

        def get(self, *args, **more):
            self.n += 1
            time.sleep(0.05)
            return super().get(*args, **more)

    source = Counting({href: bytes(10_000)})
    pr.configure_store("memory://two/", store=source)
    clear_cache()
    start = np.arange(0, 5000, 10)
    asked = (
        [FileKey(href)], np.zeros(len(start), np.int64), start, start + 10
    )  # fmt: skip
    how = {
        "group": lambda _file, begin, _end: np.arange(len(begin)),
        "deliver": lambda _tile, _data, done: done(),
        "fail": lambda _tile, _error: None,
        "options": ReadOptions(),
    }
    with pr.options(max_concurrency=2):
        leader = process_scheduler().fetch(*asked, **how)
        other = process_scheduler().fetch(*asked, **how)
        leader.abandon()
        other.abandon()
        until = time.monotonic() + 5
        while process_scheduler().state().n_queued and time.monotonic() < until:
            time.sleep(0.01)
    assert source.n <= 4
    assert process_scheduler().state().n_queued == 0
