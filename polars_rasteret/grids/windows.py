"""Which pixel window of each raster value does a target ask for?

Rows pair a raster value (by reference) with a target (by index): the same questions serve expressions, where both are
the row, and verbs, where pairs say which record meets which target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_coordinates, pixel_of
from polars_rasteret.geo.antimeridian import x_near_image
from polars_rasteret.geo.area_windows import area_windows
from polars_rasteret.geo.crs import NATIVE, x_period
from polars_rasteret.hrefs import shown
from polars_rasteret.pixels.raster_faults import NO_SIDECARS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.pixels.raster_column import RasterColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """One pixel window per row; all int64, shape (n,)."""

    row_start: NDArray[np.int64]
    col_start: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    is_met: NDArray[np.bool_]
    """Whether the target meets the image at all."""
    at_row: NDArray[np.float64] | None = None
    at_col: NDArray[np.float64] | None = None
    """Where exactly a point is on the grid, in pixels; None where nobody asked."""
    extent: NDArray[np.float64] | None = None
    """Where answers have a grid of their own: ``row_start, row_stop, col_start, col_stop`` that it covers exactly, in fractions
    of pixels, shape (n, 4). None: the windows are given as they are."""
    as_is: NDArray[np.bool_] | None = None
    """With `extent`: windows that are given as they are all the same (those around points)."""
    areas: Areas | None = None
    """Areas that the windows were made of, where these have an outline."""
    area: NDArray[np.int64] | None = None
    """Area of each row, as an index into `areas`."""

    def taken(self, index: NDArray[np.int64]) -> Windows:
        """Give the windows of some rows."""
        return Windows(
            row_start=self.row_start[index],
            col_start=self.col_start[index],
            height=self.height[index],
            width=self.width[index],
            is_met=self.is_met[index],
            at_row=None if self.at_row is None else self.at_row[index],
            at_col=None if self.at_col is None else self.at_col[index],
            extent=None if self.extent is None else self.extent[index],
            as_is=None if self.as_is is None else self.as_is[index],
            areas=self.areas,
            area=None if self.area is None else self.area[index],
        )

    def extents(self) -> NDArray[np.float64]:
        """Give `extent`, of whole pixels where there is none."""
        if self.extent is not None:
            return self.extent
        edges = (self.row_start, self.row_start + self.height, self.col_start, self.col_start + self.width)
        return np.stack(edges, axis=1).astype(np.float64)

    def are_as_is(self) -> NDArray[np.bool_]:
        """Say which windows are given as they are."""
        if self.extent is None:
            return np.ones(len(self.is_met), np.bool_)
        return np.zeros(len(self.is_met), np.bool_) if self.as_is is None else self.as_is


def windows_of_points(
    column: RasterColumn,
    reference_id: NDArray[np.int64],
    points: Points,
    target: NDArray[np.int64],
    *,
    shape: tuple[int, int] = (1, 1),
    exactly: bool = False,
) -> Windows:
    """Give the windows whose pixel ``(height // 2, width // 2)`` holds the point; unclipped.

    Parameters
    ----------
    column
        The raster column.
    reference_id, target
        Reference and point of each row; a reference of -1 meets nothing.
    shape
        ``(height, width)`` in pixels.
    exactly
        Whether to tell where in the pixel each point is, too.
    """
    row = np.full(len(target), -1, np.int64)
    col = np.full(len(target), -1, np.int64)
    at_row = np.full(len(target), np.nan) if exactly else None
    at_col = np.full(len(target), np.nan) if exactly else None
    height, width = _sizes(column, reference_id)
    for crs, rows in _rows_by_crs(column, reference_id, points.crs):
        x, y = points.in_crs(crs, target[rows])
        grids = _transforms(column, reference_id, rows)
        if points.crs != NATIVE and (period := x_period(crs)) is not None:
            x = x_near_image(grids, width[rows], height[rows], x, y, period=period)
        row[rows], col[rows] = pixel_of(grids, x, y)
        if at_row is not None and at_col is not None:
            at_row[rows], at_col[rows] = pixel_coordinates(grids, x, y)
    return Windows(
        row_start=row - shape[0] // 2,
        col_start=col - shape[1] // 2,
        height=np.broadcast_to(np.int64(shape[0]), len(target)),
        width=np.broadcast_to(np.int64(shape[1]), len(target)),
        is_met=(row >= 0) & (row < height) & (col >= 0) & (col < width),
        at_row=at_row,
        at_col=at_col,
    )


def windows_of_areas(
    column: RasterColumn,
    reference_id: NDArray[np.int64],
    areas: Areas,
    target: NDArray[np.int64],
    *,
    has_own_grid: bool = False,
) -> Windows:
    """Give the smallest windows that hold the areas, clipped to the image; empty where they do not meet.

    Parameters
    ----------
    column, reference_id, target
        As in `windows_of_points`.
    areas
        What `target` counts.
    has_own_grid
        Whether the answers have a grid of their own: also give the exact extents.
    """
    windows = np.zeros((len(target), 4), np.int64)
    extents = np.zeros((len(target), 4))
    height, width = _sizes(column, reference_id)
    for crs, rows in _rows_by_crs(column, reference_id, areas.crs):
        windows[rows], extents[rows] = area_windows(
            areas, crs, target[rows], _transforms(column, reference_id, rows), width[rows], height[rows]
        )
    row_start, row_stop = np.clip(windows[:, 0], 0, height), np.clip(windows[:, 1], 0, height)
    col_start, col_stop = np.clip(windows[:, 2], 0, width), np.clip(windows[:, 3], 0, width)
    is_met = (row_stop > row_start) & (col_stop > col_start)
    return Windows(
        row_start=row_start,
        col_start=col_start,
        height=np.where(is_met, row_stop - row_start, 0),
        width=np.where(is_met, col_stop - col_start, 0),
        is_met=is_met,
        extent=extents if has_own_grid else None,
        areas=areas,
        area=target,
    )


def windows_on_grids(
    column: RasterColumn,
    reference_id: NDArray[np.int64],
    areas: Areas,
    target: NDArray[np.int64],
    *,
    shape: tuple[int, int] | None,
) -> Windows:
    """Give what answers with a grid of their own cover: areas exactly, points by the native window of `shape` around them."""
    windows = windows_of_areas(column, reference_id, areas, target, has_own_grid=True)
    at = np.flatnonzero(areas.is_point[target])
    if not len(at) or shape is None:
        return windows
    points, index = areas.points(target[at])
    around = overlapping(
        column, reference_id[at], windows_of_points(column, reference_id[at], points, index, shape=shape)
    )
    return replaced(windows, at, around)


def replaced(windows: Windows, at: NDArray[np.int64], others: Windows) -> Windows:
    """Give the windows with some of them replaced by others that are given as they are."""
    columns = {}
    for name in ("row_start", "col_start", "height", "width", "is_met"):
        columns[name] = getattr(windows, name).copy()
        columns[name][at] = getattr(others, name)
    extent, as_is = windows.extents(), windows.are_as_is().copy()
    extent[at], as_is[at] = others.extents(), True
    return Windows(**columns, extent=extent, as_is=as_is, areas=windows.areas, area=windows.area)


def windows_of_images(column: RasterColumn, reference_id: NDArray[np.int64]) -> Windows:
    """Give the whole image of each row."""
    height, width = _sizes(column, reference_id)
    zero = np.zeros(len(reference_id), np.int64)
    return Windows(row_start=zero, col_start=zero, height=height, width=width, is_met=reference_id >= 0)


def with_own_grid(windows: Windows) -> Windows:
    """Let windows of whole pixels be resampled to the grid of the answer."""
    return replace(windows, extent=windows.extents())


def given_windows(column: RasterColumn, reference_id: NDArray[np.int64], window: NDArray[np.int64]) -> Windows:
    """Give windows the caller wrote in pixels, unclipped; shape (n, 4), a negative size marks a null."""
    row_start, row_stop, col_start, col_stop = window.T
    height, width = _sizes(column, reference_id)
    is_met = (row_start < height) & (row_stop > 0) & (col_start < width) & (col_stop > 0)
    is_met &= (row_stop > row_start) & (col_stop > col_start)
    return Windows(
        row_start=row_start,
        col_start=col_start,
        height=np.maximum(row_stop - row_start, 0),
        width=np.maximum(col_stop - col_start, 0),
        is_met=is_met,
    )


def overlapping(column: RasterColumn, reference_id: NDArray[np.int64], windows: Windows) -> Windows:
    """Let windows count as met when any of their pixels lies in the image."""
    window = np.stack(
        [
            windows.row_start,
            windows.row_start + windows.height,
            windows.col_start,
            windows.col_start + windows.width,
        ],
        axis=1,
    )
    return given_windows(column, reference_id, window)


def no_windows(n_rows: int) -> Windows:
    """Give rows that ask nothing."""
    zero = np.zeros(n_rows, np.int64)
    nowhere = np.full(n_rows, np.nan)
    return Windows(
        row_start=zero,
        col_start=zero,
        height=zero,
        width=zero,
        is_met=np.zeros(n_rows, np.bool_),
        at_row=nowhere,
        at_col=nowhere,
    )


class SharedWindows:
    """Windows computed once for all bands that lie on the same grids.

    Bands of one record mostly do; the engine then plans their tiles once too, because it is given the same arrays.
    """

    def __init__(self, windows_of: Callable[[RasterColumn, NDArray[np.int64]], Windows]) -> None:
        self._windows_of = windows_of
        self._known: list[tuple[RasterColumn, NDArray[np.int64], Windows]] = []

    def of(self, column: RasterColumn, reference_id: NDArray[np.int64]) -> Windows:
        """Give the windows of one band."""
        for known, known_id, windows in self._known:
            if _on_same_grids(known, known_id, column, reference_id):
                return windows
        windows = self._windows_of(column, reference_id)
        self._known.append((column, reference_id, windows))
        return windows


def _on_same_grids(a: RasterColumn, a_id: NDArray[np.int64], b: RasterColumn, b_id: NDArray[np.int64]) -> bool:
    return (
        a.crs == b.crs
        and np.array_equal(a.transform, b.transform, equal_nan=True)
        and np.array_equal(a.width, b.width)
        and np.array_equal(a.height, b.height)
        and (a_id is b_id or np.array_equal(a_id, b_id))
    )


def _rows_by_crs(
    column: RasterColumn, reference_id: NDArray[np.int64], target_crs: str
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Group the rows that have a georeferenced raster by its CRS.

    Raises
    ------
    UsageError
        When a raster that rows refer to cannot be placed on a map.
    """
    names = list(dict.fromkeys(column.crs))
    crs_id = np.array([names.index(name) for name in column.crs], np.int64)
    has_place = reference_id >= 0
    if column.unplaced:
        has_place &= ~column.is_unplaced(reference_id)
    present = np.flatnonzero(has_place)
    if not len(present):
        return
    used = np.unique(reference_id[present])
    for reference in used:
        no_grid = not np.isfinite(column.transform[reference]).all()
        if no_grid or (column.crs[reference] is None and target_crs != NATIVE):
            raise UsageError(
                f"{column.name}: {shown(column.references[reference].href)} has no {'transform' if no_grid else 'CRS'}, so map "
                "coordinates cannot be placed in it. Read it by pixels (read_window(window=...))"
                + ("" if no_grid else ", or pass crs='native' with coordinates in the file's own system")
                + f"; {NO_SIDECARS}"
            )
    row_crs = crs_id[reference_id[present]]
    for one in np.unique(row_crs):
        yield names[one] or NATIVE, present[row_crs == one]


def _transforms(column: RasterColumn, reference_id: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return column.transform[reference_id[rows]]


def _sizes(column: RasterColumn, reference_id: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give height and width of the image of each row; 0 without one."""
    if not column.references:
        zero = np.zeros(len(reference_id), np.int64)
        return zero, zero
    present = reference_id >= 0
    return np.where(present, column.height[reference_id], 0), np.where(present, column.width[reference_id], 0)
