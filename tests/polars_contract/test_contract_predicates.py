"""Can a delivered predicate be taken apart with public API? Rule 5 of `test_polars_contract.py`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from polars import col
from polars.io.plugins import register_io_source

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)


def row_wise(expr, function):
    return expr.map_batches(function, return_dtype=pl.Boolean, is_elementwise=True)


def split_and(expr):
    parts = expr.meta.pop()
    if len(parts) == 2:
        right, left = parts
        if (left & right).meta.eq(expr):
            return split_and(left) + split_and(right)
    return [expr]


def holds_udf(expr):
    def search(node):
        match node:
            case dict():
                return "AnonymousFunction" in node or any(map(search, node.values()))
            case list():
                return any(map(search, node))
        return False

    return search(json.loads(expr.meta.serialize(format="json")))


def delivered(predicate, engine):
    """The predicate that an IO source gets for ``.filter(predicate)``; for a tuple, for one filter after another."""
    schema = {"a": pl.Int64, "b": pl.Int64, "c": pl.Int64, "p": pl.Boolean, "q": pl.Boolean, "x": pl.String}
    schema["s"] = pl.Struct({"x": pl.Int64})
    schema["t"] = pl.Datetime("us", "UTC")
    seen = []

    def source(with_columns, predicate, n_rows, batch_size):
        seen.append(predicate)
        yield pl.DataFrame(schema=schema if with_columns is None else {name: schema[name] for name in with_columns})

    scan = register_io_source(source, schema=schema)
    for one in predicate if isinstance(predicate, tuple) else (predicate,):
        scan = scan.filter(one)
    scan.collect(engine=engine)
    return seen[0]


A, B, C = col("a") > 1, col("b") < 2, col("c") == 3
UDF = row_wise(col("a"), lambda values: values > 0)
TIME = col("t") > datetime(2024, 1, 1, tzinfo=UTC)

SHAPES = [
    # predicate, parts as written, parts as delivered
    pytest.param(A, 1, 1, id="one"),
    pytest.param(A & B, 2, 2, id="and"),
    pytest.param(A & B & C, 3, 3, id="and and"),
    pytest.param(A & (B & C), 3, 3, id="and (and)"),
    pytest.param(A.and_(B, C), 3, 3, id="and_"),
    pytest.param((A | B) & C, 2, 2, id="or inside and"),
    pytest.param(col("p") & col("q"), 2, 2, id="boolean columns"),
    pytest.param((col("s").struct.field("x") > 1) & B, 2, 2, id="struct field"),
    pytest.param(TIME & B, 2, 2, id="datetime"),
    pytest.param(UDF & B, 2, 2, id="udf"),
    pytest.param(pl.all_horizontal(A, B), 1, 2, id="all_horizontal"),
    pytest.param((A & B).alias("both"), 1, 2, id="alias"),
    pytest.param(A | B, 1, 1, id="or"),
    pytest.param((A & B) | C, 1, 1, id="and inside or"),
    pytest.param(A ^ B, 1, 1, id="xor"),
    pytest.param(~(A & B), 1, 1, id="not and"),
    pytest.param((col("a") & col("b")) == 1, 1, 1, id="integer and"),
    pytest.param((col("a") + col("b")) > 1, 1, 1, id="sum"),
    pytest.param(col("a").is_in([1, 2]), 1, 1, id="is_in"),
    pytest.param(col("a").is_between(1, 2), 1, 1, id="is_between"),
    pytest.param(pl.when(A).then(B).otherwise(C), 1, 1, id="when"),
    pytest.param(col("a").eq_missing(col("b")), 1, 1, id="eq_missing"),
]


@pytest.mark.parametrize(("predicate", "n_written", "n_delivered"), SHAPES)
def test_a_predicate_splits_exactly_at_a_real_and(predicate, n_written, n_delivered):
    assert len(split_and(predicate)) == n_written
    for engine in ENGINES:
        assert len(split_and(delivered(predicate, engine))) == n_delivered


@both_engines
def test_filters_one_after_another_arrive_as_one_predicate(engine):
    assert len(split_and(delivered((A, B), engine))) == 2


@both_engines
@pytest.mark.parametrize("blocker", [col("b") > col("b").mean(), col("b").shift(1) > 0, col("a").is_duplicated()])
def test_a_part_that_looks_at_other_rows_keeps_its_siblings_away_too(engine, blocker):
    assert delivered(A & blocker, engine) is None


@both_engines
def test_a_part_that_may_fail_stays_behind_and_its_siblings_arrive(engine):
    assert len(split_and(delivered(A & (col("x").cast(pl.Int8) > 1), engine))) == 1


UDF_SHAPES = [
    pytest.param(UDF, id="map_batches"),
    pytest.param(~UDF | B, id="deep"),
    pytest.param(row_wise(pl.struct("a", "b"), lambda s: s.struct.field("a") > 0), id="of a struct"),
    pytest.param(
        pl.map_batches(["a", "b"], lambda s: s[0] > s[1], return_dtype=pl.Boolean, is_elementwise=True), id="of two"
    ),
    pytest.param(col("a").map_elements(str.isdigit, return_dtype=pl.Boolean), id="map_elements"),
]


@pytest.mark.parametrize("predicate", UDF_SHAPES)
def test_a_python_udf_is_found_before_and_after_delivery(predicate):
    assert holds_udf(predicate)
    for engine in ENGINES:
        assert holds_udf(delivered(predicate, engine))


@pytest.mark.parametrize(("predicate", "n_written", "n_delivered"), [one for one in SHAPES if one.id != "udf"])
def test_a_native_predicate_is_never_taken_for_a_udf(predicate, n_written, n_delivered):
    assert not holds_udf(predicate)
    for engine in ENGINES:
        assert not holds_udf(delivered(predicate, engine))
