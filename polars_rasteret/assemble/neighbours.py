"""Which pixels around a point give its value: the nearest valid one, or a weighted few?

A *patch* is the square of pixels around each point, shape ``(n, size, size)``. Positions are in pixels of the patch: pixel ``i``
spans ``[i, i + 1)``, its centre is at ``i + 0.5``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polars_rasteret.assemble.kernels import KERNELS, LEAST_WEIGHT, cubic_around_point, share_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["bilinear", "cubic"]
KERNEL_SIZE = {method: max(1, 2 * KERNELS[method].radius) for method in ("nearest", "bilinear", "cubic")}
"""Pixels per side that a method of points looks at."""


def kernel_start(position: NDArray[np.float64], method: Method) -> NDArray[np.int64]:
    """Return the first row or column of the patch around each position, in pixels of the image, shape (n,)."""
    return np.floor(position - 0.5).astype(np.int64) - (KERNEL_SIZE[method] // 2 - 1)


def interpolated(
    values: NDArray[Any],
    valid: NDArray[np.bool_],
    row: NDArray[np.float64],
    col: NDArray[np.float64],
    method: Method,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return values interpolated between pixel centres. Null pixels are left out; the weights of the others are scaled up.

    Parameters
    ----------
    values, valid
        Patches of the method's kernel, shape (n, size, size).
    row, col
        Position of each point in its patch, in pixels, shape (n,).

    Returns
    -------
    values : float64, shape (n,)
    is_valid : shape (n,)
        False where no valid pixel has a weight.
    """
    weights = _weights(row, method)[:, :, None] * _weights(col, method)[:, None, :]
    weights = np.where(valid, weights, 0.0)
    total = weights.sum(axis=(1, 2))
    is_valid = np.abs(total) > LEAST_WEIGHT
    numbers = np.where(valid, values, 0).astype(np.float64)
    weighted = (weights * numbers).sum(axis=(1, 2))
    return share_out(weighted, total, is_valid), is_valid


def _weights(position: NDArray[np.float64], method: Method) -> NDArray[np.float64]:
    """Return the weight of each row or column of a patch, shape (n, size)."""
    size = KERNEL_SIZE[method]
    away = np.abs(position[:, None] - (np.arange(size) + 0.5))
    weight = cubic_around_point if method == "cubic" else KERNELS[method].weight
    assert weight is not None
    return weight(away)


def nearest_valid(
    valid: NDArray[np.bool_], row: NDArray[np.float64], col: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the valid pixel whose rectangle is nearest to each point; ties go to the smaller row, then column.

    Parameters
    ----------
    valid
        Patches of odd size, shape (n, size, size).
    row, col
        Position of each point in its patch, in pixels, shape (n,). It lies in the middle pixel.

    Returns
    -------
    index : int64, shape (n,)
        Index of the pixel in the flat patch; -1 where no pixel is valid.
    distance : float32, shape (n,)
        Distance in pixels: 0 for the middle pixel itself, NaN where no pixel is valid.
    """
    n_points, size = valid.shape[:2]
    squared = _axis_distance(row, size)[:, :, None] ** 2 + _axis_distance(col, size)[:, None, :] ** 2
    squared[~valid] = np.inf
    flat = squared.reshape(n_points, size * size)
    index = flat.argmin(axis=1)
    least = flat[np.arange(n_points), index]
    found = np.isfinite(least)
    distance = np.sqrt(np.where(found, least, np.nan)).astype(np.float32)
    return np.where(found, index, -1), distance


def _axis_distance(position: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the distance of each row or column of a patch from the position, in pixels, shape (n, size); 0 inside."""
    start = np.arange(size, dtype=np.float64)
    before = start - position[:, None]
    distance: NDArray[np.float64] = np.maximum(0.0, np.maximum(before, -1.0 - before))
    distance[:, size // 2] = 0.0  # the middle pixel holds the point, whatever rounding made of its position
    return distance
