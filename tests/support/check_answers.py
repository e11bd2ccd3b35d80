"""How are two answers compared, and what may follow the verb?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import polars.selectors as cs
from polars.testing import assert_frame_equal

from tests.support.oracle import points as eager

After = Callable[[pl.LazyFrame], pl.LazyFrame]
WITH_ROUNDING = cs.ends_with("_distance")
"""Roots of sums of squares, rounded to Float32."""


def assert_same(got: pl.DataFrame, wanted: pl.DataFrame, *, is_interpolated: bool = False) -> None:
    """The same rows in the same order; numbers exactly, but for distances and interpolated ones.

    Columns are compared by name: the interface does not say where distances and neighbourhoods stand.
    """
    got, wanted = (frame.select(sorted(frame.columns)) for frame in (got, wanted))
    assert got.schema == wanted.schema
    assert_frame_equal(got.select(~WITH_ROUNDING), wanted.select(~WITH_ROUNDING), check_exact=not is_interpolated)
    assert_frame_equal(got.select(WITH_ROUNDING), wanted.select(WITH_ROUNDING), rel_tol=1e-6, abs_tol=1e-8)


CLOUD, SERIAL, ID = pl.col("cloud"), pl.col("serial"), pl.col("record_id")
FILTERS: dict[str, pl.Expr] = {
    "record": CLOUD < 50,
    "record_or_null": CLOUD.is_null() | (CLOUD < 50),
    "record_id": ID == "a",
    "record_id_null": ID.is_null(),
    "record_odd": SERIAL % 2 == 1,
    "no_record": SERIAL.is_null(),
    "record_late": pl.col("datetime") > pl.date(2024, 5, 2).cast(pl.Datetime("us", "UTC")),
    "record_fill_null": SERIAL.fill_null(1) < 2,
    "caller": pl.col("point") % 2 == 0,
    "caller_null": pl.col("visited").is_null(),
    "caller_place": pl.col("x").is_not_nan() & (pl.col("y") > 0),
    "mixed": pl.col("limit") * 20 > CLOUD,
    "mixed_or_null": pl.col("limit").is_null() | (CLOUD > 20),
    "mixed_times": pl.col("datetime") <= pl.col("visited"),
    "mixed_not": ~(pl.col("point") > SERIAL),
}


def pixel_filters(bands: Sequence[str]) -> dict[str, pl.Expr]:
    first, last = pl.col(bands[0]), pl.col(bands[-1])
    return {
        "pixel": first > 100,
        "pixel_null": first.is_null(),
        "pixel_not_null": first.is_not_null(),
        "pixel_or_record": (last > 200) | (CLOUD < 50),
        "pixel_and_record": (last > 4) & (CLOUD < 50),
        "pixel_against_caller": first.cast(pl.Float64) > pl.col("limit") * 50,
        "pixel_and_caller": first.is_not_null() & (pl.col("point") > 2),
        "pixel_by_python": last.map_elements(lambda value: str(value)[0] in "1234", return_dtype=pl.Boolean),
    }


def afters(question: eager.Question) -> dict[str, After]:
    """Queries on the verb's answer by name; they keep the order of rows."""
    bands = question.bands
    filters = {**FILTERS, **pixel_filters(bands)}
    found: dict[str, After] = {name: _filter(expr) for name, expr in filters.items()}
    found |= {f"{name}_pruned": _filter(expr, "point", "record_id") for name, expr in filters.items()}
    found |= {f"{name}_one_band": _filter(expr, bands[-1], "serial") for name, expr in filters.items()}
    found |= {
        "everything": lambda lf: lf,
        "caller_only": lambda lf: lf.select("point", "limit"),
        "record_only": lambda lf: lf.select("record_id", "serial"),
        "one_band": lambda lf: lf.select(bands[0]),
        "last_band_and_caller": lambda lf: lf.select(bands[-1], "point"),
        "distance_only": lambda lf: lf.select("point", cs.ends_with("_distance")),
        "neighbourhood_only": lambda lf: lf.select("point", cs.ends_with("_neighbourhood")),
        "number_of_rows": lambda lf: lf.select(pl.len()),
        "head": lambda lf: lf.head(3),
        "head_of_one_band": lambda lf: lf.select("serial", bands[0]).head(5),
        "head_of_caller": lambda lf: lf.select("point").head(4),
        "tail": lambda lf: lf.tail(3),
        "slice": lambda lf: lf.slice(2, 4),
        "filter_head": lambda lf: lf.filter(CLOUD < 50).head(2),
        "pixel_filter_head": lambda lf: lf.filter(pl.col(bands[0]).is_not_null()).head(2),
        "head_filter": lambda lf: lf.head(4).filter(CLOUD.is_null() | (CLOUD < 50)),
        "head_pixel_filter": lambda lf: lf.head(6).filter(pl.col(bands[0]) > 100).select("point"),
        "two_filters": lambda lf: lf.filter(pl.col("point") != 1).filter(pl.col(bands[-1]) > 2, CLOUD < 50),
        "computed_filter": lambda lf: lf.with_columns(n=pl.col(bands[0]).fill_null(0) + 1).filter(pl.col("n") > 1),
    }
    if question.max_distance_pixels:
        distance = pl.col(f"{bands[0]}_distance")
        found |= {
            "near": _filter(distance < 1),
            "near_pruned": _filter(distance < 1, "point", bands[-1]),
            "elsewhere_and_record": _filter((distance > 0) & (CLOUD < 50), "serial"),
        }
    if question.return_neighbourhood != "off":
        block = pl.col(f"{bands[-1]}_neighbourhood")
        found |= {"no_block": _filter(block.is_null()), "block_pruned": _filter(block.is_not_null(), "point")}
    return found


def _filter(expr: pl.Expr, *names: str) -> After:
    return lambda lf: lf.filter(expr).select(*names) if names else lf.filter(expr)


BEFORE: dict[str, tuple[pl.Expr, Callable[[eager.Record], bool | None]]] = {
    "record": (CLOUD < 50, lambda one: one.columns["cloud"] is not None and one.columns["cloud"] < 50),
    "odd": (SERIAL % 2 == 1, lambda one: one.columns["serial"] % 2 == 1),
    "id": (pl.col("id") == "a", lambda one: one.columns["id"] == "a"),
    "timed": (pl.col("datetime").is_not_null(), lambda one: one.columns["datetime"] is not None),
    "none": (SERIAL < 0, lambda _: False),
}
"""Filters of the collection, as an expression and in Python."""
