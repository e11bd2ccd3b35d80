"""How does a dataset of the catalog become a collection?

The catalog says where the dataset is; this module asks there, with its bands, hrefs and rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from polars_rasteret.arguments import checked_bands
from polars_rasteret.catalog.item_facts import first_stated
from polars_rasteret.catalog.known import dataset
from polars_rasteret.collection.queries.subset import subset
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.about import about_of_caller
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.hints import register_hints
from polars_rasteret.ingest.build_from_table import build_chosen
from polars_rasteret.ingest.dataset_access import check_credentials, check_extent, dataset_hints
from polars_rasteret.schema import raster_columns
from polars_rasteret.stac.build_from_stac import records_of_source
from polars_rasteret.stac.catalogued_items import CataloguedItems
from polars_rasteret.stac.page_tables import PageTables
from polars_rasteret.stac.search_words import search_of
from polars_rasteret.stac.stated_metadata import with_stated

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from polars_rasteret.catalog.band_facts import BandSource
    from polars_rasteret.catalog.descriptor import DatasetDescriptor


def build(
    dataset_id: str,
    *,
    bbox: Sequence[float] | None = None,
    datetime: Any = None,
    bands: Sequence[str] | None = None,
    intersects: Any = None,
    ids: Sequence[str] | None = None,
    query: Any = None,
    filter: Any = None,  # noqa: A002 - STAC's word
    sortby: Any = None,
    max_items: int | None = None,
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection of a dataset of the catalog, or open one that is built.

    Parameters
    ----------
    dataset_id
        Id of a dataset; ``pr.datasets()`` lists them, ``pr.register`` and ``pr.register_local`` add more.
    bbox
        ``(xmin, ymin, xmax, ymax)`` in longitude and latitude; xmin > xmax crosses the antimeridian. Required where the dataset
        covers a large part of the Earth.
    datetime
        A period, as in ``subset``: ``"2024-06"``, ``"2024-06-01/2024-07-15"``, the last day included. Required where the dataset
        covers many years.
    bands
        Bands by their names in the catalog; of STAC items also keys of other assets, and common names. None: those of the
        catalog; where no item has one of these, it is null.
    intersects
        Geometry in longitude and latitude, instead of `bbox`.
    ids
        Ids of records.
    query, filter, sortby, max_items
        As in ``build_from_stac``, for datasets of a STAC API.
    into
        A folder that the collection is written to, in parts, as in ``build_from_stac``. None: the collection is built in memory.
    on_error
        ``"null"``: a file that cannot be used becomes a null raster, with the reason in ``header_error``. ``"raise"``: such a
        file raises an error.
    progress
        Whether to show a progress bar of files; None: as the options say.
    wait_s
        Seconds to wait for another writer of a local `into`.
    storage_options, credential_provider
        As in `polars.scan_parquet`: for the files, and for writing `into`. They are remembered by this process for these
        buckets, and written nowhere.

    Returns
    -------
    LazyFrame
        ``id``, ``datetime``, ``geometry``, ``bbox``, ..., the properties of the records, one raster column per band. Where items
        do not state nodata, scale or offset, the rules of the catalog do.

    Raises
    ------
    UsageError
        When there is no such dataset, `bbox` or `datetime` is missing, or its files need credentials and none were given; all
        before the first request.
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``; a search that fails.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> _ = pr.register_local("mine/scenes", f"{folder.name}/scenes", persist=False)
    >>> pr.build("mine/scenes", datetime="2024-05", bands=["red"]).select("id").collect().item()
    'first'
    >>> pr.unregister("mine/scenes")
    >>> folder.cleanup()
    """
    one = dataset(dataset_id)
    if bands is not None:
        bands = checked_bands("build", bands)
    if bbox is not None and intersects is not None:
        raise UsageError("build: give bbox or intersects, not both")
    is_bounded = ids is not None or max_items is not None
    check_extent(
        one,
        has_place=is_bounded or bbox is not None or intersects is not None,
        has_time=is_bounded or datetime is not None,
    )
    check_credentials(one, storage_options=storage_options, credential_provider=credential_provider)
    register_hints(dataset_hints(one))
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    if one.place in ("data", "path"):
        _refuse(one, query=query, filter=filter, sortby=sortby, max_items=max_items, into=into)
        described: dict[str, Any] = {"index": one.index, "descriptor": one} if one.place == "data" else {}
        found = scan_collection(str(getattr(one, one.place)), **described, **options)
        return _narrowed(found, one, bbox=bbox, datetime=datetime, bands=bands, intersects=intersects, ids=ids)
    builds: dict[str, Any] = {"into": into, "on_error": on_error, "progress": progress, "wait_s": wait_s, **options}
    about = about_of_caller(one.description or one.title, one.id)
    if one.place == "table":
        _refuse(one, query=query, filter=filter, sortby=sortby)

        def chosen(records: pl.LazyFrame) -> pl.LazyFrame:
            found = _narrowed(records, one, bbox=bbox, datetime=datetime, bands=None, intersects=intersects, ids=ids)
            return found if max_items is None else found.head(max_items)

        sources = _sources(one, bands)
        return build_chosen(
            one.table,
            chosen=chosen,
            finished=lambda made: _with_rules(made, one, sources),
            bands={name: (source.asset, source.index) for name, source in sources.items()},
            column_map={column: name for name, column in one.columns.items() if column != name},
            rewrite=one.rewrite or None,
            description=about.description if into is not None else None,
            source=about.source if into is not None else None,
            **builds,
        )
    search = search_of(
        collections=None if one.collection is None else [one.collection],
        bbox=bbox,
        intersects=intersects,
        datetime=datetime,
        ids=ids,
        query=query,
        filter=filter,
        sortby=sortby,
        max_items=max_items,
    )
    # Of the bands of the catalog an item may lack some, all items too: other sensors, other kinds of items.
    pages = PageTables(
        bands=_asset_names(one, bands),
        may_miss=bands is None,
        alternate=one.alternate,
        rewrite=one.rewrite or None,
        catalogued=CataloguedItems(one),
    )
    return records_of_source(getattr(one, one.place), search, pages, about=about, **builds)


def _asset_names(one: DatasetDescriptor, bands: Sequence[str] | None) -> dict[str, str]:
    """Return band to asset and 1-based band in its file; what the catalog does not name is left to the items."""
    sources: Mapping[str, BandSource] = one.bands
    return {
        name: f"{sources[name].asset}.{sources[name].index + 1}" if name in sources else name
        for name in (sources if bands is None else bands)
    }


def _narrowed(
    lf: pl.LazyFrame,
    one: DatasetDescriptor,
    *,
    bbox: Sequence[float] | None,
    datetime: Any,
    bands: Sequence[str] | None,
    intersects: Any,
    ids: Sequence[str] | None,
) -> pl.LazyFrame:
    """Return the records and bands of a collection that were asked for; nothing is read."""
    if bbox is not None or datetime is not None or intersects is not None:
        lf = subset(lf, bbox=bbox, datetime=datetime, geometries=intersects)
    if ids is not None:
        lf = lf.filter(pl.col("id").is_in(list(ids)))
    if bands is None:
        return lf
    there = raster_columns(lf.collect_schema())
    _check_bands(one, bands, there)
    return lf.drop([name for name in there if name not in bands])


def _with_rules(records: pl.DataFrame, one: DatasetDescriptor, bands: Iterable[str]) -> pl.DataFrame:
    """Return records whose nodata, scale and offset are those that the rules of their dataset state, where they do."""
    fields = ("nodata", "scale", "offset")
    properties = {rule.property for rule in one.rules if rule.property is not None}
    rows = records.select(pl.lit(0).alias("\0"), *properties.intersection(records.columns)).to_dicts()
    for band in bands:
        its_rules = [rule for rule in one.rules if rule.holds_for(band)]
        if its_rules:
            values = {field: [first_stated(its_rules, band, field, row) for row in rows] for field in fields}
            records = records.with_columns(with_stated(records[band], **values))
    return records


def _sources(one: DatasetDescriptor, bands: Sequence[str] | None) -> dict[str, BandSource]:
    """Return the bands that were asked for, and where they are."""
    if bands is None:
        return dict(one.bands)
    _check_bands(one, bands, list(one.bands))
    return {name: one.bands[name] for name in bands}


def _check_bands(one: DatasetDescriptor, bands: Sequence[str], there: Sequence[str]) -> None:
    if unknown := [name for name in bands if name not in there]:
        raise UsageError(
            f"build: dataset {one.id!r} has no band {', '.join(map(repr, unknown))}; it has {', '.join(there)}"
        )


def _refuse(one: DatasetDescriptor, **words: Any) -> None:
    """Raise `UsageError` for words that mean nothing for the place where a dataset is catalogued."""
    given = [f"{word}=" for word, value in words.items() if value is not None]
    if "into=" in given:
        raise UsageError(
            f"build: dataset {one.id!r} is a collection already; write a copy of the result with .raster.sink_collection(path)"
        )
    if given:
        raise UsageError(
            f"build: {', '.join(given)} mean nothing for dataset {one.id!r}; only a STAC API is asked with them"
        )
