"""Which parts of a collection did rasteret write, and what are they here?

Dtypes of bands come from footers, once per file while it stays the same. How columns are made of theirs belongs in
``rasteret_format``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.storage.object_store import open_object
from polars_rasteret.collection.storage.parts import is_remote, polars_options
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.fetch.places import BUCKET_SCHEMES
from polars_rasteret.hrefs import shown
from polars_rasteret.rasteret_format.band_columns import bands_of, is_rasteret
from polars_rasteret.rasteret_format.pixel_dtypes import dtype_names, dtype_names_of_frame, settled_dtypes
from polars_rasteret.rasteret_format.records import own_schema

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from polars_rasteret.collection.storage.parts import Part

_MOST_REMEMBERED = 10_000
_known: dict[Hashable, dict[str, frozenset[str]]] = {}


def schema_here(part: Part, columns: Mapping[str, pl.DataType], **options: Any) -> dict[str, pl.DataType]:
    """Return the columns that a part of rasteret's has here."""
    return own_schema(columns, settled_dtypes([band_dtypes(part, columns, **options)], part.path))


def band_dtypes(
    part: Part, columns: Mapping[str, pl.DataType], *, bands: Sequence[str] | None = None, **options: Any
) -> dict[str, frozenset[str]]:
    """Return the dtypes of the files of each band in a part of rasteret's; an empty set for a band without values.

    `bands` names the bands of a part without assets.
    """
    bands = bands_of(columns) if bands is None else bands
    key = None if part.identity is None else (part.path, part.identity, tuple(bands))
    if key is not None and (known := _known.get(key)) is not None:
        return known
    found = _read(part, bands, options)
    if key is not None:
        if len(_known) >= _MOST_REMEMBERED:
            _known.clear()
        _known[key] = found
    return found


def refuse_rasteret(parts: Sequence[Part], columns: Sequence[Mapping[str, pl.DataType]]) -> None:
    """Refuse to change parts that rasteret wrote.

    Raises
    ------
    UsageError
        The message names a part, and the ways to a collection that can be changed.
    """
    theirs = [part for part, one in zip(parts, columns, strict=True) if is_rasteret(one)]
    if theirs:
        raise UsageError(
            f"{shown(theirs[0].path)} was written by rasteret, which could not read it after this change: write a collection of "
            "your own with scan_collection(path).raster.sink_collection(other_path), or turn this one into a collection of this "
            "package with pr.refresh(path)"
        )


def _read(part: Part, bands: Sequence[str], options: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    import pyarrow as pa

    try:
        if not is_remote(part.path):
            return dtype_names(part.path, bands)
        if part.path.partition("://")[0] in BUCKET_SCHEMES:
            with open_object(part.path, **options) as opened:
                return dtype_names(opened, bands)
    except pa.ArrowException as error:
        raise FileFormatError(f"{shown(part.path)}: its footer cannot be read: {error}") from error
    # Only Polars reads the other places, and it does not show their statistics.
    scan = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    return dtype_names_of_frame(scan, bands)
