"""What are the pixels of a window on another grid?

Both grids have parallel axes, so rows and columns are resampled one after the other. The methods are those of GDAL's RasterIO.
Kernels widen where the answer is coarser than its source. Null pixels take no part, as `kernels` says.
Values are rounded and clamped to the pixel dtype. Pure NumPy: nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polars_rasteret.assemble.kernels import KERNELS, reach, share_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

ON_BORDER = 1e-10
"""A centre this close before the border of a source pixel lies in the next one (as in GDAL)."""
_NEARLY = 1e-8
"""A target pixel that reaches less far into a source pixel does not touch it (as in GDAL)."""
_BLOCK_PIXELS = 1 << 20
"""Pixels resampled at a time: source pixels, or taps on source pixels, whichever are more."""


class Axis(NamedTuple):
    """Position of the target's rows on the rows of its source, or of columns on columns.

    In `source_spans` every field may be an array with one entry per window.
    """

    start: Any
    """Position where the target begins, in source pixels; any number."""
    step: Any
    """Source pixels from one target pixel to the next; more than 0."""
    n_target: Any
    """Pixels of the target."""
    n_source: Any
    """Pixels of the whole source image; there are no pixels beyond them."""

    def centres(self) -> Floats:
        """Return the centre of each target pixel, in source pixels."""
        centres: Floats = (np.arange(self.n_target) + 0.5) * self.step + self.start + ON_BORDER
        return centres

    def is_inside(self) -> Booleans:
        """Return which target pixels have their centre in the source image."""
        centres = self.centres()
        inside: Booleans = (centres >= 0) & (centres < self.n_source)
        return inside


def source_spans(method: str, axis: Axis) -> tuple[Any, Any]:
    """Return the source pixels ``first:stop`` that the target needs; both are equal where the target needs none.

    Parameters
    ----------
    method
        One of `kernels.METHODS`.
    axis
        Axis of one window, or arrays with one entry per window.
    """
    first = axis.start + 0.5 * axis.step - reach(method, axis.step)
    stop = axis.start + (axis.n_target - 0.5) * axis.step + reach(method, axis.step)
    first, stop = np.floor(first), np.floor(stop) + 2
    first = np.clip(first, 0, axis.n_source).astype(np.int64)
    return first, np.maximum(np.clip(stop, 0, axis.n_source).astype(np.int64), first)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pixels of a part of an image."""

    values: NDArray[Any]
    """Shape (n_rows, n_cols)."""
    valid: Booleans | None
    """Valid mask, shape (n_rows, n_cols). None is enough for ``"nearest"`` when the answer needs no valid mask."""
    first_row: int
    """First row of the part, in the image."""
    first_col: int
    """First column of the part, in the image."""


def resampled(
    source: Source, rows: Axis, cols: Axis, method: str, nodata: Any
) -> tuple[NDArray[Any], Booleans | None, tuple[slice, slice]]:
    """Return the pixels of the target.

    Parameters
    ----------
    source
        At least the pixels of `source_spans`.
    rows, cols
        Axes of the target on the source image.
    method
        One of `kernels.METHODS`.
    nodata
        Value, in the pixel dtype, of target pixels that no valid pixel contributes to. None: the value of the nearest source
        pixel.

    Returns
    -------
    values : dtype of the source, shape (rows.n_target, cols.n_target)
    valid : bool
        Valid mask, shape of `values`; None when the source has none.
    part : (slice, slice)
        Rows and columns of the target that lie in the image.
    """
    # Target pixels outside the image are at both ends, never between.
    part = (_run(rows.is_inside()), _run(cols.is_inside()))
    shape = (int(rows.n_target), int(cols.n_target))
    values = np.zeros(shape, source.values.dtype)
    valid = None if source.valid is None else np.zeros(shape, np.bool_)
    if not values[part].size:
        return values, valid, part
    near = _nearest(source, rows, cols, part)
    values[part] = source.values[near]
    if method == "nearest":
        if valid is not None and source.valid is not None:
            valid[part] = source.valid[near]
        return values, valid, part
    assert source.valid is not None
    assert valid is not None
    if nodata is not None:
        values[part] = nodata
    _mix(source, (rows, cols), method, part, nodata=nodata, out=(values[part], valid[part]))
    return values, valid, part


def _run(is_inside: Booleans) -> slice:
    inside = np.flatnonzero(is_inside)
    return slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _nearest(source: Source, rows: Axis, cols: Axis, part: tuple[slice, slice]) -> tuple[Any, ...]:
    return np.ix_(
        np.floor(rows.centres()[part[0]]).astype(np.int64) - source.first_row,
        np.floor(cols.centres()[part[1]]).astype(np.int64) - source.first_col,
    )


def _mix(
    source: Source,
    axes: tuple[Axis, Axis],
    method: str,
    part: tuple[slice, slice],
    *,
    nodata: Any,
    out: tuple[NDArray[Any], Booleans],
) -> None:
    """Write the weighted target pixels of `part` into `out`. Blocks of rows bound the memory."""
    assert source.valid is not None
    row_taps, col_taps = (
        _taps(method, axis, one, first)
        for axis, one, first in zip(axes, part, (source.first_row, source.first_col), strict=True)
    )
    per_row = max(source.values.shape[1] * max(float(axes[0].step), 1.0), row_taps.pixel.shape[1] * col_taps.pixel.size)
    step = max(1, int(_BLOCK_PIXELS / per_row))
    values, valid = out
    for first in range(0, len(values), step):
        block = slice(first, min(first + step, len(values)))
        taps = row_taps.of_targets(block)
        top, bottom = int(taps.pixel.min()), int(taps.pixel.max()) + 1
        down = Taps(taps.pixel - top, taps.weight, taps.is_used)
        mixed, is_mixed = _mixed(method, source.values[top:bottom], source.valid[top:bottom], down, col_taps)
        np.copyto(values[block], rounded(mixed, is_mixed, values.dtype, nodata), where=is_mixed)
        valid[block] = is_mixed


def _mixed(
    method: str, values: NDArray[Any], valid: Booleans, down: Taps, across: Taps
) -> tuple[NDArray[Any], Booleans]:
    """Mix rows of pixels, of which some are valid, with taps down and across."""
    if method == "average":
        return _averaged(values, valid, down, across)
    if method == "mode":
        return _most_frequent(values, valid, down, across)
    return _convolved(values, valid, down, across, has_negative=KERNELS[method].has_negative)


class Taps(NamedTuple):
    """Source pixels and weights of each target pixel of an axis; every field has shape (n_target, n_taps)."""

    pixel: Ints
    """Index into the source, from 0."""
    weight: Floats
    """Weight of the source pixel; 0 where the tap is not used."""
    is_used: Booleans
    """False for taps beyond the kernel or the image. They only fill up the rows of the table."""

    def of_targets(self, part: slice) -> Taps:
        """Return the taps of the target pixels `part`."""
        return Taps(self.pixel[part], self.weight[part], self.is_used[part])


def _taps(method: str, axis: Axis, part: slice, first: int) -> Taps:
    target = np.arange(part.start, part.stop)
    kernel = KERNELS[method].weight
    if kernel is not None:
        centre = (target + 0.5) * axis.step + axis.start
        reaching = reach(method, axis.step)
        # A kernel that ends on a border but for rounding has the same taps wherever its window begins.
        start = np.floor(centre - reaching + 0.5 + _NEARLY)
        stop = np.trunc(centre + reaching + 0.5 + _NEARLY)
    else:
        left, right = axis.start + target * axis.step, axis.start + (target + 1) * axis.step
        start, stop = np.trunc(left + _NEARLY), np.ceil(right - _NEARLY)
        stop = np.where(stop == start, stop + 1, stop)
    start, stop = np.maximum(start, 0).astype(np.int64), np.minimum(stop, axis.n_source).astype(np.int64)
    index = start[:, None] + np.arange(max(int((stop - start).max()), 1))
    is_used = index < stop[:, None]
    if kernel is not None:
        scale = min(1.0, 1.0 / axis.step)
        weight = kernel((index + 0.5 - centre[:, None]) * scale)
    else:  # the share of each source pixel that the target pixel covers, in source pixels
        weight = np.minimum(index + 1, right[:, None]) - np.maximum(index, left[:, None])
        weight = np.where((stop - start == 1)[:, None], 1.0, weight)
    weight = np.where(is_used, weight, 0.0)
    return Taps(np.where(is_used, index, start[:, None]) - first, weight, is_used)


def _convolved(
    values: NDArray[Any], valid: Booleans, down: Taps, across: Taps, *, has_negative: bool
) -> tuple[Floats, Booleans]:
    """Return the image filtered along rows, then along columns, and its valid mask.

    Both passes leave out null pixels and scale up the weights of the others.
    """
    is_whole = bool(valid.all())
    image = values.astype(np.float64) if is_whole else np.where(valid, values, 0).astype(np.float64)
    for taps in (across, down):  # each pass transposes the image, so both passes mix rows
        image = image.T
        mixed = np.zeros((len(taps.pixel), image.shape[1]))
        if is_whole:
            total = taps.weight.sum(axis=1)
            weight = taps.weight / np.where(total == 0, 1.0, total)[:, None]
            for at in range(taps.pixel.shape[1]):
                mixed += weight[:, at, None] * image[taps.pixel[:, at]]
            image = mixed
            continue
        valid = valid.T
        total = np.zeros(mixed.shape)
        run, longest = np.zeros(mixed.shape, np.int64), np.zeros(mixed.shape, np.int64)
        for at in range(taps.pixel.shape[1]):
            here = valid[taps.pixel[:, at]]
            total += taps.weight[:, at, None] * here
            mixed += taps.weight[:, at, None] * image[taps.pixel[:, at]]
            if has_negative:
                run = np.where(here & taps.is_used[:, at, None], run + 1, 0)
                np.maximum(longest, run, out=longest)
        valid = total > 0
        if has_negative:
            valid &= longest >= (taps.is_used.sum(axis=1) // 2)[:, None]
        image = np.where(valid, share_out(mixed, total, valid), 0.0)
    return image, np.ones(image.shape, np.bool_) if is_whole else valid


def _averaged(values: NDArray[Any], valid: Booleans, down: Taps, across: Taps) -> tuple[Floats, Booleans]:
    """Return the mean of the valid source pixels, weighted by the area that the target pixel covers, and a valid mask."""
    total = _weighted(_weighted(np.where(valid, values, 0).astype(np.float64), across), down)
    weight = _weighted(_weighted(valid.astype(np.float64), across), down)
    has_weight = weight > 0
    return share_out(total, weight, has_weight), has_weight


def _weighted(image: Floats, taps: Taps) -> Floats:
    """Return the weighted sums of an image's columns, transposed: one row per target pixel."""
    image = image.T
    total = np.zeros((len(taps.pixel), image.shape[1]))
    for at in range(taps.pixel.shape[1]):
        total += taps.weight[:, at, None] * image[taps.pixel[:, at]]
    return total


def _most_frequent(values: NDArray[Any], valid: Booleans, down: Taps, across: Taps) -> tuple[NDArray[Any], Booleans]:
    """Return the most frequent valid value under each target pixel, and a valid mask."""
    row = np.repeat(down.pixel, across.pixel.shape[1], axis=1)[:, None, :]
    col = np.tile(across.pixel, (1, down.pixel.shape[1]))[None, :, :]
    is_used = np.repeat(down.is_used, across.pixel.shape[1], axis=1)[:, None, :]
    is_used = is_used & np.tile(across.is_used, (1, down.pixel.shape[1]))[None, :, :] & valid[row, col]
    return most_frequent(values[row, col], is_used)


def most_frequent(found: NDArray[Any], is_used: Booleans) -> tuple[NDArray[Any], Booleans]:
    """Return the most frequent of the used values along the last axis, and where any value is used.

    Of equally frequent values the one that reaches that count first wins, in order.
    """
    n_taps = found.shape[-1]
    # Sorted by value, the used pixels first. A pixel's place in the run of its value counts the value up to that pixel.
    order = np.argsort(found, axis=-1, kind="stable")
    order = np.take_along_axis(order, np.argsort(~np.take_along_axis(is_used, order, -1), axis=-1, kind="stable"), -1)
    ranked, used = np.take_along_axis(found, order, -1), np.take_along_axis(is_used, order, -1)
    is_first = np.ones(ranked.shape, np.bool_)
    is_first[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    place = np.arange(n_taps)
    count = np.where(used, place - np.maximum.accumulate(np.where(is_first, place, 0), axis=-1) + 1, 0)
    # The first in reading order whose count is the greatest.
    score = np.where(count == count.max(axis=-1, keepdims=True), order, n_taps)
    best = score.argmin(axis=-1)[..., None]
    chosen: NDArray[Any] = np.take_along_axis(ranked, best, -1)[..., 0]
    return chosen, np.asarray(is_used.any(axis=-1))


def rounded(mixed: NDArray[Any], is_mixed: Booleans, dtype: np.dtype[Any], nodata: Any) -> NDArray[Any]:
    """Return mixed values in the pixel dtype, rounded half away from zero and clamped.

    A value that would equal nodata by chance becomes the value beside nodata.
    """
    if mixed.dtype == dtype and mixed.dtype.kind != "f":
        return mixed  # pixels were chosen (mode), not mixed
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            result = mixed.astype(dtype)
    else:
        limits = np.iinfo(dtype)
        whole = np.trunc(np.where(is_mixed, mixed, 0.0) + np.copysign(0.5, mixed))
        # The limits of 64-bit integers are no doubles: at and beyond the limits, the cast is not defined.
        is_high, is_low = whole >= float(limits.max), whole <= float(limits.min)
        result = np.where(is_high | is_low, 0.0, whole).astype(dtype)
        result[is_high], result[is_low] = limits.max, limits.min
    if nodata is not None and nodata == nodata:  # noqa: PLR0124 - NaN
        result = np.where(result == nodata, _beside(nodata, dtype), result)
    return result


def _beside(nodata: Any, dtype: np.dtype[Any]) -> Any:
    """Return the value next to nodata in `dtype` (as in GDAL): above it, or below it where nodata is the largest value."""
    if dtype.kind == "f":
        most = np.finfo(dtype).max
        return np.nextafter(dtype.type(nodata), dtype.type(0 if nodata == most else most))
    return dtype.type(int(nodata) - 1 if nodata == np.iinfo(dtype).max else int(nodata) + 1)
