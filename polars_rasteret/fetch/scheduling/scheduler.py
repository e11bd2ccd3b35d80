"""When is which request sent, by which thread, and which calls receive the tiles?

One scheduler serves the process. Nothing is held while a consumer works: a fetch thread delivers its tiles and goes on. A request
that waits for another attempt has neither thread nor bytes in flight. Tiles of a call are looked up in chunks (`tile_lookup`):
cached ones are delivered, pending ones get one more waiter, the others become requests, which threads take in turn.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.failures import TransientFetchError, foreign_failure, too_late
from polars_rasteret.fetch.places import origin
from polars_rasteret.fetch.read_range import read_range
from polars_rasteret.fetch.scheduling.deadlines import DeadlineWatch
from polars_rasteret.fetch.scheduling.fetch_pool import FetchPool
from polars_rasteret.fetch.scheduling.new_requests import requests_for
from polars_rasteret.fetch.scheduling.on_disk import DISK
from polars_rasteret.fetch.scheduling.pending import (
    Call,
    PendingTile,
    Request,
    RequestState,
    SchedulerState,
    fail_all,
    link_tiles,
    release_nothing,
)
from polars_rasteret.fetch.scheduling.retries import last_words, next_attempt_at
from polars_rasteret.fetch.scheduling.tile_lookup import Found, TileLookup
from polars_rasteret.fetch.scheduling.wanted_tiles import WantedTiles
from polars_rasteret.fetch.sources.byte_source import FileKey
from polars_rasteret.fetch.sources.stores import resolved
from polars_rasteret.hrefs import shown
from polars_rasteret.options import process_options
from polars_rasteret.profile import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.fetch.scheduling.new_requests import Admit, Group
    from polars_rasteret.fetch.scheduling.on_disk import OnDisk
    from polars_rasteret.fetch.scheduling.pace import Speed
    from polars_rasteret.fetch.scheduling.pending import Deliver, Fail
    from polars_rasteret.fetch.sources.byte_source import Answer
    from polars_rasteret.options import ReadOptions


__all__ = ["FetchTicket", "FileKey", "Scheduler", "SchedulerState", "clear_cache", "process_scheduler"]

_CHUNK = 512
"""Tiles that are looked up while the lock is held once: a few tenths of a millisecond."""
_NO_FILE = -1
"""Stands for the file in the key of a range that was asked for with `FetchTicket.ask`; no look-up holds it."""


class FetchTicket:
    """One running call of `Scheduler.fetch`."""

    __slots__ = ("_call", "_scheduler")

    def __init__(self, scheduler: Scheduler, call: Call) -> None:
        self._scheduler = scheduler
        self._call = call

    def ask(self, number: int, file: FileKey, byte_start: int, byte_stop: int) -> None:
        """Ask for a range of a file whose size is not known; nothing is cached.

        The answer is shorter where the file ends first. The request goes before earlier ones of this call: what began is ended.

        Raises
        ------
        UsageError
            For hrefs that no source reads.
        """
        self._scheduler._ask(self._call, number, file, byte_start, byte_stop)  # noqa: SLF001

    def abandon(self) -> None:
        """Stop waiting: nothing is delivered afterwards (but a delivery on another thread may be ending just now).

        Requests that no other call waits for leave the queue; running ones finish into the cache. Any thread may call it, always.
        """
        self._scheduler._abandon(self._call)  # noqa: SLF001 - the ticket is the scheduler's other half


class Scheduler:
    """Fetch tiles for all callers of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookup = TileLookup()
        self._deadlines = DeadlineWatch(
            self._lock, put_back=self._put_back, give_up=self._give_up, tell=self._tell_late
        )
        self._pool = FetchPool(self._lock, run=self._run, starts=self._deadlines.start, drop=self._give_up)

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
        is_counted: bool = True,
    ) -> FetchTicket:
        """Fetch tiles; return when the cached tiles are delivered and the requests for the others are queued.

        Parameters
        ----------
        files
            The files, as indexed.
        file_id, byte_start, byte_stop
            int64, shape (n_tiles,): one entry per distinct tile, sorted by ``file_id, byte_start``; `file_id` indexes `files`.
            An empty range is an empty tile, for which nothing is asked.
        group
            ``group(file_id, byte_start, byte_stop)`` returns the request of each tile that must be fetched, dense from 0 and
            sorted. A request stays within one file.
        deliver
            ``deliver(tile, data, done)``, once per tile, from a fetch thread (cached tiles: from the calling thread, before this
            returns). Must not block. The receiver calls ``done()`` when it has used `data`.
        fail
            ``fail(tile, error)``, once per tile that cannot be had.
        options
            ``timeout_s`` and ``retries`` of this call.
        admit
            ``admit(n_tiles, files, file, n_bytes)``, with file and bytes of each request, before anything is requested; raises to
            refuse. Tiles that are cached or on disk, or pending for another call, do not count.
        is_counted
            Whether profiles count the tiles; their requests always count.

        Raises
        ------
        UsageError
            For hrefs that no source reads, ranges that end before they begin, and files in a forked child.
        """
        ticket = FetchTicket(self, call := Call(deliver, fail, timeout_s=options.timeout_s, retries=options.retries))
        tiles, found = WantedTiles.resolved(files, file_id, byte_start, byte_stop), Found()
        if len(byte_start) == 0:
            return ticket
        try:
            self._look_up(call, tiles, found)
            if is_counted:
                record(tiles=len(byte_start), cache_hits=len(found.cached), shared_tiles=found.n_shared)
            if found.to_fetch:
                self._submit(call, requests_for(call, tiles, found, group, admit))
            for number, data in itertools.chain(found.cached, found.empty):
                deliver(number, data, release_nothing)
        except BaseException:
            # Also for Ctrl-C: other calls must not wait for ever for tiles that this one would have fetched.
            self._withdraw(call, tiles, found)
            raise
        return ticket

    def open(self, *, deliver: Deliver, fail: Fail, options: ReadOptions) -> FetchTicket:
        """Return the ticket of a call that asks for ranges one by one, with `FetchTicket.ask`.

        Parameters
        ----------
        deliver
            ``deliver(number, answer, done)``, once per range, from a fetch thread, with the whole `Answer`. The receiver calls
            ``done()`` when it has used the data.
        fail
            ``fail(number, error)``, once per range that cannot be had.
        options
            ``timeout_s`` and ``retries`` of each request.
        """
        process.check()
        return FetchTicket(self, Call(deliver, fail, timeout_s=options.timeout_s, retries=options.retries))

    def speed(self, href: str) -> Speed:
        """Return the speed that was seen of the store that holds a file."""
        with self._lock:
            return self._pool.speed(resolved(href)[0])

    def clear_cache(self) -> None:
        """Forget every tile in memory."""
        with self._lock:
            self._lookup.cache.clear()

    def state(self) -> SchedulerState:
        """Return the counts that the scheduler holds now."""
        with self._lock:
            pool = self._pool
            pool.tidy()
            return SchedulerState(
                n_threads=pool.n_threads,
                n_running=pool.n_running,
                n_queued=pool.n_pending,
                n_delayed=self._deadlines.n_waiting,
                n_tiles_awaited=len(self._lookup.pending),
                bytes_in_flight=pool.bytes_in_flight,
                cache_bytes=self._lookup.cache.n_bytes,
                n_threads_lost=pool.n_lost,
            )

    def _look_up(self, call: Call, tiles: WantedTiles, found: Found) -> None:
        now = time.monotonic()
        with self._lock:
            self._lookup.cache.shrink(process_options().cache_bytes)
            numbers = {one: self._lookup.number_of(version) for one, version in tiles.versions.items()}

        def attached(request: Request) -> None:
            request.calls[call] = now
            self._deadlines.attach(request, call)

        for low in range(0, len(tiles.byte_start), _CHUNK):
            keys = tiles.keys(numbers, low, low + _CHUNK)
            with self._lock:
                self._lookup.look_up(call, keys, low, found, attached)

    def _ask(self, call: Call, number: int, file: FileKey, byte_start: int, byte_stop: int) -> None:
        source, _ = resolved(file.href)
        tile = PendingTile((_NO_FILE, byte_start, byte_stop), call, number)
        request = Request(call, source, file, byte_start=byte_start, byte_stop=byte_stop, tiles=[tile], may_end=True)
        with self._lock:
            if not call.abandoned:
                self._pool.enter(call, [request], first=True)
        self._pool.start_threads()

    def _submit(self, call: Call, requests: list[Request]) -> None:
        with self._lock:
            link_tiles(requests)
            self._pool.enter(call, requests)
        self._pool.start_threads()

    def _abandon(self, call: Call) -> None:
        if call.abandoned:
            return
        call.abandoned = True
        self._pool.leave(call)
        # The garbage collector may end a generator, and so a call, on the very thread that holds the lock, so the lock is not
        # waited for. Without it, the next fetch thread that looks for work tidies.
        if self._lock.acquire(blocking=False):
            try:
                self._pool.tidy()
                self._deadlines.look_soon()
            finally:
                self._lock.release()

    def _withdraw(self, call: Call, tiles: WantedTiles, found: Found) -> None:
        """Abandon a call before its requests were queued; another call that waits for one of its tiles takes the tile over."""
        self._abandon(call)
        with self._lock:
            orphans = [one for one in found.pending if one.request is None or one.request.state is RequestState.NEW]
            taken_over = False
            for tile in orphans:
                if self._pool.closing or not tile.waiters():
                    self._lookup.finish([tile])
                    continue
                taken_over = True
                heir, file_id = tile.waiters()[0][0], int(tiles.file_id[tile.index])
                source, file, (_, start, stop) = tiles.sources[file_id], tiles.files[file_id], tile.key
                request = Request(heir, source, file, byte_start=start, byte_stop=stop, tiles=[tile])
                link_tiles([request])
                self._pool.enter(heir, [request])
        if taken_over:
            self._pool.start_threads()

    def _run(self, request: Request) -> None:
        """Make one attempt of a request on a fetch thread, and handle its outcome."""
        if request.source is DISK and request.on_disk is not None:
            self._read_from_disk(request, request.on_disk)
            return
        try:
            answer = read_range(
                request.source,
                request.file,
                request.byte_start,
                request.byte_stop,
                timeout_s=request.time_left_s(),
                attempt=request.attempt,
                redirects=request.redirects,
                may_end=request.may_end,
            )
        except FetchError as error:
            self._failed(request, error)
        except BaseException as error:  # noqa: BLE001 - its waiters must be told, whatever it is
            self._failed(request, foreign_failure(request.file.href, request.byte_start, request.byte_stop, error))
        else:
            data, start = memoryview(answer.data), request.byte_start
            if request.may_end:
                self._arrived(request, [data], answer)
                return
            views = [data[one.key[1] - start : one.key[2] - start] for one in request.tiles]
            if request.on_disk is not None:  # before a caller goes on, and perhaps the process ends
                request.on_disk.write(views)
            self._arrived(request, views)

    def _read_from_disk(self, request: Request, kept: OnDisk) -> None:
        sizes = [tile.key[2] - tile.key[1] for tile in request.tiles]
        if (views := kept.read(request.file, sizes)) is not None:
            self._arrived(request, views)
            return
        with self._lock:
            if self._pool.ended(request, None):
                self._deadlines.started.discard(request)
                again = request.sent_to(kept.source)
                link_tiles([again])
                self._pool.enter(again.owner, [again], first=True)
        self._pool.start_threads()

    def _arrived(self, request: Request, views: Sequence[memoryview], answer: Answer | None = None) -> None:
        handed: list[tuple[Call, int, memoryview | Answer, int]] = []
        with self._lock:
            if not self._pool.ended(request, None):
                return
            if answer is None:
                self._lookup.keep(request, views, process_options().cache_bytes)
            for tile, view in zip(self._finish(request), views, strict=True):
                waiters = tile.waiters()
                share, rest = divmod(len(view), len(waiters) or 1)  # together the waiters of a tile hold its bytes once
                for call, index in waiters:
                    handed.append((call, index, view if answer is None else answer, share + rest))
                    rest = 0
            self._pool.hold(sum([one[3] for one in handed]))
        for call, index, handed_over, share in handed:
            done = self._pool.release(share)
            if call.abandoned:
                continue
            try:
                call.deliver(index, handed_over, done)
            except BaseException as error:  # noqa: BLE001 - a caller's fault must not end the thread that serves all
                call.fail(index, FetchError(f"the receiver of a tile of {shown(request.file.href)} failed: {error!r}"))

    def _failed(self, request: Request, error: FetchError) -> None:
        with self._lock:
            if not self._pool.ended(request, error):
                return
            if isinstance(error, TransientFetchError):
                is_crowded, chance = self._pool.is_crowded(request.source), random.random()  # noqa: S311 - jitter
                next_at = next_attempt_at(request, error, time.monotonic(), chance, is_crowded=is_crowded)
                if next_at is not None:
                    self._deadlines.delay(request, next_at)
                    record(host=shown(origin(request.file.href)), retries=1)
                    return
            failed = [waiter for tile in self._finish(request) for waiter in tile.waiters()]
        fail_all(failed, last_words(error, request))

    def _finish(self, request: Request) -> list[PendingTile]:
        request.finished = True
        self._deadlines.started.discard(request)
        # The request lets go of its tiles: they know the request, and a cycle would wait for the garbage collector.
        tiles, request.tiles = request.tiles, []
        self._lookup.finish(tiles)
        return tiles

    def _put_back(self, request: Request) -> None:
        self._pool.put_back(request)

    def _give_up(self, request: Request) -> None:
        """Drop a request whose calls have all left or passed their deadline. The lock is held."""
        if not request.finished:
            self._finish(request)
            self._pool.forget(request)

    def _tell_late(self, late: list[tuple[Call, int, Request]]) -> None:
        for call, index, request in late:
            where = (request.file.href, request.byte_start, request.byte_stop)
            fail_all([(call, index)], too_late(*where, call.timeout_s, request.n_begun, n_refused=request.n_refused))
        self._pool.start_threads()


_process_scheduler: Scheduler | None = None
_process_lock = threading.Lock()


def process_scheduler() -> Scheduler:
    """Return the scheduler of this process.

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
