"""How does WKB become shapely geometries and coordinates?

WKB comes in NumPy object arrays of WKB or EWKB bytes (None is a null). Arrow and Polars do not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.nesting import check_wkb, geometry_head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_T = TypeVar("_T")
_PLAIN_POINT_BYTES = 21
_MOST_COORDINATE = 1e15
"""Coordinates beyond have steps of tenths of a unit, and the products of larger ones overflow."""
_MOST_TURNS = 100
"""Turns around the Earth that longitudes may have; each is looked at."""


def parsed(wkb: NDArray[np.object_] | Sequence[bytes | None]) -> NDArray[np.object_]:
    """Return shapely geometries of WKB or EWKB; None stays None.

    Raises
    ------
    UsageError
        When a value is not WKB, is too long or nests too deeply. The message has the index of the value.
    """
    values = np.asarray(wkb, dtype=object).reshape(-1)
    try:
        check_wkb(values)
        with np.errstate(invalid="ignore"):  # coordinates that are NaN
            result: NDArray[np.object_] = shapely.from_wkb(values)
    except (shapely.errors.ShapelyError, NotImplementedError, TypeError) as error:
        raise _first_wrong(values, error) from error
    return result


def _first_wrong(values: NDArray[np.object_], error: Exception) -> UsageError:
    """Return an error that names the first value that cannot be parsed, by its index."""
    for at, value in enumerate(values):
        try:
            shapely.from_wkb(value)
        except NotImplementedError:
            return UsageError(
                f"geometry {at} has curves; expected straight pieces: ST_CurveToLine makes them in PostGIS"
            )
        except (shapely.errors.ShapelyError, TypeError) as its_own:
            return UsageError(f"geometry {at} is not WKB: {its_own}; expected WKB or EWKB bytes")
    return UsageError(f"a geometry is not WKB: {error}; expected WKB or EWKB bytes")


def check_reach(geometries: NDArray[np.object_], crs: str, period: float | None) -> None:
    """Raise when coordinates of an area are infinite, or those of a geometry too large to be places.

    NaN is a place that is not known, and so is a point at infinity, as in tables of points.
    """
    bounds = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
    with np.errstate(invalid="ignore", over="ignore"):
        reach, width = np.fmax.reduce(np.abs(bounds), axis=1, initial=0), bounds[:, 2] - bounds[:, 0]
        is_too_far = (reach > _MOST_COORDINATE) & (np.isfinite(reach) | (shapely.get_dimensions(geometries) > 0))
    expected = f"finite coordinates within {_MOST_COORDINATE:g}"
    if period is not None and not is_too_far.any():
        is_too_far = np.isfinite(reach) & (width > _MOST_TURNS * period)
        expected = f"at most {_MOST_TURNS} turns around the Earth"
    if is_too_far.any():
        at = int(np.flatnonzero(is_too_far)[0])
        sides = ", ".join(f"{side:g}" for side in bounds[at].tolist())
        raise UsageError(
            f"geometry {at} reaches over ({sides}) in {crs[:80]}; expected {expected}. Is it in another CRS, or does a number "
            "stand for no value? For all of an image pass the bounds of the image"
        )


def blamed(number: NDArray[np.int64], done: Callable[[NDArray[np.int64]], _T]) -> _T:
    """Return what a function makes of rows, and name the geometry where GEOS fails.

    Parameters
    ----------
    number
        Number of the geometry of each row.
    done
        Function of some rows, as an index.

    Raises
    ------
    UsageError
        When GEOS cannot work on a geometry. The message has the geometry's number.
    """
    rows = np.arange(len(number), dtype=np.int64)
    try:
        return done(rows)
    except shapely.errors.ShapelyError as error:
        for row in rows:
            try:
                done(rows[row : row + 1])
            except shapely.errors.ShapelyError as its_own:
                raise UsageError(
                    f"geometry {number[row]} has no outline in the CRS of an image ({its_own}); expected an area of which every "
                    "part has a place there; cut it to the region of the images first"
                ) from its_own
        raise UsageError(
            f"an area has no outline in the CRS of an image ({error}); cut areas to the images first"
        ) from error


def made_valid(geometries: NDArray[np.object_], number: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return geometries made valid; None for a geometry with a coordinate that is not finite.

    Raises
    ------
    UsageError
        When GEOS cannot make a geometry valid. The message has the geometry's `number`.
    """
    result = geometries.copy()
    for at, geometry in enumerate(geometries):
        if not np.isfinite(shapely.get_coordinates(geometry)).all():
            result[at] = None
            continue
        try:
            result[at] = shapely.make_valid(geometry)
        except shapely.errors.ShapelyError as error:
            raise UsageError(f"geometry {number[at]} is not valid, and cannot be made_valid: {error}") from error
    return result


def points_of(wkb: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of point geometries; NaN for null and empty geometries.

    Raises
    ------
    UsageError
        When a geometry is not a point.
    """
    fast = _uniform_points(wkb)
    if fast is not None:
        return fast
    geometries = parsed(wkb)
    present = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    kinds = shapely.get_type_id(geometries)
    wrong = present & (kinds != shapely.GeometryType.POINT)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise UsageError(
            f"geometry {at} is a {geometries[at].geom_type}; expected points. "
            "For areas use read_windows; for one point per area take its centroid first."
        )
    x, y = np.full(len(geometries), np.nan), np.full(len(geometries), np.nan)
    x[present], y[present] = shapely.get_x(geometries[present]), shapely.get_y(geometries[present])
    return x, y


def _uniform_points(wkb: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return x and y of points that are all of one kind (plain, EWKB, with Z or M); None for any other column.

    Reads the bytes without creating an object per point.
    """
    values: list[Any] = wkb.tolist()
    if not values or type(values[0]) is not bytes or len(values[0]) < _PLAIN_POINT_BYTES:
        return None
    size, order = len(values[0]), "<" if values[0][0] == 1 else ">"
    kind, before_x, point_bytes = geometry_head(values[0], 0, order)
    if (
        kind != 1
        or before_x + point_bytes != size
        or any(type(value) is not bytes or len(value) != size for value in values)
    ):
        return None
    table = np.frombuffer(b"".join(values), np.uint8).reshape(-1, size)
    if not (table[:, :5] == table[0, :5]).all():
        return None
    xy = np.ascontiguousarray(table[:, before_x : before_x + 16]).view(f"{order}f8").astype(np.float64)
    return xy[:, 0].copy(), xy[:, 1].copy()


def are_points(wkb: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which geometries are points. Null and empty geometries count as points: they have no place either way."""
    if _uniform_points(wkb) is not None:
        return np.ones(len(wkb), np.bool_)
    geometries = parsed(wkb)
    nowhere = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    result: NDArray[np.bool_] = nowhere | (shapely.get_type_id(geometries) == shapely.GeometryType.POINT)
    return result
