"""What does the scheduler know of a call, a pending tile and a request?

Plain records without behaviour of their own time; the scheduler's lock guards every field that changes.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from polars_rasteret.fetch.access import Redirects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.errors import FetchError
    from polars_rasteret.fetch.scheduling.cache import TileKey
    from polars_rasteret.fetch.scheduling.throttle import Throttle
    from polars_rasteret.fetch.sources.byte_source import FileKey, RangeReader

    Done = Callable[[], None]
    Deliver = Callable[[int, Any, Done], None]
    """The bytes of a tile, or the answer to `FetchTicket.ask`."""
    Fail = Callable[[int, FetchError], None]


class Call:
    """One caller's wish for many tiles: where they go, and how patient it is."""

    __slots__ = ("abandoned", "deliver", "fail", "lanes", "retries", "timeout_s")

    def __init__(self, deliver: Deliver, fail: Fail, *, timeout_s: float, retries: int) -> None:
        self.deliver = deliver
        self.fail = fail
        self.timeout_s = timeout_s
        self.retries = retries
        self.lanes: dict[RangeReader, Lane] = {}
        self.abandoned = False


class Lane:
    """The requests of one call to one source that have not begun; lanes are served in turn."""

    __slots__ = ("pending", "queued", "throttle")

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.pending: deque[Request] = deque()
        self.queued = False
        """Whether it stands in the rotation."""


class PendingTile:
    """One tile that a request will bring, and the calls that wait for it: the one that requested it, and rarely more."""

    __slots__ = ("call", "index", "key", "others", "request")

    def __init__(self, key: TileKey, call: Call, index: int) -> None:
        self.key = key
        self.call: Call | None = call
        self.index = index
        self.others: list[tuple[Call, int]] | None = None
        self.request: Request | None = None

    def waiters(self) -> list[tuple[Call, int]]:
        """Give calls that still want the tile, with their own number for it."""
        first = [] if self.call is None or self.call.abandoned else [(self.call, self.index)]
        return first + [pair for pair in self.others if not pair[0].abandoned] if self.others else first

    def forget(self, call: Call) -> int | None:
        """Take a call off the waiters; give its number for the tile if it was one."""
        if self.call is call:
            self.call = None
            return self.index
        for pair in self.others or ():
            if pair[0] is call:
                self.others.remove(pair)  # type: ignore[union-attr]
                return pair[1]
        return None


class RequestState(Enum):
    """Where a request that has not ended is."""

    NEW = 0
    QUEUED = 1
    RUNNING = 2
    DELAYED = 3


class Request:
    """One request: a range of a file, the tiles in it, and the calls that wait."""

    __slots__ = (
        "attempt",
        "attempted_at",
        "byte_start",
        "byte_stop",
        "calls",
        "file",
        "finished",
        "lost",
        "may_end",
        "n_beside",
        "n_cuts",
        "owner",
        "redirects",
        "source",
        "started_at",
        "state",
        "tiles",
    )

    def __init__(
        self,
        owner: Call,
        source: RangeReader,
        file: FileKey,
        *,
        byte_start: int,
        byte_stop: int,
        tiles: list[PendingTile],
        may_end: bool = False,
    ) -> None:
        self.owner = owner
        """In whose turn it is fetched."""
        self.source = source
        self.file = file
        self.byte_start = byte_start
        self.byte_stop = byte_stop
        self.tiles = tiles
        self.may_end = may_end
        """The end of the file is not known; its one waiter gets the whole answer, which is not cached."""
        self.calls: dict[Call, float] = {owner: 0.0}
        """Who waits, and since when (monotonic); the owner since the request started."""
        self.attempt = 0
        self.redirects = Redirects()
        self.started_at: float | None = None
        self.finished = False
        self.state = RequestState.NEW
        self.attempted_at = 0.0
        self.n_cuts = 0
        """How often its source's limit had been cut when the attempt started."""
        self.n_beside = 1
        """Requests of its source that ran then, itself included."""
        self.lost = False
        """Everybody gave up on it while its thread was still waiting for the source."""

    @property
    def n_bytes(self) -> int:
        """Length of the range."""
        return self.byte_stop - self.byte_start

    @property
    def is_unwanted(self) -> bool:
        """Whether every call that waited for it went away."""
        return all(call.abandoned for call in self.calls)

    def time_left_s(self) -> float:
        """Give what is left for an attempt that starts now: until the most patient caller's deadline."""
        if self.attempt == 0:
            # Not measured to the microsecond: obstore has a client per timeout.
            return max(
                [call.timeout_s for call in list(self.calls) if not call.abandoned], default=self.owner.timeout_s
            )
        deadlines = [self.deadline_of(call) for call in list(self.calls) if not call.abandoned]
        return max(max(deadlines, default=0.0) - time.monotonic(), 0.01)

    def deadline_of(self, call: Call) -> float:
        """Give the time (monotonic) until which a call waits; only once started."""
        return max(self.started_at or 0.0, self.calls.get(call, 0.0)) + call.timeout_s


class Release:
    """Give back the bytes of one delivered tile: when called, or when nobody can call it any more.

    Without a lock: a list takes the bytes, the scheduler counts them when it looks; it is woken only if it waits for bytes.
    """

    __slots__ = ("_give_back", "_n_bytes", "_wake")

    def __init__(self, n_bytes: int, give_back: Callable[[int], None], wake: Callable[[], None]) -> None:
        self._n_bytes = n_bytes
        self._give_back = give_back
        self._wake = wake

    def __call__(self) -> None:
        """Give the bytes back; later calls do nothing."""
        n_bytes, self._n_bytes = self._n_bytes, 0
        if n_bytes:
            self._give_back(n_bytes)
            self._wake()

    def __del__(self) -> None:
        # Not woken from here: the garbage collector may run this inside the scheduler's lock. Whoever waits for bytes looks
        # every 50 milliseconds.
        if self._n_bytes:
            self._give_back(self._n_bytes)


def release_nothing() -> None:
    """Give nothing back: the tile came from the cache, which counts its own bytes."""


def link_tiles(requests: Sequence[Request]) -> None:
    """Note at each pending tile its request, and at each request the calls that wait for it."""
    for request in requests:
        for tile in request.tiles:
            tile.request = request
            for other, _ in tile.others or ():
                request.calls.setdefault(other, 0.0)


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What the scheduler holds now; everything but threads and cache is 0 when no call is open."""

    n_threads: int
    n_running: int
    n_queued: int
    n_delayed: int
    n_tiles_awaited: int
    bytes_in_flight: int
    cache_bytes: int
    n_threads_lost: int
