"""Where do points and areas lie that cross the antimeridian, where longitudes begin again?

One rule places all of them: x may be moved by whole periods (360 degrees; the width of the world on cylindrical maps) to meet an
image. Where an area meets an image at two places, the place with more of the area counts, then the longitude as given. Parts of
a geometry that was cut at the antimeridian are joined again. Boxes are compared in `boxes`, not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_of
from polars_rasteret.geo.boxes import EPSILON, merge_bounds, wrap_bounds
from polars_rasteret.geo.crs import NATIVE, longitude_period

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


def eastward_boxes(boxes: Floats, crs: str) -> Floats:
    """Return boxes with xmax >= xmin. In a geographic CRS, a box with xmin > xmax crosses the antimeridian: xmax is increased.

    Parameters
    ----------
    boxes
        ``xmin, ymin, xmax, ymax``, shape (n, 4).
    crs
        Normalized, or ``"native"``.

    Raises
    ------
    UsageError
        When xmin > xmax in a CRS whose x does not repeat.

    Examples
    --------
    >>> import numpy as np
    >>> eastward_boxes(np.array([[170.0, -10, -170, 10]]), "EPSG:4326").tolist()
    [[170.0, -10.0, 190.0, 10.0]]
    """
    crossing = np.flatnonzero(boxes[:, 0] > boxes[:, 2])
    if not len(crossing):
        return boxes
    if (period := longitude_period(crs)) is None:
        west, south, east, north = boxes[crossing[0]].tolist()
        where = "each raster's own CRS" if crs == NATIVE else crs[:80]
        raise UsageError(
            f"box {int(crossing[0])} is ({west:g}, {south:g}, {east:g}, {north:g}) in {where}: xmin > xmax crosses the "
            "antimeridian in geographic CRSs only; expected xmin <= xmax, or crs=4326 with longitudes and latitudes"
        )
    result = boxes.copy()
    with np.errstate(invalid="ignore"):
        result[crossing, 2] += period * np.ceil((boxes[crossing, 0] - boxes[crossing, 2]) / period)
    return result


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


def x_near_image(transform: Floats, width: Ints, height: Ints, x: Floats, y: Floats, *, period: float) -> Floats:
    """Return the x of points, moved by whole periods to where the image is; unchanged where the image holds the point.

    Points outside the image at every period are moved as near to the image as possible.

    Parameters
    ----------
    transform, width, height
        Grid and size of the image of each point; shapes (n, 6), (n,), (n,).
    x, y
        Coordinates in the CRS of the image.
    period
        Units of x after which x repeats.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.array([[1.0, 0, 170, 0, -1, 10]])
    >>> x_near_image(image, np.array([190]), np.array([20]), np.array([-100.5]), np.array([0.0]), period=360.0)
    array([259.5])
    """
    apart = _pixels_apart(transform, width, height, x, y)
    outside = np.flatnonzero((apart > 0) & np.isfinite(x) & np.isfinite(y))
    if not len(outside):
        return x
    placed = x.copy()
    transform, width, height = transform[outside], width[outside], height[outside]
    given, y, apart = x[outside], y[outside], apart[outside]
    west, _ = image_span(transform, width, height)
    first = np.floor((west - given) / period)
    for n_periods in (first, first + 1):
        other = given + period * n_periods
        found = _pixels_apart(transform, width, height, other, y)
        is_nearer = found < apart
        apart = np.where(is_nearer, found, apart)
        placed[outside[is_nearer]] = other[is_nearer]
    return placed


def _pixels_apart(transform: Floats, width: Ints, height: Ints, x: Floats, y: Floats) -> Floats:
    """Return the distance of points from the image in pixels, rows plus columns; 0 inside."""
    row, col = (one.astype(np.float64) for one in pixel_of(transform, x, y))
    return np.maximum(np.maximum(-row, row - height + 1), 0) + np.maximum(np.maximum(-col, col - width + 1), 0)


def image_span(transform: Floats, width: Ints, height: Ints) -> tuple[Floats, Floats]:
    """Return the least and the greatest x of images."""
    a, b, c = transform[:, 0], transform[:, 1], transform[:, 2]
    across, down = a * width, b * height
    return c + np.minimum(across, 0) + np.minimum(down, 0), c + np.maximum(across, 0) + np.maximum(down, 0)


def periods_to_image(low: Floats, high: Floats, west: Floats, east: Floats, period: float) -> tuple[Ints, Ints]:
    """Return the first and the last number of periods by which ``low..high``, moved, meets ``west..east``.

    Both are the number that comes nearest where no number of periods meets.
    """
    with np.errstate(invalid="ignore"):
        first, last = np.ceil((west - high) / period), np.floor((east - low) / period)
        beyond, before = low + first * period - east, west - (high + last * period)
        nearest = np.where((beyond < before) | ((beyond == before) & (np.abs(first) < np.abs(last))), first, last)
    is_met = first <= last
    first, last = np.where(is_met, first, nearest), np.where(is_met, last, nearest)
    return np.nan_to_num(first).astype(np.int64), np.nan_to_num(last).astype(np.int64)
