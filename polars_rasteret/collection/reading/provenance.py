"""Who named the hrefs of a collection?

A collection from elsewhere may name any path of this machine. So `scan_with_provenance` marks every raster value with the place
of its collection. The mark is in the flag byte of ``tiles``, without which nothing can be read. So it goes wherever the value
goes, through joins, renames, Parquet and other processes, and the reader far below Polars sees it. Only scans of remote places
pay for the mark. Filters and column selection still sink into the scan, because no other column is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.fetch.addresses import Reach, reaches_of
from polars_rasteret.fetch.places import origin
from polars_rasteret.fetch.sources.cloud import endpoint_of
from polars_rasteret.hrefs import Provenance
from polars_rasteret.tiff.tile_flags import first_byte

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_EVERY_FLAG = [(ignore, borrowed) for ignore in (False, True) for borrowed in (False, True)]


def provenance_of(path: str, storage_options: Mapping[str, Any] | None) -> Provenance:
    """Return the provenance of the hrefs of a collection, by the place that the collection is scanned from."""
    place = origin(path)
    if place == "file":
        return Provenance.HERE
    scheme, _, host = place.partition("://")
    if scheme not in ("http", "https"):
        if (endpoint := endpoint_of(scheme, storage_options or {})) is None:
            return Provenance.REMOTE
        host = origin(endpoint).partition("://")[2]
    host = host.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return Provenance.LOOPBACK if reaches_of(host) == {Reach.LOOPBACK} else Provenance.REMOTE


def scan_with_provenance(scan: pl.LazyFrame, bands: Iterable[str], provenance: Provenance) -> pl.LazyFrame:
    """Return the scan with every raster value marked with a provenance; a stricter mark stays."""
    if provenance is Provenance.HERE:
        return scan
    return scan.with_columns(
        pl.col(band).struct.with_fields(tiles=_tiles_with_provenance(provenance)) for band in bands
    )


def _tiles_with_provenance(provenance: Provenance) -> pl.Expr:
    tiles = pl.field("tiles")
    first = tiles.bin.head(1)
    byte = pl.lit(first_byte(ignore_nodata=False, provenance=provenance))  # also for flags that nobody wrote
    for ignore, borrowed in _EVERY_FLAG:
        flags = {"ignore_nodata": ignore, "is_borrowed": borrowed}
        own = [first_byte(provenance=one, **flags) for one in Provenance]
        byte = pl.when(first.is_in(own[:provenance])).then(pl.lit(own[provenance])).otherwise(byte)
        byte = pl.when(first.is_in(own[provenance:])).then(first).otherwise(byte)
    return pl.when(tiles.bin.size() > 0).then(byte + tiles.bin.slice(1)).otherwise(tiles)
