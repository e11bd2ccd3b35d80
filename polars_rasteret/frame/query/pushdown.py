"""What does Polars hand down to the source of a verb, and which part of a predicate acts at which stage?

Polars passes an IO source one predicate. Its AND parts are sorted by the columns that they name. No data is evaluated here but
one row of nulls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.frame.columns.read_error import READ_ERROR
from polars_rasteret.frame.query.plan_tree import holds_python

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.options import ReadOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPredicate:
    """AND parts of a predicate by the earliest stage that can decide them without changing the answer."""

    targets: tuple[pl.Expr, ...]
    """Parts with only the caller's columns: they filter the caller's frame."""
    records: tuple[pl.Expr, ...]
    """Parts with only record columns that are not true for a row without a record: they filter the collection scan."""
    pairs: tuple[pl.Expr, ...]
    """Parts with record columns, and maybe the caller's: they filter pairs before any pixel is requested."""
    pixels: tuple[pl.Expr, ...]
    """Parts with values that are read, or with Python functions: they filter the answer."""


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
        # Polars limits first and filters what is left: no part may act before the limit, which is on rows of the answer.
        is_late = is_chosen or question.many_rows
        late = (*split.targets, *split.records, *split.pairs)
        split = replace(
            split,
            targets=(),
            records=(),
            pairs=() if is_late else late,
            pixels=(*late, *split.pixels) if is_late else split.pixels,
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
        ramps_up=not question.is_part
        and (chooses_records or not resolved.values_of(late_names) <= product.free_outputs),
        options=question.options.without_budget().begun(),
    )


def split_and(predicate: pl.Expr) -> list[pl.Expr]:
    """Return the parts of a conjunction; any other predicate is its own only part.

    Examples
    --------
    >>> import polars as pl
    >>> len(split_and((pl.col("a") > 1) & (pl.col("b") < 2) & pl.col("c")))
    3
    """
    operands = predicate.meta.pop()
    # `pop` returns the operands of any root node, the right one first. Only rebuilding shows that the root is a real AND.
    if len(operands) == 2 and (operands[1] & operands[0]).meta.eq(predicate):
        return split_and(operands[1]) + split_and(operands[0])
    return [predicate]


def may_act_early(part: pl.Expr, made: AbstractSet[str]) -> bool:
    """Return whether a part can be decided before the columns `made` are there: it names only others, and runs no Python."""
    names = set(part.meta.root_names())
    return bool(names) and names.isdisjoint(made) and not holds_python(part)


def rejects_null_row(predicate: pl.Expr, schema: Mapping[str, pl.DataType]) -> bool:
    """Return whether a predicate is not true for a row in which every column is null."""
    names = predicate.meta.root_names()
    row = pl.DataFrame({name: [None] for name in names}, schema={name: schema[name] for name in names})
    try:
        kept = row.lazy().filter(predicate).collect(engine="in-memory")
    except pl.exceptions.PolarsError:
        return False  # not decidable here, so the part runs at a stage that is always right
    return kept.height == 0


def split_predicate(
    predicate: pl.Expr | None,
    *,
    target_columns: AbstractSet[str],
    record_columns: Mapping[str, pl.DataType],
    may_choose_records: bool,
    unmatched_rows: bool,
) -> SplitPredicate:
    """Return a predicate's AND parts by the stage at which they run.

    Parameters
    ----------
    predicate
        Predicate from Polars; None is no predicate.
    target_columns, record_columns
        Output columns that come from the caller's frame, and from records. All other columns are values that are read.
    may_choose_records
        Whether records that fail may be dropped before a record is chosen. True for ``match="all"`` only: other matches
        choose a record first, and the predicate applies to the chosen one.
    unmatched_rows
        Whether the answer has rows without a record.
    """
    targets: list[pl.Expr] = []
    records: list[pl.Expr] = []
    pairs: list[pl.Expr] = []
    pixels: list[pl.Expr] = []
    for part in split_and(predicate) if predicate is not None else []:
        names = set(part.meta.root_names())
        if not names or holds_python(part):
            pixels.append(part)
        elif names <= target_columns:
            targets.append(part)
        elif not may_choose_records or not names <= target_columns | record_columns.keys():
            pixels.append(part)
        elif names <= record_columns.keys() and (not unmatched_rows or rejects_null_row(part, record_columns)):
            records.append(part)
        else:
            # Rows without a record are known before these parts run, so they are not taken for rows whose records failed.
            pairs.append(part)
    return SplitPredicate(targets=tuple(targets), records=tuple(records), pairs=tuple(pairs), pixels=tuple(pixels))


def conjunction(parts: tuple[pl.Expr, ...]) -> pl.Expr | None:
    """Return the parts joined with AND; None for no parts."""
    return reduce(and_, parts) if parts else None


def root_names(parts: tuple[pl.Expr, ...]) -> set[str]:
    """Return the names of the columns that parts need."""
    return {name for part in parts for name in part.meta.root_names()}
