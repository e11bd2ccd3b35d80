"""Where is the limb of the Earth on a map?

Many projections show the Earth as a disk, an ellipse or lobes, so an image may have pixels that are off the Earth. The *limb* is
the edge of the Earth; it is found here in map coordinates. Footprints in longitude and latitude belong to `limb_footprints`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.geo.crs import (
    EARTH_RADIUS_M,
    LONLAT,
    is_geographic,
    metres_per_unit,
    projection_method,
    transform_xy,
)
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Coordinates = tuple[NDArray[np.float64], NDArray[np.float64]]

_AWAY_SHARE = 1e-4
"""Earth radii by which a place may miss itself after a transformation to longitude and latitude and back.

A place that misses itself by more is off the Earth. (Some datum shifts are not exact there and back.)
"""
_FAR_SHARE = 10.0
"""Earth radii. A map that is larger shows some place at infinity and has no whole outline."""
_CELLS = 192
"""Cells along each side of the first, coarse grid on which the limb is searched."""
_BEND_SHARE = 4e-6
"""Earth radii by which the outline may miss the limb."""
_ENDING_METHODS = (
    "Albers Equal Area",
    "Equidistant Cylindrical",
    "Lambert Azimuthal Equal Area",
    "Lambert Conic Conformal",
    "Lambert Cylindrical Equal Area",
    "Mercator",
    "Polar Stereographic",
    "Popular Visualisation Pseudo Mercator",
    "Transverse Mercator",
)
_PIECED_METHODS = (
    "Goode Homolosine",
    "Interrupted Goode Homolosine",
    "PROJ healpix",
    "PROJ imoll",
    "PROJ isea",
    "PROJ rhealpix",
    "Quadrilateralized Spherical Cube",
)
"""Projections composed of several maps. Straight edges have kinks where these maps meet."""
_ROUNDS = 12
_HALVINGS = 44


def on_earth(crs: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Coordinates:
    """Return longitude and latitude of map coordinates; NaN beyond the limb.

    An inverse projection does not show where the limb is: many go on around the Earth behind it. A place is on the Earth when
    its longitude and latitude, projected again, give the same map coordinates.
    """
    lon, lat = (np.array(one, np.float64) for one in transform_xy(crs, LONLAT, x, y))
    lost = ~(np.isfinite(lon) & np.isfinite(lat))
    if not is_geographic(crs):
        back_x, back_y = transform_xy(LONLAT, crs, lon, lat)
        with np.errstate(invalid="ignore"):
            lost |= ~(np.hypot(back_x - x, back_y - y) <= _AWAY_SHARE * _earth_radius(crs))
    lon[lost] = lat[lost] = np.nan
    return lon, lat


@lru_cache(maxsize=1024)
def ends_at_limb(crs: str) -> bool:
    """Return whether the inverse projection of a CRS gives no coordinates off the Earth, so that `on_earth` is not needed.

    True as well for projections that show the Earth as a band on which longitude runs on: an image may reach across its ends.
    """
    return is_geographic(crs) or projection_method(crs).startswith(_ENDING_METHODS)


@lru_cache(maxsize=1024)
def is_pieced(crs: str) -> bool:
    """Return whether a map is composed of several maps, so that a straight edge may have a kink anywhere."""
    return projection_method(crs).startswith(_PIECED_METHODS)


def earth_outline(crs: str, box: tuple[float, float, float, float]) -> Any:
    """Return the Earth as a polygon of map coordinates, at least its part in `box`; all vertices are on the Earth.

    Parameters
    ----------
    crs
        A projected CRS.
    box
        ``minx, miny, maxx, maxy``. A projection that shows all of the Earth has one outline for every box.
    """
    extent = _map_extent(crs)
    return _outline(crs, box if extent is None else extent)


def limb_points(crs: str, inside: Coordinates, outside: Coordinates) -> tuple[Coordinates, NDArray[np.bool_]]:
    """Return the last places on the Earth on the way from `inside` to `outside`, and where there is one, shape (n,).

    There is one only where `inside` is on the Earth and `outside` is not.
    """
    return on_proj_thread(_limb_points, crs, inside, outside)


def _limb_points(crs: str, inside: Coordinates, outside: Coordinates) -> tuple[Coordinates, NDArray[np.bool_]]:
    found = ~np.isnan(on_earth(crs, *inside)[0]) & np.isnan(on_earth(crs, *outside)[0])
    (x, y), (end_x, end_y) = (tuple(axis[found] for axis in one) for one in (inside, outside))
    for _ in range(_HALVINGS if found.any() else 0):
        middle_x, middle_y = (x + end_x) / 2, (y + end_y) / 2
        is_on = ~np.isnan(on_earth(crs, middle_x, middle_y)[0])
        x, y = np.where(is_on, middle_x, x), np.where(is_on, middle_y, y)
        end_x, end_y = np.where(is_on, end_x, middle_x), np.where(is_on, end_y, middle_y)
    limb_x, limb_y = inside[0].copy(), inside[1].copy()
    limb_x[found], limb_y[found] = x, y
    return (limb_x, limb_y), found


def limb_middles(crs: str, ring: NDArray[np.float64], at: NDArray[np.int64]) -> tuple[Coordinates, NDArray[np.bool_]]:
    """Return limb points beside the middles of the segments `at` of a closed ring, and where there is one, shape (n,).

    The Earth lies left of the ring.
    """
    start, stop = ring[at], ring[at + 1]
    along = stop - start
    right = np.stack([along[:, 1], -along[:, 0]], axis=1)
    middle = (start + stop) / 2
    inside, outside = middle - right / 2, middle + right
    return limb_points(crs, (inside[:, 0], inside[:, 1]), (outside[:, 0], outside[:, 1]))


def _earth_radius(crs: str) -> float:
    return EARTH_RADIUS_M / metres_per_unit(crs)


@lru_cache(maxsize=64)
def _map_extent(crs: str) -> tuple[float, float, float, float] | None:
    """Return a box around the whole Earth on the map, or None where the projection shows some place at infinity."""
    lon, lat = (axis.ravel() for axis in np.meshgrid(np.linspace(-180, 180, 181), np.linspace(-90, 90, 91)))
    x, y = transform_xy(LONLAT, crs, lon, lat)
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        return None
    x, y = x[shown], y[shown]
    reach_x, reach_y = np.ptp(x), np.ptp(y)
    if max(reach_x, reach_y) > _FAR_SHARE * _earth_radius(crs):
        return None
    # The sampled places do not reach the limb everywhere.
    return (
        float(x.min() - 0.03 * reach_x),
        float(y.min() - 0.03 * reach_y),
        float(x.max() + 0.03 * reach_x),
        float(y.max() + 0.03 * reach_y),
    )


@lru_cache(maxsize=64)
def _outline(crs: str, box: tuple[float, float, float, float]) -> Any:
    x, y = np.linspace(box[0], box[2], _CELLS + 1), np.linspace(box[1], box[3], _CELLS + 1)
    grid_x, grid_y = np.meshgrid(x, y)
    is_on = ~np.isnan(on_earth(crs, grid_x.ravel(), grid_y.ravel())[0]).reshape(grid_x.shape)
    cells = np.concatenate([_whole_cells(x, y, is_on), _cut_cells(crs, x, y, is_on)])
    outline = shapely.union_all(shapely.make_valid(cells))
    polygons = [one for one in shapely.get_parts(outline) if shapely.get_dimensions(one) == 2]
    rings = [
        [_bent(crs, shapely.get_coordinates(ring), box) for ring in shapely.get_rings(one)]
        for one in shapely.orient_polygons(polygons)
    ]
    return shapely.union_all(shapely.make_valid([shapely.Polygon(one[0], one[1:]) for one in rings]))


def _whole_cells(x: NDArray[np.float64], y: NDArray[np.float64], is_on: NDArray[np.bool_]) -> NDArray[np.object_]:
    """Return runs of cells whose corners are all on the Earth, as boxes."""
    whole = is_on[:-1, :-1] & is_on[1:, :-1] & is_on[:-1, 1:] & is_on[1:, 1:]
    change = np.diff(np.pad(whole.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (row, start), (_, stop) = np.nonzero(change == 1), np.nonzero(change == -1)
    boxes: NDArray[np.object_] = shapely.box(x[start], y[row], x[stop], y[row + 1])
    return boxes


def _cut_cells(
    crs: str, x: NDArray[np.float64], y: NDArray[np.float64], is_on: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """Return the part on the Earth of cells that the limb cuts: polygons of the corners on the Earth and of limb points."""
    corners = np.stack([is_on[:-1, :-1], is_on[:-1, 1:], is_on[1:, 1:], is_on[1:, :-1]])
    row, col = np.nonzero(corners.any(axis=0) & ~corners.all(axis=0))
    here = corners[:, row, col]
    # Counterclockwise from the lower left corner. Both cells of a side find the same limb point on it.
    at_x = np.stack([x[col], x[col + 1], x[col + 1], x[col]])
    at_y = np.stack([y[row], y[row], y[row + 1], y[row + 1]])
    crosses = here != np.roll(here, -1, axis=0)
    next_x, next_y = np.roll(at_x, -1, axis=0), np.roll(at_y, -1, axis=0)
    inside = np.where(here, at_x, next_x)[crosses], np.where(here, at_y, next_y)[crosses]
    outside = np.where(here, next_x, at_x)[crosses], np.where(here, next_y, at_y)[crosses]
    limb_x, limb_y = np.zeros(at_x.shape), np.zeros(at_y.shape)
    (limb_x[crosses], limb_y[crosses]), _ = limb_points(crs, inside, outside)
    xy = np.stack([np.stack([at_x, limb_x], axis=1), np.stack([at_y, limb_y], axis=1)], axis=-1).reshape(8, -1, 2)
    wanted = np.stack([here, crosses], axis=1).reshape(8, -1)
    parts = [shapely.Polygon(xy[wanted[:, cell], cell]) for cell in range(len(row))]
    return np.array(parts, dtype=object)


def _bent(crs: str, ring: NDArray[np.float64], box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Return a closed ring with limb points added until the ring follows the limb; the Earth lies left of the ring."""
    is_open = np.ones(len(ring) - 1, np.bool_)
    tolerance = _BEND_SHARE * _earth_radius(crs)
    for _ in range(_ROUNDS):
        at = np.flatnonzero(is_open)
        at = at[~_lies_on_side(ring, at, box)]
        if not len(at):
            break
        (x, y), found = limb_middles(crs, ring, at)
        added = np.stack([x, y], axis=1)
        bends = found & (np.hypot(*(added - (ring[at] + ring[at + 1]) / 2).T) > tolerance)
        ring, is_open = with_middles(ring, at[bends], added[bends])
    return ring


def with_middles(
    ring: NDArray[np.float64], at: NDArray[np.int64], middles: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a closed ring with points added after the vertices `at`, and for each of its segments whether it is new."""
    is_new = np.zeros(len(ring) - 1, np.bool_)
    is_new[at] = True
    return np.insert(ring, at + 1, middles, axis=0), np.repeat(is_new, 1 + is_new)


def _lies_on_side(
    ring: NDArray[np.float64], at: NDArray[np.int64], box: tuple[float, float, float, float]
) -> NDArray[np.bool_]:
    """Return which segments lie on a side of the box. They are not the limb: the Earth goes on behind the box."""
    lies: NDArray[np.bool_] = np.zeros(len(at), np.bool_)
    for side, place in enumerate(box):
        lies |= (ring[at, side % 2] == place) & (ring[at + 1, side % 2] == place)
    return lies
