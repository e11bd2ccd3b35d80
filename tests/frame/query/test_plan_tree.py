"""Does Polars still write plans and expressions in the form that `frame.query.plan_tree` and its callers read?

No public API shows what a plan holds. Where Polars writes a step in another way, an estimate says ``unknown`` and with_columns
refuses more than it must; these tests say so first.
"""

from __future__ import annotations

import ast
from pathlib import Path

import polars as pl
import pytest
from polars.io.plugins import register_io_source

from polars_rasteret.frame.query.plan_tree import (
    as_bytes,
    ends_early,
    expression_of,
    expression_tree,
    function_name,
    holds_python,
    is_frame,
    named_columns,
    output_names,
    plan_tree,
)

FRAME = pl.LazyFrame({"a": [1, 2], "b": [3, 4]})
PACKAGE = Path(__file__).resolve().parents[3] / "polars_rasteret"
ASKS_FOR_TEXT = {
    "frame.query.plan_tree": "the one reader of plans",
    "pairing.record_boxes": "a scan of Parquet, or none",
}


def same(series: pl.Series) -> pl.Series:
    return series


def frames(with_columns, predicate, n_rows, batch_size):
    yield pl.DataFrame({"a": [1]})


def the_source() -> pl.LazyFrame:
    return register_io_source(frames, schema=pl.Schema({"a": pl.Int64}))


@pytest.mark.parametrize(
    ("expr", "kind", "names"),
    [
        pytest.param(pl.col("a") + 1, "BinaryExpr", {"left", "right"}, id="operator"),
        pytest.param(pl.col("a").cast(pl.Float64), "Cast", {"expr"}, id="cast"),
        pytest.param(
            pl.when(pl.col("a") > 1).then(1).otherwise(2), "Ternary", {"predicate", "truthy", "falsy"}, id="when"
        ),
        pytest.param(pl.col("a").shift(1), "Function", {"input", "function"}, id="function"),
        pytest.param(
            pl.col("a").map_batches(same, return_dtype=pl.Int64, is_elementwise=True),
            "AnonymousFunction",
            {"input", "function", "options"},
            id="python",
        ),
    ],
)
def test_a_step_of_an_expression_has_the_parts_that_are_read(expr, kind, names):
    ((found, body),) = expression_tree(expr).items()
    assert found == kind
    assert names <= body.keys()
    assert expression_of({found: body}).meta.eq(expr) or kind == "AnonymousFunction"


def test_names_stand_where_they_are_read():
    assert expression_tree(pl.col("a")) == {"Column": "a"}
    assert expression_tree(pl.col("a").alias("b"))["Alias"][1] == "b"
    assert output_names(expression_tree((pl.col("a") + 1).alias("b"))) == {"b"}
    assert output_names(expression_tree(pl.col("a").sum())) == {"a"}
    assert named_columns(expression_tree(pl.col("a", "b"))["Selector"]) == {"a", "b"}
    assert function_name(expression_tree(pl.col("a").is_in([1]))["Function"]["function"]) == "Boolean.IsIn"


def test_an_elementwise_python_function_says_so_and_is_found():
    rowwise = pl.col("a").map_batches(same, return_dtype=pl.Int64, is_elementwise=True)
    other = pl.col("a").map_batches(same, return_dtype=pl.Int64)
    flags = [
        str(expression_tree(one)["AnonymousFunction"]["options"]["flags"]).split(" | ") for one in (rowwise, other)
    ]
    assert ["ROW_SEPARABLE" in one for one in flags] == [True, False]
    assert holds_python(rowwise > 1)
    assert not holds_python(pl.col("a") > 1)
    assert b"same" in as_bytes(expression_tree(rowwise)["AnonymousFunction"]["function"])


@pytest.mark.parametrize(
    ("plan", "kind", "names"),
    [
        pytest.param(FRAME, "DataFrameScan", set(), id="frame"),
        pytest.param(FRAME.filter(pl.col("a") > 1), "Filter", {"input", "predicate"}, id="filter"),
        pytest.param(FRAME.with_columns(c=1), "HStack", {"input", "exprs"}, id="with_columns"),
        pytest.param(FRAME.select("a"), "Select", {"input", "expr"}, id="select"),
        pytest.param(FRAME.group_by("a").agg(pl.len()), "GroupBy", {"input", "keys", "aggs", "options"}, id="group_by"),
        pytest.param(
            FRAME.join(FRAME, on="a"), "Join", {"input_left", "input_right", "options", "condition"}, id="join"
        ),
        pytest.param(FRAME.sort("a"), "Sort", {"input", "by_column"}, id="sort"),
        pytest.param(FRAME.unique("a"), "Distinct", {"input", "options"}, id="unique"),
        pytest.param(FRAME.slice(1, 2), "Slice", {"input"}, id="slice"),
        pytest.param(pl.concat([FRAME, FRAME]), "Union", {"inputs"}, id="concat"),
        pytest.param(FRAME.with_row_index(), "MapFunction", {"input", "function"}, id="row index"),
        pytest.param(the_source(), "PythonScan", {"options"}, id="source"),
    ],
)
def test_a_step_of_a_plan_has_the_parts_that_are_read(plan, kind, names):
    ((found, body),) = plan_tree(plan).items()
    assert found == kind
    assert names <= body.keys()


def test_a_source_is_pickled_into_its_plan():
    assert b"frames" in as_bytes(plan_tree(the_source())["PythonScan"]["options"]["scan_fn"])


def test_a_frame_in_memory_is_told_from_a_query():
    assert is_frame(FRAME)
    assert not is_frame(FRAME.filter(pl.col("a") > 1))
    assert not is_frame(the_source())


def test_a_limit_that_stays_above_a_source_is_seen():
    assert ends_early(the_source().filter(pl.col("a") > 0).head(1), pairs_read=False)
    assert not ends_early(the_source().filter(pl.col("a") > 0), pairs_read=False)


def test_one_module_asks_polars_for_the_text_of_plans():
    asking = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                as_json = any(word.arg == "format" for word in node.keywords)
                if node.func.attr == "explain" or (node.func.attr in {"serialize", "deserialize"} and as_json):
                    asking.add(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    assert asking == ASKS_FOR_TEXT.keys()
