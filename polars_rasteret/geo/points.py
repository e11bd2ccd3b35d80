"""Where do points lie in the CRS of each record?

A caller's points meet records of many CRSs, but each point only some of the records. So coordinates are transformed once per
CRS, and only those of the points asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.crs import LONLAT_NAMES, NATIVE, transform_xy

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Points:
    """Points in one CRS, transformed to other CRSs on demand and kept.

    Parameters
    ----------
    x, y
        float64, shape (n,); NaN for a null point.
    crs
        Normalized CRS of the coordinates, or ``"native"``: the coordinates are then in the CRS of each record.
    """

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64], crs: str) -> None:
        self.x, self.y, self.crs = x, y, crs
        self._moved: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]] = {}

    def __len__(self) -> int:
        return len(self.x)

    def is_in(self, crs: str) -> bool:
        """Return whether the coordinates can be used in `crs` without a transformation."""
        return self.crs in (NATIVE, crs) or {self.crs, crs} <= LONLAT_NAMES

    def in_crs(self, crs: str, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x and y in `crs` of the points `index`; not finite where a point has no place in `crs`."""
        if self.is_in(crs):
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
