"""What does Polars hand down to the source of a verb, and which part of a predicate acts at which stage?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from polars_rasteret.frame.columns.read_error import READ_ERROR
from polars_rasteret.frame.query.predicates import SplitPredicate, conjunction, root_names, split_predicate

if TYPE_CHECKING:
    import polars as pl

    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.options import ReadOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushdown:
    """Columns, predicate and limit."""

    wanted: list[str]
    """Columns of the frames that Polars gets, in order."""
    split: SplitPredicate
    n_rows: int | None
    """The limit; None where there is none."""
    needed: frozenset[str]
    """Columns wanted, and those that the predicate needs after records are collected."""
    values: frozenset[str]
    """Values among them, as the product names them."""
    outputs: frozenset[str]
    """What the product is asked for: values that come into the answer, and where reasons of errors are needed, all that cost
    requests."""
    ramps_up: bool
    """Whether a predicate that needs pixels may let Polars stop early."""
    options: ReadOptions
    """Options of the run, whose time counts from here; the budget is kept by `frame.query.budget` and the engine's spending."""

    @property
    def on_targets(self) -> pl.Expr | None:
        """The condition on the caller's frame."""
        return conjunction(self.split.targets)

    @property
    def on_pixels(self) -> pl.Expr | None:
        """The condition on rows of the answer."""
        return conjunction(self.split.pixels)


def pushdown(
    question: Question,
    resolved: Resolved,
    with_columns: list[str] | None,
    predicate: pl.Expr | None,
    n_rows: int | None,
) -> Pushdown:
    """Return what Polars handed down, the predicate split by stage."""
    is_chosen = question.pairing.match != "all"
    split = split_predicate(
        predicate,
        target_columns=set(resolved.targets),
        record_columns={name: resolved.record_schema[column] for name, column in resolved.records.items()},
        may_choose_records=not is_chosen,
        unmatched_rows=question.pairing.unmatched == "null",
    )
    if n_rows is not None:
        # Polars limits first and filters what is left: no part may act before the limit.
        late = (*split.targets, *split.records, *split.pairs)
        split = replace(
            split,
            targets=(),
            records=(),
            pairs=() if is_chosen else late,
            pixels=(*late, *split.pixels) if is_chosen else split.pixels,
        )
    wanted = list(resolved.schema) if with_columns is None else with_columns
    needed = {*wanted, *root_names(split.pairs), *root_names(split.pixels), *root_names(split.records)}
    values = resolved.values_of(needed)
    product = question.product
    paid = product.outputs.keys() - product.free_outputs if READ_ERROR in values else set()
    late_names = root_names(split.pixels)
    chooses_records = is_chosen and not late_names.isdisjoint(resolved.records)
    return Pushdown(
        wanted=wanted,
        split=split,
        n_rows=n_rows,
        needed=frozenset(needed),
        values=frozenset(values),
        outputs=frozenset((values - {READ_ERROR}) | paid),
        ramps_up=chooses_records or not resolved.values_of(late_names) <= product.free_outputs,
        options=question.options.without_budget().begun(),
    )
