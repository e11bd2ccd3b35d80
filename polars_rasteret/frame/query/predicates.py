"""Which part of a predicate may run before which stage of a read?

Polars passes an IO source one predicate. Its AND parts are sorted by the columns that they name. No data is evaluated here but
one row of nulls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.frame.query.plan_tree import holds_python

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


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
