"""Where do the items of a source come from, page by page: an API, a catalog, a file, or objects?

How each of them is asked belongs in `api_search` and `static_catalogs`; what an item is, in `items`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import polars as pl

from polars_rasteret.collection.reading.provenance import provenance_of
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.source_files import absolute_href
from polars_rasteret.stac.api_search import connected, is_api, pages_of_api, pages_of_search
from polars_rasteret.stac.asset_bands import own_href
from polars_rasteret.stac.geoparquet_items import ItemTable, is_item_table
from polars_rasteret.stac.items import Items, add_items
from polars_rasteret.stac.search_words import Search
from polars_rasteret.stac.static_catalogs import document_at, pages_of_catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

ITEMS_PER_PAGE = 200
"""Items of a list or iterable that are made into columns together."""


@dataclass(frozen=True, slots=True)
class Pages:
    """The items of a source, page by page, and what whoever takes them must know."""

    items: Generator[Items, None, None]
    filters: Search
    """The words that no API has applied."""
    provenance: Provenance = Provenance.HERE
    """Who names the hrefs of the items: items that the caller passes are the caller's word, those of a server are not."""


def pages_of(
    source: Any,
    search: Search,
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> Pages:
    """Return the pages of a source.

    Raises
    ------
    UsageError
        When the source has no items, or does not answer a word of the search.
    FetchError
        When a place cannot be read.
    """
    if is_item_table(source):
        options = {"storage_options": storage_options, "credential_provider": credential_provider}
        return _pages_of_table(source, search, options)
    if isinstance(search.filter, pl.Expr):
        raise UsageError("filter is a Polars expression, and the source is no table; filter the collection instead")
    if isinstance(source, str | os.PathLike):
        return _pages_at(absolute_href(os.fspath(source)), search)
    if hasattr(source, "pages_as_dicts"):
        _refuse(_words(search), "a search of pystac-client, which has words of its own")
        pages = pages_of_search(source.pages_as_dicts(), str(source.url))
        found = _distinct(_items(page, url) for page, url in pages)
        return Pages(found, Search(max_items=search.max_items), provenance_of(str(source.url), None))
    _refuse(search.of_apis_alone, "no API; filter the collection with Polars")
    return Pages(_pages_of_objects(source), search)


def _pages_of_table(source: Any, search: Search, options: Mapping[str, Any]) -> Pages:
    """Return the rows of STAC-GeoParquet that meet a search; the words go into its scan."""
    _refuse([name for name in search.of_apis_alone if name != "filter"], "a table, which may be sorted and filtered")
    table = ItemTable(
        source,
        collections=search.collections,
        ids=search.ids,
        period=search.period,
        geometry=search.geometry,
        filter=search.filter,  # type: ignore[arg-type]  # anything but an expression is refused there
        max_items=search.max_items,
        **options,
    )
    return Pages(table.pages(), Search(), table.provenance)


def _pages_at(href: str, search: Search) -> Pages:
    document = document_at(href)
    told_by = provenance_of(href, None)
    if isinstance(document, Mapping):
        if is_api(document):
            found = _distinct(_pages_of_api(href, document, search))
            return Pages(found, Search(max_items=search.max_items), told_by)
        if document.get("type") in ("Catalog", "Collection") or (
            "links" in document and document.get("type") not in ("Feature", "FeatureCollection")
        ):
            root = _api_of_collection(href, document)
            if root is not None:
                return _pages_at(root, _within(search, document["id"]))
            _refuse(search.of_apis_alone, "a static catalog; filter the collection with Polars")
            return Pages(pages_of_catalog(href, document, told_by), search, told_by)
    _refuse(search.of_apis_alone, "no API; filter the collection with Polars")
    return Pages((_items(one, href) for one in [document]), search, told_by)


def _pages_of_api(href: str, document: Mapping[str, Any], search: Search) -> Generator[Items, None, None]:
    with connected(provenance_of(href, None)) as api:
        for page, url in pages_of_api(api, href, document, search):
            yield _items(page, url)


def _pages_of_objects(source: Any) -> Generator[Items, None, None]:
    if isinstance(source, Mapping) or hasattr(source, "to_dict") or not isinstance(source, Iterable):
        if not isinstance(source, Mapping) and not hasattr(source, "to_dict"):
            raise UsageError(
                f"source is a {type(source).__name__}; expected the URL of a STAC API or catalog, items as dicts or pystac "
                "objects, or a file of those"
            )
        if hasattr(source, "get_items") and not isinstance(source, Mapping):  # a catalog of pystac
            yield from _pages_of_objects(source.get_items(recursive=True))
            return
        yield _items(source, None)
        return
    rest = iter(source)
    while some := list(itertools.islice(rest, ITEMS_PER_PAGE)):
        yield _items(some, None)


def _api_of_collection(href: str, document: Mapping[str, Any]) -> str | None:
    """Return the URL of the API that a collection is of; None for a static one."""
    links = [link for link in document.get("links") or () if isinstance(link, Mapping)]
    has_items = any(link.get("rel") == "items" for link in links)
    roots = [str(link["href"]) for link in links if link.get("rel") == "root" and "href" in link]
    return urljoin(href, roots[0]) if has_items and roots and isinstance(document.get("id"), str) else None


def _within(search: Search, collection: str) -> Search:
    if search.collections is not None and search.collections != (collection,):
        raise UsageError(f"collections={list(search.collections)} and the source is the collection {collection!r}")
    return Search(**{one.name: getattr(search, one.name) for one in fields(search)} | {"collections": (collection,)})


def _items(source: Any, base: str | None) -> Items:
    found = Items()
    add_items(source, base, found)
    return found


def _distinct(pages: Iterator[Items]) -> Generator[Items, None, None]:
    """Yield pages without the items that came before: at the border of pages that shift, and of two boxes."""
    seen: set[bytes] = set()
    for page in pages:
        kept = []
        for at, item in enumerate(page.items):
            assets = item.get("assets") or {}
            hrefs = sorted(own_href(one) or "" for one in assets.values() if isinstance(one, Mapping))
            text = "\0".join([str(item.get("collection")), str(item["id"]), *hrefs])
            mark = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if mark not in seen:
                seen.add(mark)
                kept.append(at)
        if len(kept) < len(page.items):
            page = Items([page.items[at] for at in kept], [page.bases[at] for at in kept], page.refused)  # noqa: PLW2901
        yield page


def _words(search: Search) -> list[str]:
    given = {
        "intersects" if one.name == "geometry" else one.name
        for one in fields(search)
        if one.name != "max_items" and getattr(search, one.name) is not None
    }
    return sorted(
        {"datetime" if name == "period" else name for name in given} - ({"intersects"} if "bbox" in given else set())
    )


def _refuse(words: Sequence[str], what: str) -> None:
    if words:
        raise UsageError(f"{', '.join(f'{name}=' for name in words)}: the source is {what}")
