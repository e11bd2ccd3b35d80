"""Which items does a static catalog hold, and what is in a JSON document at some place?

Documents are read as headers are, many at once: from disks, web servers and buckets, with the credentials of their stores. Words
of a search are not applied here.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from polars_rasteret.engine import admission
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.failures import MissingFileError
from polars_rasteret.fetch.sources.byte_source import FileKey, Terms
from polars_rasteret.fetch.stepwise_reads import FileRange, StepwiseRead, read_all
from polars_rasteret.hrefs import Provenance, shown
from polars_rasteret.options import current_options
from polars_rasteret.stac.items import Items, add_items, resolved

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

DOCUMENTS_AT_ONCE = 500
"""Documents that are read together; their items are one page."""
_FIRST_BYTES = 65_536
_MOST_BYTES = 1 << 30


def document_at(href: str) -> Any:
    """Return the JSON at an href: a path or URL.

    Raises
    ------
    UsageError
        When nothing is there, or no JSON.
    FetchError
        When it cannot be read.
    """
    found = _documents([href], Provenance.HERE)[0]
    if isinstance(found, MissingFileError):
        raise UsageError(
            f"source: nothing is at {shown(href)}; expected a STAC API, a catalog, items or STAC-GeoParquet"
        )
    if isinstance(found, FetchError | UsageError):
        raise found
    return found


def pages_of_catalog(href: str, document: Mapping[str, Any], told_by: Provenance) -> Generator[Items, None, None]:
    """Yield the items of a catalog or collection and of all below it, many documents at a time.

    A link whose document is gone, or is none, is among the refused of its page.

    Raises
    ------
    FetchError
        When a document cannot be read for another reason than being gone.
    """
    seen = {href}
    catalogs: list[tuple[str, Any]] = [(href, document)]
    while catalogs:
        of_rel = {rel: _linked(catalogs, rel, seen) for rel in ("item", "child")}
        for hrefs in _groups(of_rel["item"]):
            yield _items_at(hrefs, told_by)
        catalogs = []
        lost = Items()
        for hrefs in _groups(of_rel["child"]):
            for one, found in zip(hrefs, _documents(hrefs, told_by), strict=True):
                if isinstance(found, dict) and found.get("type") == "Feature":
                    add_items(found, one, lost)
                elif isinstance(found, dict):
                    catalogs.append((one, found))
                else:
                    lost.refused.append((shown(one), _reason(found)))
        if lost.items or lost.refused:
            yield lost


def _linked(catalogs: Sequence[tuple[str, Any]], rel: str, seen: set[str]) -> list[str]:
    """Return the hrefs that catalogs link to and that were not seen before; they count as seen from now on."""
    hrefs = []
    for base, document in catalogs:
        links = document.get("links")
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str):
                full = resolved(link["href"], base)
                if full not in seen:
                    seen.add(full)
                    hrefs.append(full)
    return hrefs


def _items_at(hrefs: Sequence[str], told_by: Provenance) -> Items:
    found = Items()
    for href, document in zip(hrefs, _documents(hrefs, told_by), strict=True):
        if isinstance(document, FetchError | UsageError):
            found.refused.append((shown(href), _reason(document)))
        else:
            n_before = len(found.items)
            add_items(document, href, found)
            # A copy of a catalog names the original as `self`; its relative hrefs begin where the copy is, as for pystac.
            found.bases[n_before:] = [href] * (len(found.items) - n_before)
    return found


def _reason(found: Any) -> str:
    return " ".join(str(found).split()) if isinstance(found, Exception) else f"is a {type(found).__name__}, no object"


def _groups(hrefs: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(hrefs), DOCUMENTS_AT_ONCE):
        yield hrefs[start : start + DOCUMENTS_AT_ONCE]


def _documents(hrefs: Sequence[str], told_by: Provenance) -> list[Any]:
    """Return the JSON of each document; in its place why it is none, where it is gone or no JSON."""
    options = current_options()
    terms = Terms.of(options.allowed_hrefs, told_by)
    return read_all(partial(_document, terms=terms), hrefs, options=options, admit=admission(options))


def _document(href: str, terms: Terms | None) -> StepwiseRead[Any]:
    known = FileKey(href, terms=terms, is_tiff=False)
    data = b""
    size: int | None = None
    try:
        while size is None or len(data) < size:
            n_before = len(data)
            answer = yield FileRange(known, n_before, n_before + _FIRST_BYTES if size is None else size)
            data += bytes(answer.data)
            if (size := answer.file_size) is None and len(data) - n_before < _FIRST_BYTES:
                break  # nobody tells the size, and the document ended
            if max(size or 0, len(data)) > _MOST_BYTES:
                return UsageError(f"{shown(href)} is larger than {_MOST_BYTES} bytes; expected a JSON document")
            known = FileKey(href, answer.etag, size, answer.last_modified, terms, is_tiff=False)
    except MissingFileError as error:
        return error
    try:
        return json.loads(data)
    except ValueError as error:
        return UsageError(f"{shown(href)} is no JSON: {error}")
