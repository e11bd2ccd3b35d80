"""Which distinct pixels do the rows of a raster column refer to?

Thousands of rows share a few references. A column is cut into the distinct references (unpacked once per process) and
the index of each row's reference, all in NumPy, so that nothing after this needs Polars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import PixelReference, unpacked
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import RASTER_FIELDS, is_raster_dtype, numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
    field = series.struct.field
    # Scale and offset belong to the row; everything else that shapes a read is in the key.
    key = pl.DataFrame(
        {
            "href": field("href"),
            "band_index": field("band_index"),
            "crs": field("crs"),
            "transform": field("transform"),
            "nodata": field("nodata"),
            "head": field("tiles").bin.head(_HEAD_BYTES),
        }
    )
    is_null = (key["href"].is_null() | key["head"].is_null()).to_numpy()
    _, first, inverse = np.unique(key.hash_rows().to_numpy(), return_index=True, return_inverse=True)
    # Numbered as they first appear, so that bands of the same records get the same numbers.
    appearance = np.argsort(first)
    has_pixels = ~is_null[first[appearance]]
    dense = np.empty(len(first), np.int64)
    dense[appearance] = np.where(has_pixels, np.cumsum(has_pixels) - 1, -1)
    kept = series.gather(first[appearance[has_pixels]])
    rows = kept.struct.unnest()
    references = tuple(
        PixelReference(
            href=href,
            band_index=band_index or 0,
            tiles=unpacked(tiles),
            nodata=None if nodata is None else dtype.type(nodata),
        )
        for href, band_index, tiles, nodata in rows.select("href", "band_index", "tiles", "nodata").iter_rows()
    )
    transform = rows["transform"].to_list()
    nowhere = [np.nan] * 6
    return RasterColumn(
        name=series.name,
        dtype=dtype,
        reference_id=dense[inverse],
        references=references,
        crs=tuple(rows["crs"].to_list()),
        transform=np.array([nowhere if one is None else one for one in transform], np.float64).reshape(-1, 6),
        width=np.array([reference.tiles.images[0].width for reference in references], np.int64),
        height=np.array([reference.tiles.images[0].height for reference in references], np.int64),
        series=series,
    )
