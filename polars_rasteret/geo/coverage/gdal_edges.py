"""Where does GDAL see the edges of outlines on a pixel grid, and which way around does it turn rings?

The arithmetic is GDAL's, rounding by rounding: vertices on the borders and centres of pixels fall where GDAL has them.
Which pixels the edges cover is decided in `gdal_fill` and `gdal_touch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_NEAR = 1e-5
"""Map units (OGRCurve::isClockwise). A neighbour nearer than this to the lowest vertex cannot tell which way a ring runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Edges of outlines in pixel coordinates, where pixel ``i`` spans ``[i, i + 1)``; clockwise on the map around areas.

    All columns have shape ``(n_edges,)``.
    """

    row_a: Floats
    col_a: Floats
    row_b: Floats
    col_b: Floats
    """Ends of each edge, in the direction in which it runs."""
    part: Ints
    """Part of each edge: GDAL fills part by part."""
    is_ring: Booleans


def edges_on_grids(outlines: Outlines, transform: Floats) -> Edges:
    """Return the edges of outlines on the grids of their zones.

    Parameters
    ----------
    outlines
        In map coordinates, all of them finite.
    transform
        ``a, b, c, d, e, f`` of the grid of each zone, shape (n_zones, 6).
    """
    line = outlines.line_of_vertex
    row, col = _pixel_coordinates(transform[outlines.zone_of_line[line]], outlines.x, outlines.y)
    begin = np.flatnonzero(line[1:] == line[:-1])
    line = line[begin]
    turned = ~is_clockwise(outlines)[line] & outlines.is_ring[line]
    begin, end = np.where(turned, begin + 1, begin), np.where(turned, begin, begin + 1)
    return Edges(
        row_a=row[begin],
        col_a=col[begin],
        row_b=row[end],
        col_b=col[end],
        part=outlines.part[line],
        is_ring=outlines.is_ring[line],
    )


def _pixel_coordinates(transform: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return ``(row, col)`` as GDALInvGeoTransform and GDALGenImgProjTransform round them.

    `affine.pixel_coordinates` rounds less. But half of all polygons whose vertices lie on a grid of degrees have another mask by
    it.
    """
    a, b, c, d, e, f = np.moveaxis(transform, -1, 0)
    if not b.any() and not d.any():
        return -f / e + y * (1 / e), -c / a + x * (1 / a)
    is_plain = (b == 0) & (d == 0)
    inverse = 1 / (a * e - b * d)
    row = (-a * f + c * d) * inverse + x * (-d * inverse) + y * (a * inverse)
    col = (b * f - c * e) * inverse + x * (e * inverse) + y * (-b * inverse)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(is_plain, -f / e + y * (1 / e), row), np.where(is_plain, -c / a + x * (1 / a), col)


def is_clockwise(outlines: Outlines) -> Booleans:
    """Return whether each line runs clockwise on the map, as OGRCurve::isClockwise decides.

    The corner at the lowest vertex (the rightmost of these) decides. Where two vertices share that place, or a neighbour is too
    near, the sign of the area does. The two may differ on rings that cross themselves.
    """
    x, y, start, stop = outlines.x, outlines.y, outlines.line_start[:-1], outlines.line_start[1:]
    if not len(start):
        return np.zeros(0, np.bool_)
    line = outlines.line_of_vertex
    is_last = np.zeros(len(x), np.bool_)
    is_last[stop - 1] = True  # the first vertex again
    lowest = np.minimum.reduceat(y, start)
    is_pivot = (y == lowest[line]) & ~is_last
    rightmost = np.full(len(start), -np.inf)
    np.maximum.at(rightmost, line[is_pivot], x[is_pivot])
    is_pivot &= x == rightmost[line]
    at = np.flatnonzero(is_pivot)
    first = np.searchsorted(line[at], np.arange(len(start)))
    is_unclear = np.bincount(line[at], minlength=len(start)) > 1
    pivot = at[first]
    before = np.where(pivot == start, stop - 2, pivot - 1)
    after = np.where(pivot + 1 >= stop - 1, start, pivot + 1)
    before = np.maximum(before, start)  # of a line of one vertex
    dx_0, dy_0 = x[before] - x[pivot], y[before] - y[pivot]
    dx_1, dy_1 = x[after] - x[pivot], y[after] - y[pivot]
    is_unclear |= (np.abs(dx_0) < _NEAR) & (np.abs(dy_0) < _NEAR)
    is_unclear |= (np.abs(dx_1) < _NEAR) & (np.abs(dy_1) < _NEAR)
    turn = dx_1 * dy_0 - dx_0 * dy_1
    is_unclear |= turn == 0
    if is_unclear.any():
        turn = np.where(is_unclear, _area(outlines), turn)
    result: Booleans = turn < 0
    return result


def _area(outlines: Outlines) -> Floats:
    """Return twice the area of each ring, below 0 for clockwise ones, summed in OGR's order."""
    x, y, start, stop = outlines.x, outlines.y, outlines.line_start[:-1], outlines.line_start[1:]
    before, after = np.arange(len(x)) - 1, np.arange(len(x)) + 1
    before[start], after[stop - 1] = stop - 1, start
    return np.bincount(outlines.line_of_vertex, x * (y[after] - y[before]), len(start)).astype(np.float64, copy=False)
