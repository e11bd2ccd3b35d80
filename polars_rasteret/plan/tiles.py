"""Which tiles do windows touch, and where in the answer does each part of a window go?

A *piece* is the part of one window that lies in one tile. Pieces are grouped by tile, so that every tile is decoded once for all
its windows. Columns in, columns out: no bytes, no files and no loop per window belong here. A point is a 1x1 window and has one
piece. A part of a window outside the image has no piece.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from polars_rasteret.bundles import bundle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import Image

    Ints = NDArray[np.int64]


@bundle(slots=False)
class TileGrids:
    """Sizes of images and of their tiles, in pixels; one entry per image."""

    width: Ints
    height: Ints
    tile_width: Ints
    tile_height: Ints

    @classmethod
    def of(cls, images: Iterable[Image]) -> Self:
        """Return the grids of images."""
        sizes = [(image.width, image.height, image.tile_width, image.tile_height) for image in images]
        columns = np.array(sizes, dtype=np.int64).reshape(-1, 4).T
        return cls(width=columns[0], height=columns[1], tile_width=columns[2], tile_height=columns[3])

    @cached_property
    def tiles_across(self) -> Ints:
        """Number of tiles in one row of tiles, per image."""
        return -(-self.width // self.tile_width)

    @cached_property
    def first_tile(self) -> Ints:
        """Number of the first tile of each image, counted through all images; one entry more than images."""
        n_tiles = self.tiles_across * -(-self.height // self.tile_height)
        return np.concatenate(([0], np.cumsum(n_tiles)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TileGrids) and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("width", "height", "tile_width", "tile_height")
        )

    __hash__ = None  # type: ignore[assignment]


@bundle(slots=False)
class Pieces:
    """Parts of windows in tiles, grouped by tile.

    One entry per piece, sorted by tile; ``height``, ``width`` and ``stride`` are None when every piece is one pixel.
    """

    window: Ints
    """Index of the window of each piece."""
    row: Ints
    """First row of each piece inside its tile."""
    col: Ints
    """First column of each piece inside its tile."""
    height: Ints | None
    """Rows of each piece."""
    width: Ints | None
    """Columns of each piece."""
    destination: Ints
    """Index in the flat answer of the first pixel of each piece."""
    stride: Ints | None
    """Pixels from one row of the answer to the next, for each piece."""
    tile: Ints
    """Number of each distinct tile, counted through all images."""
    first_piece: Ints
    """Index of the first piece of each distinct tile, and the number of pieces.

    Tile ``i`` has the pieces ``first_piece[i]:first_piece[i + 1]``.
    """
    n_pixels: Ints
    """Pixels of each window that lie inside the image, one entry per window."""

    @cached_property
    def row_start(self) -> Ints:
        """First wanted row of each distinct tile."""
        return self._reduce(np.minimum, self.row)

    @cached_property
    def row_stop(self) -> Ints:
        """Row behind the last wanted row of each distinct tile."""
        return self._reduce(np.maximum, self.row + (1 if self.height is None else self.height))

    @cached_property
    def col_stop(self) -> Ints:
        """Column behind the last wanted column of each distinct tile."""
        return self._reduce(np.maximum, self.col + (1 if self.width is None else self.width))

    def _reduce(self, how: np.ufunc, values: Ints) -> Ints:
        if not len(self.tile):
            return np.empty(0, np.int64)
        reduced: Ints = how.reduceat(values, self.first_piece[:-1])
        return reduced


@bundle(slots=False)
class DistinctRows:
    """Distinct wanted rows of each tile, for pieces of one pixel."""

    row: Ints
    """Rows inside the tile, sorted within each tile."""
    first_row: Ints
    """Index into `row` of the first row of each distinct tile, and the number of rows."""
    position: Ints
    """Index of each piece's row among the distinct rows of its tile."""


def pieces_of_windows(  # noqa: PLR0917 - one argument per column
    grids: TileGrids,
    grid_id: Ints,
    row_start: Ints,
    col_start: Ints,
    height: Ints,
    width: Ints,
    first_pixel: Ints,
) -> Pieces:
    """Return windows cut at tile borders into pieces, grouped by tile.

    Parameters
    ----------
    grids
        Sizes of all images.
    grid_id
        Index of the image of each window, shape (n,); -1: the window reads nothing.
    row_start, col_start, height, width
        Windows in pixels, shape (n,). A window may lie outside its image, wholly or in part.
    first_pixel
        Index in the flat answer where each window begins, shape (n,).
    """
    if int(height.max(initial=0)) <= 1 and int(width.max(initial=0)) <= 1:
        is_pixel = (height > 0) & (width > 0)
        return _pieces_of_points(grids, np.where(is_pixel, grid_id, -1), row_start, col_start, first_pixel)
    known = grid_id >= 0
    grid = np.where(known, grid_id, 0)
    image_height, image_width = _picked(grids.height, grid), _picked(grids.width, grid)
    row_a, row_b = _clipped(row_start, height, image_height)
    col_a, col_b = _clipped(col_start, width, image_width)
    n_pixels = np.where(known, (row_b - row_a) * (col_b - col_a), 0)

    some = np.flatnonzero(n_pixels)
    grid, row_a, row_b, col_a, col_b = (column[some] for column in (grid, row_a, row_b, col_a, col_b))
    tile_height, tile_width = grids.tile_height[grid], grids.tile_width[grid]
    top, left = row_a // tile_height, col_a // tile_width
    n_across = (col_b - 1) // tile_width - left + 1
    n_pieces = ((row_b - 1) // tile_height - top + 1) * n_across

    # One entry per piece: `one` is its window (among `some`), `place` its position in the window's rectangle of tiles.
    one = np.repeat(np.arange(len(some)), n_pieces)
    place = np.arange(len(one)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    down = place // n_across[one]
    tile_row, tile_col = top[one] + down, left[one] + place - down * n_across[one]
    tile = grids.first_tile[grid[one]] + tile_row * grids.tiles_across[grid[one]] + tile_col
    order = radix_order(tile)
    one, tile, tile_row, tile_col = one[order], tile[order], tile_row[order], tile_col[order]

    window = some[one]
    tile_top, tile_left = tile_row * tile_height[one], tile_col * tile_width[one]
    row, col = np.maximum(row_a[one], tile_top), np.maximum(col_a[one], tile_left)
    stride = width[window]
    distinct, first_piece = runs(tile)
    return Pieces(
        window=window,
        row=row - tile_top,
        col=col - tile_left,
        height=np.minimum(row_b[one], tile_top + tile_height[one]) - row,
        width=np.minimum(col_b[one], tile_left + tile_width[one]) - col,
        destination=first_pixel[window] + (row - row_start[window]) * stride + (col - col_start[window]),
        stride=stride,
        tile=distinct,
        first_piece=first_piece,
        n_pixels=n_pixels,
    )


def distinct_rows(pieces: Pieces) -> DistinctRows:
    """Return the distinct rows that one-pixel pieces want, tile by tile.

    The pieces of a tile must be sorted by row, as `pieces_of_windows` leaves points.
    """
    new = np.empty(len(pieces.row), np.bool_)
    new[:1] = True
    np.not_equal(pieces.row[1:], pieces.row[:-1], out=new[1:])
    new[pieces.first_piece[:-1]] = True
    counted = np.cumsum(new)
    first_row = np.concatenate(([0], counted))[pieces.first_piece]
    position = counted - 1 - np.repeat(first_row[:-1], np.diff(pieces.first_piece))
    return DistinctRows(row=pieces.row[new], first_row=first_row, position=position)


def _pieces_of_points(grids: TileGrids, grid_id: Ints, row: Ints, col: Ints, first_pixel: Ints) -> Pieces:
    known = grid_id >= 0
    grid = np.where(known, grid_id, 0)
    known &= (row >= 0) & (row < _picked(grids.height, grid)) & (col >= 0) & (col < _picked(grids.width, grid))
    window = np.flatnonzero(known)
    grid, row, col = grid[window], row[window], col[window]
    tile_height, tile_width = _picked(grids.tile_height, grid), _picked(grids.tile_width, grid)
    tile_row, tile_col = row // tile_height, col // tile_width
    tile = grids.first_tile[grid] + tile_row * _picked(grids.tiles_across, grid) + tile_col
    row, col = row - tile_row * tile_height, col - tile_col * tile_width
    order = radix_order(tile, row)
    window = window[order]
    distinct, first_piece = runs(tile[order])
    return Pieces(
        window=window,
        row=row[order],
        col=col[order],
        height=None,
        width=None,
        destination=first_pixel[window],
        stride=None,
        tile=distinct,
        first_piece=first_piece,
        n_pixels=known.astype(np.int64),
    )


def _picked(column: Ints, index: Ints) -> Ints:
    """Return ``column[index]``, without the gather when all entries are equal; 0 when the column is empty."""
    if not len(column):
        return np.zeros(len(index), np.int64)
    if (column == column[0]).all():
        return np.broadcast_to(column[0], len(index))
    return column[index]


def _clipped(start: Ints, size: Ints, image_size: Ints) -> tuple[Ints, Ints]:
    """Return start and stop of the part of ``start : start + size`` inside ``0 : image_size``; equal where there is none."""
    inside_start = np.clip(start, 0, image_size)
    # Written so that no start or size overflows int64: pixels cut off in front are subtracted from the size.
    left = np.maximum(size - (inside_start - np.maximum(start, -(1 << 62))), 0)
    return inside_start, inside_start + np.minimum(left, image_size - inside_start)


def radix_order(*columns: Ints) -> Ints:
    """Return the stable order by the first column, then the second.

    NumPy sorts 16-bit numbers by radix. Sorting 16 bits at a time takes a quarter of the time of one sort of 64-bit numbers.
    """
    digits: list[NDArray[np.uint16]] = []
    for column in reversed(columns):
        largest = int(column.max(initial=0))
        shifts = range(0, max(largest.bit_length(), 1), 16)
        digits += [
            (column >> shift).astype(np.uint16) for shift in shifts
        ]  # the lowest first: lexsort's last key leads
    order: Ints = np.lexsort(digits)
    return order


def runs(sorted_values: Ints) -> tuple[Ints, Ints]:
    """Return the distinct values of a sorted column, and the index where each value's run begins (one entry more)."""
    if not len(sorted_values):
        return sorted_values, np.zeros(1, np.int64)
    starts = np.flatnonzero(np.concatenate(([True], sorted_values[1:] != sorted_values[:-1])))
    return sorted_values[starts], np.append(starts, len(sorted_values))
