"""How are points read that have more pairs than are looked at together, so that no tile is decoded twice?

Runs of targets would each meet the tiles of all records. Here a run holds some records with all their pairs: a tile belongs to
one record. How rows come back in the caller's order is in `rows_in_order`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.frame.query.pair_runs import MAX_PAIRS, kept_rows, near_in_time, pair_runs
from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.pairing.pairs import candidate_pairs, covering_rows
from polars_rasteret.plan.pairs import target_runs
from polars_rasteret.plan.tiles import radix_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.plan.pairs import Pairs

    Ints = NDArray[np.int64]
    Run = tuple[PairedRows, range]

_RUN_PAIRS = 2**20
"""Pairs of a run: their columns fit memory that the process has already, so that no new pages are cleared for each."""


def runs_of(question: Question, targets: TargetRows, records: Records, reader: RowReader) -> tuple[Iterator[Run], bool]:
    """Return the runs of a query, and whether they are those of `record_runs`, else those of `pair_runs`."""
    pairs = candidate_pairs(targets.targets, targets.boxes, records)
    if _are_read_by_record(question, reader.pushed, len(pairs[0])):
        return record_runs(question, pairs, targets, records, reader), True
    return pair_runs(question, reader.pushed, targets, records, reader.keys, pairs=pairs), False


def _are_read_by_record(question: Question, pushed: Pushdown, n_pairs: int) -> bool:
    """Return whether pairs are read in runs of records: points whose every row is wanted, and too many for one run."""
    return (
        n_pairs > MAX_PAIRS
        and question.pairing.match == "all"
        and question.product.as_points is True
        and bool(pushed.values)
        and pushed.n_rows is None
        and not pushed.ramps_up
    )


def record_runs(
    question: Question, pairs: Pairs, targets: TargetRows, records: Records, reader: RowReader
) -> Iterator[Run]:
    """Yield rows before they are read, some records at a time, and the targets whose rows are complete after the last of them.

    Runs of the same targets follow one another. The values of their rows take at most ``max_answer_bytes``.
    """
    n_targets = len(targets.targets)
    nothing = PairedRows(target=np.zeros(1, np.int64), record=np.full(1, -1), windows={}, records=records)
    row_bytes = int(reader.row_bytes(nothing, reader.pushed.outputs)[0])
    for part, of_targets in target_runs(pairs[0], n_targets, max(question.options.max_answer_bytes // row_bytes, 1)):
        target, record = pairs[0][part], pairs[1][part]
        has_record = np.zeros(n_targets, np.bool_)
        for index in _by_record(record, len(records)):
            near = near_in_time(targets, records, (target[index], record[index]))
            rows = covering_rows(targets.targets, near, records, question.product)
            has_record[rows.target] = True
            rows = kept_rows(rows, question, reader.pushed, reader.keys)
            if len(rows):
                yield rows, of_targets
        if question.pairing.unmatched == "null":
            alone = np.flatnonzero(~has_record[of_targets.start : of_targets.stop]) + of_targets.start
            rows = PairedRows(target=alone, record=np.full(len(alone), -1), windows={}, records=records)
            rows = kept_rows(rows, question, reader.pushed, reader.keys)
            if len(rows):
                yield rows, of_targets


def _by_record(record: Ints, n_records: int) -> Iterator[Ints]:
    """Yield the pairs of some records at a time: at most `_RUN_PAIRS`, but of one record up to `MAX_PAIRS`."""
    order = radix_order(record)
    for run, _ in target_runs(record[order], n_records, _RUN_PAIRS):
        for start in range(run.start, run.stop, MAX_PAIRS):
            yield order[start : min(start + MAX_PAIRS, run.stop)]
