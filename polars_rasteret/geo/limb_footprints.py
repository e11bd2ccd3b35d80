"""What is the footprint of an image that holds a pole, or a part of the limb?

The outline of such an image is not enough. On the globe the outline may go around a pole, run along both sides of a meridian, or
enclose all that is *not* in the image. So the outline only cuts the plane of longitude and latitude into faces. A face belongs to
the footprint when a place inside the face falls on a pixel of the image, just as in reading. Slow (tens of milliseconds per
image); `footprints` serves ordinary images.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import EARTH_RADIUS_M, LONLAT, is_geographic, metres_per_unit, transform_xy
from polars_rasteret.geo.limb import earth_outline, limb_middles, limb_points, on_earth, with_middles

if TYPE_CHECKING:
    from numpy.typing import NDArray

Grid = tuple[tuple[float, ...], int, int]
"""Transform, width and height of an image."""

_EDGE_STEPS = 16
_SAG_SHARE = 5e-4
"""Distance that an outline may have from the true one, as a share of the smaller side of what the outline encloses."""
_MIN_SAG, _MAX_SAG = 1e-6, 0.03
"""Degrees: bounds of that distance."""
_ROUNDS = 12
_MAX_VERTICES = 10_000
_ON_SIDE = 1e-9
"""Distance from a side of the image, as a share of the image's size, of points that lie on that side."""
_GRID = 1e-9
_AT_SEAM = 1e-6
_AT_POLE = 1e-7
_HIGH_LATITUDE = 80
_WORLD = shapely.box(-180, -90, 180, 90)


@lru_cache(maxsize=1024)
def limb_footprint(crs: str, transform: tuple[float, ...], width: int, height: int) -> Any:
    """Return the part of the Earth that an image covers, as polygons of longitude and latitude cut at the antimeridian.

    Parameters
    ----------
    crs
        Normalized CRS of the image.
    transform
        Affine a, b, c, d, e, f of pixel corners.
    width, height
        Size of the image in pixels.

    Returns
    -------
    shapely Polygon or MultiPolygon, or None
        Holds every place of the image that is on the Earth. None where the image has no place on the Earth.
    """
    grid = transform, width, height
    drawn = [_drawn(crs, ring, grid) for ring in _map_rings(crs, grid)]
    lines = [line for ring, sag in drawn for line in _plane_lines(ring, sag / 2)]
    if not lines:
        return None
    # The ends of a ring's lines meet only within a rounding error.
    noded = shapely.union_all([*lines, _WORLD.exterior], grid_size=_GRID)
    faces: NDArray[np.object_] = shapely.get_parts(shapely.polygonize(shapely.get_parts(noded)))
    covered = np.compress(_is_covered(crs, grid, faces), faces)
    if not len(covered):
        return None
    return _widened(shapely.union_all(covered), 3 * max(sag for _, sag in drawn))


def _map_rings(crs: str, grid: Grid) -> list[NDArray[np.float64]]:
    """Return closed rings around the part of the image on the Earth, in map coordinates; the Earth lies left of the rings."""
    transform, width, height = grid
    rows, cols = np.array([0, height, height, 0, 0]), np.array([0, 0, width, width, 0])
    corners = np.stack(map_coordinates(np.array(transform), rows.astype(np.float64), cols.astype(np.float64)), axis=1)
    image = shapely.orient_polygons(shapely.Polygon(corners))
    image = shapely.segmentize(image, max(np.hypot(*np.diff(corners, axis=0).T)) / _EDGE_STEPS)
    edge = shapely.get_coordinates(image)
    if is_geographic(crs) or np.isfinite(on_earth(crs, edge[:, 0], edge[:, 1])[0]).all():
        return [edge]
    part = shapely.intersection(image, earth_outline(crs, tuple(shapely.bounds(image).tolist())))
    polygons = [one for one in shapely.get_parts(part) if shapely.get_dimensions(one) == 2]
    return [
        shapely.get_coordinates(ring) for one in shapely.orient_polygons(polygons) for ring in shapely.get_rings(one)
    ]


def _drawn(crs: str, ring: NDArray[np.float64], grid: Grid) -> tuple[NDArray[np.float64], float]:
    """Return the longitude and latitude of a closed ring of map coordinates, and the distance it may have from the true outline.

    Vertices are added until the ring follows the limb and the curved edges of the image.
    """
    ring = _with_ends_on_limb(crs, ring, grid)
    lonlat = np.stack(on_earth(crs, ring[:, 0], ring[:, 1]), axis=1)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(lonlat).all(axis=1))
    ring, lonlat = ring[known], lonlat[known]
    if len(ring) and not known[0]:
        ring, lonlat = np.concatenate([ring, ring[:1]]), np.concatenate([lonlat, lonlat[:1]])
    allowed = float(np.clip(_SAG_SHARE * _thickness(lonlat), _MIN_SAG, _MAX_SAG))
    is_open, widest = np.ones(max(len(ring) - 1, 0), np.bool_), 0.0
    if len(ring):
        # The limb has many vertices already. Where three lie on a straight line, none is added between them.
        sag = _sag(np.roll(lonlat[:-1], 1, axis=0), lonlat[:-1], np.roll(lonlat[:-1], -1, axis=0))
        sag = np.maximum(sag, np.roll(sag, -1))
        is_open = _is_on_side((ring[:-1] + ring[1:]) / 2, grid) | (sag > allowed)
        widest = float(sag[~is_open].max(initial=0))
    for _ in range(_ROUNDS):
        at = np.flatnonzero(is_open)
        if not len(at) or len(ring) + len(at) > _MAX_VERTICES:
            break
        # Not the middle of the chord: an S-shaped curve crosses its chord there.
        added, further = (ring[at] + (ring[at + 1] - ring[at]) * share for share in (1 / 3, 2 / 3))
        is_limb = np.flatnonzero(~_is_on_side(added, grid))
        (x, y), found = limb_middles(crs, ring, at[is_limb])
        added[is_limb[found]] = further[is_limb[found]] = np.stack([x, y], axis=1)[found]
        place, beyond = (np.stack(on_earth(crs, xy[:, 0], xy[:, 1]), axis=1) for xy in (added, further))
        sag = np.maximum(*(_sag(lonlat[at], one, lonlat[at + 1]) for one in (place, beyond)))
        bends = (sag > allowed) & np.isfinite(place).all(axis=1)
        widest = max(widest, sag[sag <= allowed].max(initial=0))
        lonlat, _ = with_middles(lonlat, at[bends], place[bends])
        ring, is_open = with_middles(ring, at[bends], added[bends])
    return _over_poles(lonlat, is_open), widest


def _thickness(lonlat: NDArray[np.float64]) -> float:
    """Return the approximate smaller side of the area that a closed ring encloses, in degrees."""
    if len(lonlat) < 3:
        return 0.0
    lon, lat = np.unwrap(lonlat[:, 0], period=360), lonlat[:, 1]
    smaller = float(min(np.ptp(lon), np.ptp(lat)))
    if abs(lon[-1] - lon[0]) > 180:
        return smaller
    area = abs(float((lon[:-1] * lat[1:] - lon[1:] * lat[:-1]).sum())) / 2
    return min(smaller, 2 * area / float(np.hypot(np.diff(lon), np.diff(lat)).sum()))


def _with_ends_on_limb(crs: str, ring: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Return a closed ring whose vertices between a side of the image and the limb are moved from a chord of the limb onto it."""
    is_limb = ~_is_on_side((ring[:-1] + ring[1:]) / 2, grid)
    ends = np.flatnonzero(is_limb != np.roll(is_limb, 1))
    if not len(ends):
        return ring
    open_ring = ring[:-1].copy()
    here, earlier, later = open_ring[ends], np.roll(open_ring, 1, axis=0)[ends], np.roll(open_ring, -1, axis=0)[ends]
    reach = np.hypot(*(np.where(is_limb[ends, None], later, earlier) - here).T)
    side = here - np.where(is_limb[ends, None], earlier, later)
    share = (reach / np.hypot(*side.T))[:, None]
    inside, outside = here - side * np.minimum(share, 0.5), here + side * share
    (x, y), found = limb_points(crs, (inside[:, 0], inside[:, 1]), (outside[:, 0], outside[:, 1]))
    open_ring[ends[found]] = np.stack([x, y], axis=1)[found]
    return np.concatenate([open_ring, open_ring[:1]])


def _is_on_side(xy: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    transform, width, height = grid
    row, col = pixel_coordinates(np.array(transform), xy[:, 0], xy[:, 1])
    row, col = row / height, col / width
    near: NDArray[np.bool_] = (
        np.minimum(np.minimum(np.abs(row), np.abs(1 - row)), np.minimum(np.abs(col), np.abs(1 - col))) < _ON_SIDE
    )
    return near


def _sag(start: NDArray[np.float64], middle: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of `middle` from the straight line between `start` and `stop`, in degrees."""
    chord, aside = _lonlat_step(start, stop), _lonlat_step(start, middle)
    length = np.maximum(np.hypot(*chord.T), 1e-300)
    across = np.abs(chord[:, 0] * aside[:, 1] - chord[:, 1] * aside[:, 0]) / length
    # A middle beyond the ends counts, too. A step over a pole has no straight line.
    beyond = np.hypot(*aside.T) - length
    sag = np.where(np.abs(chord[:, 0]) > 90, np.inf, np.maximum(across, beyond))
    return np.where(np.isfinite(middle).all(axis=1), sag, 0.0)


def _lonlat_step(start: NDArray[np.float64], stop: NDArray[np.float64]) -> NDArray[np.float64]:
    step = stop - start
    step[:, 0] -= 360 * np.round(step[:, 0] / 360)
    return step


def _plane_lines(lonlat: NDArray[np.float64], tolerance: float) -> list[Any]:
    """Return the lines of a closed ring on the plane from -180 to 180, cut where they cross the antimeridian."""
    if len(lonlat) < 3:
        return []
    lon, lat = lonlat[:, 0], np.clip(lonlat[:, 1], -90, 90)
    lat = np.where(np.abs(lat) > 90 - _AT_POLE, np.sign(lat) * 90, lat)
    lon = np.where(np.abs(np.abs(lon) - 180) < _AT_SEAM, np.sign(lon) * 180.0, lon)
    step = np.diff(lon)
    lon = np.concatenate([lon[:1], lon[1:] - 360 * np.cumsum(np.round(step / 360))])
    line = shapely.simplify(shapely.LineString(np.stack([lon, lat], axis=1)), tolerance)
    periods = range(int(np.floor((lon.min() + 180) / 360)), int(np.floor((lon.max() + 180) / 360)) + 1)
    lines = [shapely.intersection(_shifted(line, -360 * n_periods), _WORLD) for n_periods in periods]
    return [part for part in shapely.get_parts(lines) if not shapely.is_empty(part)]


def _shifted(geometry: Any, degrees: float) -> Any:
    return shapely.transform(geometry, lambda xy: xy + np.array([degrees, 0.0]))


def _over_poles(lonlat: NDArray[np.float64], is_open: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a closed ring that goes up to a pole along one meridian and down along another, where it passes over the pole.

    `is_open` is true for segments that are not straight. The longitude of a pole is arbitrary, so no segment that ends at a pole
    is straight, unless the map shows the pole as a line.
    """
    if not is_open.any():
        return lonlat
    lon, lat = lonlat.T
    is_pole = np.abs(lat) > 90 - _AT_POLE
    step = np.abs(_lonlat_step(lonlat[:-1], lonlat[1:])[:, 0])
    over = (step > 90) & (np.abs(lat[:-1]) > _HIGH_LATITUDE) & ~is_pole[:-1] & ~is_pole[1:]
    up = np.flatnonzero(is_open & (over | (~is_pole[:-1] & is_pole[1:])))
    down = np.flatnonzero(is_open & (over | (is_pole[:-1] & ~is_pole[1:])))
    at = np.concatenate([up, down]) + 1
    places = np.stack([np.concatenate([lon[up], lon[down + 1]]), np.sign(lat[at - 1]) * 90], axis=1)
    return np.insert(lonlat, at, places, axis=0)


def _is_covered(crs: str, grid: Grid, faces: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which faces of the plane fall on pixels of the image, shape (n_faces,)."""
    transform, width, height = grid
    # The place deepest inside the face: two sides of the limb are drawn a little apart, and faces reach in between.
    places = shapely.get_coordinates(shapely.get_point(shapely.maximum_inscribed_circle(faces), 0))
    x, y = transform_xy(LONLAT, crs, places[:, 0], places[:, 1])
    covered = np.zeros(len(faces), np.bool_)
    period = 2 * np.pi * EARTH_RADIUS_M / metres_per_unit(crs)
    for around in (-period, 0.0, period) if is_geographic(crs) else (0.0,):
        row, col = pixel_coordinates(np.array(transform), x + around, y)
        covered |= (row >= 0) & (row <= height) & (col >= 0) & (col <= width)
    return covered


def _widened(geometry: Any, margin: float) -> Any:
    """Return polygons widened by `margin` degrees, on the round Earth."""
    if margin == 0:
        return geometry
    west, _, east, _ = shapely.bounds(geometry)
    wide = shapely.simplify(shapely.buffer(geometry, margin, join_style="mitre", mitre_limit=2), margin / 4)
    # An image whose limb is the antimeridian ends there.
    shifts = [0] if west == -180 or east == 180 else [-360, 0, 360]
    pieces = [shapely.intersection(_shifted(wide, shift), _WORLD) for shift in shifts]
    polygons = [one for one in shapely.get_parts(shapely.union_all(pieces)) if shapely.get_dimensions(one) == 2]
    return shapely.orient_polygons(polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons))
