"""Where do points and areas lie that cross the antimeridian, where longitudes begin again?

One rule places all of them: x may be moved by whole periods (360 degrees; the width of the world on cylindrical maps) to meet an
image. Where an area meets an image at two places, the place with more of the area counts, then the longitude as given. Parts of
a geometry that was cut at the antimeridian are joined again. Numbers without a geometry are moved in `turns`, and boxes are
compared in `boxes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.geo.boxes import EPSILON, merge_bounds, wrap_bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_TURN_TOLERANCE = 1e-9
"""Shares of a turn by which an area around the whole Earth may be too wide by rounding."""
_STEPS_ALONG = 64
"""Steps along a straight edge, to see which way around the Earth the edge goes."""


def split_at_antimeridian(geometry: Any) -> Any:
    """Return a geometry whose longitudes run beyond 180 or -180 as pieces within -180..180; None when no piece is left."""
    xmin, _, xmax, _ = shapely.bounds(geometry)
    if not (xmin < -180 or xmax > 180):
        return geometry
    geometry = shapely.make_valid(geometry)
    dimensions = shapely.get_dimensions(geometry)
    pieces: list[Any] = []
    for n_periods in range(int(np.floor((xmin + 180) / 360)), int(np.floor((xmax + 180) / 360)) + 1):
        piece = shapely.intersection(geometry, shapely.box(360 * n_periods - 180, -90, 360 * n_periods + 180, 90))
        moved = shapely.transform(piece, lambda xy, n_periods=n_periods: xy - [360 * n_periods, 0])
        while shapely.get_type_id(moved) >= shapely.GeometryType.MULTIPOINT and len(shapely.get_parts(moved)) == 1:
            moved = shapely.get_parts(moved)[0]
        pieces += [part for part in shapely.get_parts(moved) if shapely.get_dimensions(part) == dimensions]
    if not pieces:
        return None
    if len(pieces) == 1:
        return pieces[0]
    together = (shapely.multipoints, shapely.multilinestrings, shapely.multipolygons)[dimensions]
    return together(pieces)


def within_a_turn(geometries: NDArray[np.object_], period: float | None) -> NDArray[np.object_]:
    """Return geometries of which those wider than a turn of the Earth are brought within one, where no part covers another."""
    if period is None:
        return geometries
    bounds = shapely.bounds(geometries)
    wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > period * (1 + _TURN_TOLERANCE))
    result = geometries.copy() if len(wide) else geometries
    for at in wide.tolist():
        west, south, east, north = bounds[at].tolist()
        whole, pieces = shapely.make_valid(geometries[at]), []
        for turn in range(int(np.ceil((east - west) / period))):
            strip = shapely.box(west + turn * period, south, west + (turn + 1) * period, north)
            moved = shapely.intersection(whole, strip)
            pieces.append(shapely.transform(moved, lambda xy, moved_by=turn * period: xy - [moved_by, 0]))
        result[at] = shapely.union_all(pieces)
    return result


def geometry_bounds(geometry: NDArray[np.object_]) -> Floats:
    """Return the bounds of longitude/latitude geometries, shape (n, 4): NaN where empty.

    A geometry cut at the antimeridian has xmin > xmax.
    """
    bounds: Floats = np.asarray(shapely.bounds(geometry), dtype=np.float64).reshape(-1, 4)
    cut = (bounds[:, 0] <= -180 + EPSILON) & (bounds[:, 2] >= 180 - EPSILON)
    cut &= shapely.get_num_geometries(geometry) > 1
    for index in np.flatnonzero(cut):
        parts = shapely.bounds(shapely.get_parts(geometry[index]))
        together = parts[:1]
        for part in parts[1:]:
            together = merge_bounds(together, part[None])
        bounds[index] = together[0]
    beyond = (bounds[:, 0] < -180) | (bounds[:, 2] > 180)
    bounds[beyond] = wrap_bounds(bounds[beyond])
    return bounds


def joined_at_antimeridian(geometries: NDArray[np.object_], period: float) -> NDArray[np.object_]:
    """Return geometries whose parts, cut at the antimeridian, are joined: the western parts are moved by one period.

    A geometry counts as cut when its parts touch both ends of x, but no part reaches from end to end. Also, the whole may take
    at most half the Earth. Other geometries are returned unchanged.

    Parameters
    ----------
    geometries
        Geometries in a CRS whose x repeats.
    period
        Units of x after which x repeats; x runs from minus half to plus half a period.

    Examples
    --------
    >>> import numpy as np
    >>> fiji = shapely.MultiPolygon([shapely.box(177, -19, 180, -16), shapely.box(-180, -18, -179, -16)])
    >>> joined_at_antimeridian(np.array([fiji]), 360.0)[0].bounds
    (177.0, -19.0, 181.0, -16.0)
    """
    half, near = period / 2, period * EPSILON
    bounds = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
    is_cut = (
        (bounds[:, 0] <= near - half) & (bounds[:, 2] >= half - near) & (bounds[:, 2] - bounds[:, 0] <= period + near)
    )
    is_cut &= shapely.get_num_geometries(geometries) > 1
    if not is_cut.any():
        return geometries
    joined = geometries.copy()
    for at in np.flatnonzero(is_cut).tolist():
        parts = single_parts(geometries[at : at + 1])
        start, _, stop, _ = shapely.bounds(parts).T
        order = np.argsort(start)
        reach = np.maximum.accumulate(stop[order])
        gap = start[order][1:] - reach[:-1]
        if not len(gap) or period - gap.max() > half:
            continue
        first = start[order][1:][gap.argmax()]
        moved = [
            shapely.transform(one, lambda xy: xy + np.array([period, 0.0])) if west < first else one
            for one, west in zip(parts, start, strict=True)
        ]
        joined[at] = shapely.union_all(moved)
    return joined


def single_parts(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the points, lines and polygons that geometries are made of, in order."""
    while (shapely.get_type_id(geometries) >= shapely.GeometryType.MULTIPOINT).any():
        geometries = shapely.get_parts(geometries)
    return geometries


def unwrapped_x(
    x: Floats,
    owner: Ints,
    period: float,
    between: Callable[[Ints, Floats], Floats],
) -> Floats:
    """Return x of outlines without jumps of a period where the outlines cross the antimeridian.

    Parameters
    ----------
    x
        x of the vertices of all outlines, one outline after the other.
    owner
        Index of the geometry of each vertex.
    period
        Units of x after which x repeats.
    between
        Function of vertices and shares from 0 to 1. It returns x at those shares of the way to the next vertex, shape
        (n_vertices, n_shares). It is called only for vertices before a jump.
    """
    with np.errstate(invalid="ignore"):  # places off the Earth
        step = np.diff(x)
    jumps = np.flatnonzero((np.abs(step) > period / 2) & (owner[1:] == owner[:-1]) & np.isfinite(step))
    if not len(jumps):
        return x
    shares = np.arange(_STEPS_ALONG + 1) / _STEPS_ALONG
    with np.errstate(invalid="ignore"):
        small = np.diff(between(jumps, shares), axis=1)
        small -= period * np.round(small / period)
        along = small.sum(axis=1)
    n_periods = np.zeros(len(x))
    n_periods[jumps + 1] = np.where(np.isfinite(along), np.round((along - step[jumps]) / period), 0)
    total = np.cumsum(n_periods)
    is_first = np.concatenate([[True], owner[1:] != owner[:-1]])
    start = np.maximum.accumulate(np.where(is_first, np.arange(len(x)), 0))
    result: Floats = x + period * (total - total[start])
    return result
