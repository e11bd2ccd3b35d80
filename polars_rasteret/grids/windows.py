"""Which pixel window of each raster value does a target ask for?

Rows pair the grid of a raster value with a target (by index): the same questions serve expressions, where both are the row, and
verbs, where pairs say which record meets which target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.geo.affine import pixel_coordinates, pixel_of
from polars_rasteret.geo.crs import NATIVE, x_period
from polars_rasteret.geo.turns import x_near_image
from polars_rasteret.grids.pixel_grid import first_equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.grids.pixel_grid import PixelGrids


@bundle
class Windows:
    """One pixel window per row; all int64, shape (n,).

    A window follows from the grid of its row and from what the row asks for: rows of two bands that have the same grid have the
    same window.
    """

    grids: PixelGrids
    """Grid of each row."""
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
    is_unresampled: NDArray[np.bool_] | None = None
    """With `extent`: windows that are given as they are all the same (those around points)."""
    areas: Areas | None = None
    """Areas that the windows were made of, where these have an outline."""
    area: NDArray[np.int64] | None = None
    """Area of each row, as an index into `areas`."""

    def taken(self, index: NDArray[np.int64]) -> Windows:
        """Return the windows of some rows."""
        return Windows(
            grids=self.grids.taken(index),
            row_start=self.row_start[index],
            col_start=self.col_start[index],
            height=self.height[index],
            width=self.width[index],
            is_met=self.is_met[index],
            at_row=None if self.at_row is None else self.at_row[index],
            at_col=None if self.at_col is None else self.at_col[index],
            extent=None if self.extent is None else self.extent[index],
            is_unresampled=None if self.is_unresampled is None else self.is_unresampled[index],
            areas=self.areas,
            area=None if self.area is None else self.area[index],
        )

    def extents(self) -> NDArray[np.float64]:
        """Return `extent`; where there is none, the borders of the windows."""
        if self.extent is not None:
            return self.extent
        edges = (self.row_start, self.row_start + self.height, self.col_start, self.col_start + self.width)
        return np.stack(edges, axis=1).astype(np.float64)

    def unresampled(self) -> NDArray[np.bool_]:
        """Return which windows are given as they are."""
        if self.extent is None:
            return np.ones(len(self.is_met), np.bool_)
        return np.zeros(len(self.is_met), np.bool_) if self.is_unresampled is None else self.is_unresampled


def windows_of_points(
    grids: PixelGrids,
    points: Points,
    target: NDArray[np.int64],
    *,
    shape: tuple[int, int] = (1, 1),
    exactly: bool = False,
) -> Windows:
    """Return the windows whose pixel ``(height // 2, width // 2)`` holds the point; unclipped.

    Parameters
    ----------
    grids, target
        Grid and point of each row; no grid meets nothing.
    shape
        ``(height, width)`` in pixels.
    exactly
        Whether to tell where in the pixel each point is, too.
    """
    row = np.full(len(target), -1, np.int64)
    col = np.full(len(target), -1, np.int64)
    at_row = np.full(len(target), np.nan) if exactly else None
    at_col = np.full(len(target), np.nan) if exactly else None
    height, width = grids.height, grids.width
    for crs, rows in _rows_by_crs(grids):
        x, y = points.in_crs(crs, target[rows])
        transform = grids.transforms(rows)
        if points.crs != NATIVE and (period := x_period(crs)) is not None:
            x = x_near_image(transform, width[rows], height[rows], x, y, period=period)
        row[rows], col[rows] = pixel_of(transform, x, y)
        if at_row is not None and at_col is not None:
            at_row[rows], at_col[rows] = pixel_coordinates(transform, x, y)
    return Windows(
        grids=grids,
        row_start=row - shape[0] // 2,
        col_start=col - shape[1] // 2,
        height=np.broadcast_to(np.int64(shape[0]), len(target)),
        width=np.broadcast_to(np.int64(shape[1]), len(target)),
        is_met=(row >= 0) & (row < height) & (col >= 0) & (col < width),
        at_row=at_row,
        at_col=at_col,
    )


def windows_of_areas(
    grids: PixelGrids, areas: Areas, target: NDArray[np.int64], *, has_own_grid: bool = False
) -> Windows:
    """Return the smallest windows that hold the areas, clipped to the image; empty where they do not meet.

    Parameters
    ----------
    grids, target
        As in `windows_of_points`.
    areas
        What `target` counts.
    has_own_grid
        Whether the answers have a grid of their own: also give the exact extents.
    """
    from polars_rasteret.geo.area_windows import area_windows
    from polars_rasteret.geo.geometry import blamed

    windows = np.zeros((len(target), 4), np.int64)
    extents = np.zeros((len(target), 4))
    height, width = grids.height, grids.width
    for crs, rows in _rows_by_crs(grids):
        some, at = _distinct_places(grids.grid_id[rows], target[rows], len(areas))
        one = rows[some]

        def windows_of(some: NDArray[np.int64], crs: str = crs, one: NDArray[np.int64] = one) -> Any:
            at = one[some]
            return area_windows(areas, crs, target[at], grids.transforms(at), width[at], height[at])

        found = blamed(target[one], windows_of)
        windows[rows], extents[rows] = (column[at] for column in found)
    row_start, row_stop = np.clip(windows[:, 0], 0, height), np.clip(windows[:, 1], 0, height)
    col_start, col_stop = np.clip(windows[:, 2], 0, width), np.clip(windows[:, 3], 0, width)
    is_met = (row_stop > row_start) & (col_stop > col_start)
    return Windows(
        grids=grids,
        row_start=row_start,
        col_start=col_start,
        height=np.where(is_met, row_stop - row_start, 0),
        width=np.where(is_met, col_stop - col_start, 0),
        is_met=is_met,
        extent=extents if has_own_grid else None,
        areas=areas,
        area=target,
    )


def _distinct_places(
    grid_id: NDArray[np.int64], target: NDArray[np.int64], n_areas: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return an entry of each distinct area and grid, and which of them each entry has: dates repeat grids."""
    if len(target) <= n_areas:
        every = np.arange(len(target), dtype=np.int64)
        return every, every
    _, first, place = np.unique(grid_id * n_areas + target, return_index=True, return_inverse=True)
    return first, place


def windows_on_grids(
    grids: PixelGrids, areas: Areas, target: NDArray[np.int64], *, shape: tuple[int, int] | None
) -> Windows:
    """Return what answers with a grid of their own cover: areas exactly, points by the window of `shape` around them."""
    windows = windows_of_areas(grids, areas, target, has_own_grid=True)
    at = np.flatnonzero(areas.is_point[target])
    if not len(at) or shape is None:
        return windows
    points, index = areas.points(target[at])
    return replaced(windows, at, overlapping(windows_of_points(grids.taken(at), points, index, shape=shape)))


def replaced(windows: Windows, at: NDArray[np.int64], others: Windows) -> Windows:
    """Return the windows with some of them replaced by others, which are not resampled."""
    columns = {}
    for name in ("row_start", "col_start", "height", "width", "is_met"):
        columns[name] = getattr(windows, name).copy()
        columns[name][at] = getattr(others, name)
    extent, is_unresampled = windows.extents(), windows.unresampled().copy()
    extent[at], is_unresampled[at] = others.extents(), True
    return Windows(
        grids=windows.grids,
        **columns,
        extent=extent,
        is_unresampled=is_unresampled,
        areas=windows.areas,
        area=windows.area,
    )


def windows_of_images(grids: PixelGrids) -> Windows:
    """Return the whole image of each row."""
    zero = np.zeros(len(grids), np.int64)
    return Windows(
        grids=grids, row_start=zero, col_start=zero, height=grids.height, width=grids.width, is_met=grids.grid_id >= 0
    )


def with_own_grid(windows: Windows) -> Windows:
    """Return windows of whole pixels that are resampled to the grid of the answer."""
    return replace(windows, extent=windows.extents())


def written_windows(grids: PixelGrids, window: NDArray[np.int64]) -> Windows:
    """Return the windows that a caller wrote in pixels, unclipped.

    Parameters
    ----------
    grids
        Grid of each row.
    window
        ``row_start, row_stop, col_start, col_stop`` of each row, shape (n, 4); a window that ends before it starts is empty. Only
        here is a window written by where it ends.
    """
    row_start, row_stop, col_start, col_stop = window.T
    return Windows(
        grids=grids,
        row_start=row_start,
        col_start=col_start,
        height=np.maximum(row_stop - row_start, 0),
        width=np.maximum(col_stop - col_start, 0),
        is_met=_meet(grids.height, row_start, row_stop) & _meet(grids.width, col_start, col_stop),
    )


def overlapping(windows: Windows) -> Windows:
    """Return the windows, of which those count as met that have any of their pixels in the image."""
    grids = windows.grids
    is_met = _meet(grids.height, windows.row_start, windows.row_start + windows.height)
    is_met &= _meet(grids.width, windows.col_start, windows.col_start + windows.width)
    return replace(windows, is_met=is_met)


def _meet(image_size: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether ``start:stop`` has pixels in ``0:image_size``."""
    is_met: NDArray[np.bool_] = (start < image_size) & (stop > 0) & (stop > start)
    return is_met


def taken_windows(windows: Sequence[Windows], index: NDArray[np.int64]) -> list[Windows]:
    """Return some rows of the windows of several bands; bands on the same grids go on to share one object."""
    taken: list[Windows] = []
    for one, first in zip(windows, first_equal([one.grids for one in windows]), strict=True):
        taken.append(taken[first] if first < len(taken) else one.taken(index))
    return taken


def no_windows(grids: PixelGrids) -> Windows:
    """Return windows of rows that ask nothing."""
    zero = np.zeros(len(grids), np.int64)
    nowhere = np.full(len(grids), np.nan)
    return Windows(
        grids=grids,
        row_start=zero,
        col_start=zero,
        height=zero,
        width=zero,
        is_met=np.zeros(len(grids), np.bool_),
        at_row=nowhere,
        at_col=nowhere,
    )


class SharedWindows:
    """Windows computed once for all bands that lie on the same grids.

    Bands of one record mostly do; the engine then plans their tiles once too, because it is given the same arrays.
    """

    def __init__(self, windows_of: Callable[[PixelGrids], Windows]) -> None:
        self._windows_of = windows_of
        self._known: list[Windows] = []

    def of(self, grids: PixelGrids) -> Windows:
        """Return the windows of one band, given the grid of each row."""
        *known, at = first_equal([*(one.grids for one in self._known), grids])
        if at == len(known):
            self._known.append(self._windows_of(grids))
        return self._known[at]


def _rows_by_crs(grids: PixelGrids) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Group the rows that have a grid by its CRS; ``"native"`` where it has none."""
    columns = grids.table.columns
    crs_id = columns.crs_id[grids.grid_id]
    n_rows = np.bincount(crs_id + 1, minlength=1)[1:]
    for one in np.flatnonzero(n_rows).tolist():
        yield columns.crs_names[one] or NATIVE, np.flatnonzero(crs_id == one)
