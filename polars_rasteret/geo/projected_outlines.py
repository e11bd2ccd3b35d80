"""Where do outlines of areas run in another CRS?

Straight edges bend there, so they get vertices before their coordinates are transformed. Which pixels lie within is decided in
`coverage`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.antimeridian import unwrapped_x
from polars_rasteret.geo.coverage.scanlines import spread
from polars_rasteret.geo.crs import EARTH_RADIUS_M, LONLAT, metres_per_unit, transform_xy, x_period
from polars_rasteret.geo.turns import image_span, periods_to_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


_MOST_CURVATURE = 20 / 8 / EARTH_RADIUS_M
"""Metres that an edge of one metre may miss its curve by, by the square: maps bend edges less than 20 times as the Earth."""
_NEAR_POLE = 89.999999
_LARGE_METRES = 1e7
"""Length of rings from which on they may go around a place that a map shows at infinity."""
_ROUND = 0.01
"""Share of the square of its length that a ring encloses if it is not a sliver and does not cross itself."""
_ROUNDS = 14
"""Halvings of an edge that misses its curve."""


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


def projected(outlines: Outlines, crs: str, target_crs: str, tolerance: Floats | None = None) -> Outlines:
    """Return outlines in another CRS: continuous where x wraps around the Earth, closed over a pole that they go around.

    Coordinates are infinite where they have no place in the CRS.

    Parameters
    ----------
    outlines, crs
        Outlines, and the CRS in which their edges are straight.
    target_crs
        CRS of the result.
    tolerance
        Units of `target_crs` by which edges of each zone may miss their curves; they get more vertices until they do not. None:
        edges are followed by the vertices that there are.
    """
    x, y = transform_xy(crs, target_crs, outlines.x, outlines.y)
    period = x_period(target_crs)
    if tolerance is not None:
        outlines, x, y = _followed(outlines, x, y, (crs, target_crs), tolerance, period)
    if period is None:
        return _not_inside_out(replace(outlines, x=x, y=y), outlines, metres_per_unit(crs))

    def between(at: Ints, shares: Floats) -> Floats:
        along_x, along_y = (
            one[at, None] * (1 - shares) + one[at + 1, None] * shares for one in (outlines.x, outlines.y)
        )
        moved, _ = transform_xy(crs, target_crs, along_x.ravel(), along_y.ravel())
        return moved.reshape(along_x.shape)

    unwrapped = unwrapped_x(x, outlines.zone_of_line[outlines.line_of_vertex], period, between)
    moved = replace(outlines, x=unwrapped, y=y)
    return _closed_at_poles(moved, target_crs, period, outlines)


def _followed(  # noqa: PLR0917 - outlines in both CRSs, and how near they must be
    outlines: Outlines, x: Floats, y: Floats, crs: tuple[str, str], tolerance: Floats, period: float | None
) -> tuple[Outlines, Floats, Floats]:
    """Return outlines, and their x and y in the second CRS, with vertices added halfway where an edge misses its curve."""
    zone = outlines.zone_of_line[outlines.line_of_vertex]
    goes_on = _goes_on(outlines)
    with np.errstate(invalid="ignore"):
        length = np.hypot(np.diff(outlines.x, append=0), np.diff(outlines.y, append=0)) * metres_per_unit(crs[0])
    # Edges of fields are so short that they cannot bend by a part of a pixel; PROJ is not asked for these.
    most = _MOST_CURVATURE * length**2
    todo = np.flatnonzero(goes_on & (most > tolerance[zone] * metres_per_unit(crs[1])))
    for _ in range(_ROUNDS):
        if not len(todo):
            break
        at_x, at_y = ((one[todo] + one[todo + 1]) / 2 for one in (outlines.x, outlines.y))
        new_x, new_y = transform_xy(*crs, at_x, at_y)
        with np.errstate(invalid="ignore"):
            before, after = new_x - x[todo], x[todo + 1] - new_x
            if period is not None:
                before, after = (one - period * np.round(one / period) for one in (before, after))
            away = np.hypot(after - before, y[todo] + y[todo + 1] - 2 * new_y) / 2
        misses = np.isfinite(away) & (away > tolerance[zone[todo]])
        where = todo[misses] + 1
        n_added = np.bincount(outlines.line_of_vertex[where - 1], minlength=len(outlines.part))
        outlines = replace(
            outlines,
            x=np.insert(outlines.x, where, at_x[misses]),
            y=np.insert(outlines.y, where, at_y[misses]),
            line_start=outlines.line_start + np.concatenate([[0], np.cumsum(n_added)]),
        )
        x, y = np.insert(x, where, new_x[misses]), np.insert(y, where, new_y[misses])
        zone = outlines.zone_of_line[outlines.line_of_vertex]
        first = where - 1 + np.arange(len(where))
        todo = np.stack([first, first + 1], axis=1).ravel()
    return outlines, x, y


def _goes_on(outlines: Outlines) -> NDArray[np.bool_]:
    """Return which vertices have a next one on their line."""
    goes_on = np.ones(len(outlines.x), np.bool_)
    goes_on[outlines.line_start[1:] - 1] = False
    return goes_on


@lru_cache(maxsize=1024)
def y_of_pole(crs: str) -> float:
    """Return the y of the north pole in a CRS whose x repeats; that of a place near it where the map never reaches it."""
    y = transform_xy(LONLAT, crs, np.zeros(2), np.array([90.0, _NEAR_POLE]))[1]
    with np.errstate(invalid="ignore"):
        return float(y[0] if np.isfinite(y[0]) and abs(y[0]) < 2 * abs(y[1]) else y[1])


def _closed_at_poles(outlines: Outlines, crs: str, period: float, own: Outlines) -> Outlines:
    """Return outlines whose rings around a pole take in the pole: those end a period away from where they began.

    The pole is on the side that the ring encloses in its own CRS: left of it where it runs counterclockwise.
    """
    x, y = outlines.x, outlines.y
    first, last = outlines.line_start[:-1], outlines.line_start[1:] - 1
    with np.errstate(invalid="ignore"):
        winds = outlines.is_ring & (np.abs(x[last] - x[first]) > period / 2)
        is_finite = np.bincount(outlines.line_of_vertex, np.abs(x) + np.abs(y), len(first)) < np.inf
    at = np.flatnonzero(winds & is_finite)
    if not len(at):
        return outlines
    several = np.bincount(outlines.zone_of_line[at], minlength=outlines.n_zones) > 1
    if several.any():  # a belt around a pole: its rings begin at different longitudes
        x = np.where(several[outlines.zone_of_line[outlines.line_of_vertex]], np.inf, x)
    area, _ = _signed_areas(own)
    pole = np.where((area[at] > 0) == (x[last[at]] > x[first[at]]), 1.0, -1.0) * y_of_pole(crs)
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


def _signed_areas(outlines: Outlines) -> tuple[Floats, Floats]:
    """Return the area of each line, positive where it runs counterclockwise, and its length."""
    n_lines, line = len(outlines.part), outlines.line_of_vertex
    start = outlines.line_start[line]
    with np.errstate(invalid="ignore"):
        x, y = outlines.x - outlines.x[start], outlines.y - outlines.y[start]
        doubled, length = x[:-1] * y[1:] - x[1:] * y[:-1], np.hypot(np.diff(x), np.diff(y))
    goes_on = _goes_on(outlines)[:-1]
    doubled, length = np.where(goes_on, doubled, 0), np.where(goes_on, length, 0)
    area, around = (np.bincount(line[:-1], one, n_lines).astype(np.float64) for one in (doubled, length))
    return area / 2, around


def _not_inside_out(outlines: Outlines, own: Outlines, metres: float) -> Outlines:
    """Return outlines without a place where a large ring is turned inside out: it goes around what the map has at infinity."""
    if not len(own.x):
        return outlines
    before, length = _signed_areas(own)
    if not (length * metres > _LARGE_METRES).any():
        return outlines
    after, new_length = _signed_areas(outlines)
    with np.errstate(invalid="ignore"):
        is_out = outlines.is_ring & (length * metres > _LARGE_METRES) & (before * after < 0)
        is_out &= (np.abs(before) > _ROUND * length**2) & (np.abs(after) > _ROUND * new_length**2)
    if not is_out.any():
        return outlines
    return replace(outlines, x=np.where(is_out[outlines.line_of_vertex], np.inf, outlines.x))
