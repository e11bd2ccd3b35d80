"""Does an expression of a plan read pixels, use columns of pixel values, or choose rows?

Expressions that are not known here count as depending on pixel values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polars_rasteret.frame.expressions.product_callback import ProductCallback
from polars_rasteret.frame.query.bounded_columns import BatchedColumns
from polars_rasteret.frame.query.plan_objects import PlanObject, object_in
from polars_rasteret.frame.query.plan_tree import as_bytes, named_columns
from polars_rasteret.frame.query.source import PairedSource

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUE_BY_VALUE = frozenset({"Column", "Alias", "Literal", "BinaryExpr", "Cast", "Ternary", "AnonymousFunction"})
"""Kinds of expressions whose values depend on their own row alone."""
FIRST_ROWS = frozenset({"Slice", "First", "Item"})
"""Kinds of expressions that may need only some of the rows."""
_OTHER_KINDS = frozenset({
    "Function", "Selector", "Agg", "Len", "Over", "SortBy", "Sort", "Gather", "Filter", "Explode", "Slice", "KeepName",
    "RenameAlias",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRows:
    """Rows that one step of a plan returns."""

    columns: frozenset[str] | None = frozenset()
    """Columns that depend on pixel values; None: any column may."""
    chosen: bool = False
    """Whether pixel values chose or ordered the rows."""
    reads: bool = False
    """Whether pixels are read in this step or below."""

    @property
    def is_touched(self) -> bool:
        """Whether any column depends on pixel values."""
        return self.columns is None or bool(self.columns)

    def and_other(self, other: PlanRows) -> PlanRows:
        """Return the rows of a step that combines both."""
        columns = None if self.columns is None or other.columns is None else self.columns | other.columns
        return PlanRows(columns=columns, chosen=self.chosen or other.chosen, reads=self.reads or other.reads)


@dataclass(slots=True)
class Look:
    """Columns, reads and callbacks in one expression."""

    columns: set[str] = field(default_factory=set)
    any_column: bool = False
    """Whether the expression may use columns that it does not name."""
    is_read: bool = False
    """Whether the expression reads pixels."""
    is_behind: bool = False
    """Whether pixel values may decide what the expression reads."""
    is_packed: bool = False
    """Whether the expression reads by a callback that Polars still has as the bytes of another process."""
    kinds: set[str] = field(default_factory=set)
    """Kinds of the expression's nodes, as Polars names them."""
    calls: set[tuple[int, int]] = field(default_factory=set)
    """Callbacks of this package, and their places in the plan, both by identity."""

    def depends_on(self, rows: PlanRows) -> bool:
        """Return whether the expression's value depends on pixel values in `rows`, on which it is evaluated."""
        if rows.columns is None:
            return bool(self.columns) or self.any_column
        return not self.columns.isdisjoint(rows.columns) or (self.any_column and bool(rows.columns))


def looked_at(tree: Any, rows: PlanRows, ours: Sequence[PlanObject]) -> Look:
    """Return what an expression of a plan (or several) contains, when it is evaluated on `rows`."""
    look = Look()
    _see(tree, look, rows, ours)
    return look


def _see(node: Any, look: Look, rows: PlanRows, ours: Sequence[PlanObject]) -> None:
    if isinstance(node, list):
        for one in node:
            _see(one, look, rows, ours)
    if not isinstance(node, dict):
        return
    for kind, body in node.items():
        if kind[:1].isupper():
            look.kinds.add(kind)
        if kind == "Column" and isinstance(body, str):
            look.any_column |= body.startswith("^")
            look.columns.add(body)
        elif kind == "Selector":
            names = named_columns(body)
            look.any_column |= names is None
            look.columns |= names or set()
        elif kind == "AnonymousFunction":
            _see_function(body, look, rows, ours)
        elif kind == "Function":
            _see(body["input"], look, rows, ours)
        elif kind == "Cast":
            _see(body["expr"], look, rows, ours)
        elif kind == "SubPlan":  # a whole query
            look.is_read = look.is_behind = True
        elif kind != "Literal":
            look.any_column |= kind[:1].isupper() and kind not in VALUE_BY_VALUE | _OTHER_KINDS
            _see(body, look, rows, ours)


def _see_function(body: dict[str, Any], look: Look, rows: PlanRows, ours: Sequence[PlanObject]) -> None:
    inputs = looked_at(body["input"], rows, ours)
    called = object_in(as_bytes(body["function"]), ours)
    if called is None and ProductCallback.__module__.encode() in as_bytes(body["function"]):
        # Polars unpickles expressions when it first calls them, and writes those that it has not called as it got them.
        look.is_packed = True
    if isinstance(called, PairedSource | BatchedColumns):  # a foreign function around a query of this package
        look.is_behind = True
    if called is not None:
        look.is_read = True
        look.calls.add((id(called), id(body)))
        look.is_behind |= rows.chosen or inputs.is_read or inputs.depends_on(rows)
        look.is_behind |= rows.is_touched and not inputs.kinds <= VALUE_BY_VALUE | {"Function", "Selector"}
    look.is_read |= inputs.is_read
    look.is_behind |= inputs.is_behind
    look.is_packed |= inputs.is_packed
    look.columns |= inputs.columns
    look.any_column |= inputs.any_column
    look.kinds |= inputs.kinds
    look.calls |= inputs.calls
