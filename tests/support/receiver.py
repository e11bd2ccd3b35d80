"""A caller of the scheduler that writes down what it is told."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.scheduling.scheduler import FetchTicket, FileKey, Scheduler, process_scheduler
from polars_rasteret.fetch.stepwise_reads import FileRange, read_all
from polars_rasteret.options import ReadOptions

DATA = b"II*\0" + bytes((i * 7 + (i >> 8) * 13) % 251 for i in range(4, 100_000))


def each_alone(file_id, byte_start, byte_stop):
    return np.arange(len(byte_start))


def per_file(file_id, byte_start, byte_stop):
    return np.concatenate(([0], np.cumsum(file_id[1:] != file_id[:-1]))).astype(np.int64)


class Receiver:
    """Collects tiles and errors by tile index; holds `done` back when told so."""

    def __init__(self, *, keep_done: bool = False) -> None:
        self.tiles: dict[int, bytes] = {}
        self.errors: dict[int, FetchError] = {}
        self.times: Counter[int] = Counter()
        self.dones: list = []
        self.keep_done = keep_done
        self.n_wanted = 0
        self._told = threading.Condition()

    def deliver(self, tile, data, done):
        assert isinstance(data, memoryview)
        with self._told:
            self.tiles[tile] = bytes(data)
            self.times[tile] += 1
            if self.keep_done:
                self.dones.append(done)
            self._told.notify_all()
        if not self.keep_done:
            done()

    def fail(self, tile, error):
        with self._told:
            self.errors[tile] = error
            self.times[tile] += 1
            self._told.notify_all()

    def start(
        self, files, file_id, byte_start, byte_stop, *, group=each_alone, scheduler: Scheduler | None = None, **options
    ) -> FetchTicket:
        self.n_wanted += len(byte_start)
        return (scheduler or process_scheduler()).fetch(
            [FileKey(one) if isinstance(one, str) else one for one in files],
            np.asarray(file_id, dtype=np.int64),
            np.asarray(byte_start, dtype=np.int64),
            np.asarray(byte_stop, dtype=np.int64),
            group=group,
            deliver=self.deliver,
            fail=self.fail,
            options=ReadOptions(**options),
        )

    def wait(self, n: int | None = None, timeout_s: float = 20.0) -> Receiver:
        n = self.n_wanted if n is None else n
        with self._told:
            assert self._told.wait_for(lambda: sum(self.times.values()) >= n, timeout_s), (
                f"{sum(self.times.values())} of {n} tiles were told; {process_scheduler().state()}"
            )
        return self


def look(href, byte_start, byte_stop, **options):
    """Ask for a range of a file of which nothing is known, as indexing does."""

    def talk(file):
        return (yield FileRange(file, byte_start, byte_stop))

    return read_all(talk, [FileKey(href)], options=ReadOptions(**options))[0]


def fetch(href, byte_start, byte_stop, **more) -> Receiver:
    """Fetch tiles of one file and wait for them."""
    receiver = Receiver()
    receiver.start([href], np.zeros(len(byte_start)), byte_start, byte_stop, **more)
    return receiver.wait()


def quiet(state) -> bool:
    return not (
        state.n_running
        or state.n_queued
        or state.n_delayed
        or state.n_tiles_awaited
        or state.bytes_in_flight
        or state.n_threads_lost
    )


def wait_until(condition, timeout_s: float = 5.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"waited {timeout_s} s; {process_scheduler().state()}"
        time.sleep(0.005)
