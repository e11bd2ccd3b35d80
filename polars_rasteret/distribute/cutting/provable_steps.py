"""Which steps of Polars may stand above a read that is cut, so that the rows of all parts are the rows of the whole?

The plan is walked from its end down to the read. Only steps that are known to treat each row, or each of the caller's rows, by
itself are let through; all others are refused by name. Nothing is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

from polars_rasteret.distribute.cutting.plan_keys import keys_in_plan
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.bounded_columns import BatchedColumns
from polars_rasteret.frame.query.plan_objects import PlanObject, RecordsSource, numbered_plan, object_in
from polars_rasteret.frame.query.plan_tree import as_bytes, holds_ours, is_frame, named_columns
from polars_rasteret.frame.query.row_wise import is_constant, looks_at_other_rows, other_rows_in
from polars_rasteret.frame.query.source import PairedSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WORDS = {
    "groupby": "group_by",
    "distinct": "unique",
    "slice": "head, tail, limit or slice",
    "sort": "sort",
    "union": "concat",
    "hconcat": "concat(how='horizontal')",
    "mergesorted": "merge_sorted",
    "sink": "a sink",
    "sinkmultiple": "sinks",
    "cache": "cache",
    "sql": "sql",
    "RowIndex": "with_row_index",
    "Stats": "an aggregate of all rows",
    "pivot": "pivot",
    "Hint": "set_sorted",
    "OpaquePython": "map_batches or inspect",
}
_ROW_BY_ROW_MAPS = frozenset({"Rename", "Unnest", "Explode", "Unpivot", "Rechunk"})
"""Functions on frames that make rows of each row by itself."""
_VALIDATIONS = frozenset({"ManyToMany", "ManyToOne"})
"""Checks of joins that say nothing of the left side as a whole."""
_CARRY_ON = (
    "Distribute the read, then go on from its answer: "
    "pr.run(read, into=...) returns pl.scan_parquet(into), on which every step of Polars works."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutRead:
    """The read of a query that may be cut."""

    source: PairedSource
    keys: tuple[frozenset[str], ...]
    """Caller's columns by which the query groups, one set per ``group_by``: together they must tell the caller's rows apart."""


def cut_read(query: pl.LazyFrame) -> CutRead:
    """Return the read of a query, proved to give the same rows in parts.

    Raises
    ------
    UsageError
        For a step that is not proved to; the message names the step.
    """
    if not isinstance(query, pl.LazyFrame):
        raise UsageError(
            f"a query in parts is a LazyFrame, got a {type(query).__name__}; write .lazy() before the read"
        )
    below = _proved(query)
    question = below.source.question
    for frame, what in ((question.targets, question.whose), (question.records, "the records")):
        _refuse_reads(frame, f"another read ({what})")
    at = question.pairing.at
    if isinstance(at, pl.Expr) and (found := looks_at_other_rows(at, question.targets.collect_schema())) is not None:
        _refuse(f"at={found}, which may look at other rows than its own", "Make it a column of your table first.")
    return CutRead(source=below.source, keys=tuple(below.keys))


@dataclass(slots=True, kw_only=True)
class _Below:
    """What is known of the rows of a step."""

    source: PairedSource
    own: dict[str, str]
    """Columns that are the caller's, as they were: name here to name in the caller's frame."""
    keys: list[frozenset[str]] = field(default_factory=list)


def _proved(query: pl.LazyFrame) -> _Below:
    tree, objects = numbered_plan(query, "be cut into parts")
    if keys := keys_in_plan(tree):
        raise UsageError(
            f"the query holds {', '.join(keys)}, which is never sent to workers. Collect that table first, "
            "table.collect().lazy(); or let the environment, a profile or a role give credentials, here and on the workers."
        )
    return _Proof(objects).below(tree)


def _refuse(what: str, instead: str = _CARRY_ON) -> NoReturn:
    raise UsageError(f"the query has {what}: its parts together would not have the rows of the whole. {instead}")


def _refuse_reads(frame: pl.LazyFrame, what: str) -> None:
    """Refuse a frame whose plan reads pixels: every part would read them again."""
    if is_frame(frame):
        return
    try:
        _, objects = numbered_plan(frame, "be cut into parts")
    except UsageError:
        return  # it is collected once, wherever it comes from
    if any(not isinstance(one, RecordsSource) for one in objects):
        _refuse(what, "Collect that read first (or pr.run it), and pair its answer.")


class _Proof:
    """Walk through one plan, from the end down."""

    def __init__(self, objects: Sequence[PlanObject]) -> None:
        self.objects = objects

    def below(self, node: Any) -> _Below:
        """Return what is known of the rows of a step; refuse what is not known to treat rows by themselves."""
        kind, body = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else ("", node)
        handler = getattr(self, f"_of_{kind.lower()}", None)
        if handler is None or not isinstance(body, dict):
            _refuse(_WORDS.get(kind.lower(), kind or "a step that is not known here"))
        found: _Below = handler(body)
        return found

    def _of_ir(self, body: dict[str, Any]) -> _Below:
        return self.below(body["dsl"])

    def _of_pythonscan(self, body: dict[str, Any]) -> _Below:
        source = object_in(as_bytes(body["options"].get("scan_fn")), self.objects)
        if isinstance(source, PairedSource):
            return _Below(source=source, own={name: name for name in source.resolved.targets})
        if isinstance(source, BatchedColumns):
            below = _proved(source.lf)
            made = set(source.lf.select(*source.exprs).collect_schema())  # no row is read for a schema
            return _without(below, made)
        return _no_verb()

    def _of_dataframescan(self, _: dict[str, Any]) -> _Below:
        return _no_verb()

    _of_scan = _of_dataframescan

    def _of_filter(self, body: dict[str, Any]) -> _Below:
        self._row_by_row([body["predicate"]], "filter")
        return self.below(body["input"])

    def _of_hstack(self, body: dict[str, Any]) -> _Below:
        self._row_by_row(body["exprs"], "with_columns")
        below = self.below(body["input"])
        return _Below(source=below.source, own=_taken(below.own, body["exprs"], keeps=True), keys=below.keys)

    def _of_select(self, body: dict[str, Any]) -> _Below:
        self._row_by_row(body["expr"], "select")
        is_fixed = [is_constant(one) for one in body["expr"]]
        if all(is_fixed) or (any(is_fixed) and not any(_names_a_column(one) for one in body["expr"])):
            _refuse("a select of constants that names no column, which may be one row")
        below = self.below(body["input"])
        return _Below(source=below.source, own=_taken(below.own, body["expr"], keeps=False), keys=below.keys)

    def _of_mapfunction(self, body: dict[str, Any]) -> _Below:
        function = body["function"]
        kind = function if isinstance(function, str) else next(iter(function))
        if kind == "FillNan":
            self._row_by_row([function["FillNan"]], "fill_nan")
        elif kind not in _ROW_BY_ROW_MAPS:
            _refuse(_WORDS.get(kind, kind))
        below = self.below(body["input"])
        own = below.own
        if kind == "Rename":
            renamed = dict(zip(function["Rename"]["existing"], function["Rename"]["new"], strict=True))
            kept = {name: column for name, column in own.items() if name not in renamed}
            moved = {new: own[old] for old, new in renamed.items() if old in own}
            own = {name: column for name, column in kept.items() if name not in renamed.values()} | moved
        elif kind != "Rechunk":
            own = {}  # which columns are left as they were is not looked into
        return _Below(source=below.source, own=own, keys=below.keys)

    def _of_join(self, body: dict[str, Any]) -> _Below:
        args, condition = body["options"]["args"], body["condition"]
        how = args["how"] if isinstance(args["how"], str) else next(iter(args["how"]))
        if (
            how not in {"Left", "Inner", "Semi", "Anti"}
            or set(condition) != {"Equi"}
            or not condition["Equi"]["left_on"]
        ):
            _refuse(f"a join of kind {how!r}")
        if args.get("slice") is not None or args["validation"] not in _VALIDATIONS:
            _refuse("a join that validates or limits all rows together")
        if self._reads(body["input_right"]):
            _refuse("a join whose right side reads pixels, or is not the small table")
        self._row_by_row([*condition["Equi"]["left_on"], *condition["Equi"]["right_on"]], "join")
        return self.below(body["input_left"])  # names of the left side stay as they are

    def _of_groupby(self, body: dict[str, Any]) -> _Below:
        options = body["options"]
        if options.get("dynamic") or options.get("rolling") or options.get("slice") or body.get("apply"):
            _refuse("group_by_dynamic, rolling, or a group_by with a function of groups")
        below = self.below(body["input"])
        keys = {next(iter(one.values())) for one in body["keys"] if isinstance(one, dict) and set(one) == {"Column"}}
        own = {name: column for name, column in below.own.items() if name in keys}
        if not own:
            _refuse("a group_by whose keys are not columns of your table, as they were")
        if self._reads(body["aggs"]) or self._reads(body.get("predicates") or []):
            _refuse("a read inside group_by")
        return _Below(source=below.source, own=own, keys=[*below.keys, frozenset(own.values())])

    def _row_by_row(self, exprs: Iterable[Any], step: str) -> None:
        for one in exprs:
            if (found := other_rows_in(one, {})) is not None:
                _refuse(f"{found} in {step}, which may look at other rows than its own")

    def _reads(self, node: Any) -> bool:
        """Return whether a part of the plan has an object of this package that is not a source of records."""
        if isinstance(node, list):
            return any(self._reads(one) for one in node)
        if not isinstance(node, dict):
            return False
        for kind, body in node.items():
            if kind in {"scan_fn", "function"}:
                found = object_in(as_bytes(body), self.objects)
                if found is not None and not isinstance(found, RecordsSource):
                    return True
                if found is None and holds_ours(body):
                    return True
            if self._reads(body):
                return True
        return False


def _no_verb() -> NoReturn:
    raise UsageError(
        "the query has no verb that pairs your rows with records, so nothing says which rows share tiles. Read with "
        "sample_points, read_windows, zonal_stats or pixels, or call .raster.pair(...) before expressions."
    )


def _names_a_column(node: Any) -> bool:
    """Return whether an expression uses a column for certain; a selector or a pattern may choose none."""
    if isinstance(node, list):
        return any(_names_a_column(one) for one in node)
    if not isinstance(node, dict):
        return False
    column = node.get("Column")
    if isinstance(column, str):
        return not column.startswith("^")
    if "Selector" in node:
        selector = node["Selector"]
        return selector == "Wildcard" or bool(isinstance(selector, dict) and named_columns(selector))
    return any(_names_a_column(one) for one in node.values())


def _without(below: _Below, made: set[str]) -> _Below:
    own = {name: column for name, column in below.own.items() if name not in made}
    return _Below(source=below.source, own=own, keys=below.keys)


def _taken(own: dict[str, str], exprs: Iterable[Any], *, keeps: bool) -> dict[str, str]:
    """Return which columns are still the caller's after expressions, which are added to the columns where `keeps`."""
    taken: dict[str, str] = {}
    made: set[str] = set()
    knows_all = True
    for one in exprs:
        plain, name = one, None
        if isinstance(one, dict) and set(one) == {"Alias"}:
            plain, name = one["Alias"]
        column = plain.get("Column") if isinstance(plain, dict) and set(plain) == {"Column"} else None
        if column is not None and not column.startswith("^"):
            made.add(name or column)
            if column in own:
                taken[name or column] = own[column]
        elif isinstance(plain, dict) and set(plain) == {"Selector"} and name is None:
            chosen = _selected(plain["Selector"], own)
            taken |= {column: own[column] for column in chosen}
            made |= chosen
        elif name is not None:
            made.add(name)
        else:
            knows_all = False
    if not keeps:
        return taken
    if not knows_all:
        return {}
    return {name: column for name, column in own.items() if name not in made} | taken


def _selected(selector: Any, own: dict[str, str]) -> set[str]:
    """Return which of the caller's columns a selector takes for certain."""
    if selector == "Wildcard":
        return set(own)
    named = named_columns(selector)
    if named is not None:
        return named & own.keys()
    if isinstance(selector, dict) and set(selector) == {"Difference"}:
        left, right = selector["Difference"]
        without = named_columns(right)
        return set() if without is None else _selected(left, own) - without
    return set()
