"""Where do the caller's points and areas lie in the CRS of each record?

One set of targets meets records of many CRSs, but each target only some of them: coordinates are moved once per CRS,
and only those that are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, pixel_coordinates
from polars_rasteret.geo.crs import NATIVE, transform_xy
from polars_rasteret.geo.geometry import parsed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEGMENTS_PER_SIDE = 20  # a straight edge bends in another CRS; this many chords follow it


class Points:
    """Points in one CRS, given in others on demand.

    Parameters
    ----------
    x, y
        float64, shape (n,); NaN for a point that is not there.
    crs
        Normalized CRS of the coordinates, or ``"native"``: they count as being in whatever CRS is asked for.
    """

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64], crs: str) -> None:
        self.x, self.y, self.crs = x, y, crs
        self._moved: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]] = {}

    def __len__(self) -> int:
        return len(self.x)

    def in_crs(self, crs: str, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the coordinates of the points `index` in `crs`; not finite where they have no place there."""
        if self.crs in (NATIVE, crs):
            return self.x[index], self.y[index]
        if crs not in self._moved:
            n = len(self.x)
            self._moved[crs] = (np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.bool_))
        x, y, is_moved = self._moved[crs]
        wanted = np.zeros(len(self.x), np.bool_)
        wanted[index] = True
        todo = np.flatnonzero(wanted & ~is_moved)
        if len(todo):
            x[todo], y[todo] = transform_xy(self.crs, crs, self.x[todo], self.y[todo])
            is_moved[todo] = True
        return x[index], y[index]


class Areas:
    """Outlines of geometries in one CRS, made pixel windows of grids in others.

    Parameters
    ----------
    wkb
        Object array of WKB or EWKB bytes; None and empty geometries have no window.
    crs
        Normalized CRS of the coordinates, or ``"native"``.
    """

    def __init__(self, wkb: NDArray[np.object_], crs: str) -> None:
        geometries = parsed(wkb)
        self.crs = crs
        self.bounds: NDArray[np.float64] = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
        # A point is in one pixel exactly; a box may begin a rounding error before the pixel it begins with.
        is_point = shapely.get_type_id(geometries) == shapely.GeometryType.POINT
        self._tolerance = np.where(is_point, 0.0, BORDER_TOLERANCE_PX)
        # Only the outline matters for a window; straight edges get points because they bend in another CRS.
        with np.errstate(invalid="ignore"):  # geometries of infinities
            sizes = self.bounds[:, 2:] - self.bounds[:, :2]
        longest = np.nanmax(sizes, axis=1, initial=0)
        has_length = np.isfinite(longest) & (longest > 0)
        dense = geometries.copy()
        dense[has_length] = shapely.segmentize(geometries[has_length], longest[has_length] / _SEGMENTS_PER_SIDE)
        xy, owner = shapely.get_coordinates(dense, return_index=True)
        self._points = Points(np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1]), crs)
        counts = np.bincount(owner, minlength=len(geometries)) if len(geometries) else np.zeros(0, np.int64)
        self._start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.bounds)

    def bounds_in(self, crs: str) -> NDArray[np.float64]:
        """Give the bounds of every geometry in `crs`, shape ``(n, 4)``; NaN where there is none."""
        index = np.arange(len(self._points), dtype=np.int64)
        x, y = self._points.in_crs(crs, index)
        return np.stack(
            [_reduced(np.fmin, x, self._start), _reduced(np.fmin, y, self._start),
             _reduced(np.fmax, x, self._start), _reduced(np.fmax, y, self._start)], axis=1
        )  # fmt: skip

    def windows(self, crs: str, index: NDArray[np.int64], transform: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the smallest pixel window that holds each geometry on its grid, unclipped.

        Parameters
        ----------
        crs
            CRS of the grids.
        index
            Which geometry, shape (k,).
        transform
            Grid of each, shape (k, 6).

        Returns
        -------
        ndarray of int64, shape (k, 4)
            ``row_start, row_stop, col_start, col_stop``; all zero where there is no place for it.
        """
        n_coordinates = self._start[index + 1] - self._start[index]
        start = np.concatenate([[0], np.cumsum(n_coordinates)]).astype(np.int64)
        owner = np.repeat(np.arange(len(index)), n_coordinates)
        at = np.arange(start[-1]) - np.repeat(start[:-1] - self._start[index], n_coordinates)
        x, y = self._points.in_crs(crs, at)
        row, col = pixel_coordinates(transform[owner], x, y)
        first_row, last_row = _reduced(np.minimum, row, start), _reduced(np.maximum, row, start)
        first_col, last_col = _reduced(np.minimum, col, start), _reduced(np.maximum, col, start)
        # Beyond 2**31 pixels there is no image; such positions come from a projection's far end. NaN and infinities fail, too.
        has_place = np.ones(len(index), np.bool_)
        for edge in (first_row, last_row, first_col, last_col):
            has_place &= np.abs(edge) < 2**31
        windows = np.zeros((len(index), 4), np.int64)
        tolerance = self._tolerance[index[has_place]]
        windows[has_place, 0] = np.floor(first_row[has_place] + tolerance)
        windows[has_place, 1] = np.ceil(last_row[has_place] - tolerance)
        windows[has_place, 2] = np.floor(first_col[has_place] + tolerance)
        windows[has_place, 3] = np.ceil(last_col[has_place] - tolerance)
        # A line or point on a pixel border still touches the pixel that starts there.
        windows[has_place, 1] = np.maximum(windows[has_place, 1], windows[has_place, 0] + 1)
        windows[has_place, 3] = np.maximum(windows[has_place, 3], windows[has_place, 2] + 1)
        return windows


def _reduced(reduce: np.ufunc, values: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    """Reduce each run ``start[i]:start[i + 1]``; NaN for an empty run."""
    result = np.full(len(start) - 1, np.nan)
    filled = np.flatnonzero(start[1:] > start[:-1])
    if len(filled):
        with np.errstate(invalid="ignore"):
            result[filled] = reduce.reduceat(values, start[filled])
    return result
