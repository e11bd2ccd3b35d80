"""How do tables of items and the headers of their files become records?

What items state wins over the file for nodata, scale and offset; the file wins over items for CRS, transform, size and dtype.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import normalize_crs
from polars_rasteret.ingest.headers import Header, Unreadable
from polars_rasteret.ingest.indexed_files import with_unread
from polars_rasteret.ingest.records import BandFiles, records_frame
from polars_rasteret.stac.item_columns import ItemColumns, column_name
from polars_rasteret.stac.page_tables import PLANE, bands_of
from polars_rasteret.stac.stated_metadata import with_stated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def item_records(
    table: ItemColumns,
    headers: Mapping[str, Header | Unreadable],
    *,
    bands: Sequence[str] = (),
    on_error: str = "null",
    accepted: Mapping[str, np.dtype[Any]] | None = None,
) -> pl.DataFrame:
    """Return one record per row of a table, with the files that could not be read in a column beside.

    Parameters
    ----------
    table
        Items as `page_tables` makes them.
    headers
        The header of each href in the table.
    bands
        Names of the bands in their order; those of the table that are not among them follow.
    on_error, accepted
        As in `ingest.records.records_frame`.

    Raises
    ------
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``.
    """
    has = bands_of(table)
    frame = table.frame.with_columns(
        pl.lit(None, dtype=pl.Struct({"href": pl.String, "band_index": pl.Int64})).alias(f"{PLANE}{band}")
        for band in bands
        if band not in has
    )
    names = [*bands, *(band for band in has if band not in bands)]
    planes = {band: frame[f"{PLANE}{band}"].struct.unnest() for band in names}
    own = _headers_with_crs(planes, headers)
    number = {header.href: at for at, header in enumerate(own)}
    sources = [
        BandFiles(
            name=band,
            file_id=np.array([-1 if href is None else number[href] for href in columns["href"]], dtype=np.int64),
            band_index=columns["band_index"].fill_null(0).to_numpy(),
        )
        for band, columns in planes.items()
    ]
    base = frame.drop(f"{PLANE}{band}" for band in names)
    base = base.rename({name: column_name(name, names) for name in table.kinds if name in names})
    made = records_frame(base, sources, own, on_error=on_error, accepted=accepted)
    made = made.with_columns(
        with_stated(
            made[band],
            nodata=[None if text is None else _number(text) for text in columns["nodata"]],
            scale=columns["scale"].to_list(),
            offset=columns["offset"].to_list(),
        )
        for band, columns in planes.items()
        if band in has
    )
    return with_unread(made, sources, own, own_names=False)


def _headers_with_crs(
    planes: Mapping[str, pl.DataFrame], headers: Mapping[str, Header | Unreadable]
) -> list[Header | Unreadable]:
    """Return the headers of a table; one without a CRS gets that which the first item of the file states."""
    stated: dict[str, str] = {}
    hrefs: dict[str, None] = {}
    for columns in planes.values():
        hrefs |= dict.fromkeys(columns["href"].drop_nulls().to_list())
        if "crs" in columns.columns:
            pairs = columns.select("href", "crs").drop_nulls().unique("href", keep="first", maintain_order=True)
            stated = dict(pairs.iter_rows()) | stated
    found = []
    for href in hrefs:
        header = headers[href]
        if isinstance(header, Header) and header.crs is None and href in stated:
            crs = _known_crs(stated[href])
            header = header if crs is None else replace(header, crs=crs, crs_refusal=None)
        found.append(header)
    return found


def _known_crs(text: str) -> str | None:
    try:
        return normalize_crs(text)
    except UsageError:
        return None  # what PROJ does not know is as good as not stated


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)
