"""What do target pixels get of the image pixels under them, where their sides do not follow its rows and columns?

Needed for the mean and the most frequent value when the target grid is turned or has another CRS. As in GDAL's warper, a target
pixel covers the box between its first and its last corner. Null pixels take no part, as `kernels` says. Nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.at_positions import values_at
from polars_rasteret.assemble.kernels import METHODS_AT_POSITIONS, share_out
from polars_rasteret.assemble.resample import most_frequent, rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polars_rasteret.assemble.resample import Source

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_NEARLY = 1e-10
"""A corner this close to the border of an image pixel lies on the border (as in GDAL)."""
_BLOCK_TAPS = 1 << 22
"""Image pixels under target pixels that are looked at together."""


def reprojected_values(
    source: Source,
    positions: tuple[Floats, Floats],
    corners: Callable[[], tuple[Floats, Floats]],
    steps: tuple[float, float],
    image_size: tuple[int, int],
    *,
    method: str,
    nodata: Any,
) -> tuple[NDArray[Any], Booleans | None, Booleans]:
    """Return the values of target pixels by any method.

    Parameters
    ----------
    source, positions, steps, image_size, nodata
        As in `values_at`.
    corners
        Returns the corners of all target pixels, as in `values_under`; called for methods that need them only.
    method
        One of `kernels.METHODS`.

    Returns
    -------
    values, valid, inside
        As `values_at` returns them.
    """
    if method in METHODS_AT_POSITIONS:
        return values_at(source, positions, steps, image_size, method=method, nodata=nodata)
    return values_under(source, positions, corners(), image_size, method=method, nodata=nodata)


def values_under(
    source: Source,
    positions: tuple[Floats, Floats],
    corners: tuple[Floats, Floats],
    image_size: tuple[int, int],
    *,
    method: str,
    nodata: Any,
) -> tuple[NDArray[Any], Booleans, Booleans]:
    """Return the mean or the most frequent value under target pixels.

    Parameters
    ----------
    source
        The pixels under all target pixels whose centres lie in the image, with their valid mask.
    positions, image_size, nodata
        As in `values_at`: a target pixel without a valid pixel under it gets nodata, else the nearest pixel.
    corners
        Rows and columns of the corners of all target pixels, shape (height + 1, width + 1).
    method
        ``"average"`` or ``"mode"``.

    Returns
    -------
    values, valid, inside
        As `values_at` returns them.
    """
    assert source.valid is not None
    values, _, inside = values_at(source, positions, (1.0, 1.0), image_size, method="nearest", nodata=nodata)
    valid = np.zeros(inside.shape, np.bool_)
    sides = []
    for corner, first, n_pixels in zip(corners, (source.first_row, source.first_col), source.values.shape, strict=True):
        ends = np.stack([corner[:-1, :-1][inside], corner[1:, 1:][inside]]) - first
        ends = np.where(np.isfinite(ends).all(axis=0), ends, -2.0)  # nothing lies under it
        sides.append((ends.min(axis=0), ends.max(axis=0), n_pixels))
    mixed = np.zeros(int(inside.sum()), np.float64 if method == "average" else source.values.dtype)
    is_mixed = np.zeros(len(mixed), np.bool_)
    most = [int(np.ceil((high - low).max(initial=0.0))) + 1 for low, high, _ in sides]
    step = max(_BLOCK_TAPS // (most[0] * most[1]), 1)
    for start in range(0, len(mixed), step):
        part = slice(start, start + step)
        down, across = (_taps(low[part], high[part], n_pixels) for low, high, n_pixels in sides)
        take = _mean if method == "average" else _mode
        mixed[part], is_mixed[part] = take(source, down, across)
    blank = values[inside] if nodata is None else np.full(len(mixed), nodata, values.dtype)
    values[inside] = np.where(is_mixed, rounded(mixed, is_mixed, values.dtype, nodata), blank)
    valid[inside] = is_mixed
    return values, valid, inside


def _taps(low: Floats, high: Floats, n_pixels: int) -> tuple[Ints, Floats]:
    """Return the image pixels that spans touch along an axis, and the share of each that a span covers; shape (n, n_taps).

    The share is 0 where a tap is not used.
    """
    start, stop = np.floor(low + _NEARLY), np.ceil(high - _NEARLY)
    stop = np.where(stop == start, stop + 1, stop)
    is_one = stop - start == 1
    index = start[:, None] + np.arange(int((stop - start).max(initial=1)))
    share = np.minimum(index + 1, high[:, None]) - np.maximum(index, low[:, None])
    share = np.where(is_one[:, None], 1.0, share)
    is_used = (index < stop[:, None]) & (index >= 0) & (index < n_pixels)
    return np.where(is_used, index, 0).astype(np.int64), np.where(is_used, share, 0.0)


def _mean(source: Source, down: tuple[Ints, Floats], across: tuple[Ints, Floats]) -> tuple[Floats, Booleans]:
    assert source.valid is not None
    total, mixed = np.zeros(len(down[0])), np.zeros(len(down[0]))
    for at_row, row_share in zip(down[0].T, down[1].T, strict=True):
        for at_col, col_share in zip(across[0].T, across[1].T, strict=True):
            weight = row_share * col_share * source.valid[at_row, at_col]
            total += weight
            mixed += np.where(weight == 0, 0, source.values[at_row, at_col]) * weight
    is_mixed = total > 0
    return share_out(mixed, total, is_mixed), is_mixed


def _mode(source: Source, down: tuple[Ints, Floats], across: tuple[Ints, Floats]) -> tuple[NDArray[Any], Booleans]:
    assert source.valid is not None
    row, col = down[0][:, :, None], across[0][:, None, :]
    is_used = (down[1][:, :, None] > 0) & (across[1][:, None, :] > 0) & source.valid[row, col]
    return most_frequent(source.values[row, col].reshape(len(row), -1), is_used.reshape(len(row), -1))
