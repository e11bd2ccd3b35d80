"""Which tile tables has this process unpacked already?

Many rows and calls refer to the same few tile tables, so each table is unpacked once, while it is in use.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from polars_rasteret.tiff.tile_table import unpack

if TYPE_CHECKING:
    from polars_rasteret.tiff.band_tiles import BandTiles

_UNPACKED_BYTES = 128_000_000
"""Bytes of unpacked tables that a process keeps."""

_unpacked: OrderedDict[bytes, tuple[BandTiles, int]] = OrderedDict()
_unpacked_lock = threading.Lock()
_unpacked_size = 0


def unpacked(tiles: bytes) -> BandTiles:
    """Return ``unpack(tiles)``, remembered per process by the bytes themselves; the least recently used tables leave first.

    Raises
    ------
    FileFormatError
        For bytes that are not a tile table of a version that this release reads.
    """
    global _unpacked_size  # noqa: PLW0603 - one cache per process
    with _unpacked_lock:
        known = _unpacked.get(tiles)
        if known is not None:
            _unpacked.move_to_end(tiles)
            return known[0]
    table = unpack(tiles)
    images = [image for one in (table, *table.masks) for image in one.images]
    columns = [column for image in images for column in (image.byte_start, image.byte_count)]
    # Of tables without any tile one zero stands for all numbers.
    size = len(tiles) + 1_000 + sum(column.nbytes for column in columns if column.strides != (0,))
    with _unpacked_lock:
        if tiles not in _unpacked:
            _unpacked[tiles] = (table, size)
            _unpacked_size += size
        while _unpacked_size > _UNPACKED_BYTES and len(_unpacked) > 1:
            _unpacked_size -= _unpacked.popitem(last=False)[1][1]
    return table


def _renew_lock() -> None:
    """Make a new lock in a forked child, where a thread that is gone may hold the old one."""
    global _unpacked_lock  # noqa: PLW0603
    _unpacked_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
