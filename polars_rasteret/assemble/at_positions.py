"""What are the values of an image at positions that do not follow its rows and columns?

Needed when the target grid is turned or has another CRS: every target pixel then has a position of its own. Null pixels take
no part, as `kernels` says. Pure NumPy: nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.kernels import KERNELS, reach, share_out
from polars_rasteret.assemble.resample import ON_BORDER, Source, rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]


_STRETCHED_FROM = 1 / 0.95
"""Step from which on kernels are stretched: ``bUse4SamplesFormula`` in GDAL's warp kernel."""


def values_at(
    source: Source,
    positions: tuple[Floats, Floats],
    steps: tuple[float, float],
    image_size: tuple[int, int],
    *,
    method: str,
    nodata: Any,
) -> tuple[NDArray[Any], Booleans | None, Booleans]:
    """Return the values of the image at some positions.

    Parameters
    ----------
    source
        The pixels around all positions that lie in the image.
    positions
        Rows and columns of the positions, in pixels of the image; two arrays of one shape. Not finite where a target pixel has
        no position.
    steps
        Approximate rows, and columns, from one position to the next, in pixels of the image.
    image_size
        Height and width of the whole image.
    method
        One of `METHODS_AT_POSITIONS`.
    nodata
        As in `resampled`.

    Returns
    -------
    values : dtype of the source, shape of `positions`
    valid : bool, shape of `positions`
        None when the source has no validity.
    inside : bool, shape of `positions`
        Whether the position lies in the image.
    """
    with np.errstate(invalid="ignore"):
        row, col = (np.where(np.isfinite(one), one, -1.0) + ON_BORDER for one in positions)
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
    # GDAL stretches kernels only where an axis is coarser by more than a twentieth.
    is_stretched = max(steps) > _STRETCHED_FROM
    steps = steps if is_stretched else (1.0, 1.0)
    mixed, total, is_whole = _mixed(source, row, col, steps, method)
    if method == "cubic" and not is_stretched and len(lacking := np.flatnonzero(~is_whole)):
        # Where any of its 16 pixels is missing, GDAL takes four: negative weights need their counterparts.
        mixed[lacking], total[lacking], _ = _mixed(source, row[lacking], col[lacking], steps, "bilinear")
    # A null pixel stays null, as in GDAL's warp kernel: its neighbours do not grow into it.
    is_mixed = (total > 0) & source.valid[near]
    mixed = share_out(mixed, total, is_mixed)
    blank = own if nodata is None else np.full(len(own), nodata, own.dtype)
    values[inside] = np.where(is_mixed, rounded(mixed, is_mixed, own.dtype, nodata), blank)
    valid[inside] = is_mixed
    return values, valid, inside


def _mixed(
    source: Source, row: Floats, col: Floats, steps: tuple[float, float], method: str
) -> tuple[Floats, Floats, Booleans]:
    """Return weighted sums of the pixels around positions, their weights, and whether no pixel with a weight is missing."""
    assert source.valid is not None
    total, mixed, is_whole = np.zeros(len(row)), np.zeros(len(row)), np.ones(len(row), np.bool_)
    down = _taps(row, steps[0], source.first_row, source.values.shape[0], method)
    across = _taps(col, steps[1], source.first_col, source.values.shape[1], method)
    for at_row, row_weight, is_row in down:
        for at_col, col_weight, is_col in across:
            is_there = source.valid[at_row, at_col] & is_row & is_col
            weight = row_weight * col_weight
            is_whole &= is_there | (weight == 0)
            weight *= is_there
            total += weight
            mixed += np.where(weight == 0, 0, source.values[at_row, at_col]) * weight
    return mixed, total, is_whole


def _taps(
    position: Floats, step: float, first: int, n_pixels: int, method: str
) -> list[tuple[NDArray[np.int64], Floats, Booleans]]:
    """Return the source pixels under the kernel of each position along one axis, first to last.

    Each entry is one tap: per position an index into the source, a weight, and whether the source has such a pixel.
    """
    reaching = float(reach(method, step))
    start = np.floor(position - reaching + 0.5).astype(np.int64)
    kernel = KERNELS[method].weight
    assert kernel is not None
    taps = []
    for at in range(int(np.ceil(2 * reaching)) + 1):
        index = start + at
        weight = kernel((index + 0.5 - position) / max(step, 1.0))
        is_there = (index >= first) & (index < first + n_pixels)
        taps.append((np.clip(index - first, 0, n_pixels - 1), weight, is_there))
    return taps
