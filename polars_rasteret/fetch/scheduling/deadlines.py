"""Whose deadline has passed, and whose next attempt is due?

One thread watches every request that was started and has not ended. It queues requests again whose wait before the next attempt
is over. It detaches callers whose deadline has passed, whatever the source is doing. The thread ends when no request is left.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING

from polars_rasteret.fetch.scheduling.pending import RequestState

if TYPE_CHECKING:
    from collections.abc import Callable

    from polars_rasteret.fetch.scheduling.pending import Call, Request

    Late = tuple[Call, int, Request]

_GRACE_S = 0.25
"""A caller is detached this long after its deadline: the client's own timeout has the better message."""
_IDLE_S = 20.0
"""How long the thread stays without work."""
_PAUSE_S = 0.005
"""Least pause between two looks, however many requests are late: each look goes over all started requests."""


class DeadlineWatch:
    """Watches started requests. Methods are called with the lock held, unless they say otherwise.

    Parameters
    ----------
    lock
        The lock of the scheduler.
    put_back
        Called with each request whose next attempt is due (lock held).
    give_up
        Called with each request that no call waits for any more (lock held).
    tell
        Called with the callers to detach, as ``(call, tile, request)`` (lock not held); also after a request was put back.
    """

    def __init__(
        self,
        lock: threading.Lock,
        *,
        put_back: Callable[[Request], None],
        give_up: Callable[[Request], None],
        tell: Callable[[list[Late]], None],
    ) -> None:
        self._lock = lock
        self._changed = threading.Condition(lock)
        self._put_back, self._give_up, self._tell = put_back, give_up, tell
        self.started: set[Request] = set()
        self._waiting: list[tuple[float, int, Request]] = []
        self._numbers = itertools.count()
        self._runs = False
        self._looks_at = 0.0

    @property
    def n_waiting(self) -> int:
        """Number of requests that wait for another attempt."""
        return sum(not request.finished for _, _, request in self._waiting)

    def start(self, request: Request) -> None:
        """Watch a request from its first attempt on."""
        request.started_at = time.monotonic()
        self.started.add(request)
        self._look_by(request.started_at + min(call.timeout_s for call in request.calls) + _GRACE_S)

    def attach(self, request: Request, call: Call) -> None:
        """Watch the deadline of one more caller of a request that may be running."""
        if request.started_at is not None:
            self._look_by(request.deadline_of(call) + _GRACE_S)

    def delay(self, request: Request, until: float) -> None:
        """Queue a request again at the time `until` (monotonic seconds)."""
        request.state = RequestState.DELAYED
        heapq.heappush(self._waiting, (until, next(self._numbers), request))
        self._look_by(until)

    def look_soon(self) -> None:
        """Look now: a caller went away."""
        if self._waiting:
            self._look_by(0.0)

    def _look_by(self, until: float) -> None:
        if not self._runs:
            self._runs = True
            self._looks_at = 0.0
            threading.Thread(target=self._run, name="polars_rasteret clock", daemon=True).start()
        elif until < self._looks_at:
            self._looks_at = until
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                n_back = self._due(now)
                late = self._late(now)
                if not late and not n_back:
                    idle = not self.started and not self._waiting
                    self._looks_at = max(now + _IDLE_S if idle else self._next_look(now), now + _PAUSE_S)
                    woken = self._changed.wait(self._looks_at - now)
                    if not woken and not self.started and not self._waiting:
                        self._runs = False
                        return
                    continue
            self._tell(late)
            del late

    def _due(self, now: float) -> int:
        n_back = 0
        while self._waiting and self._waiting[0][0] <= now:
            request = heapq.heappop(self._waiting)[2]
            if request.finished:
                continue
            if request.is_unwanted:
                self._give_up(request)
                continue
            self._put_back(request)
            n_back += 1
        return n_back

    def _late(self, now: float) -> list[Late]:
        late: list[Late] = []
        for request in list(self.started):
            # A caller that went away may leave a running request to end; it no longer needs one that waits.
            gone = request.is_unwanted
            expired = [
                call for call in request.calls if not call.abandoned and request.deadline_of(call) + _GRACE_S <= now
            ]
            for call in expired:
                del request.calls[call]
                for tile in request.tiles:
                    index = tile.forget(call)
                    if index is not None:
                        late.append((call, index, request))
            if (expired and request.is_unwanted) or (gone and request.state is RequestState.DELAYED):
                self._give_up(request)
        return late

    def _next_look(self, now: float) -> float:
        looks = [
            request.deadline_of(call) + _GRACE_S
            for request in self.started
            for call in request.calls
            if not call.abandoned
        ]
        if self._waiting:
            looks.append(self._waiting[0][0])
        return min(looks, default=now + _IDLE_S)
