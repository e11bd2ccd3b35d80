"""Which bands come out of the same tiles, and are kept for the reads that follow?

A cube is loaded band by band. Where a file interleaves its bands, the tiles of one band hold the others, too: these are read with
it, and kept until they are asked for. What is kept is bounded in bytes, without a cache, too, and is handed out once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack_images import StackImages

    Pixels = tuple[NDArray[Any], NDArray[np.bool_], Mapping[int, str]]
    """Values, valid mask, and reasons of errors by record."""


LEAST_KEPT_BYTES = 64_000_000
"""What a cube may keep where ``cache_bytes`` is smaller: 2,000 x 2,000 pixels of five further bands of 16 bits."""


class KeptBlocks:
    """Pixels of bands that were read with others, until they are asked for."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def put(self, key: Hashable, pixels: Pixels) -> None:
        """Keep pixels; the oldest go when there are too many."""
        with self._lock:
            self._drop(key)
            self._kept[key] = pixels
            self._n_bytes += _size(pixels)
            while self._n_bytes > self.max_bytes:
                self._drop(next(iter(self._kept)))

    def take(self, key: Hashable) -> Pixels | None:
        """Return pixels and keep them no longer; None when they are not there."""
        with self._lock:
            return self._drop(key)

    def _drop(self, key: Hashable) -> Pixels | None:
        pixels = self._kept.pop(key, None)
        self._n_bytes -= 0 if pixels is None else _size(pixels)
        return pixels


def _size(pixels: Pixels) -> int:
    return pixels[0].nbytes + pixels[1].nbytes


def bands_in_same_tiles(images: StackImages, asked: Sequence[str], bands: Sequence[str]) -> list[str]:
    """Return the further bands that lie in the tiles of the bands asked for, in all records."""
    places = {name: _tiles_of(images, name) for name in bands}
    known = {places[name] for name in asked}
    return [name for name in bands if name not in asked and places[name] is not None and places[name] in known]


def _tiles_of(images: StackImages, band: str) -> Hashable:
    """Return what tells the tiles of a band from those of others, where all its files interleave bands; else None."""
    column = images.columns[band]
    if any(one.tiles.planar != 1 or one.tiles.samples_per_tile == 1 for one in column.references):
        return None
    hrefs = [*(one.href for one in column.references), ""]
    return tuple(hrefs[one] for one in column.reference_id.tolist()), tuple(images.levels[band].tolist())
