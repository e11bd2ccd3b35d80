"""Which request may start now, and in which thread?

Requests wait in lanes, one lane per call and source; lanes are served in turn. A request starts when a thread is free, its source
has room for one more (`pace`), and its bytes fit under the limit of bytes in flight. Threads are started while requests wait
for one, and end after a while without work.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.failures import TransientFetchError
from polars_rasteret.fetch.scheduling.pace import Throttle
from polars_rasteret.fetch.scheduling.pending import Lane, Release, RequestState
from polars_rasteret.options import process_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.fetch.scheduling.pace import Speed
    from polars_rasteret.fetch.scheduling.pending import Call, Request
    from polars_rasteret.fetch.sources.byte_source import RangeReader

_IDLE_S = 20.0
"""How long a thread stays without work."""
_LOOK_S = 0.05
"""How often a thread that waits for room looks for bytes that were dropped rather than given back."""
_MAX_HELD_BYTES = 24_000_000
"""Bytes waiting to be decoded beyond which no request starts: more would cost fresh memory and leave the data cold in caches."""
_COUNT_AFTER = 512
"""Most released amounts that wait to be counted."""
_EXIT_S = 2.0
"""How long the exit of the interpreter waits for running requests."""


class FetchPool:
    """Daemon threads that fetch. Methods are called with the lock held, unless they say otherwise.

    Parameters
    ----------
    lock
        The lock of the scheduler.
    run
        Makes one attempt of a request and handles its outcome (lock not held).
    starts
        Called with a request before its first attempt (lock held).
    drop
        Called with a queued request that no call waits for any more (lock held).
    """

    def __init__(
        self,
        lock: threading.Lock,
        *,
        run: Callable[[Request], None],
        starts: Callable[[Request], None],
        drop: Callable[[Request], None],
    ) -> None:
        self._lock = lock
        self._work = threading.Condition(lock)
        self._run, self._starts, self._drop = run, starts, drop
        self._rotation: deque[Lane] = deque()
        self._throttles: WeakKeyDictionary[RangeReader, Throttle] = WeakKeyDictionary()
        self._idents: set[int] = set()
        """Identifiers of the fetch threads."""
        self._given_back: deque[int] = deque()
        self._gone: deque[Call] = deque()
        self._bytes_in_flight = 0
        self._bytes_held = 0
        self._short_of_bytes = False
        self._opens_at = math.inf
        """When the first of the stores that get few requests a second gets its next one (monotonic seconds)."""
        self._looks_at = math.inf
        """When the idle thread looks again that waits for such a time."""
        self._exit_is_watched = False
        self.n_pending = self.n_threads = self.n_running = self.n_lost = 0
        self._n_idle = 0
        self.closing = False

    @property
    def bytes_in_flight(self) -> int:
        """Bytes that were requested, or delivered and not yet given back."""
        self._count_given_back()
        return self._bytes_in_flight

    def enter(self, call: Call, requests: Sequence[Request], *, first: bool = False) -> None:
        """Queue requests of a call, with `first` before its other ones; `start_threads` must follow."""
        if self.closing:
            raise FetchError("the interpreter is exiting, so nothing more is fetched; read before the program ends")
        for request in requests:
            lane = call.lanes.get(request.source)
            if lane is None:
                lane = call.lanes[request.source] = Lane(self._throttles.setdefault(request.source, Throttle()))
            (lane.pending.appendleft if first else lane.pending.append)(request)
            request.state = RequestState.QUEUED
            if not lane.queued:
                lane.queued = True
                self._rotation.append(lane)
        self.n_pending += len(requests)
        # A fetch thread that enters requests comes back for one of them itself.
        self._wake(len(requests) - (threading.get_ident() in self._idents))

    def leave(self, call: Call) -> None:
        """Note a call that went away (with or without the lock); `tidy` drops its queued requests."""
        self._gone.append(call)

    def tidy(self) -> None:
        """Drop the queued requests of calls that went away, where no other call waits for them."""
        while self._gone:
            for lane in self._gone.popleft().lanes.values():
                for request in lane.pending:
                    if request.is_unwanted:
                        self._drop(request)
                lane.pending = deque(request for request in lane.pending if not request.finished)

    def put_back(self, request: Request) -> None:
        """Queue a request again, before the other requests of its lane; `start_threads` must follow."""
        request.state = RequestState.QUEUED
        lane = request.owner.lanes[request.source]
        lane.pending.appendleft(request)
        if not lane.queued:
            lane.queued = True
            self._rotation.append(lane)
        self.n_pending += 1
        self._wake(1)

    def forget(self, request: Request) -> None:
        """Forget a request that was finished while it was queued or its thread still waited for the source."""
        if request.state is RequestState.QUEUED:
            self.n_pending -= 1  # it is skipped when its turn comes
        elif request.state is RequestState.RUNNING:
            # Its thread comes back whenever the source lets it; until then another one has its place.
            request.lost = True
            self.n_lost += 1
            self._bytes_in_flight -= request.n_bytes
            self._throttles[request.source].ended()
            self._wake(1)

    def speed(self, source: RangeReader) -> Speed:
        """Return the speed that was seen of a source."""
        return self._throttles.setdefault(source, Throttle()).speed

    def is_crowded(self, source: RangeReader) -> bool:
        """Return whether a source refuses many requests, and serves others."""
        return self._throttles[source].is_crowded(time.monotonic())

    def ended(self, request: Request, error: FetchError | None) -> bool:
        """Count the end of one attempt; return False where the request had been given up before."""
        self.n_running -= 1
        if request.lost:
            self.n_lost -= 1
            return False
        throttle, now, is_first = self._throttles[request.source], time.monotonic(), request.attempt == 0
        seconds = now - request.attempted_at
        if error is None:
            throttle.went_well(process_options().max_concurrency, seconds=seconds, is_first=is_first)
            throttle.speed.observe(request.n_bytes, seconds, at_once=request.n_beside)
        elif isinstance(error, TransientFetchError) and error.is_refusal:
            throttle.refused(request.n_cuts, now=now, seconds=seconds, is_first=is_first)
        elif isinstance(error, TransientFetchError) and error.is_overload:
            throttle.slow_down(request.n_cuts)
        throttle.ended()
        self._bytes_in_flight -= request.n_bytes
        if self._short_of_bytes:
            self._wake(1)
        return True

    def hold(self, n_bytes: int) -> None:
        """Count bytes that are delivered to consumers, until each calls its `release`."""
        self._bytes_in_flight += n_bytes
        self._bytes_held += n_bytes

    def release(self, n_bytes: int) -> Release:
        """Return the `Release` that a consumer of `n_bytes` calls when done (lock not held)."""
        return Release(n_bytes, self._given_back.append, self._bytes_came_back)

    def start_threads(self) -> None:
        """Start a thread if there is work for one (lock not held).

        The new thread starts the next one, because starting a thread takes a while.
        """
        if threading.get_ident() in self._idents and self.n_pending <= 1:
            return
        with self._lock:
            wanted = min(process_options().max_concurrency, self.n_running - self.n_lost + self.n_pending)
            if self.n_threads - self.n_lost >= wanted or self.closing:
                return
            self.n_threads += 1
            if not self._exit_is_watched:
                self._exit_is_watched = True
                process.claim()
                atexit.register(self._close)
        try:
            threading.Thread(target=self._loop, name="polars_rasteret fetch", daemon=True).start()
        except RuntimeError:
            with self._lock:
                self.n_threads -= 1
                alone = self.n_threads == self.n_lost
            if alone:
                raise

    def _wake(self, n_threads: int) -> None:
        if self._n_idle and n_threads > 0:
            self._work.notify(n_threads)

    def _loop(self) -> None:
        self.start_threads()
        ident = threading.get_ident()
        self._idents.add(ident)
        while True:
            with self._lock:
                request = self._next()
                if request is None:
                    self.n_threads -= 1
                    self._idents.discard(ident)
                    return
            try:
                self._run(request)
            except BaseException:
                with self._lock:
                    self.n_threads -= 1
                    self._idents.discard(ident)
                self.start_threads()
                raise
            del request

    def _next(self) -> Request | None:
        """Wait for the next request that may start, and return it; None when the thread should end."""
        while not self.closing:
            self.tidy()
            self._opens_at = math.inf
            # Threads beyond a limit that was lowered go idle, and end there.
            request = self._admitted() if self.n_running - self.n_lost < process_options().max_concurrency else None
            if request is not None:
                if self.n_pending:
                    self._wake(1)
                return request
            self._n_idle += 1
            woken = self._wait_for_work()
            self._n_idle -= 1
            if not woken and not self.n_pending:
                return None
        return None

    def _wait_for_work(self) -> bool:
        """Wait until the thread is woken, or it is time to look again; return whether it was woken."""
        pause_s, opens_at = _LOOK_S if self._short_of_bytes else _IDLE_S, self._opens_at
        if opens_at >= self._looks_at:  # one thread is enough
            return self._work.wait(pause_s)
        self._looks_at = opens_at
        woken = self._work.wait(min(max(opens_at - time.monotonic(), 0.0), pause_s))
        self._looks_at = math.inf
        return woken

    def _admitted(self) -> Request | None:
        rotation = self._rotation
        n_full, now = 0, time.monotonic()
        while n_full < len(rotation):
            lane = rotation[0]
            if not lane.pending:
                rotation.popleft()
                lane.queued = False
                continue
            request = lane.pending[0]
            if request.finished:
                lane.pending.popleft()
                continue
            if request.is_unwanted:
                self._drop(request)
                continue
            if (opens_at := lane.throttle.opens_at(now)) > now:
                self._opens_at = min(self._opens_at, opens_at)
                rotation.rotate(-1)
                n_full += 1
                continue
            if not self._has_room(request):
                # Set before counting, so that a consumer that releases bytes after the count wakes a thread.
                self._short_of_bytes = True
                self._count_given_back()
                if not self._has_room(request):
                    return None
            self._short_of_bytes = False
            lane.pending.popleft()
            rotation.rotate(-1)
            self._start(request, lane.throttle)
            return request
        self._short_of_bytes = False
        return None

    def _start(self, request: Request, throttle: Throttle) -> None:
        self.n_pending -= 1
        self.n_running += 1
        self._bytes_in_flight += request.n_bytes
        request.attempted_at = time.monotonic()
        throttle.started(request.attempted_at)
        request.n_cuts, request.n_beside = throttle.n_cuts, throttle.n_running
        request.state = RequestState.RUNNING
        if request.started_at is None:
            self._starts(request)

    def _has_room(self, request: Request) -> bool:
        fits = self._bytes_in_flight + request.n_bytes <= process_options().max_bytes_in_flight
        return (fits or not self._bytes_in_flight) and self._bytes_held < _MAX_HELD_BYTES

    def _count_given_back(self) -> None:
        given_back = self._given_back
        while given_back:
            n_bytes = given_back.popleft()
            self._bytes_in_flight -= n_bytes
            self._bytes_held -= n_bytes

    def _bytes_came_back(self) -> None:
        if self._short_of_bytes or len(self._given_back) > _COUNT_AFTER:
            with self._lock:
                self._count_given_back()
                self._wake(1)

    def _close(self) -> None:
        """Wait for running requests before the interpreter ends: their threads may not come back from obstore later."""
        if not process.is_mine():
            return
        with self._lock:
            self.closing = True
            self._work.notify_all()
        until = time.monotonic() + _EXIT_S
        while time.monotonic() < until and self.n_running:
            time.sleep(0.005)
