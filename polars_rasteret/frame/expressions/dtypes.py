"""Which dtype does a read expression have, before any data is there?

Dtypes are expressions, too: they follow from the pixel dtypes of raster columns, which Polars knows once a frame is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from polars_rasteret.pixels.series import window_struct_fields
from polars_rasteret.schema import PIXEL_DTYPES, raster_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.frame.columns.forms import Form


def form_dtype(bands: Sequence[pl.Expr], form: Form, value: Callable[[Any], Any]) -> Any:
    """Return the dtype of an expression.

    Parameters
    ----------
    bands
        Raster expressions.
    form
        Of the result.
    value
        Dtype of one band's value, from its pixel dtype.
    """
    if form == "single":
        return value(pl.self_dtype().struct["nodata"])
    if form == "struct":
        return pl.struct_with_fields({band_name(band): value(_pixel_dtype(band)) for band in bands})
    return value(_common_dtype(bands)).wrap_in_array(width=len(bands))


def window_dtype(pixel: Any, size: tuple[int, int] | None) -> Any:
    """Return the dtype of windows of one size, or of various sizes, from the dtype of their pixels."""
    if size is not None:
        return pixel.wrap_in_array(width=size[1]).wrap_in_array(width=size[0])
    return pl.struct_with_fields(window_struct_fields(pixel.wrap_in_list()))


def raster_selector() -> cs.Selector:
    """Return a selector of all raster columns."""
    return cs.by_dtype([raster_dtype(dtype) for dtype in PIXEL_DTYPES.values()])


def band_name(band: pl.Expr) -> str:
    """Return the name of a band: that of the column which its expression returns."""
    return band.meta.output_name()


def _pixel_dtype(band: pl.Expr) -> Any:
    """Return the pixel dtype of a raster expression, as a dtype expression that needs no data."""
    return pl.dtype_of(band).struct["nodata"]


def _common_dtype(bands: Sequence[pl.Expr]) -> Any:
    """Return the supertype of the pixel dtypes of raster expressions, as a dtype expression that needs no data."""
    return pl.dtype_of(pl.coalesce([band.struct.field("nodata") for band in bands]))
