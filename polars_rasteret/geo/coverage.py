"""Which pixels of a grid does a geometry cover?

The geometry is given as rings and lines in pixel coordinates. A pixel is covered when its centre is inside (as in GDAL's polygon
fill). With `all_touched`, a pixel is also covered when a line passes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_ON_BORDER = 1e-9
"""A line that reaches less than this many pixels into a pixel does not touch the pixel."""


def covered_pixels(
    lines: Sequence[tuple[Floats, Floats, bool]], height: int, width: int, *, all_touched: bool
) -> Booleans:
    """Return which pixels are covered, shape (height, width).

    Parameters
    ----------
    lines
        Row and column coordinates of the vertices of each line, and whether it is a ring around an area (or a hole).
    height, width
        Size of the grid in pixels; pixel ``i`` spans ``[i, i + 1)``.
    all_touched
        Whether pixels that a line passes through are covered, too.

    Examples
    --------
    >>> import numpy as np
    >>> box = (np.array([0.2, 0.2, 2.7, 2.7, 0.2]), np.array([0.6, 3.0, 3.0, 0.6, 0.6]), True)
    >>> covered_pixels([box], 3, 4, all_touched=False).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    rings = [(row, col) for row, col, is_ring in lines if is_ring]
    covered = _filled(rings, height, width)
    if all_touched:
        covered |= _touched([(row, col) for row, col, _ in lines], height, width)
    return covered


def _edges(lines: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the edges of all lines as four columns: row and column of the upper end, row and column of the lower end."""
    parts = [(row[:-1], col[:-1], row[1:], col[1:]) for row, col in lines]
    row_a, col_a, row_b, col_b = (
        (np.concatenate([np.zeros(0), *one]) for one in zip(*parts, strict=True)) if parts else (np.zeros(0),) * 4
    )
    is_down = row_a <= row_b
    return (
        np.where(is_down, row_a, row_b),
        np.where(is_down, col_a, col_b),
        np.where(is_down, row_b, row_a),
        np.where(is_down, col_b, col_a),
    )


def _filled(rings: Sequence[tuple[Floats, Floats]], height: int, width: int) -> Booleans:
    """Return which pixel centres are inside the rings, by the even-odd rule, shape (height, width)."""
    top, top_col, bottom, bottom_col = _edges(rings)
    # An edge meets the centres of rows in [top, bottom).
    first = np.clip(np.ceil(top - 0.5), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(bottom - 0.5), 0, height).astype(np.int64)
    edge, row = _spread(first, stop)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (bottom_col - top_col) / (bottom - top)
    crossing = top_col[edge] + (row + 0.5 - top[edge]) * slope[edge]
    # Inside and outside change at each crossing, for all pixels whose centre lies to the right.
    col = np.clip(np.floor(crossing + 0.5), 0, width).astype(np.int64)
    changes = np.zeros((height, width + 1), np.int64)
    np.add.at(changes, (row, col), 1)
    filled: Booleans = np.cumsum(changes, axis=1)[:, :width] % 2 == 1
    return filled


def _touched(lines: Sequence[tuple[Floats, Floats]], height: int, width: int) -> Booleans:
    """Return which pixels an edge passes through, shape (height, width). An edge along a pixel border passes through no pixel."""
    top, top_col, bottom, bottom_col = _edges(lines)
    first = np.clip(np.floor(top + _ON_BORDER), 0, height).astype(np.int64)
    stop = np.clip(np.ceil(bottom - _ON_BORDER), 0, height).astype(np.int64)
    edge, row = _spread(first, stop)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(bottom > top, (bottom_col - top_col) / (bottom - top), 0.0)
    is_level = (bottom - top <= _ON_BORDER)[edge]
    enters = top_col[edge] + (np.maximum(row, top[edge]) - top[edge]) * slope[edge]
    leaves = top_col[edge] + (np.minimum(row + 1, bottom[edge]) - top[edge]) * slope[edge]
    enters, leaves = np.where(is_level, top_col[edge], enters), np.where(is_level, bottom_col[edge], leaves)
    left, right = np.minimum(enters, leaves), np.maximum(enters, leaves)
    first_col = np.floor(left + _ON_BORDER)
    stop_col = np.maximum(np.ceil(right - _ON_BORDER), first_col)
    changes = np.zeros((height, width + 1), np.int64)
    np.add.at(changes, (row, np.clip(first_col, 0, width).astype(np.int64)), 1)
    np.add.at(changes, (row, np.clip(stop_col, 0, width).astype(np.int64)), -1)
    touched: Booleans = np.cumsum(changes, axis=1)[:, :width] > 0
    return touched


def _spread(first: NDArray[np.int64], stop: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return one entry per edge and per row in its ``first:stop``: index of the edge, and the row."""
    count = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(first)), count)
    return edge, first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
