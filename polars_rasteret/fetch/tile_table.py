"""Where is a tile: in the cache, on its way, or nowhere yet?

Not thread-safe: the scheduler's lock guards it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polars_rasteret.fetch.cache import TileCache
from polars_rasteret.fetch.jobs import Flight

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from polars_rasteret.fetch.cache import TileKey
    from polars_rasteret.fetch.jobs import Call, Job

_MOST_FILES = 200_000
"""Files with a number; forgetting one only costs its cached tiles."""

_EMPTY = memoryview(b"")


@dataclass(slots=True)
class Found:
    """What the look-up of a call's tiles gave."""

    led: list[int] = field(default_factory=list)
    """Tiles this call must fetch, and their flights."""
    flights: list[Flight] = field(default_factory=list)
    cached: list[tuple[int, memoryview]] = field(default_factory=list)
    empty: list[tuple[int, memoryview]] = field(default_factory=list)
    n_shared: int = 0
    """Tiles that are already on their way for somebody else."""


class TileTable:
    """Tiles in the cache and on their way."""

    def __init__(self) -> None:
        self.cache = TileCache()
        self.flights: dict[TileKey, Flight] = {}
        self._files: dict[Hashable, int] = {}
        self._numbers = itertools.count()

    def number_of(self, file: Hashable) -> int:
        """Give the number that stands for a file (store, href and version) in the keys of its tiles."""
        number = self._files.get(file)
        if number is None:
            if len(self._files) >= _MOST_FILES:
                del self._files[next(iter(self._files))]
            number = self._files[file] = next(self._numbers)
        return number

    def look_up(
        self, call: Call, keys: Sequence[TileKey], first: int, found: Found, attached: Callable[[Job], None]
    ) -> None:
        """Put tiles ``first, first + 1, ...`` of a call where they belong: cached, awaited or led.

        `attached` is told of every request of others that the call waits for from now on.
        """
        get, flights = self.cache.get, self.flights
        for index, key in enumerate(keys, first):
            data = get(key)
            if data is not None:
                found.cached.append((index, data))
                continue
            if key[1] == key[2]:
                found.empty.append((index, _EMPTY))
                continue
            flight = flights.get(key)
            if flight is None:
                # Noted before others can see it: Ctrl-C may come between any two lines of a main thread.
                flight = Flight(key, call, index)
                found.flights.append(flight)
                found.led.append(index)
                flights[key] = flight
                continue
            found.n_shared += 1
            if flight.others is None:
                flight.others = []
            flight.others.append((call, index))
            if flight.job is not None and call not in flight.job.calls:
                attached(flight.job)

    def land(self, flights: Sequence[Flight]) -> None:
        """Take tiles off the way: they came, failed, or nobody wants them."""
        for flight in flights:
            # A later flight of the same tile may have taken its place when everybody had given up on this one.
            if self.flights.get(flight.key) is flight:
                del self.flights[flight.key]

    def keep(self, job: Job, views: Sequence[memoryview], limit: int) -> None:
        """Put the tiles of an answer into the cache, which may hold `limit` bytes."""
        if limit:
            self.cache.put([flight.key for flight in job.flights], views, job.n_bytes, limit)
        elif self.cache.n_bytes:
            self.cache.clear()
