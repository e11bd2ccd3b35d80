"""In which order do records stand, so that neighbours on Earth are neighbours in the file?

In the order of the Hilbert curve. Row groups then cover small boxes, and a spatial filter skips most of them. Pure NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 16
"""Bits per axis of the curve, which make cells of 0.0055 by 0.0028 degrees."""


def hilbert_index(column: NDArray[np.int64], row: NDArray[np.int64], bits: int = BITS) -> NDArray[np.int64]:
    """Return the position along the Hilbert curve of cells of a grid of ``2**bits`` by ``2**bits`` cells.

    Consecutive positions are neighbouring cells.

    Examples
    --------
    >>> import numpy as np
    >>> hilbert_index(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), bits=1)
    array([0, 1, 2, 3])
    """
    x, y = column.astype(np.int64), row.astype(np.int64)
    position = np.zeros(len(x), dtype=np.int64)
    for bit in range(bits - 1, -1, -1):
        side = np.int64(1) << bit
        right, upper = (x & side) > 0, (y & side) > 0
        position += side * side * ((3 * right) ^ upper)
        # Turn the quadrant so that the curve inside enters and leaves where its neighbours expect it.
        flip = ~upper & right
        x, y = np.where(flip, side - 1 - (x & (side - 1)), x), np.where(flip, side - 1 - (y & (side - 1)), y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    return position


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
