"""How is an elementwise expression over raster columns built?

Each expression is ``map_batches(..., is_elementwise=True)``: a value depends on its row alone, so Polars may push filters, limits
and column selection below the expression.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import checked_bands
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.geo.crs import NATIVE, normalize_crs
from polars_rasteret.grids.windows import SharedWindows, Windows
from polars_rasteret.pairing.stated_crs import refuse_other_native
from polars_rasteret.pixels.reading import BandRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

NO_CRS = "crs is not given. Pass crs=4326 for longitude and latitude, or crs='native' for each raster's own system"


def asked_rows(columns: Sequence[RasterColumn], windows_of: Callable[[PixelGrids], Windows]) -> dict[str, BandRows]:
    """Return the windows of each column by its name; each row is its own target."""
    asked = {}
    shared = SharedWindows(windows_of)
    for column in columns:
        windows = shared.of(column.grids_of(column.reference_id))
        reference_id, faults = column.readable(column.reference_id, windows)
        asked[column.name] = BandRows(
            column=column, reference_id=reference_id, row=None, windows=windows, faults=faults
        )
    return asked


def in_batches(options: ReadOptions) -> ReadOptions:
    """Return the options of one batch. In a dry run they have the mark that Polars decides which rows are read together."""
    options = options.begun()
    if options.dry_run is None:
        return options
    return replace(options, dry_run=replace(options.dry_run, in_batches=True))


def band_expressions(what: str, bands: Any) -> list[pl.Expr]:
    """Return one expression per band, for functions that read several bands together."""
    return [pl.col(name) for name in checked_bands(what, bands)]


def mapped(inputs: list[pl.Expr], callback: Any, dtype: Any, form: str) -> pl.Expr:
    """Return the expression that maps a callback over batches of rows, elementwise."""
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    result = pl.map_batches(inputs, callback, return_dtype=dtype, is_elementwise=True)
    return result if form == "single" else result.alias("pixels")


def normalized_crs(crs: Any) -> str | None:
    """Return the normalized name of a CRS; None and ``"native"`` are returned unchanged."""
    if crs is None or (isinstance(crs, str) and crs == NATIVE):
        return crs
    return normalize_crs(crs)


def check_native(geometry: pl.Series, crs: str | None, columns: Sequence[RasterColumn], *, what: str) -> None:
    """Raise for ``crs="native"`` when a geometry column states a CRS that is not that of the rasters."""
    if crs == NATIVE:
        refuse_other_native(geometry, (one for column in columns for one in column.grids.crs), what=what)


def known_crs(crs: str | None) -> str:
    """Return a CRS that was checked when the expression was written."""
    assert crs is not None
    return crs


def check_unscale(what: str, unscale: object) -> None:
    """Raise `UsageError` when `unscale` is not a Boolean; a list is for verbs, which have several bands."""
    if not isinstance(unscale, bool):
        raise UsageError(f"{what}: unscale={unscale!r}; an expression takes True or False (verbs take a list of bands)")


def same_length(series: Sequence[pl.Series]) -> list[pl.Series]:
    """Return series of equal length: literals, which arrive with one value, are repeated."""
    n_rows = (
        min(len(one) for one in series) if any(len(one) == 0 for one in series) else max(len(one) for one in series)
    )
    return [
        one if len(one) == n_rows else one.head(0) if n_rows == 0 else one.new_from_index(0, n_rows) for one in series
    ]
