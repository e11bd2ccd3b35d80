"""When do the small parts that a build writes become large ones?

A build writes a part for every few records, so that a kill costs little. On a disk they are joined as soon as they hold the
records of a large part, and at the end when they are many. In a bucket a kill between new parts and old ones would double rows;
there only `pr.compact` joins, when its caller says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_rows import n_records, read_unread
from polars_rasteret.collection.reading.scan import scan_parts
from polars_rasteret.collection.storage.parts import is_remote, parts_at
from polars_rasteret.collection.storage.parts_manifest import FEWEST_PARTS
from polars_rasteret.collection.writing.layout import RECORDS_PER_PART
from polars_rasteret.collection.writing.publishing import NewPart
from polars_rasteret.collection.writing.sink import write_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polars_rasteret.collection.storage.about import About
    from polars_rasteret.collection.storage.parts import Part
    from polars_rasteret.ingest.lease import Build

_MOST_BYTES = 256 << 20
"""Most bytes of parts that are joined: in memory they are three to four times as many."""


class SmallParts:
    """The small parts of a build under way."""

    def __init__(self, build: Build, about: About, options: Mapping[str, Any]) -> None:
        self._build, self._about, self._options = build, about, options
        self._n_small = 0

    def wrote(self, n_rows: int) -> None:
        """Join the small parts if these records, which were written just now, make them as many as those of a large part."""
        self._n_small += n_rows
        if self._n_small >= RECORDS_PER_PART:
            self._join()

    def end(self) -> None:
        """Join the small parts that are left, if they are many."""
        if self._n_small:
            self._join(fewest=FEWEST_PARTS)

    def _join(self, fewest: int = 2) -> None:
        self._n_small = 0
        if is_remote(self._build.folder) or self._build.is_for_one_file:
            return
        for parts in _runs(self._small_parts()):
            if len(parts) >= fewest:
                unread = pl.concat([read_unread(part, **self._options) for part in parts])
                frame = scan_parts(parts, self._build.folder, **self._options).collect().with_columns(unread)
                write_parts([NewPart("", frame, self._about)], self._build.folder, parts, **self._options)

    def _small_parts(self) -> list[tuple[Part, int]]:
        """Return the parts of this build that are small, with their numbers of records."""
        own = [part for part in parts_at(self._build.folder) if not self._build.is_from_before(part)]
        counted = [(part, n_records(part, **self._options)) for part in own if (part.n_bytes or 0) < _MOST_BYTES // 2]
        return [(part, n_rows) for part, n_rows in counted if n_rows < RECORDS_PER_PART]


def _runs(small: Sequence[tuple[Part, int]]) -> Iterator[list[Part]]:
    """Yield parts that are joined: together at most twice the records of a large part, and bounded in bytes."""
    run: list[Part] = []
    rows = n_bytes = 0
    for part, n_rows in small:
        if run and (rows + n_rows >= 2 * RECORDS_PER_PART or n_bytes + (part.n_bytes or 0) > _MOST_BYTES):
            yield run
            run, rows, n_bytes = [], 0, 0
        run.append(part)
        rows, n_bytes = rows + n_rows, n_bytes + (part.n_bytes or 0)
    if run:
        yield run
