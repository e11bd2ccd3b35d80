"""What is the name of a CRS, after which distance does its x repeat, and how are coordinates transformed between CRSs?

Coordinates are always in x/y = lon/lat order, whatever the authority's axis order is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    import pyproj
    from numpy.typing import NDArray

LONLAT = "OGC:CRS84"
"""CRS of footprints and ``bbox``: longitude, latitude on WGS 84."""

LONLAT_NAMES = frozenset({LONLAT, "EPSG:4326"})
"""CRSs that are equal here, because the axis order is always x/y. Known without loading PROJ."""

EARTH_RADIUS_M = 6_378_137.0

_CYLINDRICAL_METHODS = (
    "Equidistant Cylindrical",
    "Lambert Cylindrical Equal Area",
    "Mercator",
    "Miller",
    "Popular Visualisation Pseudo Mercator",
)

NATIVE = "native"
"""The CRS of coordinates that already are in each record's own CRS."""


def normalize_crs(crs: object) -> str:
    """Return the normalized name of a CRS: ``EPSG:n`` (or another authority's code), else WKT2.

    Parameters
    ----------
    crs
        EPSG int, ``"EPSG:n"``, WKT, PROJJSON (text or dict), ``pyproj.CRS``, or anything with ``to_wkt()``.

    Raises
    ------
    UsageError
        When PROJ does not understand `crs`.

    Examples
    --------
    >>> normalize_crs(32632)
    'EPSG:32632'
    """
    if isinstance(crs, str):
        return _normalize_text(crs)
    if isinstance(crs, bool):
        raise UsageError(f"crs is {crs!r}; expected an EPSG code, 'EPSG:n', WKT2, PROJJSON or a pyproj.CRS")
    if isinstance(crs, int | np.integer):
        return _normalize_text(f"EPSG:{int(crs)}")
    return on_proj_thread(_named, crs)


@lru_cache(maxsize=1024)
def _normalize_text(crs: str) -> str:
    return crs if crs in LONLAT_NAMES else on_proj_thread(_named, crs)


def _named(crs: Any) -> str:
    return _name_of(_parsed(crs))


def _name_of(crs: pyproj.CRS) -> str:
    authority = crs.to_authority(min_confidence=100)
    if authority is not None and authority[0] in ("EPSG", "OGC", "ESRI"):
        return ":".join(authority)
    return str(crs.to_wkt())


def _parsed(crs: Any) -> pyproj.CRS:
    import pyproj  # loading it takes as long as many a query
    from pyproj.exceptions import CRSError

    try:
        return pyproj.CRS.from_user_input(crs)
    except (CRSError, TypeError) as error:
        raise UsageError(
            f"crs {str(crs)[:200]!r} is not understood: expected an EPSG code, 'EPSG:n', WKT2, PROJJSON or pyproj.CRS "
            f"({error})"
        ) from error


@lru_cache(maxsize=1024)
def same_crs(source: str, target: str) -> bool:
    """Return whether two CRSs are equal for x/y coordinates (their axis order does not matter)."""
    return source == target or {source, target} <= LONLAT_NAMES or on_proj_thread(_are_equal, source, target)


def _are_equal(source: str, target: str) -> bool:
    return _parsed(source).equals(_parsed(target), ignore_axis_order=True)


@lru_cache(maxsize=1024)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    import pyproj

    # Created and used on the PROJ thread only.
    return pyproj.Transformer.from_crs(_parsed(source), _parsed(target), always_xy=True)


@lru_cache(maxsize=1024)
def is_known(crs: str | None) -> bool:
    """Return whether PROJ understands the text as a CRS; a foreign table may hold any text. False for None."""
    try:
        return crs is not None and bool(normalize_crs(crs))
    except UsageError:
        return False


@lru_cache(maxsize=1024)
def is_geographic(crs: str) -> bool:
    """Return whether the coordinates of a CRS are longitude and latitude. False for ``"native"`` and for text that is no CRS."""
    if crs in LONLAT_NAMES or crs == NATIVE:
        return crs != NATIVE
    return is_known(crs) and on_proj_thread(lambda: bool(_parsed(crs).is_geographic))


@lru_cache(maxsize=1024)
def longitude_period(crs: str) -> float | None:
    """Return the units of longitude around the Earth in a geographic CRS: 360 degrees, or 400 grads.

    None for other CRSs, for ``"native"`` and for text that is no CRS.

    Examples
    --------
    >>> longitude_period("EPSG:4326"), longitude_period("EPSG:32632")
    (360.0, None)
    """
    if crs in LONLAT_NAMES:
        return 360.0
    return on_proj_thread(_longitude_period, crs) if is_geographic(crs) else None


def _longitude_period(crs: str) -> float:
    axes = _parsed(crs).axis_info
    # The factor of angles is radians per unit: 400 units in a CRS of grads.
    return round(2 * math.pi / float(axes[0].unit_conversion_factor), 9) if axes else 360.0


@lru_cache(maxsize=1024)
def x_period(crs: str) -> float | None:
    """Return the units after which x repeats: around the Earth in a geographic CRS, the width of the world on a cylindrical map.

    None for CRSs whose x does not repeat. This is for placing points and areas on images. Only longitudes may have boxes with
    xmin > xmax: use `longitude_period` for boxes.

    Examples
    --------
    >>> x_period("EPSG:4326"), round(x_period("EPSG:3857"), 2), x_period("EPSG:32632")
    (360.0, 40075016.69, None)
    """
    if (period := longitude_period(crs)) is not None:
        return period
    is_cylindrical = is_known(crs) and projection_method(crs).startswith(_CYLINDRICAL_METHODS)
    return on_proj_thread(_width_of_world, crs) if is_cylindrical else None


def _width_of_world(crs: str) -> float | None:
    own = _parsed(crs).geodetic_crs
    if own is None:
        return None
    geographic = _name_of(own)
    # On a cylindrical map x grows evenly along the equator, with one jump back at the edge of the map.
    lon = np.linspace(-0.5, 0.5, 65) * _longitude_period(geographic)
    step = np.diff(_transformed(geographic, crs, lon, np.zeros(65))[0])
    even = float(np.median(step))
    is_cylinder = np.isfinite(even) and (np.abs(step - even) > 1e-6 * abs(even)).sum() <= 1
    return abs(even) * len(step) if is_cylinder else None


@lru_cache(maxsize=1024)
def metres_per_unit(crs: str) -> float:
    """Return the metres of one unit of a CRS: a degree is measured at the equator. 1 where the CRS has no unit."""
    return on_proj_thread(_metres_per_unit, crs) if crs != NATIVE and is_known(crs) else 1.0


def _metres_per_unit(crs: str) -> float:
    parsed = _parsed(crs)
    axes = parsed.axis_info
    if not axes:
        return 1.0
    # The factor of angles is radians per unit.
    return float(axes[0].unit_conversion_factor) * (EARTH_RADIUS_M if parsed.is_geographic else 1.0)


@lru_cache(maxsize=1024)
def projection_method(crs: str) -> str:
    """Return EPSG's name of the projection method of a CRS; empty where the CRS has no projection."""
    return "" if crs == NATIVE else on_proj_thread(_projection_method, crs)


def _projection_method(crs: str) -> str:
    parsed = _parsed(crs)
    while parsed.coordinate_operation is None and (parsed.source_crs or parsed.sub_crs_list):
        parsed = parsed.source_crs or parsed.sub_crs_list[0]
    return "" if parsed.coordinate_operation is None else str(parsed.coordinate_operation.method_name)


def transform_xy(
    source: str, target: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coordinates transformed from one normalized CRS to another.

    Returns
    -------
    (x, y) : float64, shape of `x`
        Infinite where a coordinate has no place in `target` (pyproj's convention) or is not finite. The input arrays themselves
        when both CRSs are the same.
    """
    if same_crs(source, target):
        return x, y
    return on_proj_thread(_transformed, source, target, x, y)


def _transformed(
    source: str, target: str, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from pyproj.exceptions import ProjError

    # Before NumPy 2.4, pyproj takes an array of one number for a number, and NumPy warns.
    given = (x.item(), y.item()) if x.size == 1 else (x, y)
    try:
        moved_x, moved_y = _transformer(source, target).transform(*given)
    except ProjError as error:
        raise UsageError(f"coordinates cannot go from {source[:80]} to {target[:80]}: {error}") from error
    return np.asarray(moved_x, np.float64).reshape(x.shape), np.asarray(moved_y, np.float64).reshape(x.shape)


def densified_box(
    bounds: NDArray[np.float64], points_per_edge: int = 21
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points along the edges of boxes, because straight edges are curved in another CRS.

    Parameters
    ----------
    bounds
        ``minx, miny, maxx, maxy``, shape ``(n, 4)``.
    points_per_edge
        Points on each edge, with its first corner and without its last.

    Returns
    -------
    (x, y) : float64, shape (n, 4 * points_per_edge)
    """
    step = np.linspace(0.0, 1.0, points_per_edge, endpoint=False)
    zero, one = np.zeros_like(step), np.ones_like(step)
    right = np.concatenate([step, one, 1 - step, zero])
    up = np.concatenate([zero, step, one, 1 - step])
    minx, miny, maxx, maxy = np.asarray(bounds, np.float64).T
    # Written so that a fraction of exactly 1 gives exactly maxx and maxy.
    x = minx[:, None] * (1 - right) + maxx[:, None] * right
    y = miny[:, None] * (1 - up) + maxy[:, None] * up
    return x, y
