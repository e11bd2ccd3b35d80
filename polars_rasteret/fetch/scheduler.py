"""When is which request sent, by which thread, and who gets the tiles?

One scheduler serves the process. Nothing is held while a consumer works: a fetch thread hands its tiles over and goes on, a
request that waits for another attempt has neither thread nor bytes in flight, and a caller that goes away is just not told.

A call's tiles are looked up in chunks (`tile_table`): cached ones are handed over at once, ones on their way get one more
waiter, the rest is led: cut into requests and queued. Threads take requests from the calls and sources in turn.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.clock import Clock
from polars_rasteret.fetch.door import ask
from polars_rasteret.fetch.failures import TransientFetchError, foreign_failure, gave_up, too_late
from polars_rasteret.fetch.jobs import Call, Flight, Job, SchedulerState, State, board, nothing
from polars_rasteret.fetch.pool import FetchPool
from polars_rasteret.fetch.retries import backoff_s
from polars_rasteret.fetch.sources import FileKey
from polars_rasteret.fetch.stores import origin, resolved
from polars_rasteret.fetch.tile_table import Found, TileTable
from polars_rasteret.fetch.wanted import WantedTiles
from polars_rasteret.hrefs import shown
from polars_rasteret.options import process_options
from polars_rasteret.profile import record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.jobs import Deliver, Fail
    from polars_rasteret.fetch.sources import Answer
    from polars_rasteret.fetch.speed import Speed
    from polars_rasteret.options import ReadOptions

    Admit = Callable[[int, Sequence[FileKey], NDArray[np.int64], NDArray[np.int64]], None]
    Group = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64]]

__all__ = ["FetchTicket", "FileKey", "Scheduler", "SchedulerState", "clear_cache", "process_scheduler"]

_CHUNK = 512
"""Tiles looked up while the lock is held once: a few tenths of a millisecond."""
_NO_FILE = -1
"""Stands for the file in the key of a look, which no table holds."""


class FetchTicket:
    """One running call of `Scheduler.fetch`."""

    __slots__ = ("_call", "_scheduler")

    def __init__(self, scheduler: Scheduler, call: Call) -> None:
        self._scheduler = scheduler
        self._call = call

    def look(self, number: int, file: FileKey, byte_start: int, byte_stop: int) -> None:
        """Ask for a range of a file whose end is not known; less comes where it ends before `byte_stop`. Nothing is cached.

        Such requests go before the ones that this call asked for earlier: who began, ends.

        Raises
        ------
        UsageError
            For hrefs that nothing reads.
        """
        self._scheduler._look(self._call, number, file, byte_start, byte_stop)  # noqa: SLF001

    def abandon(self) -> None:
        """Go away: nothing is delivered afterwards (but a delivery on another thread may be ending just now).

        Requests that nobody else waits for leave the queue; running ones finish into the cache. May be called at any time, from
        any thread, more than once.
        """
        self._scheduler._abandon(self._call)  # noqa: SLF001 - the ticket is the scheduler's other half


class Scheduler:
    """Fetch tiles for all callers of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table = TileTable()
        self._clock = Clock(self._lock, put_back=self._put_back, give_up=self._give_up, tell=self._tell_late)
        self._pool = FetchPool(self._lock, run=self._run, starts=self._clock.start, drop=self._give_up)

    def fetch(
        self,
        files: Sequence[FileKey],
        file_id: NDArray[np.int64],
        byte_start: NDArray[np.int64],
        byte_stop: NDArray[np.int64],
        *,
        group: Group,
        deliver: Deliver,
        fail: Fail,
        options: ReadOptions,
        admit: Admit | None = None,
    ) -> FetchTicket:
        """Fetch tiles; returns when cached ones are delivered and the others are queued.

        Parameters
        ----------
        files
            The files, as indexed.
        file_id, byte_start, byte_stop
            int64, shape (n_tiles,): one entry per distinct tile, sorted by ``file_id, byte_start``; `file_id` indexes `files`.
            An empty range is an empty tile, for which nothing is asked.
        group
            Cuts tiles into requests: from the three columns of the tiles that must be fetched, the request of each, dense from 0
            and sorted; a request stays within one file.
        deliver
            ``deliver(tile, data, done)``, once per tile, from a fetch thread (cached tiles: from the calling thread, before this
            returns). Must not block. Whoever has used `data` calls ``done()``.
        fail
            ``fail(tile, error)``, once per tile that cannot be had.
        options
            ``timeout_s`` and ``retries`` of this call.
        admit
            ``admit(n_tiles, files, file, n_bytes)``, with the file and the bytes of each request, before anything is requested;
            raises to refuse. What is cached, or fetched for others already, does not count.

        Raises
        ------
        UsageError
            For hrefs that nothing reads, ranges that end before they begin, or in a forked child.
        """
        process.check()
        call = Call(deliver, fail, timeout_s=options.timeout_s, retries=options.retries)
        ticket = FetchTicket(self, call)
        tiles = WantedTiles.resolved(files, file_id, byte_start, byte_stop)
        if len(byte_start) == 0:
            return ticket
        found = Found()
        try:
            self._look_up(call, tiles, found)
            record(tiles=len(byte_start), cache_hits=len(found.cached), shared_tiles=found.n_shared)
            if found.led:
                led = np.asarray(found.led)
                request = group(file_id[led], byte_start[led], byte_stop[led])
                if admit is not None:
                    first = np.flatnonzero(np.diff(request, prepend=-1))
                    n_bytes = np.maximum.reduceat(byte_stop[led], first) - byte_start[led][first]
                    admit(len(led), files, file_id[led][first], n_bytes)
                self._submit(call, tiles.cut(call, led, found.flights, request))
            for index, data in itertools.chain(found.cached, found.empty):
                deliver(index, data, nothing)
        except BaseException:
            # Also for Ctrl-C: what this call led must not be awaited by others for ever.
            self._withdraw(call, tiles, found)
            raise
        return ticket

    def open(self, *, deliver: Deliver, fail: Fail, options: ReadOptions) -> FetchTicket:
        """Give a call that asks for ranges one by one, with `FetchTicket.look`.

        Parameters
        ----------
        deliver
            ``deliver(number, answer, done)``, once per range, from a fetch thread, with the whole `Answer`. Whoever has used its
            data calls ``done()``.
        fail
            ``fail(number, error)``, once per range that cannot be had.
        options
            ``timeout_s`` and ``retries`` of each request.
        """
        process.check()
        return FetchTicket(self, Call(deliver, fail, timeout_s=options.timeout_s, retries=options.retries))

    def speed(self, href: str) -> Speed:
        """Give what was seen of the place where a file is."""
        with self._lock:
            return self._pool.speed(resolved(href)[0])

    def clear_cache(self) -> None:
        """Forget every cached tile."""
        with self._lock:
            self._table.cache.clear()

    def state(self) -> SchedulerState:
        """Tell what is held now."""
        with self._lock:
            pool = self._pool
            pool.tidy()
            return SchedulerState(
                n_threads=pool.n_threads,
                n_running=pool.n_running,
                n_queued=pool.n_pending,
                n_delayed=self._clock.n_waiting,
                n_tiles_awaited=len(self._table.flights),
                bytes_in_flight=pool.bytes_in_flight,
                cache_bytes=self._table.cache.n_bytes,
                n_threads_lost=pool.n_lost,
            )

    def _look_up(self, call: Call, tiles: WantedTiles, found: Found) -> None:
        now = time.monotonic()
        with self._lock:
            self._table.cache.shrink(process_options().cache_bytes)
            numbers = {one: self._table.number_of(version) for one, version in tiles.versions.items()}

        def attached(job: Job) -> None:
            job.calls[call] = now
            self._clock.attach(job, call)

        for low in range(0, len(tiles.byte_start), _CHUNK):
            keys = tiles.keys(numbers, low, low + _CHUNK)
            with self._lock:
                self._table.look_up(call, keys, low, found, attached)

    def _look(self, call: Call, number: int, file: FileKey, byte_start: int, byte_stop: int) -> None:
        source, _ = resolved(file.href)
        flight = Flight((_NO_FILE, byte_start, byte_stop), call, number)
        job = Job(call, source, file, byte_start=byte_start, byte_stop=byte_stop, flights=[flight], is_look=True)
        with self._lock:
            if call.abandoned:
                return
            self._pool.enter(call, [job], first=True)
        self._pool.start_threads()

    def _submit(self, call: Call, jobs: list[Job]) -> None:
        with self._lock:
            board(jobs)
            self._pool.enter(call, jobs)
        self._pool.start_threads()

    def _abandon(self, call: Call) -> None:
        if call.abandoned:
            return
        call.abandoned = True
        self._pool.leave(call)
        # The garbage collector may end a generator, and so a call, on the very thread that holds the lock: nobody waits for it
        # here. Then the next fetch thread that looks for work tidies.
        if self._lock.acquire(blocking=False):
            try:
                self._pool.tidy()
                self._clock.look_soon()
            finally:
                self._lock.release()

    def _withdraw(self, call: Call, tiles: WantedTiles, found: Found) -> None:
        """Go away before the requests were queued; whoever has come to wait for one of the tiles takes it over."""
        self._abandon(call)
        with self._lock:
            orphans = [one for one in found.flights if one.job is None or one.job.state is State.NEW]
            taken_over = False
            for flight in orphans:
                if self._pool.closing or not flight.waiters():
                    self._table.land([flight])
                    continue
                taken_over = True
                heir, file_id = flight.waiters()[0][0], int(tiles.file_id[flight.index])
                _, start, stop = flight.key
                job = Job(
                    heir,
                    tiles.sources[file_id],
                    tiles.files[file_id],
                    byte_start=start,
                    byte_stop=stop,
                    flights=[flight],
                )
                board([job])
                self._pool.enter(heir, [job])
        if taken_over:
            self._pool.start_threads()

    def _run(self, job: Job) -> None:
        """Make one attempt, and tell its outcome; a fetch thread."""
        try:
            answer = ask(
                job.source,
                job.file,
                job.byte_start,
                job.byte_stop,
                timeout_s=job.time_left_s(),
                attempt=job.attempt,
                redirects=job.redirects,
                may_end=job.is_look,
            )
        except FetchError as error:
            self._failed(job, error)
        except BaseException as error:  # noqa: BLE001 - its waiters must be told, whatever it is
            self._failed(job, foreign_failure(job.file.href, job.byte_start, job.byte_stop, error))
        else:
            self._arrived(job, answer)

    def _arrived(self, job: Job, answer: Answer) -> None:
        data, start = memoryview(answer.data), job.byte_start
        views = [data] if job.is_look else [data[one.key[1] - start : one.key[2] - start] for one in job.flights]
        handed: list[tuple[Call, int, memoryview | Answer, int]] = []
        with self._lock:
            if not self._pool.ended(job, None):
                return
            if not job.is_look:
                self._table.keep(job, views, process_options().cache_bytes)
            for flight, view in zip(self._finish(job), views, strict=True):
                waiters = flight.waiters()
                share, rest = divmod(len(view), len(waiters) or 1)  # together the waiters of a tile hold its bytes once
                for call, index in waiters:
                    handed.append((call, index, answer if job.is_look else view, share + rest))
                    rest = 0
            self._pool.hold(sum([one[3] for one in handed]))
        for call, index, handed_over, share in handed:
            done = self._pool.release(share)
            if call.abandoned:
                continue
            try:
                call.deliver(index, handed_over, done)
            except BaseException as error:  # noqa: BLE001 - a caller's fault must not end the thread that serves all
                call.fail(index, FetchError(f"the receiver of a tile of {shown(job.file.href)} failed: {error!r}"))

    def _failed(self, job: Job, error: FetchError) -> None:
        with self._lock:
            if not self._pool.ended(job, error):
                return
            waiting = [call for call in job.calls if not call.abandoned]
            if isinstance(error, TransientFetchError):
                next_at = time.monotonic() + backoff_s(job.attempt, error, random.random())  # noqa: S311 - jitter
                if any(job.attempt < call.retries and next_at < job.deadline_of(call) for call in waiting):
                    job.attempt += 1
                    self._clock.delay(job, next_at)
                    record(host=shown(origin(job.file.href)), retries=1)
                    return
            failed = [waiter for flight in self._finish(job) for waiter in flight.waiters()]
        _fail_all(failed, _last_words(error, job))

    def _finish(self, job: Job) -> list[Flight]:
        job.finished = True
        self._clock.started.discard(job)
        # The job lets go of its flights: they know the job, and a cycle would wait for the garbage collector.
        flights, job.flights = job.flights, []
        self._table.land(flights)
        return flights

    def _put_back(self, job: Job) -> None:
        self._pool.put_back(job)

    def _give_up(self, job: Job) -> None:
        """Detach from a request that everybody waited for too long, or left. The lock is held."""
        if not job.finished:
            self._finish(job)
            self._pool.forget(job)

    def _tell_late(self, late: list[tuple[Call, int, Job]]) -> None:
        for call, index, job in late:
            where = (job.file.href, job.byte_start, job.byte_stop)
            _fail_all([(call, index)], too_late(*where, timeout_s=call.timeout_s, n_attempts=job.attempt + 1))
        self._pool.start_threads()


def _fail_all(waiters: list[tuple[Call, int]], error: FetchError) -> None:
    for call, index in waiters:
        if not call.abandoned:
            call.fail(index, error)


def _last_words(error: FetchError, job: Job) -> FetchError:
    """Give a passing failure as the final one it has become; the others as they are."""
    if not isinstance(error, TransientFetchError) or job.started_at is None:
        return error
    return gave_up(error, n_attempts=job.attempt + 1, spent_s=time.monotonic() - job.started_at)


_process_scheduler: Scheduler | None = None
_process_lock = threading.Lock()


def process_scheduler() -> Scheduler:
    """Give the scheduler of this process.

    Raises
    ------
    UsageError
        In a forked child of a process that had begun to read.
    """
    global _process_scheduler  # noqa: PLW0603 - one per process
    process.check()
    if _process_scheduler is None:
        with _process_lock:
            if _process_scheduler is None:
                _process_scheduler = Scheduler()
    return _process_scheduler


def clear_cache() -> None:
    """Forget every cached tile of the process; for benchmarks and tests."""
    process_scheduler().clear_cache()
