"""In which order are targets read so that those which share tiles are read together, and where may that order be cut?

Each target is given a *block*: a tile of one pixel lattice, that on which most pairs are. Blocks follow a curve that visits
neighbours one after the other. Columns are NumPy, and nothing is known here of products or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.geo.hilbert_curve import BITS, hilbert_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import Image

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesOfPairs:
    """Boxes of tiles that pairs of targets and images touch; columns of int64, shape (n,)."""

    target: Ints
    lattice: Ints
    """Number of the lattice of tiles: equal where tile borders are in the same places."""
    image: Ints
    """Number of the image; images have tiles of their own."""
    row_start: Ints
    row_stop: Ints
    col_start: Ints
    col_stop: Ints
    tile_bytes: Ints
    """Bytes of one tile of the pair, as a mean."""
    record: Ints
    """Number of the record."""
    tables: Mapping[int, Image]
    """Offsets and bytes of the tiles of each image, by its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Tiles of one lattice each, numbered along a curve; columns of int64, one entry per block."""

    lattice: Ints
    row: Ints
    col: Ints

    def __len__(self) -> int:
        return len(self.row)

    def n_squares(self, side: int) -> int:
        """Return how many squares of some tiles along each side have blocks."""
        return len(np.unique(np.stack([self.lattice, self.row // side, self.col // side]), axis=1).T)

    def taken(self, block: Ints) -> Blocks:
        """Return the blocks of some numbers."""
        return Blocks(lattice=self.lattice[block], row=self.row[block], col=self.col[block])


def blocks_of_targets(pairs: TilesOfPairs, n_targets: int) -> tuple[Ints, Blocks]:
    """Return the block of each target, -1 for a target without a pair; and the blocks.

    Parameters
    ----------
    pairs
        Pairs in any order.
    n_targets
        Number of targets.
    """
    block = np.full(n_targets, -1, np.int64)
    # The lattice of most pairs comes first, so that neighbours agree on one where images overlap.
    count = np.bincount(pairs.lattice, minlength=1)
    rank = np.empty(len(count), np.int64)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    best = np.lexsort((rank[pairs.lattice], pairs.target))
    chosen = best[np.diff(pairs.target[best], prepend=-1) != 0]
    row = (pairs.row_start[chosen] + pairs.row_stop[chosen] - 1) // 2
    col = (pairs.col_start[chosen] + pairs.col_stop[chosen] - 1) // 2
    lattice = rank[pairs.lattice[chosen]]
    cells = (lattice << (2 * BITS)) + hilbert_index(col, row)
    _, first, number = np.unique(cells, return_index=True, return_inverse=True)
    block[pairs.target[chosen]] = number.reshape(-1)
    return block, Blocks(lattice=lattice[first], row=row[first], col=col[first])


@dataclass(frozen=True, slots=True, kw_only=True)
class TouchedTiles:
    """Tiles that targets touch, one entry for each target, image and tile; columns of int64, shape (n,)."""

    target: Ints
    tile: Ints
    """Number of the tile, dense from 0."""
    tile_bytes: Ints
    """Bytes of each tile by its number."""


def touched_tiles(pairs: TilesOfPairs) -> TouchedTiles:
    """Return every tile in the boxes of pairs."""
    n_rows, n_cols = pairs.row_stop - pairs.row_start, pairs.col_stop - pairs.col_start
    size = n_rows * n_cols
    pair = np.repeat(np.arange(len(size)), size)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(size) - size, size)
    row = pairs.row_start[pair] + within // n_cols[pair]
    col = pairs.col_start[pair] + within % n_cols[pair]
    key = (pairs.image[pair] * (row.max(initial=0) + 1) + row) * (col.max(initial=0) + 1) + col
    _, first, tile = np.unique(key, return_index=True, return_inverse=True)
    image, row, col = pairs.image[pair[first]], row[first], col[first]
    tile_bytes = np.zeros(len(first), np.int64)
    borders = np.flatnonzero(np.diff(image)) + 1  # the keys of an image follow each other
    for some in np.split(np.arange(len(first)), borders) if len(first) else ():
        table = pairs.tables[int(image[some[0]])]
        if len(table.byte_count):
            tile_bytes[some] = table.byte_count[row[some] * table.tiles_across + col[some]]
    return TouchedTiles(target=pairs.target[pair], tile=tile.reshape(-1), tile_bytes=tile_bytes)


def block_bytes(touched: TouchedTiles, block: Ints, n_blocks: int) -> NDArray[Any]:
    """Return the bytes of the distinct tiles that the targets of each block touch."""
    n_tiles = len(touched.tile_bytes)
    distinct = np.unique(block[touched.target] * n_tiles + touched.tile)
    found: NDArray[Any] = np.bincount(
        distinct // max(n_tiles, 1), weights=touched.tile_bytes[distinct % max(n_tiles, 1)], minlength=n_blocks
    )
    return found


def equal_runs(weight: NDArray[Any], n_runs: int) -> Ints:
    """Return where runs of about equal weight begin, and the end; as many as `n_runs`, or as there are weights.

    Examples
    --------
    >>> import numpy as np
    >>> equal_runs(np.array([1.0, 1.0, 1.0, 1.0, 4.0]), 2).tolist()
    [0, 4, 5]
    """
    n = min(n_runs, len(weight))
    before = np.arange(n)
    middle = np.cumsum(weight) - weight / 2
    starts = np.searchsorted(middle, before / n * weight.sum())
    starts = np.maximum.accumulate(np.maximum(starts, before) - before) + before  # each run has a weight at least
    return np.append(np.minimum(starts, len(weight) - n + before), len(weight))
