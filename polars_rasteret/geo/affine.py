"""Which pixel lies at a map coordinate, and which map coordinate at a pixel?

A transform is the affine ``a, b, c, d, e, f`` of pixel *corners*: ``x = a*col + b*row + c``, ``y = d*col + e*row +
f``. All functions take one transform per coordinate (shape ``(n, 6)``), or one for all (shape ``(6,)``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BORDER_TOLERANCE_PX = 1e-6
"""A box corner this near to a pixel border lies on the border when the box becomes a window.

Box corners are often pixel corners that went through a projection or a text file.
"""

_FAR_PX = 2.0**52  # beyond any image; keeps infinities and NaN away from the integer cast


def pixel_coordinates(
    transform: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fractional ``(row, col)`` of map coordinates; pixel ``i`` spans ``[i, i + 1)``.

    Returns
    -------
    (row, col) : float64, shape (n,)
        NaN or infinite where the coordinate is NaN or infinite, or where the transform cannot be inverted.
    """
    a, b, c, d, e, f = np.moveaxis(np.asarray(transform, np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        dx, dy = x - c, y - f
        if not np.any(b) and not np.any(d):
            # The usual north-up or south-up grid: one division, exact where the general form would round.
            return dy / e, dx / a
        determinant = a * e - b * d
        return (a * dy - d * dx) / determinant, (e * dx - b * dy) / determinant


def pixel_of(
    transform: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row and column of the pixel that holds each map coordinate: the floor of the inverse affine.

    Right and lower edges belong to the next pixel. A coordinate that is not finite gives a pixel outside any image.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.array([10.0, 0, 500000, 0, -10, 4600000])
    >>> pixel_of(grid, np.array([500010.0]), np.array([4599995.0]))
    (array([0]), array([1]))
    """
    row, col = pixel_coordinates(transform, x, y)
    return _floor(row), _floor(col)


def _floor(value: NDArray[np.float64]) -> NDArray[np.int64]:
    finite = np.nan_to_num(np.asarray(value), nan=-_FAR_PX, posinf=_FAR_PX, neginf=-_FAR_PX)
    return np.floor(np.clip(finite, -_FAR_PX, _FAR_PX)).astype(np.int64)


def map_coordinates(
    transform: NDArray[np.float64], row: NDArray[np.float64], col: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the map ``(x, y)`` of fractional pixel positions (a pixel's centre is at ``+ 0.5``)."""
    a, b, c, d, e, f = np.moveaxis(np.asarray(transform, np.float64), -1, 0)
    return a * col + b * row + c, d * col + e * row + f


def window_transform(
    transform: NDArray[np.float64], row_start: NDArray[np.int64], col_start: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the transforms of windows that start at ``(row_start, col_start)`` of their grid; shape ``(n, 6)``."""
    result = np.array(np.broadcast_to(transform, (np.size(row_start), 6)), np.float64)
    result[:, 2], result[:, 5] = map_coordinates(transform, row_start.astype(np.float64), col_start.astype(np.float64))
    return result
