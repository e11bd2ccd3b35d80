"""Where is what lies over the seam of the Earth, where longitudes begin again?

One rule places everything: a point or an area is at its longitude, or whole turns of the Earth away, wherever the image is. An
image met at two places takes the one with more of the area, the longitude as given where both have the same. Geometries that
were cut at the seam are one piece again. Boxes are compared in `boxes`; this module knows geometries, coordinates and images.
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

_STEPS_ALONG = 64
"""Pieces of a straight line that is followed to see which way around the Earth it goes."""


def split_at_antimeridian(geometry: Any) -> Any:
    """Cut a geometry whose longitudes run beyond 180 or -180 and bring the pieces back into -180..180."""
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


def geometry_bounds(geometry: NDArray[np.object_]) -> Floats:
    """Give the bounds of longitude/latitude geometries; those cut at the antimeridian get xmin > xmax; NaN where empty."""
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
    """Give boxes that run east from xmin to xmax; in a geographic CRS, xmin > xmax runs on over the seam.

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
    """Join geometries that were cut at the seam: what lies behind it is moved by a period, so that they run on beyond it.

    A geometry was cut there when parts of it touch both sides, none reaches from one to the other, and all of it together takes
    at most half the Earth; others stay as they are.

    Parameters
    ----------
    geometries
        In coordinates whose x repeats.
    period
        After which x repeats; it runs from minus to plus half of that.

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
    """Give the points, lines and polygons that geometries are made of, in order."""
    while (shapely.get_type_id(geometries) >= shapely.GeometryType.MULTIPOINT).any():
        geometries = shapely.get_parts(geometries)
    return geometries


def unwrapped_x(
    x: Floats,
    owner: Ints,
    period: float,
    between: Callable[[Ints, Floats], Floats],
) -> Floats:
    """Give x along outlines without the jumps of a period at the seam.

    Parameters
    ----------
    x
        Along the outlines, one after the other.
    owner
        Geometry of each.
    period
        After which x repeats.
    between
        Gives x at shares of the way from vertices to those after them, shape (n_vertices, n_shares); asked where x jumps.
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
    """Give the x of points moved by whole turns to where the image is; as it is where the image has the point there.

    Points that the image has nowhere come as near to it as they can.

    Parameters
    ----------
    transform, width, height
        Of the image of each point.
    x, y
        Coordinates in the CRS of the image.
    period
        After which x repeats.

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
    """Give how far points are from the image; 0 inside."""
    row, col = (one.astype(np.float64) for one in pixel_of(transform, x, y))
    return np.maximum(np.maximum(-row, row - height + 1), 0) + np.maximum(np.maximum(-col, col - width + 1), 0)


def image_span(transform: Floats, width: Ints, height: Ints) -> tuple[Floats, Floats]:
    """Give the least and the largest x of images."""
    a, b, c = transform[:, 0], transform[:, 1], transform[:, 2]
    across, down = a * width, b * height
    return c + np.minimum(across, 0) + np.minimum(down, 0), c + np.maximum(across, 0) + np.maximum(down, 0)


def periods_to_image(low: Floats, high: Floats, west: Floats, east: Floats, period: float) -> tuple[Ints, Ints]:
    """Give the first and last number of turns after which ``low..high`` meets ``west..east``; the nearest where none does."""
    with np.errstate(invalid="ignore"):
        first, last = np.ceil((west - high) / period), np.floor((east - low) / period)
        beyond, before = low + first * period - east, west - (high + last * period)
        nearest = np.where((beyond < before) | ((beyond == before) & (np.abs(first) < np.abs(last))), first, last)
    is_met = first <= last
    first, last = np.where(is_met, first, nearest), np.where(is_met, last, nearest)
    return np.nan_to_num(first).astype(np.int64), np.nan_to_num(last).astype(np.int64)
