"""In which order do cells of a grid follow each other, so that neighbours in the order are neighbours in the plane?

In the order of the Hilbert curve. Nothing is said here of what lies in the cells. Pure NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BITS = 16
"""Bits per axis of the curve; of the whole Earth they make cells of 0.0055 by 0.0028 degrees."""


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


def curve_order(bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order that sorts boxes by their centres, along the curve over all centres.

    Parameters
    ----------
    bounds
        ``minx, miny, maxx, maxy`` in any one CRS, shape (n, 4).

    Returns
    -------
    ndarray of int64, shape (n,)
        Row numbers; ties keep their order, boxes that are not finite come last.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([9.0, 0, np.nan, 0]), np.array([9.0, 0, 5, 1])
    >>> curve_order(np.stack([x, y, x, y], axis=1))
    array([1, 3, 0, 2])
    """
    xmin, ymin, xmax, ymax = bounds.T / 2
    x, y = xmin + xmax, ymin + ymax
    placed = np.isfinite(x) & np.isfinite(y)
    position = np.full(len(x), np.iinfo(np.int64).max)
    if placed.any():
        position[placed] = hilbert_index(_cells(x[placed]), _cells(y[placed]))
    order: NDArray[np.int64] = np.argsort(position, kind="stable")
    return order


def _cells(along: NDArray[np.float64]) -> NDArray[np.int64]:
    low, high = along.min(), along.max()
    share = (along / 2 - low / 2) / (
        high / 2 - low / 2 or 1.0
    )  # halves: the difference of two finite numbers may not be finite
    cells: NDArray[np.int64] = np.minimum(share * (1 << BITS), (1 << BITS) - 1).astype(np.int64)
    return cells
