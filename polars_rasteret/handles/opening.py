"""How does an href, or a row of a collection, become a handle?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.engine import unpacked
from polars_rasteret.errors import UsageError
from polars_rasteret.handles.background import in_background
from polars_rasteret.handles.handle import RasterHandle
from polars_rasteret.schema import RASTER_FIELDS, is_raster_dtype, polars_dtype, raster_columns, raster_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS_AT_ONCE = 1_000
"""Rows of a collection that are held while handles are made of them."""


def open(  # noqa: A001 - the public name
    href_or_row: Any,
    *,
    bands: Sequence[str] | Mapping[str, int] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> RasterHandle:
    """Open one GeoTIFF, or one record of a collection, to read its pixels without a query.

    Parameters
    ----------
    href_or_row
        Path or URL of a GeoTIFF, whose header is read now. Or a row of a collection, which needs no request: a frame with one
        row, or a dict as from ``frame.row(0, named=True)``.
    bands
        For a path or URL: names of its bands, as in `build_from_files`. For a row: the bands of the handle.
    storage_options, credential_provider
        For a URL in a bucket, as in `build_from_files`.

    Returns
    -------
    RasterHandle
        Handle of the record.

    Raises
    ------
    UsageError
        When the argument is not one file or one row.
    FileFormatError, FetchError
        When the header cannot be read.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> pr.open("memory://example-scenes/first.tif").read("b1", window=(0, 2, 0, 3))
    array([[1000, 1001, 1002],
           [1064, 1065, 1066]], dtype=uint16)
    """
    if isinstance(href_or_row, str | os.PathLike):
        from polars_rasteret.ingest.build_from_files import build_from_files

        found = build_from_files(
            [os.fspath(href_or_row)],
            bands=bands,
            on_error="raise",
            progress=False,
            storage_options=storage_options,
            credential_provider=credential_provider,
        )
        return RasterHandle(_one_row(found, f"{os.fspath(href_or_row)!r}"))
    if storage_options is not None or credential_provider is not None:
        raise UsageError(
            "open: storage_options and credential_provider are for a path or URL; the files of a row are opened as "
            "pr.configure_store says"
        )
    row = _row_of(href_or_row)
    return RasterHandle(row if bands is None else _with_bands(row, bands))


async def open_async(href_or_row: Any, **words: Any) -> RasterHandle:
    """Open one GeoTIFF or record as `open` does, without blocking the event loop.

    Parameters
    ----------
    href_or_row, **words
        As in `open`.

    Returns
    -------
    RasterHandle
        Handle of the record.

    Examples
    --------
    >>> import asyncio
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> asyncio.run(pr.open_async("memory://example-scenes/first.tif", bands=["red", "nir"])).bands
    ['red', 'nir']
    """
    return await in_background(open, href_or_row, **words)


def iter_rasters(lf: pl.LazyFrame, bands: str | Sequence[str] | None = None) -> Iterator[RasterHandle]:
    """Return a handle of each record, one after another, in the order of the rows; only some rows are held at a time."""
    schema = lf.collect_schema()
    if not raster_columns(schema):
        raise UsageError(f"no column is a raster column; there are {', '.join(schema.names())}")
    return _each(lf, None if bands is None else [bands] if isinstance(bands, str) else bands)


def _each(lf: pl.LazyFrame, bands: Sequence[str] | None) -> Iterator[RasterHandle]:
    for frame in lf.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=True):
        for number in range(frame.height):
            row = frame[number : number + 1]
            yield RasterHandle(row if bands is None else _with_bands(row, bands))


def _row_of(row: Any) -> pl.DataFrame:
    if isinstance(row, Mapping):
        return pl.DataFrame([_series(str(name), value) for name, value in row.items()])
    if isinstance(row, pl.LazyFrame | pl.DataFrame):
        return _one_row(row.lazy(), "the frame")
    raise UsageError(
        f"open: got a {type(row).__name__}; expected a path, a URL, a frame with one row, or a dict of a row"
    )


def _series(name: str, value: Any) -> pl.Series:
    """Return one value of a row as a column; a raster value gets the dtype of its pixels again."""
    if isinstance(value, Mapping) and value.keys() >= RASTER_FIELDS.keys() and isinstance(value["tiles"], bytes):
        known = {field: value[field] for field in RASTER_FIELDS}
        return pl.Series(name, [known], dtype=raster_dtype(polars_dtype(unpacked(value["tiles"]).dtype)))
    return pl.Series(name, [value])


def _one_row(frame: pl.LazyFrame, told: str) -> pl.DataFrame:
    rows = frame.head(2).collect()
    if rows.height != 1:
        raise UsageError(
            f"open: {told} has {'no' if rows.height == 0 else 'several'} records; expected one. Take lf.head(1), or go through "
            "all of them: lf.raster.iter_rasters()"
        )
    return rows


def _with_bands(row: pl.DataFrame, bands: Sequence[str] | Mapping[str, int]) -> pl.DataFrame:
    if isinstance(bands, Mapping):
        raise UsageError(
            "open: bands is a dict, which is for a path or URL; a row has named bands, pass a list of names"
        )
    known = raster_columns(row.schema)
    if missing := [name for name in bands if name not in known]:
        raise UsageError(f"there is no band {', '.join(missing)}; the record has {', '.join(known)}")
    others = [name for name, dtype in row.schema.items() if not is_raster_dtype(dtype)]
    return row.select(*others, *bands)
