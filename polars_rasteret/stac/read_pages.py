"""How are the headers of pages of items read while further pages come?

Reading begins with each page, so an API and the stores of its files are asked at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.fetch.places import own_prefix
from polars_rasteret.ingest.headers import begin_headers, refuse_misuse
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.options import current_options
from polars_rasteret.stac.page_tables import wanted_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.fetch.stepwise_reads import BegunReads
    from polars_rasteret.hrefs import Provenance
    from polars_rasteret.ingest.headers import Header, Unreadable
    from polars_rasteret.stac.item_columns import ItemColumns


class HeadersOfPages:
    """The headers of the files of pages; a file that several pages name is read once. Close it."""

    def __init__(
        self, *, progress: bool | None, storage_options: Mapping[str, Any] | None, credential_provider: Any
    ) -> None:
        """Read with what opens the files; see `ingest.headers.read_headers`."""
        self._options = (storage_options, credential_provider)
        self._begun: list[BegunReads[Header | Unreadable]] = []
        self._asked: dict[str, set[int]] = {}
        self._remembered: set[str] = set()
        self._bar: Any = None
        self._is_first = True
        if current_options(progress=progress).progress:
            from tqdm.auto import tqdm

            self._bar = tqdm(unit="file", desc="headers")

    def begin(self, table: ItemColumns, provenance: Mapping[str, Provenance]) -> None:
        """Begin to read what a page needs and no page before it has asked for; `provenance` is that of each href."""
        wanted: dict[str, list[int]] = {}
        for href, indices in wanted_of(table).items():
            known = self._asked.get(href)
            if known is None or not known.issuperset(indices):
                wanted[href] = sorted((known or set()).union(indices))
                self._asked[href] = set(wanted[href])
        if wanted:
            remember_stores(
                [href for href in wanted if own_prefix(href) not in self._remembered],
                *self._options,
                provenance=provenance,
            )
            self._remembered |= set(map(own_prefix, wanted))
            self._begun.append(begin_headers(list(wanted), list(wanted.values()), provenance=provenance))

    def take(self) -> dict[str, Header | Unreadable]:
        """Wait for all headers that were begun since the last call, and return them by href.

        Raises
        ------
        UsageError
            When not one file can be asked, because the stores are configured wrongly.
        """
        found: dict[str, Header | Unreadable] = {}
        while self._begun:
            headers = self._begun.pop(0).results()
            if self._bar is not None:
                self._bar.update(len(headers))
            found |= {header.href: header for header in headers}
        if self._is_first:
            refuse_misuse(list(found.values()))
        self._is_first = False
        self._asked.clear()
        return found

    def close(self) -> None:
        """End what is under way."""
        for reads in self._begun:
            reads.close()
        self._begun.clear()
        if self._bar is not None:
            self._bar.close()
