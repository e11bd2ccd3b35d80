"""In which order do records stand, so that neighbours on Earth are neighbours in the file?

In the order of the Hilbert curve (`geo.hilbert_curve`). Row groups then cover small boxes, and a spatial filter skips most of
them. Pure NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.hilbert_curve import BITS, hilbert_index

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["hilbert_index", "hilbert_order"]


def hilbert_order(bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order that sorts bounds by the position of their centres on the curve.

    Parameters
    ----------
    bounds
        Longitude and latitude, xmin > xmax across the antimeridian, NaN without a place; shape (n, 4).

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers; ties keep their order, rows without a place come last.
    """
    xmin, ymin, xmax, ymax = bounds.T
    lon = (xmin + xmax + 360 * (xmin > xmax)) / 2
    lon = (lon + 180) % 360
    lat = (ymin + ymax) / 2 + 90
    placed = np.isfinite(lon) & np.isfinite(lat)
    cells = 1 << BITS
    column = np.clip(np.where(placed, lon, 0) / 360 * cells, 0, cells - 1).astype(np.int64)
    row = np.clip(np.where(placed, lat, 0) / 180 * cells, 0, cells - 1).astype(np.int64)
    position = np.where(placed, hilbert_index(column, row), np.iinfo(np.int64).max)
    order: NDArray[np.int64] = np.argsort(position, kind="stable")
    return order
