"""Which targets meet which records, a bounded number of pairs at a time?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.frame.query.pushdown import conjunction, root_names
from polars_rasteret.pairing.pairs import candidate_pairs, covering_rows, with_unmatched
from polars_rasteret.plan.pairs import target_runs
from polars_rasteret.plan.time_match import ranked_pairs, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.pairing.paired_rows import KeyColumns, PairedRows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.plan.pairs import Pairs

MAX_PAIRS = 2**23
"""Candidate pairs looked at together: bounds the memory of pairing, and keeps a million points in one piece."""


def pair_runs(
    question: Question,
    pushed: Pushdown,
    targets: TargetRows,
    records: Records,
    keys: KeyColumns,
    *,
    pairs: Pairs | None = None,
) -> Iterator[tuple[PairedRows, range]]:
    """Yield rows before they are read, and the targets they are of.

    With ``match="all"`` these are the rows of the answer, in order; else they are all that may answer each target, the best
    first.

    Parameters
    ----------
    question, pushed, targets, records, keys
        What is asked.
    pairs
        Candidate pairs, where they are known.
    """
    match, unmatched = question.pairing.match, question.pairing.unmatched
    at, n_rows = targets.at, pushed.n_rows
    target, record = candidate_pairs(targets.targets, targets.boxes, records) if pairs is None else pairs
    max_pairs = MAX_PAIRS if n_rows is None else max(4 * n_rows, 1024)
    for run, of_targets in target_runs(target, len(targets.targets), max_pairs):
        near = near_in_time(targets, records, (target[run], record[run]))
        rows = covering_rows(targets.targets, near, records, question.product)
        if match != "all":
            order = ranked_pairs(
                match,
                rows.target,
                None if at is None else at.taken(rows.target),
                records.times.taken(rows.record),
                records.precedence[rows.record],
            )
            yield rows.taken(order), of_targets
            continue
        if unmatched == "null":
            rows = with_unmatched(rows, of_targets)
        if n_rows is not None and not question.many_rows:
            rows = rows.taken(slice(0, n_rows))
            n_rows -= len(rows)
        yield kept_rows(rows, question, pushed, keys), of_targets
        if n_rows is not None and n_rows <= 0:
            return


def near_in_time(targets: TargetRows, records: Records, pairs: Pairs) -> Pairs:
    """Return the pairs whose times are near enough; all, where no tolerance was asked for."""
    at, reach, (target, record) = targets.at, targets.reach, pairs
    if reach is None or at is None:
        return pairs
    near = within(at.taken(target), reach.taken(target), records.times.taken(record))
    return target[near], record[near]


def kept_rows(rows: PairedRows, question: Question, pushed: Pushdown, keys: KeyColumns) -> PairedRows:
    """Return the rows that pass the parts of the predicate that name no pixels."""
    parts = pushed.split.pairs
    if question.pairing.unmatched == "null":
        parts += pushed.split.records  # rows without a record were made after the scan was filtered
    condition = conjunction(parts)
    if condition is None or not len(rows):
        return rows
    frame = keys.frame(rows, root_names(parts))
    kept = frame.lazy().select(condition.alias("kept")).collect()["kept"].fill_null(value=False).to_numpy()
    return rows.taken(np.flatnonzero(kept))
