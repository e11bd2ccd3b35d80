"""How does a table with one row per record, and hrefs in its columns, become a collection?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polars_rasteret.collection.storage.about import about_of_caller
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.writing.signed_hrefs import with_keys_kept_back
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.headers import Header, Unreadable
from polars_rasteret.ingest.headers import read_headers as headers_of_files
from polars_rasteret.ingest.indexed_files import with_unread
from polars_rasteret.ingest.later_headers import checked_pixel_dtypes, with_later_rasters
from polars_rasteret.ingest.records import BandFiles, records_frame
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.ingest.resumable_build import RecordPlan, build_into
from polars_rasteret.ingest.source_files import NamedBy
from polars_rasteret.ingest.table_bands import bands_of_rows, places_of_bands
from polars_rasteret.ingest.table_columns import record_columns
from polars_rasteret.ingest.table_sources import href_resolver, narrowed, table_of
from polars_rasteret.schema import RECORD_COLUMNS

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Mapping, Sequence

    import polars as pl

    from polars_rasteret.ingest.table_bands import BandPlace
    from polars_rasteret.ingest.table_sources import Table

_ROW = "__row"


def build_from_table(
    frame: Any,
    *,
    bands: Mapping[str, str | tuple[str, int]] | str,
    id: str = "id",  # noqa: A002 - the column's name
    datetime: str | None = "datetime",
    geometry: str | None = "geometry",
    column_map: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
    filter: pl.Expr | None = None,  # noqa: A002 - Polars' word
    rewrite: Mapping[str, str] | None = None,
    read_headers: bool = True,
    pixel_dtypes: Any = None,
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    description: str | None = None,
    source: str | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection with one record per row of a table; only headers are read, each file's once.

    Parameters
    ----------
    frame
        LazyFrame, DataFrame, GeoDataFrame, or anything with ``__arrow_c_stream__``; or the path of Parquet: a file, folder or
        glob, local, in a bucket, at ``hf://datasets/org/name[@revision]/path`` or http(s). Only rows and columns that the build
        needs are read of it.
    bands
        Band name to the column that holds its href, or to ``(column, 0-based band index)``; a field of a struct is
        ``"column.field"``. Or the name of a column of STAC assets, ``"assets"``: each GeoTIFF without roles, or with the role
        ``data`` or a quality role, is a band; of several bands in a file, ``key.1``, ``key.2``, ... A null href is a band that
        this record does not have.
    id, datetime, geometry
        Columns of the table that become ``id``, ``datetime`` and ``geometry``. ``datetime``: a Datetime with a zone, a Date,
        ISO 8601 strings (a date, or a time with a zone), or years, which become intervals (``start_datetime``,
        ``end_datetime``), too. ``geometry``: GeoArrow, WKB or EWKB, in longitude and latitude unless GeoArrow, GeoParquet or
        EWKB tell another CRS; where it is null or missing, the footprint of the images is used. A default name that the table
        does not have is left out.
    column_map
        Other names for columns of the table, ``{"fid": "id", "geom": "geometry"}``; `id`, `datetime`, `geometry` and `bands`
        speak of the new names.
    columns
        The columns of the table to keep beside those that are part of a record; None: all.
    filter
        Rows to take, an expression over the columns of the table under its own names. It goes into the scan of the table.
    rewrite
        Prefix of hrefs to what stands there instead, ``{"https://host/": "s3://bucket/"}``. That is the caller's word: a table
        from elsewhere may lead to files of this machine so, and only so.
    read_headers
        False: no file is asked now. A query reads the headers of the rows and bands that it needs, each once per process;
        ``header_error`` reads those of all bands. Rows are found by ``geometry`` or ``bbox`` of the table, a row without them
        by its headers.
    pixel_dtypes
        With ``read_headers=False``, the dtype of the pixels, ``pl.UInt16``, or a mapping of band to dtype: no header tells it
        before a query runs. A file whose pixels it does not hold exactly cannot be used.
    into
        A folder that the collection is written to, in parts, as in `build_from_files`: it goes on after a kill, and keeps the
        records that are there (with their columns) while their files are unchanged. None: the collection is built in memory.
    on_error
        ``"null"``: a file that cannot be used becomes a null raster, with the reason in ``header_error``. ``"raise"``: such a
        file raises an error.
    progress
        Whether to show a progress bar of files; None: as the options say.
    description, source
        What the files of `into` say of the collection, as in ``sink_collection``.
    wait_s
        Seconds to wait for another writer of a local `into`.
    storage_options, credential_provider
        As in `polars.scan_parquet`: for the table, for files in buckets, and for writing `into`. They are remembered for these
        buckets, as by ``configure_store``, so that their pixels can be read.

    Returns
    -------
    LazyFrame
        ``id``, ``datetime``, ``geometry``, ``bbox``, ..., the other columns of the table, one raster column per band.

    Raises
    ------
    UsageError
        When a column is missing or has a dtype that does not fit.
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``.

    Notes
    -----
    Relative hrefs begin in the folder of the process; those of a table that is given by its path, in the folder of that table.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> table = pl.DataFrame({"id": ["a"], "image": ["memory://example-scenes/first.tif"], "label": ["field"]})
    >>> scenes = pr.build_from_table(table, bands={"red": ("image", 0), "nir": ("image", 1)})
    >>> scenes.select("id", "label", pl.col("nir").struct.field("band_index")).collect().row(0)
    ('a', 'field', 1)
    """
    return build_chosen(
        frame,
        bands=bands,
        id=id,
        datetime=datetime,
        geometry=geometry,
        column_map=column_map,
        columns=columns,
        filter=filter,
        rewrite=rewrite,
        read_headers=read_headers,
        pixel_dtypes=pixel_dtypes,
        into=into,
        on_error=on_error,
        progress=progress,
        description=description,
        source=source,
        wait_s=wait_s,
        storage_options=storage_options,
        credential_provider=credential_provider,
    )


def build_chosen(
    frame: Any,
    *,
    chosen: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None,
    finished: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    bands: Mapping[str, str | tuple[str, int]] | str,
    id: str = "id",  # noqa: A002 - the column's name
    datetime: str | None = "datetime",
    geometry: str | None = "geometry",
    column_map: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
    filter: pl.Expr | None = None,  # noqa: A002 - Polars' word
    rewrite: Mapping[str, str] | None = None,
    read_headers: bool = True,
    pixel_dtypes: Any = None,
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    description: str | None = None,
    source: str | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection as `build_from_table` does, of some records; headers of others stay unread.

    Parameters
    ----------
    frame, bands, id, datetime, geometry, column_map, columns, filter, rewrite, read_headers, pixel_dtypes
        As in `build_from_table`.
    into, on_error, progress, description, source, wait_s
        As in `build_from_table`.
    chosen
        A filter of records: ``id``, times and places are in the names and dtypes of a collection. None: all.
    finished
        A function of finished records, raster columns included, before they are written; None: they stay as they are.
    storage_options, credential_provider
        As in `build_from_table`.
    """
    if on_error not in ("raise", "null"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'null'")
    about = about_of_caller(description, source, is_kept=into is not None)
    if read_headers and pixel_dtypes is not None:
        raise UsageError("pixel_dtypes= is of read_headers=False; headers tell the dtypes of pixels")
    if not read_headers and into is not None:
        raise UsageError(
            "into= writes what headers say, and read_headers=False reads none; leave one of them out. What such a build returned "
            "may be written with .raster.sink_collection(path), which reads the headers"
        )
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    table, kept = narrowed(table_of(frame, **options), filter=filter, columns=columns, column_map=column_map)
    schema = table.frame.collect_schema()
    places = places_of_bands(bands, schema)
    words = _words(table, schema, id=id, datetime=datetime, geometry=geometry)
    needed = _needed(schema, words, places, kept)
    rows = with_keys_kept_back(table.frame.select(needed).collect())
    if words["geometry"] is not None:
        rows = rows.with_columns(table.stating_crs(rows[words["geometry"]]))
    if chosen is not None:
        records = record_columns(rows, **words, kept=()).lazy().with_row_index(_ROW)
        rows = rows[chosen(records).select(_ROW).collect().to_series()]
    found = bands_of_rows(bands, places, rows)
    taken = {one.name for one in found} | (
        {place.column for place in places.values()} if isinstance(bands, str) else set()
    )
    base = record_columns(rows, **words, kept=set(kept) - taken)
    resolved = href_resolver(table, rewrite)
    of_band = {one.name: [None if href is None else resolved(href) for href in one.hrefs] for one in found}
    index_of = {one.name: one.band_index for one in found}
    named_by = NamedBy(table.provenance, rewrite)
    strangers = (
        {href: named_by(href) for hrefs in of_band.values() for href in hrefs if href is not None}
        if table.provenance is not Provenance.HERE
        else {}
    )
    if not read_headers:
        dtypes = checked_pixel_dtypes(pixel_dtypes, list(of_band))
        named = {href for hrefs in of_band.values() for href in hrefs if href is not None}
        remember_stores(sorted(named), **options, provenance=strangers)
        return with_later_rasters(base, of_band, index_of, dtypes, on_error=on_error, named_by=named_by)
    wanted: dict[str, set[int]] = {}
    for name, hrefs in of_band.items():
        for href, index in zip(hrefs, index_of[name].tolist(), strict=True):
            if href is not None:
                wanted.setdefault(href, set()).add(index)

    def make(
        rows: Sequence[int], headers: Mapping[str, Header | Unreadable], accepted: Mapping[str, np.dtype[Any]]
    ) -> pl.DataFrame:
        used = dict.fromkeys(href for hrefs in of_band.values() for row in rows if (href := hrefs[row]) is not None)
        number = {href: at for at, href in enumerate(used)}
        its = [headers[href] for href in used]
        sources = [
            BandFiles(
                name=name,
                file_id=np.array(
                    [-1 if (href := hrefs[row]) is None else number[href] for row in rows], dtype=np.int64
                ),
                band_index=index_of[name][list(rows)],
            )
            for name, hrefs in of_band.items()
        ]
        made = records_frame(base[list(rows)], sources, its, on_error=on_error, accepted=accepted)
        made = with_unread(made, sources, its, own_names=False)
        return made if finished is None else finished(made)

    if into is not None:
        hrefs_of_row = zip(*of_band.values(), strict=True)
        plan = RecordPlan(
            keys=[
                (one, tuple(sorted({href for href in hrefs if href is not None})))
                for one, hrefs in zip(base["id"].to_list(), hrefs_of_row, strict=True)
            ],
            bands=list(of_band),
            bands_of=lambda row: {name for name, hrefs in of_band.items() if hrefs[row] is not None},
            indices=lambda href: sorted(wanted[href]),
            is_made_of_rasters=True,
            frame=make,
            provenance=strangers,
            about=about,
        )
        return build_into(plan, into, progress=progress, wait_s=wait_s, **options)
    headers = headers_of_files(
        list(wanted),
        [sorted(one) for one in wanted.values()],
        progress=progress,
        provenance=strangers,
        **options,
    )
    return make(range(rows.height), {one.href: one for one in headers}, {}).drop(UNREAD).lazy()


def _words(
    table: Table,
    schema: Mapping[str, Any],
    *,
    id: str,  # noqa: A002 - as in the caller's words
    datetime: str | None,
    geometry: str | None,
) -> dict[str, Any]:
    """Return the columns that become id, datetime and geometry; a default name that is not there is None."""
    told = ", ".join(schema)
    if id not in schema:
        raise UsageError(f"id={id!r}: the table has no such column; it has {told}")
    if geometry == "geometry" and geometry not in schema:
        geometry = table.primary_geometry or geometry
    words: dict[str, Any] = {"id": id}
    for name, column in (("datetime", datetime), ("geometry", geometry)):
        words[name] = column if column in schema else None
        if column is not None and column not in (name, *schema):
            raise UsageError(f"{name}={column!r}: the table has no such column; it has {told}")
    return words


def _needed(
    schema: Mapping[str, Any], words: Mapping[str, str | None], places: Mapping[str, BandPlace], kept: Collection[str]
) -> list[str]:
    wanted = {*words.values(), *(place.column for place in places.values()), *kept, *RECORD_COLUMNS}
    return [name for name in schema if name in wanted]
