"""How does a query run, from the caller's rows to frames of the answer?

Parts of the predicate act as early as they can without changing the answer: on the caller's frame, in the collection scan, on
pairs before any request, and last on pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars.selectors as cs

from polars_rasteret.frame.query.batched_reads import row_reader
from polars_rasteret.frame.query.candidate_records import candidate_records
from polars_rasteret.frame.query.read_runs import read_runs
from polars_rasteret.frame.query.target_rows import collect_targets, located
from polars_rasteret.pairing.paired_rows import KeyColumns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved


def answer_frames(question: Question, resolved: Resolved, pushed: Pushdown) -> Iterator[pl.DataFrame]:
    """Yield the answer in batches; their size follows from the bytes of the answer."""
    frame = collect_targets(question, resolved, pushed)
    if question.one_row_each and pushed.needed <= set(resolved.targets):  # no column depends on a record
        yield frame.lazy().filter(*pushed.split.pixels).select(cs.by_name(*pushed.wanted)).collect()
        return
    targets = located(question, resolved, pushed, frame)
    records = candidate_records(question, resolved, pushed, targets)
    reader = row_reader(question, resolved, pushed, KeyColumns(targets.frame, records))
    yield from read_runs(question, targets, records, reader)
