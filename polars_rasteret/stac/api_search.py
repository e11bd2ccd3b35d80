"""How is a STAC API asked for items, page by page?

Items stay dicts. A page that fails is asked again, not the search. Whether the words of a search are valid belongs in
`search_words`; what becomes of items, in `page_tables`.
"""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from polars_rasteret.errors import FetchError, UsageError, missing_extra
from polars_rasteret.fetch.access import check_href
from polars_rasteret.fetch.sources.byte_source import Terms
from polars_rasteret.hrefs import shown, shown_text
from polars_rasteret.options import current_options
from polars_rasteret.stac.search_words import boxes_of, geojson_of, interval_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pystac_client.stac_api_io import StacApiIO

    from polars_rasteret.hrefs import Provenance
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.stac.search_words import Search

ITEMS_PER_PAGE = 100
"""Items that a page is asked to have. Sentinel-2 items are 17 kB, and some servers cannot answer with more than 6 MB."""
_LONGEST_PAUSE_S = 60.0
"""Longest time that a server may ask to wait."""
_BUSY = (429, 500, 502, 503, 504)
_NO_SUCH_METHOD = (404, 405, 501)


class Api:
    """A STAC API, with the connections to it; close it."""

    def __init__(self, io: StacApiIO, options: ReadOptions, provenance: Provenance) -> None:
        self._io, self._n_tries = io, options.retries + 1
        self._terms = Terms.of(options.allowed_hrefs, provenance)

    @classmethod
    def connected(cls, provenance: Provenance) -> Api:
        """Return an API whose requests follow the options in force: timeout, retries and what may be reached.

        Raises
        ------
        UsageError
            Where pystac-client is not installed.
        """
        try:
            from pystac_client.stac_api_io import StacApiIO
        except ImportError as error:
            raise missing_extra("searching a STAC API", "pystac-client", "stac") from error
        options = current_options()
        io = StacApiIO(timeout=options.timeout_s, max_retries=_patience(options))
        return cls(io, options, provenance)

    def close(self) -> None:
        """Close the connections."""
        self._io.session.close()

    def json(self, source: Any, method: str | None = None, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object at a URL, or at a link of pystac.

        Raises
        ------
        FetchError
            When the server refuses, or answers with something else.
        RefusedHrefError
            When the server names a place that it may not name.
        """
        from pystac_client.exceptions import APIError

        address = str(getattr(source, "href", source))
        check_href(address, self._terms)
        href = shown(address)
        for n_left in reversed(range(self._n_tries)):
            try:
                text = self._io.read_text(source, method=method, parameters=parameters or {})
                found = json.loads(text)
            except APIError as error:
                status = getattr(error, "status_code", None)  # absent where no answer came
                if status is None and n_left:
                    continue  # the connection broke inside the answer
                raise StatusError.of(href, status, shown_text(str(error))) from None
            except ValueError as error:
                if n_left:
                    continue  # cut short
                raise FetchError(f"{href} answered with what is no JSON: {error}") from None
            if not isinstance(found, dict):
                raise FetchError(f"{href} answered with a {type(found).__name__}; expected a JSON object")
            return found
        raise AssertionError  # the last turn returns or raises


class StatusError(FetchError):
    """A server refused a request of a search."""

    status: int | None = None

    @classmethod
    def of(cls, href: str, status: int | None, said: str) -> StatusError:
        """Return the error for a status; None where no answer came."""
        told = "gave no answer" if status is None else f"answered {status}"
        error = cls(f"{href} {told}: {' '.join(said.split())[:400] or 'without a reason'}")
        error.status = status
        return error


def is_api(document: Mapping[str, Any]) -> bool:
    """Return whether a JSON document is the landing page of a STAC API."""
    return bool(_links(document, "search")) or any(
        "api.stacspec.org" in one and "/item-search" in one for one in _conformance(document)
    )


def pages_of_api(api: Api, href: str, document: Mapping[str, Any], search: Search) -> Iterator[tuple[list[Any], str]]:
    """Yield the items of each page as dicts, with the URL of the page.

    Parameters
    ----------
    api
        The connections.
    href, document
        The URL of the landing page, and what is there.
    search
        What to search for.

    Raises
    ------
    UsageError
        Before the first page, when the API does not say that it answers ``query``, ``filter`` or ``sortby``.
    FetchError
        When a page cannot be had.
    """
    _refuse_undeclared(href, document, search)
    links = _links(document, "search")
    url = urljoin(href, links[0]["href"]) if links else f"{href.rstrip('/')}/search"
    offered = {str(link.get("method") or "GET").upper() for link in links}
    methods = ["POST", "GET"] if "POST" in offered or not any(link.get("method") for link in links) else ["GET"]
    for words in _requests(search):
        for items in _pages(api, url, methods, words):
            yield items, url


def pages_of_search(pages: Iterator[Mapping[str, Any]], url: str) -> Iterator[tuple[list[Any], str]]:
    """Yield the items of a search of pystac-client that the caller made."""
    for page in pages:
        yield _features(page, url), url


def _patience(options: ReadOptions) -> Any:
    from urllib3.util.retry import Retry

    class Patience(Retry):
        """Retries that wait as long as a server asks for, within reason."""

        def get_retry_after(self, response: Any) -> float | None:
            asked = super().get_retry_after(response)
            return None if asked is None else min(asked, _LONGEST_PAUSE_S)

    return Patience(
        total=options.retries,
        backoff_factor=0.3,
        status_forcelist=_BUSY,
        allowed_methods=None,
        raise_on_status=False,
        respect_retry_after_header=True,
    )


def _requests(search: Search) -> Iterator[dict[str, Any]]:
    """Yield the words of each request, for pystac-client; a box over the antimeridian is two."""
    words: dict[str, Any] = {
        "collections": search.collections,
        "ids": search.ids,
        "datetime": None if search.period is None else interval_text(search.period),
        "query": search.query,
        "filter": search.filter,
        "filter_lang": None
        if search.filter is None
        else "cql2-text"
        if isinstance(search.filter, str)
        else "cql2-json",
        "sortby": search.sortby,
        "limit": ITEMS_PER_PAGE if search.max_items is None else max(1, min(ITEMS_PER_PAGE, search.max_items)),
    }
    if search.bbox is not None:
        for box in boxes_of(search.bbox):
            yield {**words, "bbox": box}
    elif search.geometry is not None:
        yield {**words, "intersects": geojson_of(search.geometry)}
    else:
        yield words


def _pages(api: Api, url: str, methods: list[str], words: dict[str, Any]) -> Iterator[list[Any]]:
    from pystac.link import Link

    for method in methods:
        parameters = _parameters(url, method, words)
        try:
            page = api.json(url, method, parameters)
        except StatusError as error:
            if method == methods[-1] or error.status not in _NO_SUCH_METHOD:
                raise
        else:
            break
    seen: set[str] = set()
    while True:
        yield _features(page, url)
        # A page without items may have a next one: servers filter after they cut pages.
        links = _links(page, "next")
        if not links:
            return
        following = {**links[0], "href": urljoin(url, links[0]["href"])}
        if (mark := json.dumps(following, sort_keys=True)) in seen:
            raise FetchError(f"{shown(url)} names the same next page twice; the pages would never end")
        seen.add(mark)
        page = api.json(Link.from_dict(following), parameters=parameters)


def _parameters(url: str, method: str, words: dict[str, Any]) -> dict[str, Any]:
    from pystac_client.item_search import ItemSearch

    try:
        return dict(ItemSearch(url, method=method, **words).get_parameters())
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"the search is not understood: {error}") from error


def _features(page: Mapping[str, Any], url: str) -> list[Any]:
    features = page.get("features")
    if not isinstance(features, list):
        raise FetchError(f"{shown(url)} answered with a {page.get('type', 'document')!r}; expected a FeatureCollection")
    return features


def _links(document: Mapping[str, Any], rel: str) -> list[dict[str, Any]]:
    links = document.get("links")
    return [
        link
        for link in (links if isinstance(links, list) else ())
        if isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str)
    ]


def _conformance(document: Mapping[str, Any]) -> list[str]:
    told = document.get("conformsTo")
    return [one for one in told if isinstance(one, str)] if isinstance(told, list) else []


def _refuse_undeclared(href: str, document: Mapping[str, Any], search: Search) -> None:
    """Refuse words that the API does not declare: servers ignore them, or answer nothing."""
    from pystac_client.conformance import ConformanceClasses

    classes = {
        "query": ConformanceClasses.QUERY,
        "filter": ConformanceClasses.FILTER,
        "sortby": ConformanceClasses.SORT,
    }
    told = _conformance(document)
    undeclared = [name for name in search.of_apis_alone if not any(map(classes[name].pattern.match, told))]
    if undeclared:
        raise UsageError(
            f"{shown(href)} does not say that it answers {', '.join(f'{name}=' for name in undeclared)} "
            f"(its conformsTo has no {', '.join(classes[name].value for name in undeclared)}), and would ignore it; leave it "
            "out, and filter the collection with Polars"
        )


def connected(provenance: Provenance) -> closing[Api]:
    """Return an API, closed at the end of a ``with`` block; its server may name places that its `provenance` allows."""
    return closing(Api.connected(provenance))
