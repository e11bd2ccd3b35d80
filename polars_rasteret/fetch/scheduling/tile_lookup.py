"""Is a tile in the cache, pending, or yet to be requested?

This is the single flight of tiles: a pending tile is requested once, and each further call that wants it waits for that request.
The tiles of earlier requests are in a cache of bounded size.
Not thread-safe: the scheduler's lock guards everything here.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polars_rasteret.fetch.scheduling.pending import PendingTile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from polars_rasteret.fetch.scheduling.pending import Call, Request, TileKey

_MOST_FILES = 200_000
"""Most files with a number; forgetting the number of a file only costs its cached tiles."""

_SHARE = 8
"""A buffer larger than 1/8 of the cache is cut into its tiles. So one tile in use does not hold a large buffer."""

_EMPTY = memoryview(b"")


@dataclass(slots=True, eq=False, repr=False)
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


class TileCache:
    """Compressed tiles that later reads may use; the least recently used ones leave first.

    Tiles of one request are views of one buffer. So whole buffers are kept, refreshed and dropped, with the gaps between their
    tiles: the bound holds for the memory, not only for the sum of the tiles.
    """

    def __init__(self) -> None:
        self._tiles: dict[TileKey, tuple[_Buffer, memoryview]] = {}
        self._buffers: OrderedDict[_Buffer, None] = OrderedDict()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, key: TileKey) -> memoryview | None:
        """Return the bytes of a tile, which counts as used now; None when it is not cached."""
        entry = self._tiles.get(key)
        if entry is None:
            return None
        self._buffers.move_to_end(entry[0])
        return entry[1]

    def put(self, keys: Sequence[TileKey], views: Sequence[memoryview], n_bytes: int, limit: int) -> None:
        """Keep the tiles of one buffer.

        Parameters
        ----------
        keys, views
            The key and the bytes of each tile.
        n_bytes
            Size of the buffer that the views are of.
        limit
            Bytes the cache may hold; older tiles leave for the new ones. A buffer that does not fit is not kept.
        """
        if len(views) > 1 and n_bytes * _SHARE > limit:
            for key, view in zip(keys, views, strict=True):
                if len(view) <= limit:
                    self._add([key], [memoryview(bytes(view))], len(view), limit)
        elif n_bytes <= limit:
            self._add(keys, views, n_bytes, limit)

    def shrink(self, limit: int) -> None:
        """Drop the least recently used buffers until the others fit into `limit` bytes."""
        while self.n_bytes > limit:
            buffer, _ = self._buffers.popitem(last=False)
            self.n_bytes -= buffer.n_bytes
            for key in buffer.keys:
                entry = self._tiles.get(key)
                if entry is not None and entry[0] is buffer:
                    del self._tiles[key]

    def clear(self) -> None:
        """Drop all tiles."""
        self._tiles.clear()
        self._buffers.clear()
        self.n_bytes = 0

    def _add(self, keys: Sequence[TileKey], views: Sequence[memoryview], n_bytes: int, limit: int) -> None:
        self.shrink(limit - n_bytes)
        buffer = _Buffer(keys, n_bytes)
        self._buffers[buffer] = None
        self.n_bytes += n_bytes
        for key, view in zip(keys, views, strict=True):
            self._tiles[key] = (buffer, view)


class _Buffer:
    __slots__ = ("keys", "n_bytes")

    def __init__(self, keys: Sequence[TileKey], n_bytes: int) -> None:
        self.keys = keys
        self.n_bytes = n_bytes
