"""Which compressed tiles are still here?

A byte-bounded LRU. Tiles of one request are views of one buffer, so a buffer is what is kept, refreshed and dropped, gaps
counted: the bound holds for the memory, not only for the sum of the tiles. Not thread-safe: the scheduler's lock guards it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TileKey = tuple[int, int, int]
"""File number (the scheduler's), byte_start, byte_stop."""

_SHARE = 8
"""A buffer larger than this part of the cache is taken apart, so that one tile does not hold that much."""


class TileCache:
    """Compressed tiles, the least recently used leave first."""

    def __init__(self) -> None:
        self._tiles: dict[TileKey, tuple[_Buffer, memoryview]] = {}
        self._buffers: OrderedDict[_Buffer, None] = OrderedDict()
        self.n_bytes = 0

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, key: TileKey) -> memoryview | None:
        """Give a tile, and count it as used now."""
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
            One entry per tile.
        n_bytes
            Size of the buffer the views hold.
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
        """Drop the least recently used until the rest fits `limit`."""
        while self.n_bytes > limit:
            buffer, _ = self._buffers.popitem(last=False)
            self.n_bytes -= buffer.n_bytes
            for key in buffer.keys:
                entry = self._tiles.get(key)
                if entry is not None and entry[0] is buffer:
                    del self._tiles[key]

    def clear(self) -> None:
        """Drop everything."""
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
