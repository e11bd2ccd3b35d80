"""Is a tile in the cache, pending, or yet to be requested?

This is the single flight of tiles: a pending tile is requested once, and each further call that wants it waits for that request.
Not thread-safe: the scheduler's lock guards everything here.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polars_rasteret.fetch.scheduling.cache import TileCache
from polars_rasteret.fetch.scheduling.pending import PendingTile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from polars_rasteret.fetch.scheduling.cache import TileKey
    from polars_rasteret.fetch.scheduling.pending import Call, Request

_MOST_FILES = 200_000
"""Most files with a number; forgetting the number of a file only costs its cached tiles."""

_EMPTY = memoryview(b"")


@dataclass(slots=True)
class Found:
    """The tiles of one call, sorted by where each was found."""

    to_fetch: list[int] = field(default_factory=list)
    """Numbers of the tiles that this call must fetch: neither cached nor pending."""
    pending: list[PendingTile] = field(default_factory=list)
    """One entry per tile of `to_fetch`."""
    cached: list[tuple[int, memoryview]] = field(default_factory=list)
    empty: list[tuple[int, memoryview]] = field(default_factory=list)
    n_shared: int = 0
    """Tiles that another call has requested already."""


class TileLookup:
    """The cached and the pending tiles of the process."""

    def __init__(self) -> None:
        self.cache = TileCache()
        self.pending: dict[TileKey, PendingTile] = {}
        self._files: dict[Hashable, int] = {}
        self._numbers = itertools.count()

    def number_of(self, file: Hashable) -> int:
        """Return the number that stands for a file (store, href and version) in the keys of its tiles."""
        number = self._files.get(file)
        if number is None:
            if len(self._files) >= _MOST_FILES:
                del self._files[next(iter(self._files))]
            number = self._files[file] = next(self._numbers)
        return number

    def look_up(
        self, call: Call, keys: Sequence[TileKey], first: int, found: Found, attached: Callable[[Request], None]
    ) -> None:
        """Put tiles ``first, first + 1, ...`` of a call where they belong: cached, pending for another call, or to be fetched.

        `attached` is called with every request of another call that this call waits for from now on.
        """
        get, pending = self.cache.get, self.pending
        for index, key in enumerate(keys, first):
            data = get(key)
            if data is not None:
                found.cached.append((index, data))
                continue
            if key[1] == key[2]:
                found.empty.append((index, _EMPTY))
                continue
            tile = pending.get(key)
            if tile is None:
                # Noted before others can see it: Ctrl-C may come between any two lines of a main thread.
                tile = PendingTile(key, call, index)
                found.pending.append(tile)
                found.to_fetch.append(index)
                pending[key] = tile
                continue
            found.n_shared += 1
            if tile.others is None:
                tile.others = []
            tile.others.append((call, index))
            if tile.request is not None and call not in tile.request.calls:
                attached(tile.request)

    def finish(self, tiles: Sequence[PendingTile]) -> None:
        """Remove tiles from the pending ones: they came, failed, or no call wants them."""
        for tile in tiles:
            # A later entry for this tile may have taken the place of one that everybody had given up.
            if self.pending.get(tile.key) is tile:
                del self.pending[tile.key]

    def keep(self, request: Request, views: Sequence[memoryview], limit: int) -> None:
        """Put the tiles of an answer into the cache, which may hold `limit` bytes."""
        if limit:
            self.cache.put([tile.key for tile in request.tiles], views, request.n_bytes, limit)
        elif self.cache.n_bytes:
            self.cache.clear()
