"""By how many turns of the Earth are numbers moved, where longitudes begin again?

The rule is told in `antimeridian`. Points and boxes are numbers; geometries do not belong here, so that reading pixels needs no
library of geometries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_of
from polars_rasteret.geo.crs import NATIVE, longitude_period

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


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
