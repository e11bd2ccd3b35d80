"""Where does an expression look in the raster of each row: at coordinates, a geometry, a box, or pixels?

A place is the picklable part of a callback that turns the columns after the raster columns into windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.grids.windows import Windows, windows_of_images, with_own_grid, written_windows
from polars_rasteret.pairing.stated_crs import crs_of_geometry
from polars_rasteret.pairing.targets import areas_of_geometry, points_of_columns, targets_of_geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.pixels.product import Product

    WindowsOf = Callable[[PixelGrids], Windows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the rows of one batch look."""

    targets: Points | Areas | None = None
    """In map coordinates; None where pixels are named."""
    geometry: pl.Series | None = None
    """The column that the targets come from, where it may state a CRS."""
    windows_of: WindowsOf


class Place(Protocol):
    """Where an expression looks."""

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, *, what: str) -> Located:
        """Return where each row looks.

        Parameters
        ----------
        where
            The columns of the batch that say so.
        n_rows
            Of the batch.
        product
            What is read there.
        what
            The expression, for messages.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateColumns:
    """Columns x and y."""

    crs: str

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, **_: Any) -> Located:
        """Return the point of each row."""
        points = points_of_columns(where[0], where[1], self.crs)
        return Located(targets=points, windows_of=_windows_of(product, points, np.arange(n_rows, dtype=np.int64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryColumn:
    """A geometry or bbox column."""

    crs: str | None
    """None: the column states it."""

    def located(self, where: Sequence[pl.Series], n_rows: int, product: Product, /, *, what: str) -> Located:
        """Return the point or area of each row."""
        geometry = where[0]
        crs = crs_of_geometry(geometry, self.crs, what=what)
        targets = targets_of_geometry(geometry, crs, as_points=product.as_points)
        windows_of = _windows_of(product, targets, np.arange(n_rows, dtype=np.int64))
        return Located(targets=targets, geometry=geometry, windows_of=windows_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One box for all rows."""

    sides: tuple[float, float, float, float]
    """``minx, miny, maxx, maxy``."""
    crs: str

    def located(self, _where: Sequence[pl.Series], n_rows: int, product: Product, /, **_: Any) -> Located:
        """Return the box for each row."""
        from shapely import box, to_wkb

        areas = areas_of_geometry(pl.Series([to_wkb(box(*self.sides))], dtype=pl.Binary), self.crs)
        return Located(targets=areas, windows_of=_windows_of(product, areas, np.zeros(n_rows, np.int64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeImages:
    """The image itself."""

    has_own_grid: bool
    """Whether it is brought to another size."""

    def located(self, *_: Any, **__: Any) -> Located:
        """Return all pixels of each row's image."""
        own = self.has_own_grid
        return Located(windows_of=lambda grids: _own(windows_of_images(grids), own))


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelWindows:
    """Columns ``row_start, row_stop, col_start, col_stop``."""

    shape: tuple[int, int] | None
    has_own_grid: bool
    """Whether windows are resampled whatever their size; else those of another size than `shape` are."""

    def located(self, where: Sequence[pl.Series], _n_rows: int, _product: Product, /, *, what: str) -> Located:
        """Return the window of each row; one with a null meets nothing."""
        window = np.stack([_whole_numbers(one, what) for one in where], axis=1)
        is_null = np.logical_or.reduce([one.is_null().to_numpy() for one in where])
        sizes = np.stack([window[:, 1] - window[:, 0], window[:, 3] - window[:, 2]], axis=1)
        has_size = self.shape is None or bool((sizes[~is_null] == self.shape).all())
        window[is_null] = 0  # an empty window, which meets nothing
        own = self.has_own_grid or not has_size
        return Located(windows_of=lambda grids: _own(written_windows(grids, window), own))


def _windows_of(product: Product, targets: Points | Areas, target: NDArray[np.int64]) -> WindowsOf:
    return lambda grids: product.windows(grids, targets, target)


def _own(windows: Windows, has_own_grid: bool) -> Windows:
    return with_own_grid(windows) if has_own_grid else windows


def _whole_numbers(series: pl.Series, what: str) -> NDArray[np.int64]:
    """Return pixels as int64, 0 where null."""
    if not series.dtype.is_integer():
        raise UsageError(f"{what}: window column {series.name!r} is {series.dtype}; expected whole numbers of pixels")
    return series.cast(pl.Int64).fill_null(0).to_numpy().copy()
