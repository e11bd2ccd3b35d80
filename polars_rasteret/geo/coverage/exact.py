"""Which share of each pixel do zones cover, exactly?

By signed areas, as font rasterisers fill glyphs. Edges are cut at rows, then at columns. Each piece covers a part of its own
pixel, and everything to the right of it. What pieces say of a pixel is added, and accumulated along its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, pixel_coordinates
from polars_rasteret.geo.coverage.batches import runs_in_batches
from polars_rasteret.geo.coverage.runs import Runs
from polars_rasteret.geo.coverage.scanlines import Scanlines, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_SNAP = 1e-12
"""Weights this near to 0 and 1 are that: rounding must not make a pixel count, or count less."""
_UNIT = 2.0**60
"""Areas are added as integers, so many to a pixel. So sums are exact: a weight depends neither on order nor on other zones."""


def exact_runs(outlines: Outlines, transform: Floats, height: Ints, width: Ints) -> Runs:
    """Return the pixels that zones cover and the share of each that they cover.

    Vertices within 1e-6 pixels of a pixel border are put on it: a box that went through a projection covers no slivers of
    neighbours.

    Parameters
    ----------
    outlines
        Of zones as `areal.areal` prepares them, in map coordinates, all of them finite. Lines cover nothing.
    transform, height, width
        Grid of each zone, shapes (n_zones, 6), (n_zones,), (n_zones,). Rotated, sheared and south-up grids are nothing special.

    Examples
    --------
    >>> import shapely
    >>> from polars_rasteret.geo.coverage.outlines import outlines_of
    >>> outlines = outlines_of(np.array([shapely.box(0.5, -2, 3, -0.25)]))
    >>> runs = exact_runs(outlines, np.array([[1.0, 0, 0, 0, -1, 0]]), np.array([3]), np.array([4]))
    >>> for row, *run in zip(runs.row, runs.col_start, runs.col_stop, runs.weight):
    ...     print(row, *run)
    0 0 1 0.375
    0 1 3 0.75
    1 0 1 0.5
    1 1 3 1.0
    """
    return runs_in_batches(_runs, outlines, transform, height, width)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """Edges of rings from their upper to their lower end, in pixels from the first pixel that a zone may cover."""

    top: Floats
    top_col: Floats
    bottom: Floats
    bottom_col: Floats
    sign: Floats
    """1 where the zone lies to the right of the edge, -1 where it ends there."""
    zone: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pieces:
    """Pieces of edges, each within one pixel, in any order."""

    zone: Ints
    row: Ints
    col: Ints
    cover: Floats
    """Share of every pixel to the right that lies beside the piece, below 0 where the zone ends."""
    own: Floats
    """Share of its own pixel that lies to the right of the piece."""


def _runs(outlines: Outlines, transform: Floats, height: Ints, width: Ints) -> Runs:
    """Return the runs of one batch of zones."""
    vertex_zone = outlines.zone_of_line[outlines.line_of_vertex]
    row, col = (_on_borders(one) for one in pixel_coordinates(transform[vertex_zone], outlines.x, outlines.y))
    first_row, first_col = _first(row, vertex_zone, height), _first(col, vertex_zone, width)
    # Small numbers have more digits behind the point; the difference itself is exact.
    edges = _edges(outlines, row - first_row[vertex_zone], col - first_col[vertex_zone], vertex_zone)
    runs = _accumulated(_pieces(edges, height - first_row, width - first_col), width - first_col)
    return replace(
        runs,
        row=runs.row + first_row[runs.zone],
        col_start=runs.col_start + first_col[runs.zone],
        col_stop=runs.col_stop + first_col[runs.zone],
    )


def _on_borders(position: Floats) -> Floats:
    border = np.rint(position)
    return np.where(np.abs(position - border) <= BORDER_TOLERANCE_PX, border, position)


def _first(position: Floats, zone: Ints, size: Ints) -> Ints:
    """Return the first row or column of the grid that each zone may cover."""
    first = np.full(len(size), np.inf)
    np.minimum.at(first, zone, position)
    result: Ints = np.clip(np.floor(first), 0, size).astype(np.int64)
    return result


def _edges(outlines: Outlines, row: Floats, col: Floats, zone: Ints) -> _Edges:
    """Return the edges of rings; level ones have nothing to their right."""
    line = outlines.line_of_vertex
    a = np.flatnonzero((line[1:] == line[:-1]) & outlines.is_ring[line[1:]])
    b, line = a + 1, line[a]
    # The area of each ring, from its first vertex, says which way around the ring runs.
    first = outlines.line_start[line]
    row_0, col_0 = row[first], col[first]
    cross = (col[a] - col_0) * (row[b] - row_0) - (col[b] - col_0) * (row[a] - row_0)
    is_hole = np.concatenate([[False], outlines.part[1:] == outlines.part[:-1]])[: len(outlines.part)]
    sign = np.sign(np.bincount(line, cross, len(outlines.part))) * np.where(is_hole, 1.0, -1.0)
    is_up = row[a] > row[b]
    upper, lower = np.where(is_up, b, a), np.where(is_up, a, b)
    keep = np.flatnonzero(row[a] != row[b])
    upper, lower = upper[keep], lower[keep]
    return _Edges(
        top=row[upper],
        top_col=col[upper],
        bottom=row[lower],
        bottom_col=col[lower],
        sign=np.where(is_up, -sign[line], sign[line])[keep],
        zone=zone[upper],
    )


def _pieces(edges: _Edges, height: Ints, width: Ints) -> _Pieces:
    """Return edges cut at rows and columns.

    What lies left of the grid is one piece in column -1. What lies right of it covers nothing of the grid and is dropped.
    """
    first = np.clip(np.floor(edges.top), 0, height[edges.zone]).astype(np.int64)
    stop = np.clip(np.ceil(edges.bottom), 0, height[edges.zone]).astype(np.int64)
    edge, row = spread(first, stop)
    top, top_col, bottom, bottom_col = (one[edge] for one in (edges.top, edges.top_col, edges.bottom, edges.bottom_col))
    slope = (bottom_col - top_col) / (bottom - top)
    y_0, y_1 = np.maximum(top, row), np.minimum(bottom, row + 1)
    x_0 = np.where(y_0 == top, top_col, top_col + (y_0 - top) * slope)
    x_1 = np.where(y_1 == bottom, bottom_col, top_col + (y_1 - top) * slope)
    down = (y_1 - y_0) * edges.sign[edge]
    left, right = np.minimum(x_0, x_1), np.maximum(x_0, x_1)
    zone = edges.zone[edge]

    n_cols = width[zone]
    first = np.clip(np.floor(left), -1, n_cols).astype(np.int64)
    stop = np.clip(np.ceil(right), 0, n_cols).astype(np.int64)
    stop = np.where((stop == first) & (first < n_cols), first + 1, stop)  # upright on the left border of its pixel
    piece, col = spread(first, stop)
    left, right = left[piece], right[piece]
    begin = np.where(col < 0, left, np.maximum(left, col))
    end = np.minimum(right, col + 1)
    is_whole = (begin == left) & (end == right)
    share = np.where(is_whole, 1.0, (end - begin) / np.where(is_whole, 1.0, right - left))
    cover = down[piece] * share
    own = np.where(col < 0, 0.0, cover * (1 - ((begin + end) / 2 - col)))
    return _Pieces(zone=zone[piece], row=row[piece], col=col, cover=cover, own=own)


def _accumulated(pieces: _Pieces, width: Ints) -> Runs:
    """Return the pixels that edges pass, and the runs between them."""
    lines = Scanlines.holding(pieces.zone, pieces.row, len(width))
    stride = int(width.max(initial=0)) + 1
    key = lines.of(pieces.zone, pieces.row) * stride + pieces.col + 1
    order = np.argsort(key)
    key = key[order]
    pixel = np.flatnonzero(np.diff(key, prepend=-1))  # first piece of each pixel
    cover, own = (_added(one[order], pixel) for one in (pieces.cover, pieces.own))
    number, col = np.divmod(key[pixel], stride)
    col -= 1
    zone, row = lines.owner_and_row(number)
    # The sum over all rows runs over the end of 64 bits and wraps around; differences within a row are right all the same.
    total = np.cumsum(cover)
    begin = np.flatnonzero(np.diff(number, prepend=-1))  # first pixel of each row
    before = np.repeat((total - cover)[begin], np.diff(begin, append=len(number)))
    onward = total - before
    weight = _snapped(onward - cover + own)
    # A level edge off the pixel borders has no piece, so that pixels between two pieces may be covered by any share.
    between = _snapped(onward)
    stop = width[zone]
    stop[:-1] = np.where(number[1:] == number[:-1], col[1:], stop[:-1])
    # Every pixel is followed by the run to its right.
    keep = np.stack([(col >= 0) & (weight > 0), (stop > col + 1) & (between > 0)], axis=1)
    pick, is_between = np.nonzero(keep)
    return Runs(
        zone=zone[pick],
        row=row[pick],
        col_start=col[pick] + is_between,
        col_stop=np.where(is_between, stop[pick], col[pick] + 1),
        weight=np.where(is_between, between[pick], weight[pick]),
    )


def _added(areas: Floats, begin: Ints) -> Ints:
    """Return the sum of each run of areas that begins at `begin`, in units of a pixel's part."""
    if not len(begin):
        return np.zeros(0, np.int64)
    result: Ints = np.add.reduceat(np.rint(areas * _UNIT).astype(np.int64), begin)
    return result


def _snapped(units: Ints) -> Floats:
    """Return weights from integers; those nearly 0 or 1 are exactly that."""
    weight = units / _UNIT
    weight[np.abs(weight) <= _SNAP] = 0.0
    weight[np.abs(weight - 1) <= _SNAP] = 1.0
    return weight
