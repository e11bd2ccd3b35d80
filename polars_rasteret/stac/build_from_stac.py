"""How does a STAC API, a catalog, or a list of items become a collection?"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from polars_rasteret.collection.storage.about import NOTHING_SAID, About, about_of_caller
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.errors import UsageError
from polars_rasteret.ingest.streamed_build import build_streamed
from polars_rasteret.stac.item_columns import united
from polars_rasteret.stac.item_records import item_records
from polars_rasteret.stac.item_sources import pages_of
from polars_rasteret.stac.item_stream import ItemStream
from polars_rasteret.stac.items import Items
from polars_rasteret.stac.page_tables import PageTables
from polars_rasteret.stac.read_pages import HeadersOfPages
from polars_rasteret.stac.search_words import search_of

if TYPE_CHECKING:
    import os
    from collections.abc import Generator, Mapping, Sequence

    import polars as pl

    from polars_rasteret.stac.item_columns import ItemColumns
    from polars_rasteret.stac.search_words import Search


def build_from_stac(
    source: Any,
    *,
    collections: str | Sequence[str] | None = None,
    bands: Sequence[str] | Mapping[str, str] | None = None,
    bbox: Sequence[float] | None = None,
    intersects: Any = None,
    datetime: Any = None,
    ids: str | Sequence[str] | None = None,
    query: Mapping[str, Any] | Sequence[str] | None = None,
    filter: str | Mapping[str, Any] | pl.Expr | None = None,  # noqa: A002 - as in STAC APIs
    sortby: Any = None,
    max_items: int | None = None,
    alternate: str | Sequence[str] | None = None,
    rewrite: Mapping[str, str] | None = None,
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    description: str | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection with one record per STAC item; only headers of their files are read.

    Parameters
    ----------
    source
        URL of a STAC API (needs the extra ``stac``); path or URL of a static catalog, or of items as JSON; STAC-GeoParquet, as a
        path, a URL or a frame; items as dicts or pystac objects; an ItemCollection; a search of pystac-client.
    collections, ids
        Only items of these collections, or with these ids.
    bands
        Asset keys, else common names that one GeoTIFF asset has; ``"image.4"`` is the fourth band of an asset. Or new names to
        these: ``{"B04": "red", "N": "image.4"}``. None: the bands of the catalog where it knows the items (``pr.datasets``),
        else every GeoTIFF asset with role ``data``, a quality role, or no role, that is no ``thumbnail``, ``overview`` or
        ``visual``; of several bands ``key.1``, ``key.2``, ...
    bbox, intersects
        Where items must be, in longitude and latitude: a box (minx > maxx crosses the antimeridian), or a geometry.
    datetime
        When: ``"2024"``, ``"2024-01"``, ``"2024-01-01/2024-01-31"``, a date, an instant with a zone, or a pair of them; the last
        day counts in full.
    query, filter, sortby
        For APIs that declare them: a dict of the query extension, CQL2 as text or dict, names of properties (``"-datetime"``).
        For STAC-GeoParquet `filter` is a Polars expression.
    max_items
        At most so many items.
    alternate
        Name of alternate locations, or several in order of preference: where an asset has such an ``alternate``, or there is an
        asset ``{name}_{key}``, its href is used.
    rewrite
        Beginnings of hrefs to what they become: ``{"https://host/": "s3://bucket/"}``.
    into
        A folder that the collection is written to, in parts, while items come: of a search of any length, the records of one part
        are held. It goes on after a kill, and keeps the records that are there while id and hrefs are the same and the files
        unchanged. A path that ends in ``.parquet`` is one file, written at the end. None: the collection is built in memory.
    on_error
        ``"null"``: a file that cannot be used becomes a null raster, with the reason in ``header_error``. ``"raise"``: such a
        file raises an error.
    progress
        Whether to show a progress bar of files; None: as the options say.
    description
        What the files of `into` say of the collection, as in ``sink_collection``; its source is the column ``collection``.
    wait_s
        Seconds to wait for another writer of a local `into`.
    storage_options, credential_provider
        As in `polars.scan_parquet`: for files in buckets, and for writing `into`. They are remembered for these buckets, as by
        ``configure_store``.

    Returns
    -------
    LazyFrame
        ``id``, ``datetime``, ``geometry``, ``bbox``, ..., one column per property of the items, one raster column per band.
        Integers are Int64, numbers Float64, objects and mixed values JSON text. A property that is named like another column
        becomes ``properties:NAME``. Nodata, scale and offset are those that items state, else the catalog, else the files; the
        CRS is that of the file, else that of the item.

    Raises
    ------
    UsageError
        When a word of the search is not valid, or the source does not answer it; when a band name is ambiguous in an item, or no
        item has it.
    FetchError
        When a page of an API or a catalog cannot be had.
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``.

    Warns
    -----
    UserWarning
        Once, with the number of things that are no items, and of items without any of the bands.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> item = {
    ...     "type": "Feature",
    ...     "stac_version": "1.1.0",
    ...     "id": "first",
    ...     "geometry": None,
    ...     "properties": {"datetime": "2024-05-01T10:00:00Z", "eo:cloud_cover": 7},
    ...     "assets": {"red": {"href": "memory://example-scenes/first.tif", "bands": [{"nodata": 0}]}},
    ... }
    >>> pr.build_from_stac([item], datetime="2024-05").select("id", "eo:cloud_cover").collect().row(0)
    ('first', 7)
    """
    if on_error not in ("raise", "null"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'null'")
    about = about_of_caller(description, None, is_kept=into is not None)
    search = search_of(
        collections=collections,
        bbox=bbox,
        intersects=intersects,
        datetime=datetime,
        ids=ids,
        query=query,
        filter=filter,
        sortby=sortby,
        max_items=max_items,
    )
    pages = PageTables(bands=bands, alternate=alternate, rewrite=rewrite)
    return records_of_source(
        source,
        search,
        pages,
        into=into,
        about=about,
        on_error=on_error,
        progress=progress,
        wait_s=wait_s,
        storage_options=storage_options,
        credential_provider=credential_provider,
    )


def records_of_source(
    source: Any,
    search: Search,
    pages: PageTables,
    *,
    into: str | os.PathLike[str] | None = None,
    about: About = NOTHING_SAID,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Return the collection of `build_from_stac`, of checked words; `pages` may know what a catalog says of the bands."""
    options = {"storage_options": storage_options, "credential_provider": credential_provider}
    with closing(HeadersOfPages(progress=progress, **options)) as headers:
        if into is not None:
            stream = ItemStream(tables_of(source, search, pages, **options), pages, headers, on_error=on_error)
            return build_streamed(stream, into, about=about, progress=progress, wait_s=wait_s, **options)
        tables = []
        for table in tables_of(source, search, pages, **options):
            headers.begin(table, pages.provenance(table))
            tables.append(table)
        pages.end()
        made = item_records(united(tables), headers.take(), bands=pages.band_names, on_error=on_error)
    return made.drop(UNREAD).lazy()


def tables_of(source: Any, search: Search, pages: PageTables, **options: Any) -> Generator[ItemColumns, None, None]:
    """Yield the table of each page of a source; at least one, which may be empty."""
    found = pages_of(source, search, **options)
    pages.search, pages.told_by = found.filters, found.provenance
    with closing(found.items):
        for page in found.items:
            yield pages.of_page(page)
            if pages.is_full:
                return
    if not pages.n_pages:
        yield pages.of_page(Items())
