"""Does each value of an expression depend on its own row alone?

Rows are read in batches, so an expression that uses other rows would only see the rows of its batch. Polars' own test
(``meta.is_row_separable``) holds for the topmost step of an expression only. So each function is tested by itself.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.frame.query.plan_tree import expression_of, expression_tree, function_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SOURCES = frozenset({"Column", "Selector", "Field"})
_BELOW: dict[str, tuple[str, ...]] = {
    "BinaryExpr": ("left", "right"),
    "Ternary": ("predicate", "truthy", "falsy"),
    "Cast": ("expr",),
    "RenameAlias": ("expr",),
    "Eval": ("expr",),
    "StructEval": ("expr", "evaluation"),
}
"""Steps that are row-wise when their inputs are: step to the names of its inputs."""
_NOT_CONSTANT = _SOURCES | {"Len", "Element", "AnonymousFunction", "Random", "Sample", "SubPlan"}
_CHANCE = frozenset({"Random", "Sample"})
_ROW_WISE = frozenset({"LowerBound", "UpperBound", "ArrayExpr.ToStruct", "StructExpr.SelectFields"})
"""Row-wise functions that Polars cannot test without a schema."""
_OTHER_LENGTH = frozenset({"DropNulls", "DropNans", "ArrayExpr.Explode", "ListExpr.Explode"})
"""Functions that change the number of rows. For Polars they are row-separable, because batches can be concatenated."""
_SETS = {
    "Boolean.IsIn": (1,),
    "Replace": (1, 2),
    "ReplaceStrict": (1, 2),
    "Business": (1, 2, 3),
    "StringExpr.ContainsAny": (1,),
    "StringExpr.ReplaceMany": (1, 2),
    "StringExpr.ExtractMany": (1,),
    "StringExpr.FindMany": (1,),
}
"""Function to the positions of inputs that may be a set of any number of values."""


def looks_at_other_rows(expr: pl.Expr, schema: Mapping[str, pl.DataType]) -> str | None:
    """Return the first part of an expression whose value may depend on other rows than its own; None without such a part.

    Python functions may depend on other rows, unless they are declared ``is_elementwise=True``.

    Parameters
    ----------
    expr
        Expression to test.
    schema
        Schema of the frame on which `expr` is evaluated.

    Examples
    --------
    >>> import polars as pl
    >>> looks_at_other_rows(pl.col("a").is_in([1, 2]) & (pl.col("a") > 0), {"a": pl.Int64()})
    >>> looks_at_other_rows(pl.col("a") - pl.col("a").mean() > 0, {"a": pl.Int64()})
    'col("a").mean()'
    """
    try:
        tree = expression_tree(expr)
    except (pl.exceptions.PolarsError, ValueError, TypeError, AttributeError) as error:
        return f"{str(expr)[:120]}, which cannot be looked into: {error}"
    return other_rows_in(tree, schema)


def other_rows_in(tree: Any, schema: Mapping[str, pl.DataType]) -> str | None:
    """Return what `looks_at_other_rows` does, of the tree of an expression."""
    found = _found_in(tree, schema)
    return None if found is None else _told(found)


def is_constant(tree: Any) -> bool:
    """Return whether the tree of an expression uses no column."""
    return not _holds(tree, _NOT_CONSTANT)


def _found_in(node: Any, schema: Mapping[str, pl.DataType]) -> Any:
    """Return the first node, from the leaves up, that is not row-wise."""
    if not (isinstance(node, dict) and len(node) == 1):
        return node  # such as "Len"
    kind, body = next(iter(node.items()))
    if kind in _SOURCES:
        return None
    if kind == "Alias":
        return _found_in(body[0], schema)
    if kind == "KeepName":
        return _found_in(body, schema)
    if kind in _BELOW:
        is_separate = kind != "Eval" or not (_is_cumulative(body["variant"]) or _holds(body["evaluation"], _CHANCE))
        below = [part for name in _BELOW[kind] for part in _as_list(body[name])]
    elif kind == "AnonymousFunction":
        is_separate = "ROW_SEPARABLE" in str(body["options"]["flags"]).split(" | ")
        below = body["input"]
    elif kind == "Function":
        name = function_name(body["function"])
        sets = _SETS.get(name, ())
        is_separate = _is_row_separable(body, name) and all(
            _is_set(name, body["input"], at, schema) for at in sets if at < len(body["input"])
        )
        below = [one for at, one in enumerate(body["input"]) if at not in sets or not is_constant(one)]
    else:
        is_separate, below = False, []
    if not is_separate:
        return None if _is_scalar_constant(node) else node
    for one in below:
        if (found := _found_in(one, schema)) is not None:
            return found
    return None


def _is_row_separable(body: Mapping[str, Any], name: str) -> bool:
    """Return whether a function, applied to columns and literals, is row-wise."""
    if name in _ROW_WISE:
        return True
    if name in _OTHER_LENGTH or _holds(body["function"], _CHANCE):
        return False
    if name == "CumFoldHorizontal":
        return bool(body["function"] == _cum_sum_horizontal())
    inputs = [one if _kind(one) == "Literal" else {"Column": ""} for one in body["input"]]
    try:
        return bool(expression_of({"Function": {**body, "input": inputs}}).meta.is_row_separable())
    except pl.exceptions.PolarsError:
        return False


def _is_set(name: str, inputs: list[Any], at: int, schema: Mapping[str, pl.DataType]) -> bool:
    """Return whether an input has a set of its own in each row, or the same set in all rows."""
    if is_constant(inputs[at]):
        return True
    if name != "Boolean.IsIn" and not name.startswith("StringExpr."):
        return False
    try:
        frame = pl.LazyFrame(schema=dict(schema))
        value, many = (
            next(iter(frame.select(expression_of(one)).collect_schema().values())) for one in (inputs[0], inputs[at])
        )
    except (pl.exceptions.PolarsError, StopIteration):
        return False
    # An input of the column's own dtype would be one set, made of the values of all rows.
    return _depth(many) > _depth(value)


def _depth(dtype: Any) -> int:
    return 1 + _depth(dtype.inner) if isinstance(dtype, pl.List | pl.Array) else 0


def _is_scalar_constant(node: Any) -> bool:
    """Return whether a node is a single value that does not depend on rows."""
    if not is_constant(node):
        return False
    try:
        return pl.select(expression_of(node)).height == 1
    except pl.exceptions.PolarsError:
        return False


def _is_cumulative(variant: Any) -> bool:
    return isinstance(variant, dict) and "Cumulative" in variant


def _kind(node: Any) -> str:
    return next(iter(node)) if isinstance(node, dict) and node else str(node)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _holds(node: Any, kinds: frozenset[str]) -> bool:
    return any(kind in kinds for kind in _kinds_in(node))


def _kinds_in(node: Any) -> Iterator[str]:
    """Yield every word of a tree that may be a kind of step; the content of literals is left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for kind, body in node.items():
            yield kind
            if kind not in {"Literal", "Column"}:
                yield from _kinds_in(body)
    elif isinstance(node, list) and not (node and isinstance(node[0], int)):
        for one in node:
            yield from _kinds_in(one)


@cache
def _cum_sum_horizontal() -> Any:
    """Return the function node of Polars' own ``cum_sum_horizontal``, the only fold that is known to be row-wise."""
    tree = expression_tree(pl.cum_sum_horizontal("a"))
    while _kind(tree) == "Alias":
        tree = tree["Alias"][0]
    return tree["Function"]["function"]


def _told(node: Any) -> str:
    try:
        text = str(expression_of(node))[:120]
    except pl.exceptions.PolarsError:
        text = _kind(node)
    return f"{text} (not declared is_elementwise=True)" if _kind(node) == "AnonymousFunction" else text
