"""Where is a cube asked for: a box, a geometry, or a table of areas?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars.selectors as cs
import shapely

from polars_rasteret.cubes.record_places import densified_areas
from polars_rasteret.cubes.shared_lattice import united_bounds
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.crs import LONLAT, NATIVE, is_geographic
from polars_rasteret.geo.turns import eastward_boxes
from polars_rasteret.pairing.geometry_columns import wkb_array
from polars_rasteret.pairing.listed_places import as_lazy_frame, is_box
from polars_rasteret.pairing.stated_crs import passed_crs
from polars_rasteret.pairing.targets import lonlat_bounds, target_columns, targets_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

_WHAT = "to_xarray"


@dataclass(frozen=True, kw_only=True, eq=False)
class AskedPlaces:
    """Where a cube is asked for."""

    wkb: NDArray[np.object_]
    crs: str
    """Normalized CRS, or ``"native"``."""
    lonlat: NDArray[np.float64] | None
    """Bounds of each place in longitude and latitude; None in native coordinates."""
    attributes: pl.DataFrame | None
    """Columns of a table of areas beside their geometry; None for one box or geometry."""
    is_box: bool
    """Whether the only place is a box."""

    @property
    def own_bounds(self) -> NDArray[np.float64]:
        """Bounds of each place as it was passed, shape (n, 4)."""
        return np.asarray(shapely.bounds(shapely.from_wkb(self.wkb)), np.float64).reshape(-1, 4)


def asked_places(bounds: Any, geometry: Any, crs: Any) -> AskedPlaces | None:
    """Return where a cube is asked for: a box, a geometry, or a table of areas; None for everywhere."""
    if bounds is not None and geometry is not None:
        raise UsageError(f"{_WHAT}: both bounds and geometry are given; pass one of them")
    if bounds is None and geometry is None:
        if crs is not None:
            raise UsageError(
                f"{_WHAT}: crs= says what bounds or geometry mean, and neither is given; did you mean target_crs=?"
            )
        return None
    is_table = bounds is not None and not is_box(bounds)
    what = f"{_WHAT}: {'geometry' if bounds is None else 'bounds'}"
    given = geometry if bounds is None else bounds
    if is_box(given):
        return _box_place(given, crs, what)
    frame = as_lazy_frame(given, what=what).collect()
    if not is_table and frame.height != 1:
        raise UsageError(f"{what} has {frame.height} rows; expected one geometry. A table of areas goes into bounds=")
    columns = target_columns(frame.schema, x=None, y=None, geometry=None, crs=crs, what=what)
    if columns.geometry is None:
        raise UsageError(f"{what}: the table has points (columns of x and y); expected a column of polygons or boxes")
    areas = targets_of(frame, columns, as_points=False, what=what)
    wkb = wkb_array(frame[columns.geometry], areas.crs)
    rest = [name for name in frame.columns if name != columns.geometry and not name.startswith("\0")]
    return AskedPlaces(
        wkb=wkb,
        crs=areas.crs,
        lonlat=None if areas.crs == NATIVE else lonlat_bounds(areas),
        attributes=frame.select(cs.by_name(*rest)) if is_table else None,
        is_box=False,
    )


def _box_place(box: Sequence[float], crs: Any, what: str) -> AskedPlaces:
    sides, name = np.array([box], np.float64), passed_crs(crs, what=what)
    if name != NATIVE and is_geographic(name):
        sides = eastward_boxes(sides, name)
    minx, miny, maxx, maxy = sides[0].tolist()
    if not (np.isfinite([minx, miny, maxx, maxy]).all() and minx < maxx and miny < maxy):
        raise UsageError(f"{what}={tuple(box)}; expected (minx, miny, maxx, maxy) with minx < maxx and miny < maxy")
    wkb = np.empty(1, object)
    wkb[0] = shapely.to_wkb(shapely.box(minx, miny, maxx, maxy))
    lonlat = None
    if name != NATIVE:
        lonlat = densified_areas(sides, name).bounds_in(LONLAT)
    return AskedPlaces(wkb=wkb, crs=name, lonlat=lonlat, attributes=None, is_box=True)


def bounds_in(places: AskedPlaces | None, crs: str | None) -> tuple[float, float, float, float] | None:
    """Return the bounds of all places in the CRS of the grid; None for everywhere."""
    if places is None:
        return None
    if places.crs == NATIVE or crs is None:
        if places.crs != NATIVE:
            raise UsageError(f"{_WHAT}: the images have no CRS; pass crs='native' for bounds in their own coordinates")
        return united_bounds(places.own_bounds)
    if not places.is_box:
        bounds = Areas(places.wkb, places.crs).bounds_in(crs)
    elif places.crs == crs:
        bounds = places.own_bounds
    else:
        bounds = densified_areas(places.own_bounds, places.crs).bounds_in(crs)
    whole = united_bounds(bounds)
    if whole is None:
        raise UsageError(f"{_WHAT}: no place that is asked for has a place in {crs}, the CRS of the pixels")
    return whole
