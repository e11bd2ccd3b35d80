"""Is an expression refused exactly where its values depend on other rows than their own?

The judge of drawn expressions is Polars: a row-wise expression gives the same on the whole frame, on its two parts, and on the
frame in another order.
"""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.row_wise import looks_at_other_rows

FRAME = pl.DataFrame(
    {
        "i": [3, 1, 2, 2, None, 5, 1, 7],
        "j": [2, 6, 3, 1, 3, 5, 4, 7],
        "f": [1.5, None, float("nan"), 2.0, -1.0, 0.0, 9.0, 1.5],
        "b": [True, False, None, True, True, False, True, False],
        "s": ["b", "a", "c1", "a", None, "zz", "1", "b"],
        "t": [dt.datetime(2024, 1, day, day) for day in (3, 1, 2, 9, 7, 5, 4, 8)],
        "l": [[1, 2], [], [3, 3], None, [1], [9, 8, 7], [2], [2]],
        "r": pl.Series([[1, 2], [3, 4], [5, 5], None, [0, 1], [2, 2], [7, 1], [1, 2]], dtype=pl.Array(pl.Int64, 2)),
        "st": [{"x": one, "y": -one} for one in (3, 1, 2, 9, 7, 5, 4, 8)],
    }
)
i, j, f, b, s, t, l, r, record = map(pl.col, FRAME.columns)
TWO = pl.lit(pl.Series([1, 2]))


def plus_one(values):
    return values + 1


def half_of(values):
    return values.cast(pl.Float64) / 2


def first_of(columns):
    return columns[0]


def less_mean(values):
    return values - values.mean()


ROW_WISE = {
    "column": i,
    "literal": pl.lit(5),
    "compared": (i > 1) & ~(j < 3) | (i == j),
    "is_in list": i.is_in([1, 2]),
    "is_in series": i.is_in(pl.Series([1, 2, 3])),
    "is_in a literal series": i.is_in(TWO),
    "is_in nothing": i.is_in([]),
    "is_in a list column": i.is_in(l),
    "is_in an array column": i.is_in(r),
    "is_in an imploded literal": i.is_in(TWO.implode()),
    "a constant aggregated": TWO.max() < i,
    "a constant range": i > pl.int_range(0, 3).max(),
    "a literal series of one": pl.lit(pl.Series([2])) + i,
    "when then": pl.when(i > 1).then(j).when(b).then(2).otherwise(0),
    "between and clip": i.clip(1, j).is_between(1, 3),
    "is_null": i.is_null() | f.is_nan(),
    "fill_null value": i.fill_null(j),
    "fill_null zero": i.fill_null(strategy="zero"),
    "coalesce": pl.coalesce(i, j),
    "replace": i.replace({1: 2}),
    "replace_strict": i.replace_strict([1, 2], [3, 4], default=j),
    "replace many": s.str.replace_many({"a": "b"}),
    "contains any": s.str.contains_any(["a", "z"]),
    "horizontal": pl.max_horizontal(i, j) + pl.sum_horizontal("i", "j") + pl.mean_horizontal(i, j),
    "horizontal booleans": pl.any_horizontal(b, i > 1) & pl.all_horizontal(b),
    "horizontal of a selector": pl.sum_horizontal(cs.integer()),
    "cum_sum_horizontal": pl.cum_sum_horizontal("i", "j"),
    "concat": pl.concat_list("i", "j"),
    "concat_str": pl.concat_str(s, pl.lit("x")),
    "format": pl.format("{}-{}", i, s),
    "struct": pl.struct("i", "j").struct.field("i"),
    "struct with fields": record.struct.with_fields(z=pl.field("x") + pl.field("y")).struct.field("z"),
    "list": l.list.sum() + l.list.len(),
    "list sorted": l.list.sort().list.first(),
    "list unique": l.list.unique().list.len(),
    "list eval": l.list.eval(pl.element().rank()),
    "list eval of an aggregate": l.list.eval(pl.element() - pl.element().max()),
    "list filter": l.list.filter(pl.element() > 1),
    "list any": l.list.eval(pl.element() > 1).list.any(),
    "array": r.arr.max() - r.arr.get(0),
    "array eval": r.arr.eval(pl.element() * 2),
    "array to struct": r.arr.to_struct(),
    "string": s.str.to_uppercase().str.slice(0, 1),
    "string to number": s.str.to_integer(strict=False),
    "parsed with a format": s.str.to_datetime("%Y", strict=False),
    "time": t.dt.truncate("1d").dt.year() + t.dt.ordinal_day(),
    "date": pl.date(2024, j, 1),
    "duration": t + pl.duration(days="j"),
    "ranges": pl.int_ranges(0, j),
    "cast": i.cast(pl.Float64).cast(pl.Int16),
    "bits": j.bitwise_count_ones(),
    "hash": s.hash(),
    "power": j**2 + f.sqrt() + f.round(1) + f.abs(),

    "repeat_by": i.repeat_by(j),
    "renamed": i.alias("x").name.suffix("_y"),
    "selected": cs.by_name("i"),
    "map_elements": j.map_elements(math.isqrt, return_dtype=pl.Int64),
    "map_batches declared": j.map_batches(plus_one, return_dtype=pl.Int64, is_elementwise=True),
    "map_batches of several": pl.map_batches([i, j], first_of, return_dtype=pl.Int64, is_elementwise=True),
    "declared with a dtype of another column": pl.map_batches(
        [j], first_of, return_dtype=pl.dtype_of("j"), is_elementwise=True
    ),
}  # fmt: skip
OTHER_ROWS = {
    "aggregate": i.max(),
    "bitwise aggregate": i.bitwise_and(),
    "first": i.first(),
    "last": i.last(),
    "len": pl.len(),
    "count": i.count(),
    "implode": i.implode(),
    "explode": l.explode(),
    "list explode": l.list.explode(),
    "filter": i.filter(i > 1),
    "head": i.head(3),
    "slice": i.slice(1, 2),
    "drop_nulls": i.drop_nulls(),
    "drop_nans": f.drop_nans(),
    "gather": i.gather([0, 1]),
    "get": i.get(0),
    "gather_every": i.gather_every(2),
    "shift": i.shift(1),
    "diff": i.diff(),
    "pct_change": f.pct_change(),
    "rank": i.rank(),
    "cum_sum": i.cum_sum(),
    "cum_count": i.cum_count(),
    "cumulative_eval": j.cumulative_eval(pl.element().sum()),
    "over": i.sum().over("b"),
    "over without an aggregate": j.rank().over("b"),
    "int_range": pl.int_range(pl.len()),
    "row_index": pl.row_index(),
    "sort": j.sort(),
    "sort_by": j.sort_by("i"),
    "reverse": j.reverse(),
    "unique": i.unique(),
    "is_unique": i.is_unique(),
    "is_duplicated": i.is_duplicated(),
    "is_first_distinct": i.is_first_distinct(),
    "any": b.any(),
    "fill forward": i.fill_null(strategy="forward"),
    "fill mean": i.fill_null(strategy="mean"),
    "forward_fill": i.forward_fill(),
    "interpolate": i.interpolate(),
    "interpolate_by": i.interpolate_by("j"),
    "rolling": j.rolling_mean(2),
    "rolling by": j.sum().rolling("t", period="2d"),
    "ewm": f.ewm_mean(alpha=0.5),
    "search_sorted": j.search_sorted(3),
    "rle": j.rle_id(),
    "peak": j.peak_max(),
    "mode": i.mode(),
    "top_k": j.top_k(8),
    "arg_sort": j.arg_sort(),
    "sample": j.sample(8),
    "shuffle": j.shuffle(),
    "sample of a list": l.list.sample(1),
    "shuffle of a list": l.list.eval(pl.element().shuffle()),
    "append": i.append(j),
    "join": s.str.join(","),
    "a guessed format": s.str.to_datetime(strict=False),
    "a series as long as the frame": j + pl.lit(pl.Series(range(8))),
    "a literal series": pl.lit(pl.Series(range(8))),
    "is_in a plain column": i.is_in(j),
    "is_in an imploded column": i.is_in(j.implode()),
    "lists is_in lists": l.is_in(l.shift(1).implode()),
    "replaced by a column": j.replace_strict(j, j + 1),
    "an aggregate inside a comparison": i > i.mean(),
    "an aggregate inside when": pl.when(i == i.max()).then(j),
    "an aggregate inside a struct": pl.struct(i, j.max()).struct.field("j"),
    "an aggregate of a field": record.struct.with_fields(z=pl.field("x").max()).struct.field("z"),
    "an aggregate inside a list": l.list.contains(i.max()),
    "clipped by an aggregate": i.clip(i.min(), i.mean()),
    "fold": pl.fold(pl.lit(0), lambda total, one: total + one.max(), [i, j]),
    "map_batches": j.map_batches(less_mean, return_dtype=pl.Float64),
    "map_batches of several": pl.map_batches([i, j], first_of, return_dtype=pl.Int64),
    "a declared function of an aggregate": j.max().map_batches(plus_one, return_dtype=pl.Int64, is_elementwise=True),
}  # fmt: skip


def values_of(expr: pl.Expr, frame: pl.DataFrame) -> pl.Series:
    return frame.lazy().with_columns(expr.alias("\0")).collect(engine="in-memory")["\0"]


def is_row_wise(expr: pl.Expr) -> bool | None:
    """Ask Polars; None where the expression cannot be evaluated on the whole frame."""
    try:
        whole = values_of(expr, FRAME)
    except pl.exceptions.PolarsError:
        return None
    try:
        for cut in (1, 3, 4, 6):
            if not pl.concat([values_of(expr, FRAME[:cut]), values_of(expr, FRAME[cut:])]).equals(whole):
                return False
        for order in ([5, 2, 7, 0, 1, 3, 6, 4], [4, 6, 3, 1, 0, 7, 2, 5]):
            if not values_of(expr, FRAME[order]).equals(whole.gather(order)):
                return False
    except pl.exceptions.PolarsError:
        return False
    return True


@pytest.mark.parametrize("name", ROW_WISE)
def test_row_wise_expressions_pass(name):
    assert is_row_wise(ROW_WISE[name])
    assert looks_at_other_rows(ROW_WISE[name], FRAME.schema) is None


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_expressions_of_other_rows_are_refused(name):
    assert looks_at_other_rows(OTHER_ROWS[name], FRAME.schema) is not None


NUMBERS = [one for name, one in ROW_WISE.items() if name in {
    "column", "literal", "fill_null value", "coalesce", "when then", "replace", "replace_strict", "horizontal", "list",
    "array", "time", "string to number", "map_batches declared", "a literal series of one", "struct", "struct with fields",
}]  # fmt: skip
LOOKING = [
    i.max(), j.mean(), i.shift(1), j.rank(), j.cum_sum(), j.sum().over("b"), pl.len(), pl.int_range(pl.len()),
    i.forward_fill(), i.interpolate(), i.first(), j.reverse(), j.rolling_sum(2), f.ewm_mean(alpha=0.5), j.diff(),
    i.is_in(j).cast(pl.Int64), i.is_in(j.implode()).cast(pl.Int64), j.filter(j > 3).sum(),
    pl.lit(pl.Series(range(8))), j.sort(), i.unique().len(), l.explode().sum(),
    j.map_batches(less_mean, return_dtype=pl.Float64), j.arg_sort(), i.drop_nulls().len(),
]  # fmt: skip
UNARY = [
    lambda e: e + 1,
    lambda e: -e,
    lambda e: e.fill_null(0),
    lambda e: e.cast(pl.Float64),
    lambda e: e.clip(0, 4),
    lambda e: e.abs(),
    lambda e: e.is_in([1, 2, 3]).cast(pl.Int64),
    lambda e: pl.when(e > 2).then(e).otherwise(j),
    lambda e: e.is_between(1, 3).cast(pl.Int8),
    lambda e: pl.struct(e.alias("x"), j).struct.field("x"),
    lambda e: pl.concat_list(e, j).list.sum(),
    lambda e: pl.concat_list(e, j).list.eval(pl.element() - pl.element().min()).list.first(),
    lambda e: e.replace({1: 9}),
    lambda e: e.alias("y"),
    lambda e: e.map_batches(half_of, return_dtype=pl.Float64, is_elementwise=True),
]
BINARY = [
    lambda a, b: a + b,
    lambda a, b: a > b,
    lambda a, b: pl.coalesce(a, b),
    lambda a, b: pl.max_horizontal(a, b),
    lambda a, b: pl.when(a > b).then(a).otherwise(b),
    lambda a, b: a.fill_null(b),
    lambda a, b: pl.struct(a.alias("x"), b.alias("y")).struct.field("y"),
]


@st.composite
def expressions(draw):
    """Draw an expression, and whether something in it looks at other rows."""
    looks = draw(st.booleans())

    def drawn(depth: int, looking: bool) -> pl.Expr:
        if depth == 0:
            return draw(st.sampled_from(LOOKING if looking else NUMBERS))
        if draw(st.booleans()):
            return draw(st.sampled_from(UNARY))(drawn(depth - 1, looking))
        sides = [drawn(depth - 1, looking), drawn(depth - 1, False)]
        return draw(st.sampled_from(BINARY))(*(sides if draw(st.booleans()) else reversed(sides)))

    return drawn(draw(st.integers(0, 3)), looks), looks


def check_drawn(drawn):
    expr, looks = drawn
    found = looks_at_other_rows(expr, FRAME.schema)
    assert (found is not None) == looks
    if not looks:
        assert is_row_wise(expr) in (True, None)  # a drawn mixture of dtypes may be none that Polars evaluates


@settings(max_examples=40)
@given(expressions())
def test_what_stands_anywhere_in_an_expression_counts(drawn):
    check_drawn(drawn)


@pytest.mark.slow
@settings(max_examples=3000)
@given(expressions())
def test_what_stands_anywhere_in_many_expressions_counts(drawn):
    check_drawn(drawn)


@pytest.fixture
def scenes():
    return pr.testing.example_scenes()


POINTS = pl.DataFrame(
    {"x": [500_005.0, 500_015.0], "y": [4_999_995.0] * 2, "many": [[1000, 2000], [7]], "low": [5, 2001]}
)
nir, red = pl.col("nir"), pl.col("red")


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize(
    ("valid", "expected"),
    [
        (red.is_in([1000, 2001]), [1000, None, None, 2001]),
        (red.is_in(pl.Series([1000, 2001])), [1000, None, None, 2001]),
        (red.is_in(pl.col("many")), [1000, 2000, None, None]),
        (red.replace_strict({1000: True}, default=False), [1000, None, None, None]),
        (pl.when(pl.col("id") == "first").then(red > 1000).otherwise(pl.lit(True)), [None, 2000, 1001, 2001]),
        (red.cast(pl.Int64) > pl.col("low"), [1000, 2000, None, None]),
        (red.map_batches(lambda one: one > 1000, return_dtype=pl.Boolean, is_elementwise=True), [None, 2000, 1001, 2001]),
    ],
)  # fmt: skip
def test_valid_takes_what_is_row_wise(scenes, valid, expected, engine):
    got = scenes.raster.sample_points(POINTS, ["red"], crs=32632, valid=valid).collect(engine=engine)
    assert got["red"].to_list() == expected


@pytest.mark.parametrize(
    "valid",
    [
        red > red.mean(),
        red.shift(1) > 0,
        red.rank() > 1,
        red.cum_sum() > 5,
        red > red.max().over("id"),
        pl.int_range(pl.len()) > 1,
        (red > 0) & (nir == nir.max()),
        red.is_in(nir),
        red.filter(red > 5) > 7,
        (red > 0).any(),
        red.map_batches(lambda one: one > one.mean(), return_dtype=pl.Boolean),
        pl.col("low") > pl.col("low").mean(),
        pl.lit(pl.Series([True, False])),
    ],
)
@pytest.mark.parametrize("verb", ["sample_points", "read_windows"])
def test_valid_refuses_what_looks_at_other_pixels(scenes, verb, valid):
    with pytest.raises(UsageError, match="one pixel at a time"):
        getattr(scenes.raster, verb)(POINTS, ["red"], crs=32632, valid=valid)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_columns_made_in_units_equal_those_of_the_whole(scenes, engine, rows):
    pairs = scenes.raster.pair(POINTS, crs=32632).with_columns(ROW=pl.col("x").cast(pl.Int64) % 10)
    made = {
        "chip": red.raster.read_window(window=(0, 2, 0, 2), shape=(2, 2)),
        "value": red.raster.sample_points("x", "y", crs=32632).fill_null(0) + 1,
        "is": pl.col("ROW").is_in([5]),
    }
    expected = pairs.with_columns(**made).collect(engine=engine).select(*made)
    with pr.options(max_answer_bytes=rows * 40):
        got = pairs.raster.with_columns(**made)
    assert got.select(*made).collect(engine=engine).equals(expected)


@pytest.mark.parametrize(
    "expr",
    [
        red.raster.sample_points("x", "y", crs=32632).max(),
        red.raster.sample_points("x", "y", crs=32632) - red.raster.sample_points("x", "y", crs=32632).mean(),
        red.raster.sample_points(pl.col("x").max(), "y", crs=32632),
        pl.int_range(pl.len()),
        pl.Series("label", np.arange(4)),
        pl.col("low").filter(pl.col("low") > 1),
        pl.col("many").explode(),
    ],
)
def test_columns_made_in_units_look_at_no_other_rows(scenes, expr):
    pairs = scenes.raster.pair(POINTS, crs=32632)
    with pytest.raises(UsageError, match="rows are read in units"):
        pairs.raster.with_columns(made=expr)
