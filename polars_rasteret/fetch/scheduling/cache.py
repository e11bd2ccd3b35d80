"""Which compressed tiles does this process keep for later reads?

A byte-bounded cache whose least recently used entries leave first. Tiles of one request are views of one buffer, so whole buffers
are kept, refreshed and dropped, with the gaps between their tiles: the bound holds for the memory, not only for the sum of the
tiles. Not thread-safe: the scheduler's lock guards the cache.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TileKey = tuple[int, int, int]
"""Number that `TileLookup` gave to the file, byte_start, byte_stop."""

_SHARE = 8
"""A buffer larger than 1/8 of the cache is cut into its tiles. So one tile in use does not hold a large buffer."""


class TileCache:
    """Compressed tiles of which the least recently used leave first."""

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
