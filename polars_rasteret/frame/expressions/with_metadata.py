"""How do users override the nodata, scale and offset of a raster column?

Only the reference changes: the pixel dtype stays, and nothing is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from polars_rasteret.arguments import is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.pixels.series import struct_series
from polars_rasteret.schema import RASTER_FIELDS, is_raster_dtype, pixel_dtype
from polars_rasteret.tiff.tile_flags import with_flag

if TYPE_CHECKING:
    from collections.abc import Sequence

KEEP: Final = "keep"
"""Argument that leaves a field unchanged; None would mean that no pixel is nodata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithMetadata:
    """Callback that returns a raster column with new values, which follow it in the order of `fields`."""

    fields: tuple[str, ...]
    no_nodata: bool

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:  # noqa: ARG002
        raster, values = series[0], series[1:]
        if not is_raster_dtype(raster.dtype):
            raise UsageError(f"column {raster.name!r} is {raster.dtype}; with_metadata is for raster columns")
        columns = {name: raster.struct.field(name) for name in RASTER_FIELDS}
        n_rows = len(raster)
        for name, value in zip(self.fields, values, strict=True):
            new = value.new_from_index(0, n_rows) if len(value) == 1 != n_rows else value.head(n_rows)
            columns[name] = _cast(new, columns[name].dtype, name, raster.name)
        if self.no_nodata:
            columns["nodata"] = pl.Series("nodata", [None], dtype=columns["nodata"].dtype).new_from_index(0, n_rows)
        if self.no_nodata or "nodata" in self.fields:
            tiles = columns["tiles"].to_list()
            flagged = [with_flag(one, ignore_nodata=self.no_nodata) if one else one for one in tiles]
            columns["tiles"] = pl.Series("tiles", flagged, dtype=pl.Binary)
        is_null = raster.is_null().to_numpy() if raster.null_count() else None
        return struct_series(raster.name, columns, is_null=is_null)


def with_metadata(raster: pl.Expr, *, nodata: Any, scale: Any, offset: Any) -> pl.Expr:
    """Return the expression of ``.raster.with_metadata``."""
    fields: list[str] = []
    values: list[pl.Expr] = []
    for name, value in (("nodata", nodata), ("scale", scale), ("offset", offset)):
        if isinstance(value, str) and value == KEEP:
            continue
        if value is None and name == "nodata":
            continue
        fields.append(name)
        values.append(_as_value(name, value))
    callback = _WithMetadata(fields=tuple(fields), no_nodata=nodata is None)
    return pl.map_batches([raster, *values], callback, return_dtype=pl.self_dtype(), is_elementwise=True)


def _as_value(name: str, value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if value is None:
        return pl.lit(None, dtype=pl.Float64)
    if is_number(value) or isinstance(value, np.number):
        return pl.lit(value)
    raise UsageError(f"with_metadata: {name}={value!r}; expected a number, an expression or None")


def _cast(values: pl.Series, dtype: pl.DataType, name: str, raster: str) -> pl.Series:
    cast = values.cast(dtype, strict=False)
    is_lost = values.is_not_null() & cast.is_null()
    if dtype.is_integer():  # a fraction must not become the whole number below it
        is_lost |= values.is_not_null() & (cast.cast(values.dtype, strict=False) != values).fill_null(value=True)
    if is_lost.any():
        lost = values.filter(is_lost)[0]
        raise UsageError(
            f"with_metadata: {name}={lost!r} does not fit {raster!r}, whose pixels are {pixel_dtype_name(dtype)}; "
            "no pixel can have that value, so pass one that fits, or nodata=None for none"
        )
    return cast


def pixel_dtype_name(dtype: pl.DataType) -> str:
    """Return the name of a pixel dtype, for a message."""
    return str(pixel_dtype(dtype)) if is_raster_dtype(dtype) else str(dtype)
