"""Which distinct pixels do the rows of a raster column refer to?

Thousands of rows share a few references. A column is cut into the distinct references (unpacked once per process) and
the index of each row's reference, all in NumPy, so that nothing after this needs Polars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.engine import PixelReference, unpacked
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import RASTER_FIELDS, is_raster_dtype, numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHAPING = ["href", "band_index", "crs", "transform", "nodata", "tiles"]
_FEW_ROWS = 256  # below, a dictionary is quicker than a round of Polars calls
_HEAD_BYTES = 9  # flag byte and digest of ``tiles``: they stand for the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterColumn:
    """One raster column, by distinct references."""

    name: str
    dtype: np.dtype[np.generic]
    """Pixel dtype of the result."""
    reference_id: NDArray[np.int64]
    """Reference of each row, shape (n_rows,); -1 for a null raster."""
    references: Sequence[PixelReference]
    crs: tuple[str | None, ...]
    """Of each reference, like `transform`, `width` and `height`."""
    transform: NDArray[np.float64]
    """Shape (n_references, 6); NaN without georeferencing."""
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    series: pl.Series
    """The column itself."""

    def scale_and_offset(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give scale and offset of each row, shape (n_rows,); null means 1 and 0."""
        scale = self.series.struct.field("scale").cast(pl.Float64).fill_null(1.0).to_numpy()
        offset = self.series.struct.field("offset").cast(pl.Float64).fill_null(0.0).to_numpy()
        return scale, offset


def raster_column(series: pl.Series) -> RasterColumn:
    """Cut a raster column into distinct references.

    Raises
    ------
    UsageError
        When it is not a raster column.
    FileFormatError
        When a ``tiles`` value cannot be understood.
    """
    if not is_raster_dtype(series.dtype):
        raise UsageError(
            f"column {series.name!r} is not a raster column: expected a Struct with the fields {', '.join(RASTER_FIELDS)}, "
            f"got {series.dtype}. Raster columns come from a collection (pr.scan_collection, pr.build_from_files)."
        )
    dtype = numpy_dtype(pixel_dtype(series.dtype))
    # Scale and offset belong to the row; everything else that shapes a read tells references apart.
    frame = series.struct.unnest()[_SHAPING]
    reference_id, rows = _few(frame) if frame.height <= _FEW_ROWS else _many(frame)
    references = tuple(
        PixelReference(
            href=href,
            band_index=band_index or 0,
            tiles=unpacked(tiles),
            nodata=None if nodata is None else dtype.type(nodata),
        )
        for href, band_index, _, _, nodata, tiles in rows
    )
    nowhere = [np.nan] * 6
    return RasterColumn(
        name=series.name,
        dtype=dtype,
        reference_id=reference_id,
        references=references,
        crs=tuple(row[2] for row in rows),
        transform=np.array([nowhere if row[3] is None else row[3] for row in rows], np.float64).reshape(-1, 6),
        width=np.array([reference.tiles.images[0].width for reference in references], np.int64),
        height=np.array([reference.tiles.images[0].height for reference in references], np.int64),
        series=series,
    )


def _few(frame: pl.DataFrame) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
    """Give each row of a small frame the number of its reference; -1 for null rasters."""
    numbers: dict[tuple[Any, ...], int] = {}
    reference_id = np.full(frame.height, -1, np.int64)
    distinct = []
    for at, row in enumerate(frame.rows()):
        href, band_index, crs, transform, nodata, tiles = row
        if href is None or tiles is None:
            continue
        key = (
            href,
            band_index,
            crs,
            None if transform is None else tuple(transform),
            repr(nodata),
            tiles[:_HEAD_BYTES],
        )
        if key not in numbers:
            numbers[key] = len(numbers)
            distinct.append(row)
        reference_id[at] = numbers[key]
    return reference_id, distinct


def _many(frame: pl.DataFrame) -> tuple[NDArray[np.int64], list[tuple[Any, ...]]]:
    """Do the same for a large frame, by hashes of its rows."""
    key = frame.with_columns(pl.col("tiles").bin.head(_HEAD_BYTES))
    is_null = (key["href"].is_null() | key["tiles"].is_null()).to_numpy()
    _, first, inverse = np.unique(key.hash_rows().to_numpy(), return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    has_pixels = ~is_null[first[appearance]]
    dense = np.empty(len(first), np.int64)
    dense[appearance] = np.where(has_pixels, np.cumsum(has_pixels) - 1, -1)
    return dense[inverse], frame[first[appearance[has_pixels]]].rows()
