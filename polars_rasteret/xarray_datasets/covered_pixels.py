"""Which pixels of the grid of a cube do areas cover?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, pixel_coordinates
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.coverage.gdal_masks import gdal_runs
from polars_rasteret.geo.near_image import outlines_on_grid

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
            a, b, c, d, e, f = self._grid.transform
            corner = (a, b, c + a * col_start + b * row_start, d, e, f + d * col_start + e * row_start)
            height, width = (np.array([one], np.int64) for one in (row_stop - row_start, col_stop - col_start))
            size = int(height[0]), int(width[0])
            index, crs = np.array([area], np.int64), self._grid.crs or self._crs
            outlines = outlines_on_grid(self._known_areas(), index, crs, corner, size, exact=False)
            if not (np.isfinite(outlines.x).all() and np.isfinite(outlines.y).all()):
                raise UsageError(
                    f"to_xarray: a part of area {area} has no place in {self._grid.crs}; cut it to the region of the images"
                )
            runs = gdal_runs(outlines, np.array([corner]), height, width, all_touched=self._coverage == "all_touched")
            self._masks[area] = runs.masks(height, width).reshape(int(height[0]), int(width[0]))
        return self._masks[area]

    def _known_areas(self) -> Areas:
        if self._areas is None:
            self._areas = Areas(self._wkb, self._crs)
        return self._areas

    def _made_boxes(self) -> Ints:
        grid = self._grid
        bounds = self._known_areas().bounds_in(grid.crs or self._crs)
        row, col = pixel_coordinates(np.array(grid.transform), bounds[:, [0, 2]], bounds[:, [1, 3]])
        sides = []
        for position, size in ((row, grid.height), (col, grid.width)):
            has_place = np.isfinite(position).all(axis=1)
            low, high = (np.where(has_place, one, 0.0) for one in (position.min(axis=1), position.max(axis=1)))
            start = np.floor(low + BORDER_TOLERANCE_PX)
            stop = np.maximum(np.ceil(high - BORDER_TOLERANCE_PX), start + has_place)
            sides += [np.clip(start, 0, size), np.clip(stop, 0, size)]
        return np.stack(sides, axis=1).astype(np.int64)
