"""How do WKB geometries become coordinates and boxes?

Geometries come as NumPy object arrays of WKB or EWKB bytes (None is a null). Nothing here knows Arrow or Polars.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])


def parsed(wkb: NDArray[np.object_] | Sequence[bytes | None]) -> NDArray[np.object_]:
    """Parse WKB or EWKB into shapely geometries; None stays None.

    Raises
    ------
    UsageError
        When a value is not WKB.
    """
    try:
        result: NDArray[np.object_] = shapely.from_wkb(np.asarray(wkb, dtype=object))
    except (shapely.errors.ShapelyError, TypeError) as error:
        raise UsageError(f"a geometry is not WKB: {error}; expected WKB or EWKB bytes") from error
    return result


def points_of(wkb: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the coordinates of point geometries; NaN for null and empty ones.

    Raises
    ------
    UsageError
        When a geometry is not a point.
    """
    fast = _little_endian_points(wkb)
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


def _little_endian_points(wkb: NDArray[np.object_]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Read a column of plain little-endian points without an object per point; None when it is anything else."""
    values: list[Any] = wkb.tolist()
    if not values or any(type(value) is not bytes or len(value) != _POINT.itemsize for value in values):
        return None
    table = np.frombuffer(b"".join(values), _POINT)
    if not ((table["order"] == 1) & (table["kind"] == 1)).all():
        return None
    return table["x"].astype(np.float64), table["y"].astype(np.float64)


def are_points(wkb: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Say which geometries are points; null and empty ones count, as they are nowhere in either case."""
    if _little_endian_points(wkb) is not None:
        return np.ones(len(wkb), np.bool_)
    geometries = parsed(wkb)
    nowhere = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    result: NDArray[np.bool_] = nowhere | (shapely.get_type_id(geometries) == shapely.GeometryType.POINT)
    return result
