"""What does the scheduler know of a call, a pending tile and a request?

Plain records that start nothing by themselves. The scheduler's lock guards every field that changes.
"""

from __future__ import annotations

import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from polars_rasteret.bundles import bundle
from polars_rasteret.fetch.access import Redirects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.errors import FetchError
    from polars_rasteret.fetch.scheduling.on_disk import OnDisk
    from polars_rasteret.fetch.scheduling.pace import Throttle
    from polars_rasteret.fetch.sources.byte_source import FileKey, RangeReader

    Done = Callable[[], None]
    Deliver = Callable[[int, Any, Done], None]
    """The bytes of a tile, or the answer to `FetchTicket.ask`."""
    Fail = Callable[[int, FetchError], None]

TileKey = tuple[int, int, int]
"""Number that `TileLookup` gave to the file, byte_start, byte_stop."""


class Call:
    """One call that asked for tiles: the functions that receive them, its timeout and its retries."""

    __slots__ = ("abandoned", "deliver", "fail", "lanes", "retries", "timeout_s")

    def __init__(self, deliver: Deliver, fail: Fail, *, timeout_s: float, retries: int) -> None:
        self.deliver = deliver
        self.fail = fail
        self.timeout_s = timeout_s
        self.retries = retries
        self.lanes: dict[RangeReader, Lane] = {}
        self.abandoned = False


class Lane:
    """The requests of one call to one source that have not started; lanes are served in turn."""

    __slots__ = ("pending", "queued", "throttle")

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.pending: deque[Request] = deque()
        self.queued = False
        """Whether the lane is in the rotation of `FetchPool`."""


class PendingTile:
    """One tile that a request will bring, and the calls that wait for the tile: the call that requested it, rarely more."""

    __slots__ = ("call", "index", "key", "others", "request")

    def __init__(self, key: TileKey, call: Call, index: int) -> None:
        self.key = key
        self.call: Call | None = call
        self.index = index
        self.others: list[tuple[Call, int]] | None = None
        self.request: Request | None = None

    def waiters(self) -> list[tuple[Call, int]]:
        """Return the calls that still wait for the tile, each with its own number for the tile."""
        first = [] if self.call is None or self.call.abandoned else [(self.call, self.index)]
        return first + [pair for pair in self.others if not pair[0].abandoned] if self.others else first

    def forget(self, call: Call) -> int | None:
        """Remove a call from those that wait for the tile; return its number for the tile, None if it did not wait."""
        if self.call is call:
            self.call = None
            return self.index
        for pair in self.others or ():
            if pair[0] is call:
                self.others.remove(pair)  # type: ignore[union-attr]
                return pair[1]
        return None


class RequestState(Enum):
    """The stage of a request that has not ended."""

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
        "n_failed",
        "n_refused",
        "on_disk",
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
        """The call in whose lane the request waits."""
        self.source = source
        self.file = file
        self.byte_start = byte_start
        self.byte_stop = byte_stop
        self.tiles = tiles
        self.may_end = may_end
        """Whether the file may end before `byte_stop`. The one call that waits gets the whole answer, which is not cached."""
        self.calls: dict[Call, float] = {owner: 0.0}
        """Calls that wait, each with the time since when (monotonic seconds); for the owner 0, which means since the request
        started."""
        self.attempt = 0
        """Number of attempts that ended."""
        self.n_refused = 0
        """Those that the store refused as too many."""
        self.n_failed = 0
        """Those that count: what a crowded store refuses takes none of the `retries` of a call."""
        self.redirects = Redirects()
        self.started_at: float | None = None
        self.finished = False
        self.state = RequestState.NEW
        self.attempted_at = 0.0
        self.n_cuts = 0
        """How often the limit of the source had been cut when the attempt started."""
        self.n_beside = 1
        """Requests to the source that ran when the attempt started, this one included."""
        self.on_disk: OnDisk | None = None
        """Where the cache on disk keeps the tiles, or will keep them."""
        self.lost = False
        """Whether all calls gave up while the thread of the request was still waiting for the source."""

    @property
    def n_bytes(self) -> int:
        """Length of the range in bytes."""
        return self.byte_stop - self.byte_start

    @property
    def n_begun(self) -> int:
        """Number of attempts that began."""
        return self.attempt + (self.state is RequestState.RUNNING)

    @property
    def is_unwanted(self) -> bool:
        """Whether every call that waited for the request went away."""
        return all(call.abandoned for call in self.calls)

    def sent_to(self, source: RangeReader) -> Request:
        """Return a request to another source for the same tiles, and the same calls, which this one gives up."""
        self.finished = True
        tiles, self.tiles = self.tiles, []
        other = Request(
            self.owner, source, self.file, byte_start=self.byte_start, byte_stop=self.byte_stop, tiles=tiles
        )
        other.calls, other.on_disk = self.calls, self.on_disk
        return other

    def time_left_s(self) -> float:
        """Return the seconds left for an attempt that starts now, until the latest deadline of its calls."""
        if self.attempt == 0:
            # Not measured to the microsecond: obstore has a client per timeout.
            return max(
                [call.timeout_s for call in list(self.calls) if not call.abandoned], default=self.owner.timeout_s
            )
        deadlines = [self.deadline_of(call) for call in list(self.calls) if not call.abandoned]
        return max(max(deadlines, default=0.0) - time.monotonic(), 0.01)

    def may_try_at(self, at: float, call: Call) -> bool:
        """Return whether a call still waits, and allows another attempt at that time (monotonic seconds)."""
        return not call.abandoned and 0 < call.retries >= self.n_failed and at < self.deadline_of(call)

    def deadline_of(self, call: Call) -> float:
        """Return the time (monotonic seconds) until which a call waits, once the request has started."""
        return max(self.started_at or 0.0, self.calls.get(call, 0.0)) + call.timeout_s


class Release:
    """Releases the bytes of one delivered tile: when it is called, or when it is garbage-collected.

    No lock is taken: a list takes the number of bytes, and the fetch pool counts them when it next looks. A thread is woken only
    if one waits for bytes.
    """

    __slots__ = ("_give_back", "_n_bytes", "_wake")

    def __init__(self, n_bytes: int, give_back: Callable[[int], None], wake: Callable[[], None]) -> None:
        self._n_bytes = n_bytes
        self._give_back = give_back
        self._wake = wake

    def __call__(self) -> None:
        """Release the bytes; later calls do nothing."""
        n_bytes, self._n_bytes = self._n_bytes, 0
        if n_bytes:
            self._give_back(n_bytes)
            self._wake()

    def __del__(self) -> None:
        # Not woken from here: the garbage collector may run this inside the scheduler's lock. A thread that waits for bytes looks
        # every 50 milliseconds.
        if self._n_bytes:
            self._give_back(self._n_bytes)


def release_nothing() -> None:
    """Release nothing: the tile came from the cache, which counts its own bytes."""


def fail_all(waiters: Sequence[tuple[Call, int]], error: FetchError) -> None:
    """Report to the calls that still wait, each by its own number for the tile, that a tile cannot be had."""
    for call, index in waiters:
        if not call.abandoned:
            call.fail(index, error)


def link_tiles(requests: Sequence[Request]) -> None:
    """Note at each pending tile its request, and at each request the calls that wait for it."""
    for request in requests:
        for tile in request.tiles:
            tile.request = request
            for other, _ in tile.others or ():
                request.calls.setdefault(other, 0.0)


@bundle(kw_only=False, eq=True)
class SchedulerState:
    """The counts that the scheduler holds now; all but threads and cache are 0 when no call is open."""

    n_threads: int
    n_running: int
    n_queued: int
    n_delayed: int
    n_tiles_awaited: int
    bytes_in_flight: int
    cache_bytes: int
    n_threads_lost: int
