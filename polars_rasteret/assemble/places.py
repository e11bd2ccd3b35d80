"""What are the values of an image at places that lie anywhere in it?

For answers whose axes are not those of the image: each pixel has a place of its own. Null pixels are left out and the other
weights count for them. Pure NumPy: nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.resample import KERNELS, ON_BORDER, Source, reach, rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

METHODS_AT_PLACES = ("nearest", *KERNELS)
"""Methods that need no shape of the target pixels."""


def values_at(
    source: Source,
    places: tuple[Floats, Floats],
    steps: tuple[float, float],
    image_size: tuple[int, int],
    *,
    method: str,
    nodata: Any,
) -> tuple[NDArray[Any], Booleans | None, Booleans]:
    """Give the values at the places, which are valid (None when the source does not say), and which lie in the image.

    Parameters
    ----------
    source
        Holds the pixels around all places that lie in the image.
    places
        Row and column of each, in pixels of the image, same shape; not finite for those that are nowhere.
    steps
        Rows and columns from one place to the next, about.
    image_size
        Height and width of the whole image.
    method
        One of `METHODS_AT_PLACES`.
    nodata
        As in `resampled`.
    """
    with np.errstate(invalid="ignore"):
        row, col = (np.where(np.isfinite(one), one, -1.0) + ON_BORDER for one in places)
        inside = (row >= 0) & (row < image_size[0]) & (col >= 0) & (col < image_size[1]) & bool(source.values.size)
    values = np.zeros(row.shape, source.values.dtype)
    valid = None if source.valid is None else np.zeros(row.shape, np.bool_)
    row, col = row[inside], col[inside]
    near = (np.floor(row).astype(np.int64) - source.first_row, np.floor(col).astype(np.int64) - source.first_col)
    own = source.values[near]
    if method == "nearest":
        values[inside] = own
        if valid is not None and source.valid is not None:
            valid[inside] = source.valid[near]
        return values, valid, inside
    assert source.valid is not None
    assert valid is not None
    total, mixed = np.zeros(len(row)), np.zeros(len(row))
    down = _taps(row, steps[0], source.first_row, source.values.shape[0], method)
    across = _taps(col, steps[1], source.first_col, source.values.shape[1], method)
    for at_row, row_weight in down:
        for at_col, col_weight in across:
            weight = row_weight * col_weight * source.valid[at_row, at_col]
            total += weight
            mixed += np.where(weight == 0, 0, source.values[at_row, at_col]) * weight
    is_mixed = total > 0
    mixed = mixed / np.where(is_mixed, total, 1.0)
    blank = own if nodata is None else np.full(len(own), nodata, own.dtype)
    values[inside] = np.where(is_mixed, rounded(mixed, is_mixed, own.dtype, nodata), blank)
    valid[inside] = is_mixed
    return values, valid, inside


def _taps(place: Floats, step: float, first: int, n_pixels: int, method: str) -> list[tuple[NDArray[np.int64], Floats]]:
    """Give the pixels around each place, nearest kernels first to last, as indices into the source with their weights."""
    reaching = float(reach(method, step))
    start = np.floor(place - reaching + 0.5).astype(np.int64)
    taps = []
    for at in range(int(np.ceil(2 * reaching)) + 1):
        index = start + at
        weight = KERNELS[method]((index + 0.5 - place) / max(step, 1.0))
        is_there = (index >= first) & (index < first + n_pixels)
        taps.append((np.clip(index - first, 0, n_pixels - 1), np.where(is_there, weight, 0.0)))
    return taps
