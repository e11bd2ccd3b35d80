"""Along which meridians is a map torn, and what is left of areas that are cut there?

A sinusoidal map ends at a meridian; Goode's map is torn at several. An outline that goes on over such a seam would run across the
whole map. Maps whose x repeats have no seam: x goes on there, as said in `antimeridian`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.crs import longitude_period, projection_method, transform_xy
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Seam = tuple[float, float, float, float]
"""West, south, east and north of the strip that is cut out; it is much narrower than a pixel."""

_WHOLE_METHODS = ("Transverse Mercator", "Polar Stereographic", "Lambert Azimuthal Equal Area")
"""Projections without a seam, known without asking PROJ."""
_SHARES_OF_POLE = (0.5, 0.83)
"""Latitudes at which seams are looked for, as shares of the way to the pole."""
_STEPS = 720
_JUMP_STEPS = 8
"""A map may be torn where two places one step apart are farther apart than so many usual steps."""
_HALVINGS = 45
_HALF_WIDTH = 1e-9 / 360
"""Half the width of a seam as a share of the Earth's turn: a tenth of a millimetre."""
_MOST_SPREAD = 1e-5
"""Shares of a turn by which a seam may lie elsewhere at other latitudes, because the datums differ."""


@lru_cache(maxsize=1024)
def map_seams(geographic: str, crs: str) -> tuple[Seam, ...]:
    """Return the seams of a map, in longitude and latitude of a geographic CRS; none where PROJ shows none along a meridian.

    Examples
    --------
    >>> {round(west) for west, _, _, _ in map_seams("EPSG:4326", "ESRI:54009")}, map_seams("EPSG:4326", "EPSG:32632")
    ({180}, ())
    """
    period = longitude_period(geographic)
    if period is None or projection_method(crs).startswith(_WHOLE_METHODS):
        return ()
    return on_proj_thread(_seams, geographic, crs, period)


def _seams(geographic: str, crs: str, period: float) -> tuple[Seam, ...]:
    pole = period / 4
    seams: list[Seam] = []
    for sign in (-1, 1):
        one, other = (_jumps(geographic, crs, period, sign * share * pole) for share in _SHARES_OF_POLE)
        for lon in one.tolist():
            apart = np.abs((other - lon + period / 2) % period - period / 2)
            if len(apart) and apart.min() <= _MOST_SPREAD * period:
                half = _HALF_WIDTH * period + 2 * apart.min()
                south, north = (-1.01 * pole, 0.0) if sign < 0 else (0.0, 1.01 * pole)
                seams.append((lon - half, south, lon + half, north))
    return tuple(seams)


def _jumps(geographic: str, crs: str, period: float, latitude: float) -> Floats:
    """Return the longitudes at which a parallel is torn on the map."""

    def on_map(lon: Floats) -> Floats:
        return np.stack(transform_xy(geographic, crs, lon, np.full(lon.shape, latitude)))

    # The first longitude is no place where maps are likely to be torn.
    lon = (np.arange(_STEPS + 1) / _STEPS - 0.5) * period + period * 1.234e-4
    with np.errstate(invalid="ignore"):
        step = np.hypot(*np.diff(on_map(lon), axis=1))
        usual = np.median(step[np.isfinite(step)]) if np.isfinite(step).any() else np.inf
        at = np.flatnonzero(np.isfinite(step) & (step > _JUMP_STEPS * usual))
        west, east = lon[at], lon[at + 1]
        for _ in range(_HALVINGS if len(at) else 0):
            middle = (west + east) / 2
            w, m, e = on_map(west), on_map(middle), on_map(east)
            is_west = np.hypot(*(m - w)) > np.hypot(*(e - m))
            west, east = np.where(is_west, west, middle), np.where(is_west, middle, east)
        gap = np.hypot(*(on_map(east) - on_map(west)))
        found: Floats = np.round(west[np.isfinite(gap) & (gap > _JUMP_STEPS * usual)] / period, 15) * period
    return found


def meet_seams(bounds: Floats, seams: tuple[Seam, ...], period: float) -> Ints:
    """Return which bounds of longitude and latitude lie on both sides of a seam, or end where PROJ may confuse the sides.

    Bounds are unwrapped: a seam is met at every turn of the Earth.
    """
    is_met = np.zeros(len(bounds), np.bool_)
    for west, south, east, north in seams:
        middle, half = (west + east) / 2, (east - west) / 2
        # PROJ keeps -180 and 180 apart. Elsewhere an outline that ends at a seam may be drawn on either side.
        ends_there = abs(abs(middle) - period / 2) < half
        with np.errstate(invalid="ignore"):
            is_kept = ends_there & (bounds[:, 0] >= -period / 2) & (bounds[:, 2] <= period / 2)
            reach = np.where(is_kept, -half, half)
            turn = np.ceil((bounds[:, 0] - reach - middle) / period)
            meets = (middle + turn * period <= bounds[:, 2] + reach) & (bounds[:, 1] < north) & (bounds[:, 3] > south)
        is_met |= meets
    return np.flatnonzero(is_met & np.isfinite(bounds).all(axis=1))


def cut_at_seams(geometries: NDArray[np.object_], seams: tuple[Seam, ...], period: float) -> NDArray[np.object_]:
    """Return geometries without the strips of the seams, at every turn of the Earth that they reach."""
    bounds = shapely.bounds(geometries)
    result = geometries.copy()
    for at, (west, _, east, _) in enumerate(bounds.tolist()):
        turns = np.arange(np.floor(west / period) - 1, np.ceil(east / period) + 2) * period
        strips = [shapely.box(seam[0] + turn, seam[1], seam[2] + turn, seam[3]) for seam in seams for turn in turns]
        result[at] = shapely.difference(geometries[at], shapely.union_all(strips))
    return result


def geometries_of(outlines: Outlines) -> NDArray[np.object_]:
    """Return valid polygons of the rings of outlines, one geometry per zone; lines are left out."""
    xy = np.stack([outlines.x, outlines.y], axis=1)
    start, zone = outlines.line_start, outlines.zone
    polygons: list[list[object]] = [[] for _ in range(outlines.n_zones)]
    for part in range(len(zone)):
        first, stop = np.searchsorted(outlines.part, [part, part + 1])
        rings = [xy[start[line] : start[line + 1]] for line in range(first, stop) if outlines.is_ring[line]]
        if rings:
            polygons[zone[part]].append(shapely.make_valid(shapely.Polygon(rings[0], rings[1:])))
    return np.array([shapely.union_all(one) for one in polygons] + [None], object)[:-1]
