"""Which pixels of the grid of a cube do areas cover?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.geo.affine import window_transform
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.coverage.zone_runs import zone_runs
from polars_rasteret.grids.pixel_grid import GridTable
from polars_rasteret.grids.windows import windows_of_areas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrid

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


class CoveredPixels:
    """Areas on a grid: the box of each, and the pixels in it that the area covers.

    Parameters
    ----------
    wkb, crs
        Outlines, and their normalized CRS.
    grid
        The grid.
    coverage
        ``"center"`` or ``"all_touched"``, as GDAL burns areas; None: every pixel of the box of an area.
    """

    def __init__(self, wkb: NDArray[np.object_], crs: str, grid: PixelGrid, coverage: str | None) -> None:
        self._wkb, self._crs, self._grid, self._coverage = wkb, crs, grid, coverage
        self._areas: Areas | None = None
        self._boxes: Ints | None = None
        self._masks: dict[int, Booleans] = {}

    def __len__(self) -> int:
        return len(self._wkb)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_areas": None, "_boxes": None, "_masks": {}}

    def box(self, area: int) -> tuple[int, int, int, int]:
        """Return ``row_start, row_stop, col_start, col_stop`` of the smallest window of the grid that holds an area."""
        if self._boxes is None:
            self._boxes = self._made_boxes()
        row_start, row_stop, col_start, col_stop = self._boxes[area].tolist()
        return row_start, row_stop, col_start, col_stop

    def mask(self, area: int, rows: Ints, cols: Ints) -> Booleans:
        """Return which pixels an area covers, shape (rows, cols); all indices lie in the box of the area."""
        if self._coverage is None:
            return np.ones((len(rows), len(cols)), np.bool_)
        row_start, _, col_start, _ = self.box(area)
        return self._mask(area)[np.ix_(rows - row_start, cols - col_start)]

    def at_places(self, area: int, rows: Ints, cols: Ints) -> Booleans:
        """Return which single pixels an area covers, shape of `rows`."""
        row_start, row_stop, col_start, col_stop = self.box(area)
        result = (rows >= row_start) & (rows < row_stop) & (cols >= col_start) & (cols < col_stop)
        if self._coverage is not None and result.any():
            result[result] = self._mask(area)[rows[result] - row_start, cols[result] - col_start]
        return result

    def _mask(self, area: int) -> Booleans:
        if area not in self._masks:
            row_start, row_stop, col_start, col_stop = self.box(area)
            height, width = row_stop - row_start, col_stop - col_start
            corner = window_transform(np.array(self._grid.transform), np.array([row_start]), np.array([col_start]))[0]
            crs, index = self._grid.crs or self._crs, np.array([area], np.int64)
            assert self._coverage is not None
            runs = zone_runs(self._known_areas(), index, crs, corner, size=(height, width), coverage=self._coverage)
            self._masks[area] = runs.masks(np.array([height]), np.array([width])).reshape(height, width)
        return self._masks[area]

    def _known_areas(self) -> Areas:
        if self._areas is None:
            self._areas = Areas(self._wkb, self._crs)
        return self._areas

    def _made_boxes(self) -> Ints:
        crs, transform, width, height = self._grid
        sides = np.array([width], np.int64), np.array([height], np.int64)
        grid = GridTable().add([crs], np.array([transform]), *sides).taken(np.zeros(len(self), np.int64))
        windows = windows_of_areas(grid, self._known_areas(), np.arange(len(self)))
        row_stop, col_stop = windows.row_start + windows.height, windows.col_start + windows.width
        return np.stack([windows.row_start, row_stop, windows.col_start, col_stop], axis=1)
