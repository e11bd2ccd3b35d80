"""Does a query keep to its budget, as far as its cost is known before the first request?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine import NO_COST, Budget, Cost, check_budget, cost_of, open_dry_run_log
from polars_rasteret.frame.query.batched_reads import read_all, read_many
from polars_rasteret.options import DryRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.pairing.paired_rows import PairedRows

    Runs = Iterator[tuple[PairedRows, range]]


def within_budget(runs: Runs, reader: RowReader, question: Question) -> Runs:
    """Return the runs of a query whose certain cost keeps to its budget.

    Raises
    ------
    BudgetError
        When the cost exceeds the budget.
    """
    budget = Budget.of(question.options)
    reads_all = question.pairing.match == "all"
    # How far the read goes depends on the pixels where a predicate needs them, and where a limit is on rows that pixels choose.
    ends_by_pixels = bool(reader.pushed.split.pixels)
    if reader.pushed.n_rows is not None and not reads_all:
        ends_by_pixels |= question.pairing.unmatched == "drop" or question.many_rows
    if budget is None or (reads_all and not reader.pushed.values) or ends_by_pixels:
        return runs
    known = list(runs)
    is_planned = question.product.is_planned
    if reads_all and (is_planned or (reader.resolved.valid is None and not question.product.costs_vary)):
        cost = _exact_cost(known, reader, question, budget)
    elif is_planned:
        cost = _exact_cost([(_first_of_each(rows), of_targets) for rows, of_targets in known], reader, question, budget)
    else:
        cost = NO_COST
        for rows, _ in known:
            sure = rows if reads_all else _first_of_each(rows)
            reads = question.product.certain_reads(sure.bands(), reader.pushed.outputs, reader.resolved.mask_bands)
            cost += cost_of(reads, question.options)
    check_budget(cost, budget)
    return iter(known)


def _exact_cost(runs: list[tuple[PairedRows, range]], reader: RowReader, question: Question, budget: Budget) -> Cost:
    """Return what the batches of the answer will fetch, by planning them as they will be read."""
    max_bytes, n_rows = question.options.max_answer_bytes, reader.pushed.n_rows
    with open_dry_run_log() as (name, log):
        options = replace(reader.call.options, dry_run=DryRun(log=name, read=0))
        planner = replace(reader, call=replace(reader.call, options=options))
        for rows, _ in runs:
            if not question.many_rows:
                for _ in read_all(rows, planner, max_bytes):
                    pass
                continue
            for _, n_planned in read_many(rows, planner, max_bytes, n_rows):
                n_rows = None if n_rows is None else n_rows - n_planned
            if n_rows is not None and n_rows <= 0:
                break
        return log.cost(budget)


def _first_of_each(rows: PairedRows) -> PairedRows:
    """Return the best row of each target."""
    return rows.taken(np.unique(rows.target, return_index=True)[1])
