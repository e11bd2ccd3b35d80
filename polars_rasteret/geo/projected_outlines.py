"""Where do outlines of areas run in another CRS?

Straight edges bend there, so they get vertices before their coordinates are transformed. Which pixels lie within is decided in
`coverage`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.antimeridian import image_span, periods_to_image, unwrapped_x
from polars_rasteret.geo.coverage.scanlines import spread
from polars_rasteret.geo.crs import is_geographic, transform_xy, x_period

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


def densified(outlines: Outlines, step: Floats) -> Outlines:
    """Return outlines whose edges are cut into equal pieces of at most `step`; `shapely.segmentize` would repair rings, too.

    Parameters
    ----------
    outlines
        In the CRS in which edges are straight.
    step
        Longest piece in each zone; not cut where 0 or not finite.

    Examples
    --------
    >>> import shapely
    >>> from polars_rasteret.geo.coverage.outlines import outlines_of
    >>> densified(outlines_of(np.array([shapely.LineString([(0, 0), (4, 0), (4, 1)])])), np.array([2.0])).x
    array([0., 2., 4., 4.])
    """
    x, y, line = outlines.x, outlines.y, outlines.line_of_vertex
    longest = step[outlines.zone_of_line[line]]
    n_pieces = np.ones(len(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        n_pieces[:-1] = np.ceil(np.hypot(np.diff(x), np.diff(y)) / longest[:-1])
    n_pieces = np.where(np.isfinite(n_pieces), np.maximum(n_pieces, 1), 1)
    n_pieces[outlines.line_start[1:] - 1] = 1  # the last vertex of a line has no edge
    vertex, piece = spread(np.zeros(len(x), np.int64), n_pieces.astype(np.int64))
    after = np.minimum(vertex + 1, len(x) - 1)
    share = piece / n_pieces[vertex]
    is_new = piece > 0
    start = np.concatenate([[0], np.cumsum(n_pieces)]).astype(np.int64)
    return replace(
        outlines,
        x=np.where(is_new, x[vertex] + share * (x[after] - x[vertex]), x[vertex]),
        y=np.where(is_new, y[vertex] + share * (y[after] - y[vertex]), y[vertex]),
        line_start=start[outlines.line_start],
    )


def projected(outlines: Outlines, crs: str, target_crs: str) -> Outlines:
    """Return outlines in another CRS: continuous where x wraps around the Earth, closed over a pole that they go around.

    Coordinates are infinite where they have no place in the CRS.
    """
    x, y = transform_xy(crs, target_crs, outlines.x, outlines.y)
    if (period := x_period(target_crs)) is None:
        return replace(outlines, x=x, y=y)

    def between(at: Ints, shares: Floats) -> Floats:
        along_x, along_y = (
            one[at, None] * (1 - shares) + one[at + 1, None] * shares for one in (outlines.x, outlines.y)
        )
        moved, _ = transform_xy(crs, target_crs, along_x.ravel(), along_y.ravel())
        return moved.reshape(along_x.shape)

    unwrapped = unwrapped_x(x, outlines.zone_of_line[outlines.line_of_vertex], period, between)
    moved = replace(outlines, x=unwrapped, y=y)
    return _closed_at_poles(moved, period) if is_geographic(target_crs) else moved


def _closed_at_poles(outlines: Outlines, period: float) -> Outlines:
    """Return outlines whose rings around a pole take in the pole: those end a period away from where they began."""
    x, y = outlines.x, outlines.y
    first, last = outlines.line_start[:-1], outlines.line_start[1:] - 1
    with np.errstate(invalid="ignore"):
        winds = outlines.is_ring & (np.abs(x[last] - x[first]) > period / 2)
        total = np.bincount(outlines.line_of_vertex, y, len(first))
    at = np.flatnonzero(winds & np.isfinite(total) & np.isfinite(np.bincount(outlines.line_of_vertex, x, len(first))))
    if not len(at):
        return outlines
    pole = np.copysign(period / 4, total[at])
    where = np.repeat(last[at] + 1, 3)
    longer = np.zeros(len(first), np.int64)
    longer[at] = 3
    return replace(
        outlines,
        x=np.insert(x, where, np.stack([x[last[at]], x[first[at]], x[first[at]]], axis=1).ravel()),
        y=np.insert(y, where, np.stack([pole, pole, y[first[at]]], axis=1).ravel()),
        line_start=outlines.line_start + np.concatenate([[0], np.cumsum(longer)]),
    )


def met_by_images(outlines: Outlines, transform: Floats, height: Ints, width: Ints, period: float) -> Outlines:
    """Return outlines shifted to where their images meet them: whole turns of the Earth, where x repeats; once for each turn."""
    west, east = image_span(transform, width, height)
    zone = outlines.zone_of_line[outlines.line_of_vertex]
    low, high = np.full(len(west), np.inf), np.full(len(west), -np.inf)
    np.minimum.at(low, zone, outlines.x)
    np.maximum.at(high, zone, outlines.x)
    low, high = np.where(low > high, 0.0, low), np.where(low > high, 0.0, high)  # zones without an outline
    first, last = periods_to_image(low, high, west, east, period)
    image, turn = spread(first, last + 1)
    copies = outlines.picked(image)
    shift = period * turn[copies.zone_of_line[copies.line_of_vertex]]
    return replace(copies, x=copies.x + shift, zone=image[copies.zone], n_zones=outlines.n_zones)
