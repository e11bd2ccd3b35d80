"""In which form do the images of samples leave a read, before any library for training sees them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import fill_value
from polars_rasteret.pixels.stacks import STACK
from polars_rasteret.schema import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.windows.window_product import WindowProduct

UNKNOWN_TIME = int(np.iinfo(np.int64).min)
"""Time of a record without one, as NumPy's ``NaT``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipImages:
    """Images of some samples; one row per image."""

    offset: NDArray[np.int64]
    """Images of sample i: ``offset[i]:offset[i + 1]``."""
    is_series: bool
    """Whether a sample has any number of images; else it has one."""
    chip: NDArray[np.int64]
    """Chip of each sample: a row of the caller's table, or the number of a window."""
    label: pl.Series | None
    """Label of each sample."""
    pixels: NDArray[Any]
    """Shape (n, bands, height, width)."""
    valid: NDArray[np.bool_] | None
    """Like `pixels`, whether each counts; None where nobody asked."""
    transform: NDArray[np.float64]
    """Shape (n, 6); NaN for an image that was not read."""
    crs: list[str]
    """Empty for an image that was not read."""
    record_id: list[str]
    """Empty without a record."""
    time: NDArray[np.int64]
    """Start of the record, microseconds since 1970; `UNKNOWN_TIME` without one."""
    error: list[str] | None
    """Why an image was not read, empty where it was; None where errors are raised."""


def stacked_pixels(
    columns: Mapping[str, pl.Series], records: Records, record: NDArray[np.int64], product: WindowProduct
) -> NDArray[Any]:
    """Return the pixels of all bands, shape (n, bands, height, width); the array may be read-only.

    A band that was not read is filled as pixels outside an image are: with ``fill_value``, else nodata, else 0.
    """
    stack = columns[STACK]
    shape = stack.dtype.shape  # type: ignore[attr-defined]  # an Array
    is_read = stack.is_not_null().to_numpy()
    elements = stack.drop_nulls().reshape((-1,))
    if is_read.all() and not elements.null_count():
        return elements.to_numpy().reshape(len(stack), *shape)
    is_filled = np.ones((len(stack), shape[0]), np.bool_)
    is_filled[is_read] = elements.is_null().to_numpy().reshape(-1, *shape).any(axis=(2, 3))
    pixels = np.zeros((len(stack), *shape), numpy_dtype(elements.dtype))
    pixels[is_read] = elements.fill_null(0).to_numpy().reshape(-1, *shape)
    for at, band in enumerate(product.bands):
        rows = np.flatnonzero(is_filled[:, at])
        pixels[rows, at] = _fill(records, record[rows], band, product).astype(pixels.dtype)[:, None, None]
    return pixels


def _fill(records: Records, record: NDArray[np.int64], band: str, product: WindowProduct) -> NDArray[Any]:
    """Return the fill of a band for some records; -1 is no record."""
    fill = np.zeros(len(record))
    if product.window.fill_value is not None:
        fill[:] = product.window.fill_value
    elif len(records):
        column = records.rasters[band]
        outside = [fill_value(one.tiles, one.nodata, None, column.dtype, label=band) for one in column.references]
        reference = np.where(record >= 0, column.reference_id[record], -1)
        fill = np.array([*outside, column.dtype.type(0)])[reference]
        if band in product.unscale:
            scale, offset = column.scale_and_offset()
            fill = fill * scale[record] + offset[record]
    return fill


def stacked_valid(columns: Mapping[str, pl.Series], bands: Sequence[str]) -> NDArray[np.bool_] | None:
    """Return which pixels count, shaped as the pixels; None where nobody asked. Nothing counts that was not read."""
    if f"{bands[0]}_valid" not in columns:
        return None
    masks = []
    for band in bands:
        column = columns[f"{band}_valid"]
        is_read = column.is_not_null().to_numpy()
        mask = np.zeros((len(column), *column.dtype.shape), np.bool_)  # type: ignore[attr-defined]  # an Array
        mask[is_read] = column.drop_nulls().to_numpy()
        masks.append(mask)
    return np.stack(masks, axis=1)


def numbers_of(column: pl.Series) -> NDArray[np.float64]:
    """Return a column of transforms, shape (n, 6); NaN where it is null."""
    is_read = column.is_not_null().to_numpy()
    numbers = np.full((len(column), 6), np.nan)
    numbers[is_read] = column.drop_nulls().to_numpy()
    return numbers
