"""How do rasters with borrowed tile tables become rasters that need no look at their file?

The headers of the files are read, many at once, and what they say takes the place of the borrowed tables. Frames in, frames out.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.options import current_options
from polars_rasteret.pixels.rasters.own_tables import columns_with_own_tables
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of
from polars_rasteret.schema import raster_columns
from polars_rasteret.tiff.tile_flags import is_borrowed
from polars_rasteret.tiff.tile_table import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

_ROWS_AT_ONCE = 1_000
"""Records whose headers are read together and held."""


def with_native_rasters(frame: pl.DataFrame, *, is_quiet: bool = False) -> pl.DataFrame:
    """Return the frame with tables by the headers of their files, and scale and offset where these state them.

    Where a header cannot be read, the borrowed table stays, so that a later read looks again. One warning has their number,
    unless `is_quiet`.
    """
    bands = [name for name in raster_columns(frame.schema) if _any_borrowed(frame[name])]
    if not bands:
        return frame
    faults: list[str] = []
    pieces = [_native(piece, bands, faults) for piece in frame.iter_slices(_ROWS_AT_ONCE)]
    if faults and not is_quiet:
        warnings.warn(
            f"{len(faults)} rasters keep what rasteret knew of them, because their headers could not be read; the first: "
            f"{faults[0]}. pr.refresh(path) tries again.",
            RuntimeWarning,
            stacklevel=3,
        )
    return pl.concat(pieces)


def _any_borrowed(series: pl.Series) -> bool:
    tiles = series.struct.field("tiles")
    return any(is_borrowed(first) for first in tiles.bin.head(1).unique() if first)


def _native(frame: pl.DataFrame, bands: Sequence[str], faults: list[str]) -> pl.DataFrame:
    borrowed = raster_columns_of(frame[name] for name in bands)
    asked = [column.reference_id for column in borrowed]
    options = current_options(on_error="null").begun()
    own = columns_with_own_tables(borrowed, asked, options)
    columns = [_column(before, after, faults) for before, after in zip(borrowed, own, strict=True)]
    return frame.with_columns(columns)


def _column(before: RasterColumn, after: RasterColumn, faults: list[str]) -> pl.Series:
    changed = {
        at: (pack(new.tiles), *after.own_scales.get(at, (None, None)))
        for at, (old, new) in enumerate(zip(before.references, after.references, strict=True))
        if old is not new
    }
    faults += [str(fault) for at, fault in after.faults.items() if at not in before.faults]
    if not changed:
        return before.series
    at = np.array(list(changed), np.int64)
    place = np.full(len(before.references) + 1, -1, np.int64)
    place[at] = np.arange(len(at))
    row = pl.Series(place[before.reference_id])  # the last entry is for rows without a raster
    index = row.set(row < 0, None)
    told = {
        name: pl.Series(name, [one[number] for one in changed.values()], dtype=dtype).gather(index)
        for number, (name, dtype) in enumerate({"tiles": pl.Binary, "scale": pl.Float64, "offset": pl.Float64}.items())
    }
    fields = before.series.struct.unnest().with_columns(
        tiles=pl.coalesce(told["tiles"], "tiles"),
        scale=pl.coalesce("scale", told["scale"]),
        offset=pl.coalesce("offset", told["offset"]),
    )
    whole = pl.DataFrame({"old": before.series, "new": fields.to_struct("new").cast(before.series.dtype)})
    return whole.select(pl.when(pl.col("old").is_not_null()).then("new").alias(before.name)).to_series()
