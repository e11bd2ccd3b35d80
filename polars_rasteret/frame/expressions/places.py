"""Which part of each row's raster does an expression read: at coordinates, a geometry, a box, or pixels?

A *place* is the part of a callback that turns the columns behind the raster columns into windows; it can be pickled. What turns
coordinates and geometries into targets is imported by the places that have some: pixels have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import check_native
from polars_rasteret.grids.windows import Windows, windows_of_images, with_own_grid, written_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.pairing.targets import Targets
    from polars_rasteret.pixels.product import Product
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

    WindowsOf = Callable[[PixelGrids], Windows]


@bundle
class Located:
    """Targets, or windows, of the rows of one batch."""

    targets: Targets | None = None
    """Targets in map coordinates; None for windows in pixels."""
    geometry: pl.Series | None = None
    """Column of the targets, when it may state a CRS."""
    windows_of: WindowsOf

    def check(self, columns: Sequence[RasterColumn], crs: str | None, *, what: str) -> None:
        """Warn of targets that have no possible place.

        Raises
        ------
        UsageError
            When ``crs="native"`` contradicts what the geometry column states.
        """
        if self.geometry is not None:
            check_native(self.geometry, crs, columns, what=what)
        if self.targets is not None:
            from polars_rasteret.pairing.impossible_places import warn_if_impossible

            warn_if_impossible(self.targets, what=what)


class Place(Protocol):
    """Source of the targets, or windows, of an expression."""

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, *, what: str) -> Located:
        """Return the target, or the window, of each row.

        Parameters
        ----------
        where
            Columns of the batch with coordinates, geometries or pixels.
        n_rows
            Number of rows of the batch.
        product
            Product that is read.
        what
            Name of the expression, for messages.
        """
        ...


@bundle
class CoordinateColumns:
    """Columns x and y."""

    crs: str

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, **_: Any) -> Located:
        """Return the point of each row."""
        from polars_rasteret.pairing.targets import points_of_columns

        points = points_of_columns(where[0], where[1], self.crs)
        return Located(targets=points, windows_of=_windows_of(product, points, np.arange(n_rows, dtype=np.int64)))


@bundle
class GeometryColumn:
    """A geometry or bbox column."""

    crs: str | None
    """CRS of the geometries; None: the column states it."""

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, *, what: str) -> Located:
        """Return the point or area of each row."""
        from polars_rasteret.pairing.stated_crs import crs_of_geometry
        from polars_rasteret.pairing.targets import targets_of_geometry

        geometry = where[0]
        crs = crs_of_geometry(geometry, self.crs, what=what)
        targets = targets_of_geometry(geometry, crs, as_points=product.as_points)
        windows_of = _windows_of(product, targets, np.arange(n_rows, dtype=np.int64))
        return Located(targets=targets, geometry=geometry, windows_of=windows_of)


@bundle
class Box:
    """One box for all rows."""

    sides: tuple[float, float, float, float]
    """``minx, miny, maxx, maxy``."""
    crs: str

    def located(self, _where: Sequence[pl.Series], n_rows: int, product: Product, /, **_: Any) -> Located:
        """Return the box for each row."""
        from shapely import box, to_wkb

        from polars_rasteret.pairing.targets import areas_of_geometry

        areas = areas_of_geometry(pl.Series([to_wkb(box(*self.sides))], dtype=pl.Binary), self.crs)
        return Located(targets=areas, windows_of=_windows_of(product, areas, np.zeros(n_rows, np.int64)))


@bundle
class WholeImages:
    """Whole images."""

    has_own_grid: bool
    """Whether images are resampled to another size."""

    def located(self, *_: Any, **__: Any) -> Located:
        """Return all pixels of each row's image."""
        own = self.has_own_grid
        return Located(windows_of=lambda grids: _own(windows_of_images(grids), own))


@bundle
class PixelWindows:
    """Columns ``row_start, row_stop, col_start, col_stop``."""

    shape: tuple[int, int] | None
    has_own_grid: bool
    """Whether all windows are resampled; False: only windows of another size than `shape`."""

    def located(self, where: Sequence[pl.Series], _n_rows: int, _product: Product, /, *, what: str) -> Located:
        """Return the window of each row; a window with a null meets nothing."""
        window = np.stack([_whole_numbers(one, what) for one in where], axis=1)
        is_null = np.zeros(len(window), np.bool_)
        for one in where:
            if one.null_count():  # else not asked: each such question is a small query of Polars
                is_null |= one.is_null().to_numpy()
        sizes = np.stack([window[:, 1] - window[:, 0], window[:, 3] - window[:, 2]], axis=1)
        has_size = self.shape is None or bool((sizes[~is_null] == self.shape).all())
        window[is_null] = 0  # an empty window, which meets nothing
        own = self.has_own_grid or not has_size
        return Located(windows_of=lambda grids: _own(written_windows(grids, window), own))


def _windows_of(product: Product, targets: Targets, target: NDArray[np.int64]) -> WindowsOf:
    return lambda grids: product.windows(grids, targets, target)


def _own(windows: Windows, has_own_grid: bool) -> Windows:
    return with_own_grid(windows) if has_own_grid else windows


def _whole_numbers(series: pl.Series, what: str) -> NDArray[np.int64]:
    """Return pixels as int64, 0 where null."""
    if not series.dtype.is_integer():
        raise UsageError(f"{what}: window column {series.name!r} is {series.dtype}; expected whole numbers of pixels")
    whole = series.cast(pl.Int64)
    return (whole.fill_null(0) if whole.null_count() else whole).to_numpy().copy()
