"""Whose word are the hrefs of a collection?

A collection from elsewhere may name any path of this machine. `marked` writes into every raster value that it came from there:
into the flag byte of ``tiles``, without which nothing can be read. So the mark goes wherever the value goes, through joins,
renames, Parquet and other processes, and the reader, far below Polars, knows it. Only scans of remote places pay for it; filters
and column selection still sink into the scan, because no other column is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.fetch.addresses import Reach, reaches_of
from polars_rasteret.fetch.sources.cloud import endpoint_of
from polars_rasteret.fetch.sources.stores import origin
from polars_rasteret.hrefs import ToldBy
from polars_rasteret.tiff.tile_flags import first_byte

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ANY_TELLER = [first_byte(ignore_nodata=True, told_by=one) for one in ToldBy]
_REMOTE = [first_byte(ignore_nodata=ignore, told_by=ToldBy.REMOTE) for ignore in (False, True)]


def provenance_of(path: str, storage_options: Mapping[str, Any] | None) -> ToldBy:
    """Say whose word a collection is, by the place that it is scanned from."""
    place = origin(path)
    if place == "file":
        return ToldBy.HERE
    scheme, _, host = place.partition("://")
    if scheme not in ("http", "https"):
        if (endpoint := endpoint_of(scheme, storage_options or {})) is None:
            return ToldBy.REMOTE
        host = origin(endpoint).partition("://")[2]
    host = host.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return ToldBy.LOOPBACK if reaches_of(host) == {Reach.LOOPBACK} else ToldBy.REMOTE


def marked(scan: pl.LazyFrame, bands: Iterable[str], told_by: ToldBy) -> pl.LazyFrame:
    """Give the scan with every raster value marked as this teller's word; a stricter mark stays."""
    if told_by is ToldBy.HERE:
        return scan
    return scan.with_columns(pl.col(band).struct.with_fields(tiles=_marked_tiles(told_by)) for band in bands)


def _marked_tiles(told_by: ToldBy) -> pl.Expr:
    tiles = pl.field("tiles")
    first = tiles.bin.head(1)
    byte = (
        pl.when(first.is_in(_ANY_TELLER))
        .then(pl.lit(first_byte(ignore_nodata=True, told_by=told_by)))
        .otherwise(pl.lit(first_byte(ignore_nodata=False, told_by=told_by)))
    )
    if told_by is not ToldBy.REMOTE:
        byte = pl.when(first.is_in(_REMOTE)).then(first).otherwise(byte)
    return pl.when(tiles.bin.size() > 0).then(byte + tiles.bin.slice(1)).otherwise(tiles)
