"""How does Polars write a plan as text, and which facts can be read from that text?

This is the one module that asks Polars for the JSON or the explanation of a plan, because no other public API shows what a plan
holds. Both differ between versions of Polars: tests/frame/query/test_plan_tree.py keeps what is relied on, and callers
assume the worst of steps that they do not know.
"""

from __future__ import annotations

import io
import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES = ('"df":[', '"table_statistics":[')
_ENDING = "slice["
_PAIR = "python[raster pair]"


def plan_tree(lf: pl.LazyFrame) -> Any:
    """Return a plan as a tree of steps, ``{kind: body}``, without the bytes of frames in memory.

    Raises
    ------
    polars.exceptions.PolarsError, TypeError, ValueError, AttributeError
        When Polars cannot serialize the plan.
    """
    with _without_warning():
        return json.loads(_without_frames(lf.serialize(format="json")))


def expression_tree(expr: pl.Expr) -> Any:
    """Return an expression as a tree of steps, ``{kind: body}``; raises as `plan_tree` does."""
    with _without_warning():
        return json.loads(expr.meta.serialize(format="json"))


def expression_of(tree: Any) -> pl.Expr:
    """Return the expression of a tree, or of a part of one."""
    with _without_warning():
        return pl.Expr.deserialize(io.StringIO(json.dumps(tree)), format="json")


def holds_python(expr: pl.Expr) -> bool:
    """Return whether an expression calls Python functions; True where Polars cannot serialize the expression."""
    try:
        tree = expression_tree(expr)
    except (pl.exceptions.PolarsError, ValueError, TypeError):
        return True
    return _has_key(tree, "AnonymousFunction")


def _has_key(node: Any, key: str) -> bool:
    if isinstance(node, dict):
        return key in node or any(_has_key(value, key) for value in node.values())
    if isinstance(node, list):
        return any(_has_key(value, key) for value in node)
    return False


@contextmanager
def _without_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the text form is deprecated for storing plans
        yield


def is_frame(lf: pl.LazyFrame) -> bool:
    """Return whether a plan is only a frame in memory; writing such a plan as JSON would take long."""
    text = lf.explain(optimized=False)
    return text.startswith("DF [") and "\n" not in text


def _without_frames(text: str) -> str:
    """Return the text of a plan without the bytes of frames in memory, which are long and not needed here."""
    for frame in _FRAMES:
        parts, start = [], 0
        while (at := text.find(frame, start)) >= 0:
            parts.append(text[start:at] + frame)
            start = text.index("]", at)
        text = "".join([*parts, text[start:]])
    return text


def as_bytes(value: Any) -> bytes:
    """Return the bytes that JSON holds as numbers, joined over all parts of `value`."""
    if isinstance(value, list) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        return bytes(value)
    if isinstance(value, dict):
        return b"".join(as_bytes(one) for one in value.values())
    return b"".join(as_bytes(one) for one in value) if isinstance(value, list) else b""


def holds_ours(function: Any) -> bool:
    """Return whether a pickled function refers to this package."""
    pickled = as_bytes(function)
    return b"polars_rasteret" in pickled or b"polars-rasteret" in pickled


def plans_in(node: Any) -> list[Any]:
    """Return the nodes that look like input steps of a step."""
    if isinstance(node, list):
        return [one for part in node for one in plans_in(part)]
    if not isinstance(node, dict):
        return []
    below = [node[name] for name in ("input", "input_left", "input_right", "dsl") if isinstance(node.get(name), dict)]
    return below + [one for one in node.get("inputs", []) if isinstance(one, dict)]


def named_columns(selector: Any) -> set[str] | None:
    """Return the columns that a selector names; None when it may select any column."""
    if isinstance(selector, dict) and set(selector) == {"ByName"}:
        return set(selector["ByName"]["names"])
    return None


def output_names(expr: Any) -> frozenset[str] | None:
    """Return the names of the columns that an expression returns; None when they are not plain."""
    if not isinstance(expr, dict) or len(expr) != 1:
        return None
    kind, body = next(iter(expr.items()))
    if kind == "Alias":
        return frozenset({body[1]})
    if kind == "Column":
        return None if body.startswith("^") else frozenset({body})
    if kind == "Selector":
        names = named_columns(body)
        return None if names is None else frozenset(names)
    below = {"Cast": "expr", "BinaryExpr": "left", "Ternary": "truthy"}.get(kind)
    if below is not None:
        return output_names(body[below])
    if kind in {"AnonymousFunction", "Function"} and body["input"]:
        return output_names(body["input"][0])
    if kind == "Agg" and isinstance(body, dict) and len(body) == 1:
        return output_names(next(iter(body.values())))
    return None


def ends_early(lf: pl.LazyFrame, *, pairs_read: bool) -> bool:
    """Return whether a limit stays above a Python source or callback after Polars has pushed limits down."""
    lines = lf.explain(optimized=True).splitlines()
    for at, line in enumerate(lines):
        if not line.lstrip().lower().startswith(_ENDING):
            continue
        depth = len(line) - len(line.lstrip())
        for below in lines[at + 1 :]:
            if len(below) - len(below.lstrip()) <= depth:
                break
            if "python" in below.lower() and (pairs_read or not below.lower().lstrip().startswith(_PAIR)):
                return True
    return False


def function_name(function: Any) -> str:
    """Return the name of a function in a plan, such as ``"Shift"`` or ``"Boolean.IsIn"``."""
    if isinstance(function, str):
        return function
    name, inner = next(iter(function.items()))
    if name in {"Boolean", "StringExpr", "ListExpr", "ArrayExpr", "StructExpr"}:
        return f"{name}.{function_name(inner)}"
    return str(name)
