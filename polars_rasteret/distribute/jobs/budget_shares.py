"""How much of the budget of a query may one of its parts spend, so that the budget holds in total?

Parts run at the same time, in processes that do not know each other. So each has its share beforehand, in proportion to what it
is estimated to fetch. A budget that covers the estimates of all parts covers that of each.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from polars_rasteret.engine import Budget, Cost, check_budget
from polars_rasteret.options import unpickled_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.distribute.cutting.parts import Part
    from polars_rasteret.distribute.jobs.job import Job
    from polars_rasteret.options import ReadOptions


_ROUNDING = 1 + 1e-9
"""A budget of just the dollars that are estimated gives each part its own, whatever the last digit is."""


def of_part(parts: Sequence[Part], number: int) -> Callable[[ReadOptions], ReadOptions]:
    """Return what the options of a query become in one of its parts: a share of the budget, and no bar of progress.

    Parameters
    ----------
    parts
        All parts of the query.
    number
        The part.
    """

    def changed(options: ReadOptions) -> ReadOptions:
        if not options.has_budget:
            return replace(options, progress=False)
        part, n_parts = parts[number], len(parts)
        n_bytes, n_requests = sum(one.bytes for one in parts), sum(one.requests for one in parts)
        budget_bytes, budget_requests, usd = options.budget_bytes, options.budget_requests, options.budget_usd
        # Whole numbers: a budget of just the estimate gives each part just its own.
        if budget_bytes is not None:
            budget_bytes = budget_bytes * part.bytes // n_bytes if n_bytes else budget_bytes // n_parts
        if budget_requests is not None:
            budget_requests = (
                budget_requests * part.requests // n_requests if n_requests else budget_requests // n_parts
            )
        if usd is not None:
            total = math.fsum(one.usd for one in parts)
            usd *= _ROUNDING * part.usd / total if total else 1 / n_parts
        return replace(
            options, progress=False, budget_bytes=budget_bytes, budget_requests=budget_requests, budget_usd=usd
        )

    return changed


def check_whole_budget(job: Job) -> None:
    """Refuse a query whose parts together are known to fetch more than its budget allows.

    Raises
    ------
    BudgetError
        Before anything is read. Where the estimate is no more than an upper bound, each part is held to its share instead.
    """
    if job.manifest.bound != "exact":
        return
    found: list[ReadOptions] = []

    def noted(options: ReadOptions) -> ReadOptions:
        found.append(options)
        return options

    with unpickled_as(noted):
        job.query(0)
    budgets = [budget for options in found if (budget := Budget.of(options)) is not None]
    cost = Cost(
        tiles=sum(one.tiles for one in job.parts),
        requests=sum(one.requests for one in job.parts),
        bytes=sum(one.bytes for one in job.parts),
        usd=math.fsum(one.usd for one in job.parts),
    )
    for budget in budgets:
        check_budget(cost, budget)
