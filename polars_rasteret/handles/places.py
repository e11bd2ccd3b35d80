"""Where does the caller of a handle ask for pixels?

In a window of pixels, in bounds, in geometries, or in the whole image. Windows on images are computed when the image is known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from polars_rasteret.arguments import is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.area_windows import area_windows
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.geometry_values import shapely_geometry
from polars_rasteret.geo.turns import eastward_boxes
from polars_rasteret.grids.windows import (
    windows_of_areas,
    windows_of_images,
    windows_on_grids,
    with_own_grid,
    written_windows,
)
from polars_rasteret.pairing.listed_places import as_lazy_frame
from polars_rasteret.pairing.stated_crs import crs_of_geometry, passed_crs
from polars_rasteret.pairing.targets import areas_of_geometry, target_columns

if TYPE_CHECKING:
    import polars as pl

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPlaces:
    """Places of one call, one per answer."""

    n: int = 1
    window: tuple[int, int, int, int] | None = None
    """``row_start, row_stop, col_start, col_stop``."""
    areas: Areas | None = None
    """Areas; with neither areas nor a window, the whole image."""
    is_clipped: bool = False
    """Whether windows of areas end where the image ends."""

    @property
    def crs(self) -> str | None:
        """CRS of the areas, or ``"native"``; None without areas."""
        return None if self.areas is None else self.areas.crs

    def windows(self, images: PixelGrids, *, shape: tuple[int, int] | None, has_own_grid: bool) -> Windows:
        """Return the window of each place.

        Parameters
        ----------
        images
            Grid of the image, once per place.
        shape
            Height and width of every answer; None: not given.
        has_own_grid
            Whether the answers have other pixels than the image.
        """
        each = np.arange(self.n, dtype=np.int64)
        if self.areas is not None:
            if has_own_grid:
                return windows_on_grids(images, self.areas, each, shape=shape)
            if self.is_clipped:
                return windows_of_areas(images, self.areas, each)
            crs, size = images.crs[0] or NATIVE, (images.width, images.height)
            unclipped, _ = area_windows(self.areas, crs, each, images.transform, *size)
            return replace(written_windows(images, unclipped), areas=self.areas, area=each)
        window = self.window
        windows = windows_of_images(images) if window is None else written_windows(images, np.array([window], np.int64))
        return with_own_grid(windows) if has_own_grid else windows


def asked_places(what: str, *, window: Any, bounds: Any, geometry: Any, crs: Any) -> AskedPlaces:
    """Return the place that `window`, `bounds` or `geometry` names; the whole image where none of them is given.

    Raises
    ------
    UsageError
        When several of them are given, or one is not understood.
    """
    given = [
        name for name, value in (("window", window), ("bounds", bounds), ("geometry", geometry)) if value is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{what}: {' and '.join(given)} are given; pass one of them")
    if window is not None:
        return AskedPlaces(window=_checked_window(what, window))
    if bounds is not None:
        return AskedPlaces(areas=_areas_of_bounds(what, bounds, crs))
    if geometry is None:
        return AskedPlaces()
    frame, name = geometries_of(what, geometry)
    if frame.height != 1:
        raise UsageError(f"{what}: geometry has {frame.height} geometries; expected one. load reads several")
    return places_of(what, frame[name], crs)


def places_of(what: str, geometries: pl.Series, crs: Any) -> AskedPlaces:
    """Return the places of a geometry column, in the CRS that is passed or that the column states."""
    passed = None if crs is None else passed_crs(crs, what=what)
    areas = areas_of_geometry(geometries, crs_of_geometry(geometries, passed, what=what))
    return AskedPlaces(n=len(geometries), areas=areas, is_clipped=True)


def geometries_of(what: str, geometries: Any) -> tuple[pl.DataFrame, str]:
    """Return a frame with geometries, and the name of its geometry column.

    Parameters
    ----------
    what
        Name of the call, for messages.
    geometries
        WKT, one or a list, or what `pairing.listed_places` takes as places.
    """
    if isinstance(geometries, str):
        geometries = [geometries]
    if isinstance(geometries, list | tuple):
        geometries = [shapely_geometry(one) if isinstance(one, str) else one for one in geometries]
    frame = as_lazy_frame(geometries, what=f"{what}: geometries").collect()
    found = target_columns(frame.schema, x=None, y=None, geometry=None, crs=NATIVE, what=what)
    if found.geometry is None:
        raise UsageError(f"{what}: the table has coordinates {found.x}, {found.y}; expected a column of geometries")
    return frame, found.geometry


def _checked_window(what: str, window: Any) -> tuple[int, int, int, int]:
    try:
        numbers = tuple(window)
    except TypeError:
        numbers = ()
    if len(numbers) != 4 or not all(is_number(one) and float(one).is_integer() for one in numbers):
        raise UsageError(
            f"{what}: window={window!r}; expected (row_start, row_stop, col_start, col_stop), whole numbers of pixels"
        )
    row_start, row_stop, col_start, col_stop = (int(one) for one in numbers)
    if row_start >= row_stop or col_start >= col_stop:
        raise UsageError(f"{what}: window={window!r} is empty; expected row_start < row_stop and col_start < col_stop")
    return row_start, row_stop, col_start, col_stop


def _areas_of_bounds(what: str, bounds: Any, crs: Any) -> Areas:
    try:
        minx, miny, maxx, maxy = (float(side) for side in bounds)
    except (TypeError, ValueError):
        minx = miny = maxx = maxy = np.nan
    if not (np.isfinite([minx, maxx]).all() and miny <= maxy):
        raise UsageError(f"{what}: bounds={bounds!r}; expected four numbers (minx, miny, maxx, maxy) with miny <= maxy")
    name = passed_crs(crs, what=what)
    sides = eastward_boxes(np.array([[minx, miny, maxx, maxy]]), name)[0]
    return Areas(np.array([shapely.to_wkb(shapely.box(*sides))], dtype=object), name)
