"""Which rows, records and pairs does the read of a query have, as a whole?

Judgments that need all rows or all records (impossible places, records that cannot be placed) are made here, and not in a part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.distribute.cutting.handed_down import handed_down
from polars_rasteret.distribute.cutting.paired_tiles import tiles_of_pairs
from polars_rasteret.frame.query.batched_reads import row_reader
from polars_rasteret.frame.query.candidate_records import candidate_records, scan_near
from polars_rasteret.frame.query.pair_runs import pair_runs
from polars_rasteret.frame.query.pushdown import pushdown
from polars_rasteret.frame.query.resolved import resolve
from polars_rasteret.frame.query.target_rows import collect_targets, located
from polars_rasteret.geo.areas import Areas
from polars_rasteret.pairing.paired_rows import KeyColumns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.distribute.cutting.handed_down import HandedDown
    from polars_rasteret.distribute.cutting.tile_order import TilesOfPairs
    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.source import PairedSource
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.records import Records


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The read of a query, with its rows and records in memory and nothing read."""

    question: Question
    handed: HandedDown
    frame: pl.DataFrame
    """The caller's rows that are asked about, with all their columns."""
    rows: TargetRows
    records: Records
    reader: RowReader

    @property
    def are_areas(self) -> bool:
        """Whether the caller's rows may touch several tiles."""
        return isinstance(self.rows.targets, Areas)

    def records_near(self) -> pl.LazyFrame:
        """Return the records that may answer the rows, with all columns; some may be left that cannot."""
        return scan_near(self.question, resolve(self.question), self.rows)

    def runs(self) -> Iterator[tuple[PairedRows, range]]:
        """Yield rows before they are read; see `pair_runs`."""
        return pair_runs(self.question, self.reader.pushed, self.rows, self.records, self.reader.keys)

    def tiles(self) -> tuple[TilesOfPairs, NDArray[np.bool_]]:
        """Return the tiles that pairs touch, and whether each of the caller's rows has a record."""
        is_matched = np.zeros(self.frame.height, np.bool_)

        def noted() -> Iterator[tuple[PairedRows, range]]:
            for rows, of_targets in self.runs():
                is_matched[rows.target[rows.record >= 0]] = True
                yield rows, of_targets

        return tiles_of_pairs(noted(), self.records), is_matched


def whole_of(query: pl.LazyFrame, source: PairedSource) -> Whole:
    """Return the read of a query.

    Raises
    ------
    UsageError
        When no row has a possible place, or no record can be placed.
    """
    question, handed = source.question, handed_down(query, source)
    pushed = pushdown(question, source.resolved, handed.columns, handed.predicate, None)
    condition = pushed.on_targets
    frame = (question.targets if condition is None else question.targets.filter(condition)).collect()
    return of_rows(question, handed, frame)


def of_rows(question: Question, handed: HandedDown, frame: pl.DataFrame, records: Records | None = None) -> Whole:
    """Return the read of a question for a frame in place of its own rows.

    Parameters
    ----------
    question, handed, frame
        What is asked.
    records
        Records that may answer these rows, where they are known: the collection is not read again.
    """
    question = replace(question, targets=frame.lazy())
    resolved = resolve(question)
    pushed = pushdown(question, resolved, handed.columns, handed.predicate, None)
    keys = collect_targets(question, resolved, pushed)
    rows = located(question, resolved, pushed, keys)
    if records is None:
        records = candidate_records(question, resolved, pushed, rows)
    reader = row_reader(question, resolved, pushed, KeyColumns(keys, records))
    return Whole(question=question, handed=handed, frame=frame, rows=rows, records=records, reader=reader)
