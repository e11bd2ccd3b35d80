"""May pixel values decide what a query reads?

The plan, as Polars serializes it, is walked from its sources up. For each step it is found which columns depend on pixel values,
whether pixel values chose or ordered the rows, and whether a later read depends on either. Steps that are not known here count as
dependent. Nothing is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polars_rasteret.frame.estimate.plan_expressions import FIRST_ROWS, VALUE_BY_VALUE, Look, PlanRows, looked_at
from polars_rasteret.frame.query.bounded_columns import BatchedColumns
from polars_rasteret.frame.query.plan_objects import (
    PlanObject,
    RecordsSource,
    numbered_objects,
    numbered_plan,
    object_in,
)
from polars_rasteret.frame.query.plan_tree import (
    as_bytes,
    ends_early,
    expression_tree,
    holds_ours,
    is_frame,
    output_names,
    plans_in,
)
from polars_rasteret.frame.query.source import PairedSource

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl


@dataclass(slots=True)
class Dependence:
    """Reads, limits and sinks of a query, and whether pixel values decide over them."""

    reads: bool = False
    """Whether anything is read."""
    behind: bool = False
    """Whether pixel values may decide what another read reads."""
    may_end_early: bool = False
    """Whether a limit follows a read, so that the read may end before all its rows."""
    ends_by_pixels: bool = False
    """Whether pixel values decide when such a read ends."""
    shares_steps: bool = False
    """Whether Polars may run a step once for several places of the plan. Limits then stay above that step. (In a copy of the
    query these places are no longer one object.)"""
    writes: bool = False
    """Whether the query ends in a sink."""
    is_packed: bool = False
    """Whether an expression of this package was deserialized with the query: it cannot be told not to read."""


def dependence(lf: pl.LazyFrame) -> Dependence:
    """Return what the plan of a query shows about its reads.

    Raises
    ------
    UsageError
        When Polars cannot serialize the plan, because something in it cannot be pickled.
    """
    found = Dependence()
    _looked_through(lf, found, is_inner=False)
    return found


def _looked_through(lf: pl.LazyFrame, found: Dependence, *, is_inner: bool = True) -> PlanRows:
    if is_frame(lf):
        return PlanRows()
    tree, ours = numbered_plan(lf, "be estimated")
    walk = _Walk(found, ours)
    rows = walk.rows_of(tree)
    if rows.reads and walk.has_limit and ends_early(lf, pairs_read=walk.pairs_read):
        found.may_end_early = True
    if rows.reads and walk.has_limit and walk.is_any_repeated:
        found.may_end_early = found.shares_steps = True
        found.behind |= is_inner
    return rows


class _Walk:
    """Walk through one plan."""

    def __init__(self, found: Dependence, ours: list[PlanObject]) -> None:
        self.found, self.ours = found, ours
        self.has_limit = False
        self.calls: set[tuple[int, int]] = set()
        """Sources and callbacks of this package, and their places in the plan, both by identity."""
        self.pairs_read = False
        """Whether a ``pair``, which reads nothing itself, follows a read."""

    @property
    def is_any_repeated(self) -> bool:
        """Whether a source or callback occurs in several places."""
        return len({one for one, _ in self.calls}) < len(self.calls)

    def rows_of(self, node: Any) -> PlanRows:
        """Return the rows of a node of the plan."""
        kind, body = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else ("", node)
        handler = getattr(self, f"_of_{kind.lower()}", None)
        if handler is None or not isinstance(body, dict):
            return self._of_unknown(kind, body)
        rows: PlanRows = handler(body)
        return rows

    # -- sources ------------------------------------------------------------------------------------------------------

    def _of_dataframescan(self, _: dict[str, Any]) -> PlanRows:
        return PlanRows()

    _of_scan = _of_dataframescan

    def _of_pythonscan(self, body: dict[str, Any]) -> PlanRows:
        options = body["options"]
        source = object_in(as_bytes(options.get("scan_fn")), self.ours)
        if source is not None:
            self.calls.add((id(source), id(body)))
        if isinstance(source, PairedSource):
            return self._of_paired(source)
        if isinstance(source, BatchedColumns):
            return self._of_batched(source)
        if isinstance(source, RecordsSource):
            return PlanRows()
        if source is not None or holds_ours(options.get("scan_fn")):  # a foreign source around a query of this package
            return self._foreign()
        return PlanRows()

    def _foreign(self) -> PlanRows:
        self.found.reads = self.found.behind = True
        return PlanRows(columns=None, chosen=True, reads=True)

    def _of_paired(self, source: PairedSource) -> PlanRows:
        question, resolved = source.question, source.resolved
        targets, records = _looked_through(question.targets, self.found), _looked_through(question.records, self.found)
        used = set(resolved.where.names) | set(resolved.at.meta.root_names() if resolved.at is not None else ())
        used |= set(resolved.valid.targets if resolved.valid is not None else ())
        reads_pixels = question.reads_pixels
        is_behind = targets.chosen or records.chosen or records.is_touched
        is_behind |= targets.columns is None or not used.isdisjoint(targets.columns)
        if reads_pixels:
            self.found.reads = True
            self.found.behind |= is_behind
        else:
            self.pairs_read |= targets.reads or records.reads
        columns = set(targets.columns or ())
        if reads_pixels:
            columns |= resolved.values.keys()
        is_chosen = question.pairing.match != "all"
        if is_chosen:
            columns |= resolved.records.keys()
        return PlanRows(
            columns=None if targets.columns is None or records.is_touched else frozenset(columns),
            chosen=is_behind or (is_chosen and question.pairing.unmatched == "drop"),
            reads=reads_pixels or targets.reads or records.reads,
        )

    def _of_batched(self, source: BatchedColumns) -> PlanRows:
        rows = _looked_through(source.lf, self.found)
        with numbered_objects() as ours:
            trees = [expression_tree(expr) for expr in source.exprs]
        return _Walk(self.found, ours).with_columns(rows, trees)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _of_ir(self, body: dict[str, Any]) -> PlanRows:
        return self.rows_of(body["dsl"])

    def _of_cache(self, body: dict[str, Any]) -> PlanRows:
        return self.rows_of(body["input"])

    def _of_sink(self, body: dict[str, Any]) -> PlanRows:
        self.found.writes = True
        return self.rows_of(body["input"])

    def _of_sinkmultiple(self, _: dict[str, Any]) -> PlanRows:
        self.found.writes = True
        return PlanRows()

    def _of_filter(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        look = self._look(body["predicate"], rows)
        # A read inside a filter runs on rows that Polars chooses, perhaps on statistics of row groups.
        self.found.behind |= look.is_read
        return PlanRows(
            columns=rows.columns,
            chosen=rows.chosen or look.is_read or look.depends_on(rows),
            reads=rows.reads or look.is_read,
        )

    def _of_hstack(self, body: dict[str, Any]) -> PlanRows:
        return self.with_columns(self.rows_of(body["input"]), body["exprs"])

    def with_columns(self, rows: PlanRows, exprs: Iterable[Any]) -> PlanRows:
        """Return rows with the columns of expressions added."""
        made = self._made(rows, exprs)
        return (
            made.and_other(rows)
            if made.columns is not None
            else PlanRows(columns=None, chosen=rows.chosen, reads=made.reads)
        )

    def _of_select(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        return self._made(rows, body["expr"], may_choose=True)

    def _made(self, rows: PlanRows, exprs: Iterable[Any], *, may_choose: bool = False) -> PlanRows:
        """Return rows with only the columns of expressions."""
        columns: frozenset[str] | None = frozenset()
        chosen, reads = rows.chosen, rows.reads
        for expr in exprs:
            look = self._look(expr, rows)
            reads |= look.is_read
            if not look.kinds.isdisjoint(FIRST_ROWS) and (rows.reads or look.is_read):
                self.found.may_end_early = self.found.ends_by_pixels = True
            if not (look.is_read or look.depends_on(rows)):
                continue
            names = output_names(expr)
            if names is None and look.kinds == {"Selector"}:
                names = rows.columns
            columns = None if columns is None or names is None else columns | names
            chosen |= may_choose and not look.kinds <= VALUE_BY_VALUE | {"Selector"}
        return PlanRows(columns=columns, chosen=chosen, reads=reads)

    def _of_groupby(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        keys = self._looks(body["keys"], rows) + self._looks(body.get("predicates") or [], rows)
        options = body.get("options") or {}
        is_plain = not (options.get("dynamic") or options.get("rolling") or body.get("apply"))
        own = self._looks(body["aggs"], rows) + keys
        made = self._made(rows, body["aggs"])
        reads = made.reads or any(look.is_read for look in own)
        if any(look.is_read for look in own) and not is_plain:
            self.found.behind = True
        self._limited(rows, bool(options.get("slice")))
        return PlanRows(
            columns=made.columns if is_plain else None,
            chosen=made.chosen or not is_plain or any(look.is_read or look.depends_on(rows) for look in keys),
            reads=reads,
        )

    def _of_join(self, body: dict[str, Any]) -> PlanRows:
        left, right = self.rows_of(body["input_left"]), self.rows_of(body["input_right"])
        both = left.and_other(right)
        args = body["options"]["args"]
        condition = body["condition"]
        is_equi = isinstance(condition, dict) and set(condition) == {"Equi"}
        looks = self._looks([one for side in condition["Equi"].values() for one in side], both) if is_equi else []
        columns = both.columns
        if right.columns and columns is not None:  # names that exist already get a suffix
            columns |= {name + (args.get("suffix") or "_right") for name in right.columns}
        self._limited(both, bool(args.get("slice")))
        is_chosen = any(look.depends_on(both) for look in looks)
        if not is_equi or not isinstance(
            args.get("how"), str
        ):  # inequalities, asof: what else decides is not looked at
            is_chosen |= both.is_touched
        is_read = any(look.is_read for look in looks)
        return PlanRows(columns=columns, chosen=both.chosen or is_chosen or is_read, reads=both.reads or is_read)

    def _of_sort(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        looks = self._looks(body["by_column"], rows)
        return PlanRows(
            columns=rows.columns,
            chosen=rows.chosen or any(look.is_read or look.depends_on(rows) for look in looks),
            reads=rows.reads or any(look.is_read for look in looks),
        )

    def _of_distinct(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        subset = body["options"].get("subset")
        is_chosen = (
            rows.is_touched if subset is None else any(one.depends_on(rows) for one in self._looks(subset, rows))
        )
        return PlanRows(columns=rows.columns, chosen=rows.chosen or is_chosen, reads=rows.reads)

    def _of_slice(self, body: dict[str, Any]) -> PlanRows:
        rows = self.rows_of(body["input"])
        self._limited(rows, True)
        return rows

    def _limited(self, rows: PlanRows, is_limited: bool) -> None:
        self.has_limit |= is_limited
        self.found.ends_by_pixels |= is_limited and rows.chosen and rows.reads

    def _of_mergesorted(self, body: dict[str, Any]) -> PlanRows:
        both = self.rows_of(body["input_left"]).and_other(self.rows_of(body["input_right"]))
        return PlanRows(columns=both.columns, chosen=both.chosen or both.is_touched, reads=both.reads)

    def _of_union(self, body: dict[str, Any]) -> PlanRows:
        rows = PlanRows()
        for one in body["inputs"]:
            rows = rows.and_other(self.rows_of(one))
        return rows

    _of_hconcat = _of_union

    def _of_mapfunction(self, body: dict[str, Any]) -> PlanRows:
        function = body["function"]
        kind = function if isinstance(function, str) else next(iter(function))
        rows = self.rows_of(body["input"])
        if holds_ours(function):  # a foreign function around a query of this package
            return self._foreign()
        if kind == "RowIndex":
            return rows
        if rows.is_touched or rows.chosen:
            return PlanRows(columns=None, chosen=kind not in {"Rename", "Unnest"} or rows.chosen, reads=rows.reads)
        return rows

    def _of_unknown(self, kind: str, body: Any) -> PlanRows:
        """Return the rows of a step that is not known here: every read in or below the step may depend on pixel values."""
        self.found.writes |= "Sink" in kind
        before = self.found.reads
        self.found.reads = False
        look = self._look(body, PlanRows())
        for one in plans_in(body):
            self.rows_of(one)
        reads = self.found.reads or look.is_read
        self.found.behind |= reads
        self.found.reads = before or reads
        return PlanRows(columns=None if reads else frozenset(), chosen=reads, reads=reads)

    # -- expressions --------------------------------------------------------------------------------------------------

    def _looks(self, exprs: Iterable[Any], rows: PlanRows) -> list[Look]:
        return [self._look(expr, rows) for expr in exprs]

    def _look(self, expr: Any, rows: PlanRows) -> Look:
        look = looked_at(expr, rows, self.ours)
        self.found.reads |= look.is_read
        self.found.behind |= look.is_behind
        self.found.is_packed |= look.is_packed
        self.calls |= look.calls
        return look
