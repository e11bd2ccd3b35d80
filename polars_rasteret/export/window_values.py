"""In which forms are windows in the columns of a frame, and what are their pixels as arrays?

Windows are arrays of one shape, Structs with sizes of their own, or Structs of these by band. No reading belongs here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.pixels.stacks import STACK
from polars_rasteret.schema import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FIELDS = {"pixels", "height", "width", "transform", "crs"}


def has_sizes(dtype: pl.DataType) -> bool:
    """Return whether a column has windows with sizes of their own: Structs of pixels, height, width, transform and crs."""
    return isinstance(dtype, pl.Struct) and {field.name for field in dtype.fields} == _FIELDS


def is_windows(dtype: pl.DataType) -> bool:
    """Return whether a column has one window per row."""
    return has_sizes(dtype) or (isinstance(dtype, pl.Array) and len(dtype.shape) == 2 and _element(dtype).is_numeric())


def is_stack(dtype: pl.DataType) -> bool:
    """Return whether a column has one window of several bands per row."""
    return isinstance(dtype, pl.Array) and len(dtype.shape) == 3 and _element(dtype).is_numeric()


def is_bands(dtype: pl.DataType) -> bool:
    """Return whether a column is a Struct of windows by band."""
    return isinstance(dtype, pl.Struct) and not has_sizes(dtype) and all(is_windows(one.dtype) for one in dtype.fields)  # type: ignore[arg-type]


def unpacked_bands(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with the column ``pixels``, where it is a Struct of windows by band, as a column per band."""
    if STACK not in frame.columns or not is_bands(frame.schema[STACK]):
        return frame
    taken = [name for name in frame[STACK].struct.fields if name in frame.columns and name != STACK]
    if taken:
        raise UsageError(
            f"bands {', '.join(taken)} of the column {STACK!r} are columns of the frame, too; rename these first"
        )
    return frame.unnest(STACK)


@dataclass(frozen=True, slots=True)
class WindowValues:
    """Windows of one shape, one per row."""

    values: NDArray[Any]
    """Pixels, shape (n, height, width), or (n, bands, height, width) for a stack. Where not valid, any value."""
    valid: NDArray[np.bool_] | None
    """Which pixels are not null, of the same shape; None: all of them."""


def window_values(series: pl.Series) -> WindowValues:
    """Return the pixels of a column of windows; no copy where no value is null.

    Raises
    ------
    UsageError
        When windows differ in size.
    """
    if has_sizes(series.dtype):
        return _of_sizes(series)
    array = series.dtype
    assert isinstance(array, pl.Array)
    if not _has_nulls(series):
        return WindowValues(series.to_numpy(), None)
    values, valid = _flat(series)
    shape = (len(series), *array.shape)
    return WindowValues(values.reshape(shape), valid.reshape(shape))


def each_window(series: pl.Series) -> list[NDArray[Any] | None]:
    """Return the window of each row, shape (height, width); masked where it has null elements, None where it is null."""
    if not has_sizes(series.dtype):
        found = window_values(series)
        each: list[NDArray[Any] | None] = []
        for row, is_null in enumerate(series.is_null().to_list()):
            valid = None if found.valid is None else found.valid[row]
            each.append(None if is_null else _masked(found.values[row], valid))
        return each
    flat, valid, start = _pixels(series)
    each = []
    sizes = series.struct.unnest().select("height", "width").rows()
    for row, is_null in enumerate(series.is_null().to_list()):
        if is_null:
            each.append(None)
            continue
        place = slice(start[row], start[row + 1])
        its_valid = None if valid is None else valid[place].reshape(sizes[row])
        each.append(_masked(flat[place].reshape(sizes[row]), its_valid))
    return each


def stacked(columns: Sequence[WindowValues], dtype: np.dtype[Any]) -> WindowValues:
    """Return the windows of several bands as one array, shape (n, bands, height, width); no copy of a single band."""
    if len(columns) == 1:
        only = columns[0]
        return WindowValues(only.values[:, None], None if only.valid is None else only.valid[:, None])
    values = np.stack([one.values for one in columns], axis=1, dtype=dtype)
    if all(one.valid is None for one in columns):
        return WindowValues(values, None)
    masks = [np.ones(one.values.shape, np.bool_) if one.valid is None else one.valid for one in columns]
    return WindowValues(values, np.stack(masks, axis=1))


def element_dtype(dtype: pl.DataType) -> np.dtype[Any]:
    """Return the NumPy dtype of the pixels of a column of windows."""
    if isinstance(dtype, pl.Struct):
        dtype = next(field.dtype for field in dtype.fields if field.name == "pixels")  # type: ignore[assignment]
    return numpy_dtype(_element(dtype))


def _element(dtype: pl.DataType) -> pl.DataType:
    while isinstance(dtype, pl.Array | pl.List):
        dtype = dtype.inner  # type: ignore[assignment]
    return dtype


def _masked(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[Any]:
    if valid is None or valid.all():
        return values
    return np.ma.MaskedArray(values, ~valid)


def _has_nulls(series: pl.Series) -> bool:
    """Return whether a row, or any element of a row, is null; nothing is copied."""
    array = series.to_arrow()
    for _ in series.dtype.shape:  # type: ignore[attr-defined]  # of an array
        if array.null_count:
            return True
        array = array.values
    return bool(array.null_count)


def _flat(series: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return all elements of a column of arrays, those of null rows, too, and whether each is valid."""
    array = series.rechunk().to_arrow()
    valid = np.ones(len(array), np.bool_)
    assert isinstance(series.dtype, pl.Array)
    for size in series.dtype.shape:
        valid &= np.asarray(array.is_valid())
        array, valid = array.values.slice(array.offset * size, len(array) * size), np.repeat(valid, size)
    return _numbers(array, valid)


def _numbers(array: Any, valid: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if array.null_count:
        valid = valid & np.asarray(array.is_valid())
        array = array.fill_null(0)
    return array.to_numpy(zero_copy_only=False), valid


def _pixels(series: pl.Series) -> tuple[NDArray[Any], NDArray[np.bool_] | None, list[int]]:
    """Return the elements of windows with sizes of their own, which of them are valid, and where each row begins."""
    lists = series.rechunk().struct.field("pixels")
    n_pixels = lists.list.len().fill_null(0).to_numpy()
    elements = (
        lists.filter(n_pixels > 0).list.explode(keep_nulls=False, empty_as_null=False) if len(lists) else lists.clear()
    )
    start = [0, *np.cumsum(n_pixels).tolist()]
    if elements.dtype == lists.dtype:
        return np.zeros(0, element_dtype(series.dtype)), None, start
    if not elements.null_count():
        return elements.to_numpy(), None, start
    return elements.fill_null(0).to_numpy(), elements.is_not_null().to_numpy(), start


def _of_sizes(series: pl.Series) -> WindowValues:
    is_read = series.is_not_null().to_numpy()
    sizes = (
        series.filter(pl.Series(is_read)).struct.unnest().select("height", "width").unique(maintain_order=True).rows()
    )
    if len(sizes) > 1:
        first, second = (f"{height} x {width}" for height, width in sizes[:2])
        raise UsageError(
            f"to_numpy: the windows of {series.name!r} have {len(sizes)} sizes, among them {first} and {second} pixels, so they "
            "do not fit into one array; read them with shape=(height, width)"
        )
    height, width = sizes[0] if sizes else (0, 0)
    flat, valid, _ = _pixels(series)
    shape = (len(series), height, width)
    if is_read.all():
        return WindowValues(flat.reshape(shape), None if valid is None else valid.reshape(shape))
    values, whole = np.zeros(shape, flat.dtype), np.zeros(shape, np.bool_)
    values[is_read] = flat.reshape(-1, height, width) if flat.size else 0
    whole[is_read] = True if valid is None else valid.reshape(-1, height, width)
    return WindowValues(values, whole)
