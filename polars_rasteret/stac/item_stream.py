"""How do the pages of a source become the parts of a collection that grows on disk?

Reading of headers begins with each page, as far as the records of one part. So neither items nor headers of a whole search are
ever held.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from polars_rasteret.ingest import resumable_build
from polars_rasteret.stac.item_columns import ItemColumns, united
from polars_rasteret.stac.item_records import item_records
from polars_rasteret.stac.page_tables import bands_of_rows, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import numpy as np
    import polars as pl

    from polars_rasteret.ingest.resumable_build import Key
    from polars_rasteret.stac.page_tables import PageTables
    from polars_rasteret.stac.read_pages import HeadersOfPages


class ItemStream:
    """The records of a source, as `ingest.streamed_build` takes them."""

    def __init__(
        self, tables: Generator[ItemColumns, None, None], pages: PageTables, headers: HeadersOfPages, *, on_error: str
    ) -> None:
        """Hold the tables of pages, what made them, and what reads their headers; nothing is asked before `parts`."""
        self._tables, self._pages, self._headers, self._on_error = tables, pages, headers, on_error
        self._first: ItemColumns | None = None

    def parts(
        self, are_new: Callable[[Sequence[Key], Sequence[frozenset[str]]], list[bool]]
    ) -> Generator[Callable[[Mapping[str, np.dtype[Any]]], pl.DataFrame], None, None]:
        """Yield functions that make the records of one part each.

        Raises
        ------
        UsageError
            When a band is ambiguous in an item, or, after the last page, no item has it.
        """
        waiting: list[ItemColumns] = []
        n_waiting = 0
        with closing(self._tables):
            for table in self._tables:
                self._first = self._first or ItemColumns(table.frame.clear(), table.kinds)
                new = are_new(keys_of(table), bands_of_rows(table))
                frame = table.frame if all(new) else table.frame.filter(new)
                while frame.height:
                    room = resumable_build.RECORDS_PER_PART - n_waiting
                    some = ItemColumns(frame.head(room), table.kinds)
                    frame = frame.slice(room)
                    self._headers.begin(some, self._pages.provenance(some))
                    waiting.append(some)
                    n_waiting += some.frame.height
                    if n_waiting == resumable_build.RECORDS_PER_PART:
                        yield partial(self._made, waiting)
                        waiting, n_waiting = [], 0
        self._pages.end()
        if waiting:
            yield partial(self._made, waiting)

    def empty(self) -> pl.DataFrame:
        """Return no records."""
        assert self._first is not None  # a source has one page at least
        return item_records(self._first, {}, bands=self._pages.band_names)

    def _made(self, tables: Sequence[ItemColumns], accepted: Mapping[str, np.dtype[Any]]) -> pl.DataFrame:
        headers = self._headers.take()
        return item_records(
            united(tables), headers, bands=self._pages.band_names, on_error=self._on_error, accepted=accepted
        )
