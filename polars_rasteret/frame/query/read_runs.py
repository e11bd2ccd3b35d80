"""How are the rows of an answer read, run by run: all of them, or those that pixels choose?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.frame.query.batched_reads import read_all, read_many
from polars_rasteret.frame.query.budget import within_budget
from polars_rasteret.frame.query.chosen_reads import read_chosen
from polars_rasteret.frame.query.record_runs import runs_of
from polars_rasteret.frame.query.rows_in_order import read_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.pairing.records import Records


def read_runs(question: Question, targets: TargetRows, records: Records, reader: RowReader) -> Iterator[pl.DataFrame]:
    """Yield the answer in batches.

    Raises
    ------
    BudgetError
        Before any request, when the certain cost exceeds the budget.
    """
    runs, are_by_record = runs_of(question, targets, records, reader)
    n_rows = reader.pushed.n_rows
    if question.options.has_budget:
        runs = within_budget(runs, reader, question)
    if are_by_record and question.pairing.maintain_order:
        yield from read_in_order(runs, reader, question.options.max_answer_bytes)
        return
    for rows, of_targets in runs:
        max_bytes, reads_all = question.options.max_answer_bytes, question.pairing.match == "all"
        if reads_all and not question.many_rows:
            yield from read_all(rows, reader, max_bytes)
            continue
        frames = (
            read_many(rows, reader, max_bytes, n_rows)
            if reads_all
            else read_chosen(rows, of_targets, reader, question, n_rows)
        )
        for answer, n_answered in frames:
            n_rows = None if n_rows is None else n_rows - n_answered
            yield answer
        if n_rows is not None and n_rows <= 0:
            return
