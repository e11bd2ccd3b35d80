"""Where on the Earth is an image?

The answer is a polygon and bounds of longitude and latitude (CRS84), made of the image's edges with added vertices; for many
images at once. Bounds follow GeoJSON: ``xmin > xmax`` where the image crosses the antimeridian, and its polygon is split there.
Images that hold a pole or the limb of the Earth are left to `limb_footprints`. No tables here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.geo.antimeridian import geometry_bounds, split_at_antimeridian
from polars_rasteret.geo.boxes import EPSILON, unwrap_bounds, wrap_bounds
from polars_rasteret.geo.crs import (
    EARTH_RADIUS_M,
    LONLAT,
    LONLAT_NAMES,
    NATIVE,
    is_geographic,
    metres_per_unit,
    transform_xy,
)
from polars_rasteret.geo.limb import ends_at_limb, is_pieced, on_earth
from polars_rasteret.geo.limb_footprints import limb_footprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EDGE_STEPS = 21
"""Pieces into which an image edge is cut before it is projected."""
_CHUNK = 20_000
"""Images transformed at a time."""
_NEAR_POLE = 89.9
"""Degrees of latitude beyond which an image may hold the pole."""
_WIDE = 3.0
"""Degrees; the edges of a smaller image do not bend by half a pixel of common size."""
_GOODE_SEAM = 40.7366
"""Degrees north and south at which Goode's map changes from one projection to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprints:
    """Outlines of n images in longitude and latitude."""

    geometry: NDArray[np.object_]
    """shapely Polygon or MultiPolygon, shape (n,); None where an image has no place on the Earth."""
    bounds: NDArray[np.float64]
    """xmin, ymin, xmax, ymax, shape (n, 4); NaN where an image has no place, xmin > xmax across the antimeridian."""


def image_footprints(
    crs: Sequence[str | None],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> Footprints:
    """Return the footprints of images. Their edges are cut into `EDGE_STEPS` pieces so that they follow the projection.

    Parameters
    ----------
    crs
        CRS of each image; an image with None has no place on the Earth.
    transform
        Affine a, b, c, d, e, f of pixel corners, shape (n, 6); NaN where an image has no transform.
    width, height
        Size of each image in pixels, shape (n,).
    """
    n_images = len(crs)
    geometry = np.full(n_images, None, dtype=object)
    bounds = np.full((n_images, 4), np.nan)
    usable = np.isfinite(transform).all(axis=1) & (width > 0) & (height > 0)
    by_crs: dict[str, list[int]] = {}
    for index in np.flatnonzero(usable).tolist():
        if (name := crs[index]) is not None:
            by_crs.setdefault(name, []).append(index)
    for name, indices in by_crs.items():
        for start in range(0, len(indices), _CHUNK):
            chosen = np.asarray(indices[start : start + _CHUNK])
            try:
                geometry[chosen], bounds[chosen] = _of_one_crs(name, transform[chosen], width[chosen], height[chosen])
            except UsageError:
                # A local CRS without a transformation to the Earth: the image is read by pixel and in native coordinates only.
                continue
    return Footprints(geometry=geometry, bounds=bounds)


def image_bounds(
    target_crs: str,
    crs: Sequence[str | None],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the bounds of images in any CRS, with edges cut into `EDGE_STEPS` pieces; parameters as in `image_footprints`.

    Returns
    -------
    ndarray of float64, shape (n, 4)
        minx, miny, maxx, maxy. NaN where a part of the outline has no place in `target_crs`, or the image has no CRS. In
        longitude and latitude, minx > maxx across the antimeridian.
    """
    if target_crs in LONLAT_NAMES:
        return image_footprints(crs, transform, width, height).bounds
    bounds = np.full((len(crs), 4), np.nan)
    for name in dict.fromkeys(one for one in crs if one is not None):
        chosen = np.array([one == name for one in crs]) & np.isfinite(transform).all(axis=1)
        x, y = _rings_in(name, target_crs, transform[chosen], width[chosen], height[chosen])
        if is_geographic(target_crs):
            bounds[chosen] = lonlat_rings(x, y)[1]
        else:
            found = np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)
            bounds[chosen] = np.where(np.isfinite(found).all(axis=1)[:, None], found, np.nan)
    return bounds


def image_polygons(
    crs: str,
    target_crs: str,
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> NDArray[np.object_]:
    """Return the outlines of images of one CRS in another, shape (n,); None where a part of one has no place there.

    With a `target_crs` of ``"native"`` they stay in their own coordinates.
    """
    x, y = _rings_in(crs, target_crs, transform, width, height)
    if is_geographic(target_crs):
        return lonlat_rings(x, y)[0]
    polygons = np.full(len(x), None, dtype=object)
    known = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    polygons[known] = shapely.polygons(np.stack([x[known], y[known]], axis=2))
    return polygons


def _rings_in(
    crs: str,
    target_crs: str,
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of open rings around images, shape (n_images, 4 * `EDGE_STEPS`)."""
    col, row = ring_fractions()
    x, y = map_coordinates(transform[:, None, :], row * height[:, None], col * width[:, None])
    if target_crs == NATIVE:
        return x, y
    moved_x, moved_y = transform_xy(crs, target_crs, x.ravel(), y.ravel())
    return moved_x.reshape(x.shape), moved_y.reshape(y.shape)


def box_transforms(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return transforms of one-pixel images that cover boxes of map coordinates, shape (n, 6)."""
    minx, miny, maxx, maxy = boxes.T
    zero = np.zeros(len(boxes))
    return np.stack([maxx - minx, zero, minx, zero, miny - maxy, maxy], axis=1)


def boxes_meet_images(
    crs: str, boxes: NDArray[np.float64], images: tuple[str, NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Return which boxes of map coordinates meet their images (CRS, transform, width, height) on the Earth, shape (n,)."""
    one = np.ones(len(boxes), np.int64)
    asked = image_footprints([crs] * len(boxes), box_transforms(boxes), one, one).geometry
    return np.asarray(
        shapely.intersects(image_footprints([images[0]] * len(boxes), *images[1:]).geometry, asked), np.bool_
    )


def ring_fractions(steps: int = EDGE_STEPS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return col and row fractions of an open ring around an image: down, right, up, left; each of shape (4 * steps,)."""
    along = np.arange(steps) / steps
    zero, one = np.zeros(steps), np.ones(steps)
    return np.concatenate([zero, along, one, 1 - along]), np.concatenate([along, one, 1 - along, zero])


def _of_one_crs(
    crs: str, transform: NDArray[np.float64], width: NDArray[np.int64], height: NDArray[np.int64]
) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    lon, lat = _rings(crs, transform, width, height)
    geometry, bounds = lonlat_rings(lon, lat)
    # Whether an image reaches off the Earth, or holds a pole, does not follow from the outline alone.
    is_hard = np.isnan(bounds[:, 0]) | ((bounds[:, 0] == -180) & (bounds[:, 2] == 180))
    if not is_geographic(crs):
        is_hard |= (bounds[:, 1] < -_NEAR_POLE) | (bounds[:, 3] > _NEAR_POLE)
        is_hard |= _bends(crs, lon, lat, bounds, np.stack([width, height], axis=1))
        # An outline around more than half of the Earth looks like one around the rest.
        reach_x, reach_y = (np.abs(transform[:, at]) * width + np.abs(transform[:, at + 1]) * height for at in (0, 3))
        is_hard |= np.hypot(reach_x, reach_y) > EARTH_RADIUS_M / metres_per_unit(crs)
    for index in np.flatnonzero(is_hard):
        grid = tuple(transform[index].tolist()), int(width[index]), int(height[index])
        geometry[index] = limb_footprint(crs, *grid)
        bounds[index] = np.nan if geometry[index] is None else geometry_bounds(geometry[index : index + 1])[0]
    return geometry, bounds


def _bends(
    crs: str,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    bounds: NDArray[np.float64],
    n_pixels: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which images have edges that may bend by half a pixel between two vertices; only large images do."""
    size = unwrap_bounds(bounds)[:, 2:] - bounds[:, :2]
    across = size[:, 0] * np.cos(np.radians((bounds[:, 1] + bounds[:, 3]) / 2))
    is_wide: NDArray[np.bool_] = np.maximum(across, size[:, 1]) > _WIDE
    if is_pieced(crs):
        from_equator = np.abs(lat)
        is_wide |= (from_equator.min(axis=1) < _GOODE_SEAM) & (from_equator.max(axis=1) > _GOODE_SEAM)
        return is_wide
    bends = np.zeros(len(lon), np.bool_)
    wide = np.flatnonzero(is_wide)
    if len(wide):
        closed = [np.concatenate([axis[wide], axis[wide, :1]], axis=1) for axis in (lon, lat)]
        bulge = [_bulge(np.unwrap(axis, period=360, axis=1)) for axis in closed]
        pixel = size[wide] / n_pixels[wide]
        # Some maps are composed of several, and an edge has a kink where these meet. A kink lies up to four times as far from
        # its chord as a smooth curve.
        share = 0.45 if ends_at_limb(crs) else 0.1
        bends[wide] = np.maximum(*bulge) > share * pixel.min(axis=1)
    return bends


def _rings(
    crs: str, transform: NDArray[np.float64], width: NDArray[np.int64], height: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lon and lat of the outlines, shape (n_images, 4 * `EDGE_STEPS`); not finite where a vertex is off the Earth."""
    col, row = ring_fractions()
    x, y = map_coordinates(transform[:, None, :], row * height[:, None], col * width[:, None])
    if is_geographic(crs):
        # Grids with a row of pixels around each pole reach half a pixel beyond it.
        pole = np.pi / 2 * EARTH_RADIUS_M / metres_per_unit(crs)
        y = np.clip(y, -pole, pole)
    if ends_at_limb(crs):
        lon, lat = transform_xy(crs, LONLAT, x.ravel(), y.ravel())
    else:
        lon, lat = on_earth(crs, x.ravel(), y.ravel())
    return lon.reshape(x.shape), lat.reshape(x.shape)


def lonlat_rings(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return polygons and bounds of open rings of longitude and latitude; NaN bounds where a ring is not finite.

    Consecutive vertices must be less than 180 degrees of longitude apart. A ring once around the Earth holds a pole.
    """
    n_rings = len(lon)
    geometry = np.full(n_rings, None, dtype=object)
    bounds = np.full((n_rings, 4), np.nan)
    finite = np.isfinite(lon).all(axis=1) & np.isfinite(lat).all(axis=1)
    if not finite.any():
        return geometry, bounds
    lon, lat, index = lon[finite], np.clip(lat[finite], -90, 90), np.flatnonzero(finite)
    closed = np.concatenate([lon, lon[:, :1]], axis=1)
    step = np.diff(closed, axis=1)
    unwrap = -360 * np.round(step / 360)
    closed[:, 1:] += np.cumsum(unwrap, axis=1)
    winding = closed[:, -1] - closed[:, 0]
    lon = closed[:, :-1]

    # A curved edge bulges between two vertices by about an eighth of the second difference of the vertices.
    bulge_x, bulge_y = _bulge(closed), _bulge(np.concatenate([lat, lat[:, :1]], axis=1))
    xmin, xmax = lon.min(axis=1), lon.max(axis=1)
    ymin, ymax = lat.min(axis=1), lat.max(axis=1)
    shift = -360 * np.floor(((xmin + xmax) / 2 + 180) / 360)
    lon, xmin, xmax = lon + shift[:, None], xmin + shift, xmax + shift
    # Rounding must not make an image cross the antimeridian that only ends there.
    lon = np.where(np.abs(np.abs(lon) - 180) < EPSILON, np.sign(lon) * 180.0, lon)
    xmin, xmax = lon.min(axis=1), lon.max(axis=1)

    steep = (np.abs(lat).max(axis=1) > _NEAR_POLE) & (np.abs(unwrap).sum(axis=1) > 0)
    polar = (np.abs(winding) > 180) | steep
    whole = polar | (xmax - xmin >= 360 - EPSILON)
    crossing = ~whole & ((xmin < -180) | (xmax > 180))
    plain = ~whole & ~crossing

    geometry[index[plain]] = _polygons(lon[plain], lat[plain])
    bounds[index] = np.stack([xmin - bulge_x, ymin - bulge_y, xmax + bulge_x, ymax + bulge_y], axis=1)
    for one in np.flatnonzero(crossing):
        geometry[index[one]] = split_at_antimeridian(shapely.polygons(np.stack([lon[one], lat[one]], axis=1)))
    for one in np.flatnonzero(whole):
        south, north = ymin[one], ymax[one]
        if polar[one]:
            north, south = (90.0, south) if lat[one].mean() > 0 else (north, -90.0)
            bounds[index[one], 1::2] = [max(south - bulge_y[one], -90), min(north + bulge_y[one], 90)]
        bounds[index[one], 0::2] = [-180, 180]
        geometry[index[one]] = shapely.box(-180, south, 180, north)
    bounds[index, 1] = np.maximum(bounds[index, 1], -90)
    bounds[index, 3] = np.minimum(bounds[index, 3], 90)
    bounds[index] = wrap_bounds(bounds[index])
    return geometry, bounds


def _bulge(closed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an estimate, per ring, of how far a curved edge reaches beyond its vertices; 0 for straight edges."""
    n_edges = 4 if (closed.shape[1] - 1) % 4 == 0 else 1
    steps = (closed.shape[1] - 1) // n_edges
    bulge = np.zeros(len(closed))
    for edge in range(n_edges):
        vertices = closed[:, edge * steps : (edge + 1) * steps + 1]
        if vertices.shape[1] >= 3:
            bulge = np.maximum(bulge, np.abs(np.diff(vertices, n=2, axis=1)).max(axis=1) / 8)
    return np.where(bulge < EPSILON, 0.0, bulge)


def _polygons(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return one counterclockwise polygon per row."""
    area = (lon * np.roll(lat, -1, axis=1) - np.roll(lon, -1, axis=1) * lat).sum(axis=1)
    clockwise = area < 0
    lon = np.where(clockwise[:, None], lon[:, ::-1], lon)
    lat = np.where(clockwise[:, None], lat[:, ::-1], lat)
    made: NDArray[np.object_] = shapely.polygons(np.stack([lon, lat], axis=2))
    return made
