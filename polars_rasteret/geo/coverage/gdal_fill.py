"""Which pixels have their centre in a zone, by the rules of GDAL's polygon fill?

As GDALdllImageFilledPolygon (alg/llrasterize.cpp): even-odd along the centres of each row, polygon by polygon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.scanlines import Scanlines, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.gdal_edges import Edges

    Ints = NDArray[np.int64]


def filled(edges: Edges, height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return runs of pixels whose centres are inside: part, row, first column and stop column.

    Parameters
    ----------
    edges
        Of closed rings; other lines enclose nothing.
    height, width
        Size of the grid of each part.
    """
    crossed, level = _crossed(edges, height, width), _level(edges, height, width)
    part, row, col_start, col_stop = (np.concatenate(pair) for pair in zip(crossed, level, strict=True))
    keep = col_stop > col_start
    return part[keep], row[keep], col_start[keep], col_stop[keep]


def _crossed(edges: Edges, height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the runs between each odd crossing of a row of centres and the next crossing."""
    at = np.flatnonzero(edges.is_ring & (edges.row_a != edges.row_b))
    is_down = edges.row_a[at] < edges.row_b[at]
    upper = np.where(is_down, edges.row_a[at], edges.row_b[at])
    lower = np.where(is_down, edges.row_b[at], edges.row_a[at])
    upper_col = np.where(is_down, edges.col_a[at], edges.col_b[at])
    lower_col = np.where(is_down, edges.col_b[at], edges.col_a[at])
    part = edges.part[at]
    # An edge meets the centres of rows in [upper, lower).
    first = np.clip(np.ceil(upper - 0.5), 0, height[part]).astype(np.int64)
    stop = np.clip(np.ceil(lower - 0.5), 0, height[part]).astype(np.int64)
    edge, row = spread(first, stop)
    # GDAL's order of operations: another one rounds crossings on centres to the other side.
    crossing = (row + 0.5 - upper[edge]) * (lower_col - upper_col)[edge] / (lower - upper)[edge] + upper_col[edge]
    part = part[edge]
    col = np.clip(np.floor(crossing + 0.5), 0, width[part]).astype(np.int64)
    lines = Scanlines.holding(part, row, len(height))
    stride = int(width.max(initial=0)) + 1
    key = lines.of(part, row) * stride + col
    key.sort()
    number, col_start = np.divmod(key[0::2], stride)  # a closed ring crosses a row an even number of times
    part, row = lines.owner_and_row(number)
    return part, row, col_start, key[1::2] - number * stride


def _level(edges: Edges, height: Ints, width: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the runs along edges that lie on the centres of a row and run towards smaller columns: GDAL fills them apart."""
    at = np.flatnonzero(edges.is_ring & (edges.row_a == edges.row_b) & (edges.col_a > edges.col_b))
    row = edges.row_a[at] - 0.5
    part = edges.part[at]
    is_on_centres = (row == np.floor(row)) & (row >= 0) & (row < height[part])
    at, part, row = at[is_on_centres], part[is_on_centres], row[is_on_centres].astype(np.int64)
    col_start = np.clip(np.floor(edges.col_b[at] + 0.5), 0, width[part]).astype(np.int64)
    col_stop = np.clip(np.floor(edges.col_a[at] + 0.5), 0, width[part]).astype(np.int64)
    return part, row, col_start, col_stop
