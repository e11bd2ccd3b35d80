"""Which part of a predicate may run before which stage of a read?

Polars hands an IO source one expression. Its AND parts are told apart by the columns they name; nothing here
evaluates data, except on one all-null row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPredicate:
    """AND parts of a predicate by the earliest stage that can decide them without changing the answer."""

    targets: tuple[pl.Expr, ...]
    """Name only the caller's columns: filter the caller's frame."""
    records: tuple[pl.Expr, ...]
    """Name only record columns and are not true of a row without a record: filter the collection scan."""
    pairs: tuple[pl.Expr, ...]
    """Name record columns, perhaps the caller's too: choose pairs before any pixel is requested."""
    pixels: tuple[pl.Expr, ...]
    """Name values that are read, or run Python: decide last."""


def split_and(predicate: pl.Expr) -> list[pl.Expr]:
    """Return the parts of a conjunction; a predicate that is none is its only part.

    Examples
    --------
    >>> import polars as pl
    >>> len(split_and((pl.col("a") > 1) & (pl.col("b") < 2) & pl.col("c")))
    3
    """
    operands = predicate.meta.pop()
    # pop gives the operands of any root node, right one first: only rebuilding shows that the root is a real AND.
    if len(operands) == 2 and (operands[1] & operands[0]).meta.eq(predicate):
        return split_and(operands[1]) + split_and(operands[0])
    return [predicate]


def holds_python(expr: pl.Expr) -> bool:
    """Return whether an expression calls Python functions; one that cannot be looked into counts as doing so."""
    try:
        tree = json.loads(expr.meta.serialize(format="json"))
    except (pl.exceptions.PolarsError, ValueError, TypeError):
        return True
    return _has_key(tree, "AnonymousFunction")


def _has_key(node: Any, key: str) -> bool:
    if isinstance(node, dict):
        return key in node or any(_has_key(value, key) for value in node.values())
    if isinstance(node, list):
        return any(_has_key(value, key) for value in node)
    return False


def rejects_null_row(predicate: pl.Expr, schema: Mapping[str, pl.DataType]) -> bool:
    """Return whether a predicate is not true of a row in which every column is null."""
    names = predicate.meta.root_names()
    row = pl.DataFrame({name: [None] for name in names}, schema={name: schema[name] for name in names})
    try:
        kept = row.lazy().filter(predicate).collect(engine="in-memory")
    except pl.exceptions.PolarsError:
        return False  # it cannot be judged here, so it runs where it cannot do harm
    return kept.height == 0


def split_predicate(
    predicate: pl.Expr | None,
    *,
    target_columns: AbstractSet[str],
    record_columns: Mapping[str, pl.DataType],
    may_choose_records: bool,
    unmatched_rows: bool,
) -> SplitPredicate:
    """Split a predicate by stage.

    Parameters
    ----------
    predicate
        As delivered; None is no predicate.
    target_columns, record_columns
        Output names by where they come from; names in neither are values that are read.
    may_choose_records
        Whether a record that fails may be dropped before others are chosen: true for ``match="all"`` only, because
        the other matches choose a record and the predicate comes after the choice.
    unmatched_rows
        Whether rows without a record are invented.
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
            # Rows without a record are told before these parts run, so they cannot be mistaken for ones whose records
            # failed.
            pairs.append(part)
    return SplitPredicate(targets=tuple(targets), records=tuple(records), pairs=tuple(pairs), pixels=tuple(pixels))


def conjunction(parts: tuple[pl.Expr, ...]) -> pl.Expr | None:
    """Join parts with AND; None for no part."""
    return reduce(and_, parts) if parts else None


def root_names(parts: tuple[pl.Expr, ...]) -> set[str]:
    """Name the columns that parts need."""
    return {name for part in parts for name in part.meta.root_names()}
