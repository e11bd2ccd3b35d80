"""Queries by name, each a function of a frame with the columns of `frame_world.sampled`.

A query says nothing of rasters, so that it runs on the reference and on every face alike. An ``ordered`` one keeps the order of
rows.
"""

# ruff: noqa: E501 - one query per line reads best

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from tests.support import frame_world as world

if TYPE_CHECKING:
    from collections.abc import Callable

CLOUD = pl.col("eo:cloud_cover")
CLEAR = CLOUD < 20
ID = pl.col("record_id")
PIXEL = pl.col("red") > 1_500
MIXED = pl.col("datetime").is_between("planting", "harvest")
HEAVY = pl.col("weight") > 3_000
MAIZE = pl.col("crop") == "maize"


@dataclass(frozen=True)
class Shape:
    query: Callable[[pl.LazyFrame], pl.LazyFrame]
    ordered: bool = True


def _by_python(value: float | str | None) -> bool:
    return value is not None and (len(value) if isinstance(value, str) else value) > 2


def _truth(value: object) -> bool:
    return str(value)[0] not in "N-"  # of None; written so that Polars does not offer its own words


def _udf(name: str, function: Callable[[object], bool] = _truth, *, skip_nulls: bool = False) -> pl.Expr:
    return pl.col(name).map_elements(function, return_dtype=pl.Boolean, skip_nulls=skip_nulls)


def _batch_udf(series: pl.Series) -> pl.Series:
    return series.fill_null(0) > 1_000


FILTERS: dict[str, pl.Expr] = {
    # Of the record.
    "record_rejecting_nulls": CLEAR,
    "record_keeping_nulls": CLOUD.is_null() | CLEAR,
    "record_is_null": ID.is_null(),
    "record_is_not_null": ID.is_not_null(),
    "record_fill_null": CLOUD.fill_null(0) < 20,
    "record_fill_null_away": CLOUD.fill_null(99) < 20,
    "record_is_in": ID.is_in(["A", "C"]),
    "record_is_in_with_null": ID.is_in(["A", None], nulls_equal=True),
    "record_is_not_in": ~ID.is_in(["A", "C"]),
    "record_ne_missing": ID.ne_missing("A"),
    "record_eq_missing_null": ID.eq_missing(None),
    "record_not": ~CLEAR,
    "record_not_is_null": ~CLOUD.is_null(),
    "record_xor": CLEAR ^ (pl.col("platform_right") == "s2a"),
    "record_string": ID.str.starts_with("A") | ID.str.ends_with("B"),
    "record_time": pl.col("datetime") >= world.day(9),
    "record_time_null_or_early": pl.col("datetime").is_null() | (pl.col("datetime") < world.day(5)),
    "record_day": pl.col("datetime").dt.day() == 3,
    "record_when_then": pl.when(CLOUD.is_null()).then(True).otherwise(CLEAR),
    "record_two_columns": CLEAR & (pl.col("platform_right") == "s2a"),
    "record_duplicated_id": pl.col("serial").is_in([1, 6]),
    "record_horizontal": pl.any_horizontal(CLEAR, pl.col("platform_right").is_null()),
    "record_coalesce": pl.coalesce("platform_right", pl.lit("none")) == "none",
    "record_nan": CLOUD.is_not_nan(),
    "record_cast_to_bool": (CLOUD < 20).cast(pl.Int8) == 1,
    # Of the caller.
    "caller": MAIZE,
    "caller_null": pl.col("crop").is_null(),
    "caller_is_in": pl.col("crop").is_in(["maize", "wheat"]),
    "caller_clash": pl.col("swir") > 10,
    "caller_platform": pl.col("platform") == "s2a",
    "caller_coordinates": pl.col("lon").is_nan() | (pl.col("lat") > 45),
    "caller_not": ~HEAVY,
    "caller_nothing_left": pl.col("point") < 0,
    # Of caller and record.
    "mixed_between": MIXED,
    "mixed_true_without_record": HEAVY | CLEAR,
    "mixed_false_without_record": HEAVY & CLEAR,
    "mixed_equal": pl.col("platform") == pl.col("platform_right"),
    "mixed_equal_missing": pl.col("platform").eq_missing("platform_right"),
    "mixed_not_equal_missing": pl.col("platform").ne_missing("platform_right"),
    "mixed_coalesce": pl.coalesce("eo:cloud_cover", "weight") > 50,
    "mixed_not_between": ~MIXED,
    "mixed_is_null": MIXED.is_null(),
    "mixed_fill_null": MIXED.fill_null(value=True),
    "mixed_always": HEAVY | CLEAR | pl.lit(value=True),
    "mixed_arithmetic": pl.col("weight") / 100 > CLOUD,
    "mixed_concat_str": pl.concat_str("platform", "platform_right", ignore_nulls=True) == "s2as2a",
    # Of pixels.
    "pixel": PIXEL,
    "pixel_null": pl.col("red").is_null(),
    "pixel_two_bands": pl.col("nir").cast(pl.Int32) - pl.col("red").cast(pl.Int32) > 0,
    "pixel_signed": pl.col("swir_right") < 0,
    "pixel_float": pl.col("temp").is_between(100, 400),
    "pixel_or_null": PIXEL | pl.col("nir").is_null(),
    "pixel_fill_null": pl.col("red").fill_null(0) < 600,
    "pixel_is_in": pl.col("red").is_in(list(range(0, 8_000, 3))),
    "pixel_not": ~PIXEL,
    "pixel_all_null": pl.all_horizontal(pl.col("red", "nir", "swir_right", "temp").is_null()),
    "pixel_nothing_left": pl.col("red") > 60_000,
    # Of pixels and others.
    "pixel_and_record": PIXEL & CLEAR,
    "pixel_and_record_keeping_nulls": (PIXEL | pl.col("red").is_null()) & (CLOUD.is_null() | CLEAR),
    "pixel_and_caller": PIXEL & MAIZE,
    "pixel_against_caller": pl.col("red") > pl.col("weight"),
    "pixel_against_clashing_caller": pl.col("swir_right") > pl.col("swir"),
    "pixel_against_record": pl.col("temp") > CLOUD * 10,
    "everything_and": PIXEL & CLEAR & MAIZE & HEAVY & (pl.col("nir") > pl.col("red")),
    "everything_or": PIXEL | CLEAR | MAIZE | MIXED,
    "everything_not": ~(PIXEL | CLEAR | MAIZE | MIXED),
    "everything_or_of_ands": (PIXEL & CLEAR) | (MAIZE & MIXED) | ID.is_null(),
    "record_and_mixed": CLEAR & (HEAVY | (CLOUD < 12)),
    "record_kept_and_mixed": (CLOUD.is_null() | CLEAR) & (HEAVY | CLOUD.is_null()),
    # Python functions.
    "udf_on_record": _udf("eo:cloud_cover", _by_python),
    "udf_on_record_of_nulls": ~_udf("record_id"),
    "udf_on_caller": _udf("crop", _by_python),
    "udf_on_pixel": _udf("red", _by_python, skip_nulls=True),
    "udf_on_pixel_of_nulls": ~_udf("red"),
    "udf_and_record": _udf("crop", _by_python) & CLEAR,
    "udf_or_record": _udf("crop", _by_python) | CLEAR,
    "udf_in_batches": pl.col("red").map_batches(_batch_udf, return_dtype=pl.Boolean, is_elementwise=True),
    # Literals.
    "literal_true": pl.lit(value=True),
    "literal_false": pl.lit(value=False),
    "literal_null": pl.lit(None, dtype=pl.Boolean),
    "record_or_true": CLEAR | pl.lit(value=True),
    "record_and_true": CLEAR & pl.lit(value=True),
    "record_and_false": CLEAR & pl.lit(value=False),
    # Of many rows at once.
    "over_pixel": pl.col("red") == pl.col("red").max().over("point"),
    "over_record": CLOUD.min().over("point") == CLOUD,
    "over_caller": pl.col("weight").rank("dense").over("crop") < 4,
    "over_len": pl.len().over("point") > 2,
    "over_record_len": pl.len().over("record_id") > 20,
    "over_and_record": (pl.col("red") == pl.col("red").max().over("point")) & CLEAR,
    "aggregate_pixel": pl.col("red") > pl.col("red").mean(),
    "aggregate_record": CLOUD.median() >= CLOUD,
    "aggregate_caller": pl.col("weight") > pl.col("weight").mean(),
    "is_duplicated": pl.col("point").is_duplicated(),
    "is_unique": pl.col("point").is_unique(),
    "is_first_distinct": pl.struct("point", "record_id").is_first_distinct(),
    "shifted": pl.col("point") == pl.col("point").shift(1),
    "cumulative": pl.col("red").cum_count() < 20,
    "row_number": pl.int_range(pl.len()) % 3 == 0,
    "forward_filled": CLOUD.forward_fill() < 20,
}

# Names of few columns keep what a filter leaves visible cheap to compare, but all columns are: a pruned column hides faults.
SHAPES: dict[str, Shape] = {f"filter_{name}": Shape(lambda lf, by=by: lf.filter(by)) for name, by in FILTERS.items()}


def every(*queries: tuple[str, Callable[[pl.LazyFrame], pl.LazyFrame]], ordered: bool = True) -> None:
    for name, query in queries:
        assert name not in SHAPES, name
        SHAPES[name] = Shape(query, ordered)


every(
    ("everything", lambda lf: lf),
    # Rows by position.
    ("head", lambda lf: lf.head(7)),
    ("head_none", lambda lf: lf.head(0)),
    ("head_more_than_there_is", lambda lf: lf.head(10_000)),
    ("head_twice", lambda lf: lf.head(20).head(5)),
    ("head_then_filter", lambda lf: lf.head(40).filter(CLEAR)),
    ("head_then_caller_filter", lambda lf: lf.head(40).filter(MAIZE)),
    ("head_then_pixel_filter", lambda lf: lf.head(40).filter(PIXEL)),
    ("limit", lambda lf: lf.limit(3)),
    ("first", lambda lf: lf.first()),
    ("last", lambda lf: lf.last()),
    ("tail", lambda lf: lf.tail(7)),
    ("tail_then_filter", lambda lf: lf.tail(60).filter(MIXED | ID.is_null())),
    ("slice", lambda lf: lf.slice(11, 17)),
    ("slice_to_end", lambda lf: lf.slice(30)),
    ("slice_from_end", lambda lf: lf.slice(-20, 5)),
    ("slice_beyond", lambda lf: lf.slice(9_999, 5)),
    ("slice_then_filter", lambda lf: lf.slice(10, 60).filter(CLEAR)),
    ("filter_then_head", lambda lf: lf.filter(CLEAR).head(6)),
    ("pixel_filter_then_head", lambda lf: lf.filter(PIXEL).head(6)),
    ("mixed_filter_then_head", lambda lf: lf.filter(HEAVY | CLEAR).head(6)),
    ("caller_filter_then_head", lambda lf: lf.filter(MAIZE).head(6)),
    ("filter_then_tail", lambda lf: lf.filter(CLEAR).tail(6)),
    ("filter_then_slice", lambda lf: lf.filter(PIXEL).slice(3, 9)),
    ("gather_every", lambda lf: lf.gather_every(4, 1)),
    ("reverse", lambda lf: lf.reverse()),
    ("with_row_index", lambda lf: lf.with_row_index().filter(pl.col("index") % 5 == 2)),
    ("filter_then_row_index", lambda lf: lf.filter(CLEAR).with_row_index()),
    # Several steps.
    ("filter_filter", lambda lf: lf.filter(CLEAR).filter(PIXEL)),
    ("filter_words", lambda lf: lf.filter(crop="maize", record_id="A")),
    ("filter_with_columns_filter", lambda lf: lf.filter(CLEAR).with_columns(d=pl.col("nir") - pl.col("red")).filter(pl.col("d") > 40)),
    ("with_columns_filter", lambda lf: lf.with_columns(c=CLOUD * 2).filter(pl.col("c") < 40)),
    ("with_columns_over_name_filter", lambda lf: lf.with_columns(CLOUD.fill_null(1)).filter(CLEAR)),
    ("with_columns_swap_filter", lambda lf: lf.with_columns(red=pl.col("nir"), nir=pl.col("red")).filter(PIXEL)),
    ("with_columns_udf_filter", lambda lf: lf.with_columns(ok=_udf("red", _by_python, skip_nulls=True)).filter("ok")),
    ("rename_filter", lambda lf: lf.rename({"eo:cloud_cover": "cloud", "record_id": "id"}).filter((pl.col("cloud") < 20) & (pl.col("id") == "A"))),
    ("rename_to_other_names_filter", lambda lf: lf.rename({"red": "crop", "crop": "red"}).filter((pl.col("red") == "maize") & (pl.col("crop") > 500))),
    ("drop_filter", lambda lf: lf.drop("red", "crop").filter(CLEAR)),
    ("cast_filter", lambda lf: lf.cast({"red": pl.Float64}).filter(pl.col("red") > 1_500.5)),
    ("remove", lambda lf: lf.remove(CLEAR)),
    ("remove_pixel", lambda lf: lf.remove(PIXEL)),
    ("cache", lambda lf: lf.cache().filter(CLEAR)),
    ("map_batches", lambda lf: lf.map_batches(lambda df: df.filter(PIXEL))),
    ("map_batches_no_pushdown", lambda lf: lf.map_batches(lambda df: df.head(9), predicate_pushdown=False, projection_pushdown=False).filter(CLEAR)),
    ("pipe", lambda lf: lf.pipe(lambda one: one.filter(CLEAR)).select("point", "red")),
    # Columns.
    ("select_no_band", lambda lf: lf.select("point", "record_id")),
    ("select_caller_only", lambda lf: lf.select("crop")),
    ("select_record_only", lambda lf: lf.select("serial", "datetime")),
    ("select_coordinates_only", lambda lf: lf.select("lat")),
    ("select_one_band", lambda lf: lf.select("nir")),
    ("select_suffixed_band", lambda lf: lf.select("swir_right", "swir")),
    ("select_other_order", lambda lf: lf.select("temp", "record_id", "red", "point")),
    ("select_reversed", lambda lf: lf.select(sorted(lf.collect_schema(), reverse=True))),
    ("select_selectors", lambda lf: lf.select(cs.unsigned_integer(), cs.string())),
    ("select_exclude", lambda lf: lf.select(pl.exclude("red", "temp"))),
    ("select_twice_the_same", lambda lf: lf.select("red", also=pl.col("red"), more=pl.col("red") + 1)),
    ("select_literal", lambda lf: lf.select(pl.lit(1))),
    ("select_literal_beside_column", lambda lf: lf.select("point", pl.lit(1).alias("one"))),
    ("select_length", lambda lf: lf.select(pl.len())),
    ("filter_length", lambda lf: lf.filter(CLEAR).select(pl.len())),
    ("caller_filter_length", lambda lf: lf.filter(MAIZE).select(pl.len())),
    ("mixed_filter_length", lambda lf: lf.filter(HEAVY | CLEAR).select(pl.len())),
    ("pixel_filter_length", lambda lf: lf.filter(PIXEL).select(pl.len())),
    ("udf_filter_length", lambda lf: lf.filter(_udf("red", _by_python, skip_nulls=True)).select(pl.len())),
    ("head_length", lambda lf: lf.head(9).select(pl.len())),
    ("count_rows", lambda lf: lf.count()),
    ("null_count", lambda lf: lf.null_count()),
    ("filter_on_another_column", lambda lf: lf.filter(CLEAR).select("red")),
    ("filter_on_another_band", lambda lf: lf.filter(PIXEL).select("nir")),
    ("filter_on_a_band_select_none", lambda lf: lf.filter(PIXEL).select("point")),
    ("filter_on_coordinates_select_band", lambda lf: lf.filter(pl.col("lon") > 12).select("red")),
    ("normalized_difference", lambda lf: lf.select("point", n=(pl.col("nir").cast(pl.Float32) - pl.col("red")) / (pl.col("nir").cast(pl.Float32) + pl.col("red"))).filter(pl.col("n") > 0)),
    ("struct_and_unnest", lambda lf: lf.select("point", pl.struct("red", "nir").alias("s")).unnest("s").filter(PIXEL)),
    ("struct_field_filter", lambda lf: lf.with_columns(s=pl.struct("red", "eo:cloud_cover")).filter(pl.col("s").struct.field("eo:cloud_cover") < 20)),
    ("list_and_explode", lambda lf: lf.select("point", pl.concat_list("red", "nir").alias("v")).explode("v").filter(pl.col("v") > 1_500)),
    # Nulls.
    ("drop_nulls", lambda lf: lf.drop_nulls()),
    ("drop_nulls_of_record", lambda lf: lf.drop_nulls("record_id")),
    ("drop_nulls_of_band", lambda lf: lf.drop_nulls(["red", "nir"])),
    ("drop_nans", lambda lf: lf.drop_nans("temp")),
    ("fill_null", lambda lf: lf.fill_null(0).filter(pl.col("red") == 0)),
    ("fill_null_forward", lambda lf: lf.select("point", pl.col("red", "record_id").forward_fill())),
    # Across rows.
    ("shift", lambda lf: lf.select("point", pl.col("red").shift(2), pl.col("record_id").shift(-1))),
    ("cumulative_sum", lambda lf: lf.with_columns(total=pl.col("red").cast(pl.Int64).cum_sum())),
    ("difference", lambda lf: lf.select(pl.col("temp").diff())),
    ("rolling_mean", lambda lf: lf.select("point", pl.col("temp").rolling_mean(3, min_samples=1))),
    ("over", lambda lf: lf.with_columns(best=pl.col("red").max().over("point"))),
    ("over_record_column", lambda lf: lf.with_columns(n=pl.len().over("record_id"), mean=pl.col("temp").mean().over("record_id"))),
    ("over_then_filter", lambda lf: lf.with_columns(n=pl.len().over("point")).filter(CLEAR)),
    ("over_key_filter", lambda lf: lf.with_columns(n=pl.len().over("point")).filter(pl.col("point") > 30)),
    ("filter_then_over", lambda lf: lf.filter(CLEAR).with_columns(n=pl.len().over("point"))),
    ("sums", lambda lf: lf.select(cs.numeric().sum())),
    ("extremes", lambda lf: lf.select(pl.col("red", "nir", "swir_right").max(), pl.col("temp", "datetime").min().name.suffix("_min"))),
    ("quantile", lambda lf: lf.quantile(0.5).select("red", "nir")),
    ("arg_max_gather", lambda lf: lf.select(pl.col("point", "record_id", "red").get(pl.col("red").arg_max()))),
    # Order.
    ("sort_by_pixel", lambda lf: lf.sort("red", "point", "serial", nulls_last=True)),
    ("sort_stable", lambda lf: lf.sort("record_id", maintain_order=True)),
    ("sort_descending_head", lambda lf: lf.sort("red", "point", "serial", descending=True, nulls_last=True).head(5)),
    ("sort_then_filter", lambda lf: lf.sort("red", "point", "serial").filter(CLEAR)),
    ("top_k", lambda lf: lf.filter(pl.col("temp").is_not_null()).top_k(5, by=["temp", "point"]).sort("temp", "point")),
    ("bottom_k", lambda lf: lf.filter(pl.col("temp").is_not_null()).bottom_k(5, by=["temp", "point"]).sort("temp", "point")),
    ("unique_first", lambda lf: lf.unique("point", keep="first", maintain_order=True)),
    ("unique_last", lambda lf: lf.unique("point", keep="last", maintain_order=True)),
    ("unique_none", lambda lf: lf.unique("point", keep="none", maintain_order=True)),
    ("unique_then_filter", lambda lf: lf.unique("point", keep="first", maintain_order=True).filter(CLEAR)),
    ("filter_then_unique", lambda lf: lf.filter(CLEAR).unique("point", keep="first", maintain_order=True)),
    ("group_by_ordered", lambda lf: lf.group_by("crop", maintain_order=True).agg(pl.col("red").max(), pl.len())),
    ("group_by_first", lambda lf: lf.group_by("point", maintain_order=True).first()),
    ("group_by_then_filter_key", lambda lf: lf.group_by("crop", maintain_order=True).agg(pl.len()).filter(pl.col("crop") == "maize")),
    ("group_by_dynamic", lambda lf: lf.drop_nulls("datetime").sort("datetime").group_by_dynamic("datetime", every="5d").agg(pl.len(), pl.col("red").max())),
    ("rolling", lambda lf: lf.drop_nulls("datetime").sort("datetime", "point", "serial").rolling("datetime", period="7d").agg(pl.len())),
    ("merge_sorted", lambda lf: lf.select("point", "red").filter(pl.col("point") < 20).merge_sorted(lf.select("point", "red").filter(pl.col("point") >= 20), "point")),
)  # fmt: skip

every(
    ("group_by", lambda lf: lf.group_by("crop").agg(pl.col("red").mean(), pl.len(), pl.col("temp").sum())),
    ("group_by_record", lambda lf: lf.group_by("record_id").agg(pl.col("nir").median(), pl.col("point").n_unique())),
    ("group_by_filter_inside", lambda lf: lf.group_by("crop").agg(pl.col("red").filter(CLEAR).sum(), n=pl.col("red").count())),
    ("group_by_pixel", lambda lf: lf.group_by(pl.col("red") // 1_000).agg(pl.len())),
    ("filter_group_by", lambda lf: lf.filter(MIXED).group_by("crop").agg(pl.len())),
    ("group_by_no_band", lambda lf: lf.group_by("platform", "platform_right").len()),
    ("unpivot", lambda lf: lf.unpivot(["red", "nir"], index=["point", "serial"]).filter(pl.col("value") > 1_500)),
    ("unique", lambda lf: lf.select("crop", "record_id").unique()),
    ("unique_any", lambda lf: lf.unique(["point", "serial"])),
    ("join_left", lambda lf: lf.join(_crops(), on="crop", how="left")),
    ("join_inner", lambda lf: lf.join(_crops(), on="crop")),
    ("join_full", lambda lf: lf.join(_crops(), on="crop", how="full")),
    ("join_right", lambda lf: _crops().join(lf, on="crop", how="right")),
    ("join_semi", lambda lf: lf.join(_crops(), on="crop", how="semi")),
    ("join_anti", lambda lf: lf.join(_crops(), on="crop", how="anti")),
    ("join_then_filter", lambda lf: lf.join(_crops(), on="crop", how="left").filter(CLEAR & (pl.col("price") > 1))),
    ("join_left_then_filter_of_its_nulls", lambda lf: lf.join(_crops(), on="crop", how="left").filter(pl.col("price").is_null())),
    ("join_on_record", lambda lf: lf.join(_scenes(), on="record_id", how="left", nulls_equal=True)),
    ("join_on_pixel", lambda lf: lf.join(pl.LazyFrame({"red": list(range(0, 8_000, 7))}, schema={"red": pl.UInt16}), on="red")),
    ("join_where", lambda lf: lf.join_where(_crops(), pl.col("weight") > pl.col("price") * 1_000)),
    ("join_cross", lambda lf: lf.head(9).join(_crops(), how="cross")),
    ("join_asof", lambda lf: lf.drop_nulls("datetime").sort("datetime", "point", "serial").join_asof(_days(), on="datetime", strategy="backward")),
    ("self_join", lambda lf: lf.select("point", "serial", "red").join(lf.select("point", "serial", "nir"), on=["point", "serial"], nulls_equal=True)),
    ("self_join_filtered", lambda lf: lf.filter(CLEAR).select("point", "red").join(lf.filter(~CLEAR).select("point", "nir"), on="point")),
    ("self_join_on_point", lambda lf: lf.join(lf, on="point", suffix="_2")),
    ("self_semi_join", lambda lf: lf.join(lf.filter(PIXEL), on="point", how="semi")),
    ("self_anti_join", lambda lf: lf.join(lf.filter(CLEAR), on="point", how="anti")),
    ("aggregate_joined_back", lambda lf: lf.join(lf.group_by("point").agg(pl.col("red").max().alias("best")), on="point").filter(pl.col("red") == pl.col("best"))),
    ("explode_group", lambda lf: lf.group_by("point").agg("red", "serial").explode("red", "serial")),
    ("value_counts", lambda lf: lf.select(pl.col("record_id").value_counts()).unnest("record_id")),
    ("implode", lambda lf: lf.filter(CLEAR).group_by("record_id").agg(pl.col("point").sort())),
    ordered=False,
)  # fmt: skip

every(
    ("concat", lambda lf: pl.concat([lf, lf])),
    ("concat_of_filters", lambda lf: pl.concat([lf.filter(CLEAR), lf.filter(~CLEAR), lf.filter(CLOUD.is_null())])),
    ("concat_then_filter", lambda lf: pl.concat([lf.head(30), lf.tail(30)]).filter(PIXEL)),
    ("concat_then_head", lambda lf: pl.concat([lf.filter(PIXEL), lf]).head(50)),
    ("concat_diagonal", lambda lf: pl.concat([lf.select("point", "red"), lf.select("point", "nir")], how="diagonal")),
    ("concat_horizontal", lambda lf: pl.concat([lf.select("point", "red"), lf.select("nir", "record_id")], how="horizontal")),
    ("concat_horizontal_with_reference", lambda lf: pl.concat([lf.select("red"), lf.select(again=pl.col("red"))], how="horizontal").filter(pl.col("red") == pl.col("again"))),
    ("sql", lambda lf: pl.SQLContext(t=lf).execute('select point, record_id, red from t where "eo:cloud_cover" < 20 and red > 1500 order by point, serial')),
    ("sql_group", lambda lf: pl.SQLContext(t=lf).execute("select crop, count(*) as n, max(nir) as most from t group by crop order by crop")),
)  # fmt: skip


def _crops() -> pl.LazyFrame:
    return pl.LazyFrame({"crop": ["maize", "barley", "rice"], "price": [1.0, 2.0, 3.0]})


def _scenes() -> pl.LazyFrame:
    return pl.LazyFrame({"record_id": ["A", "B", None], "note": ["first", "second", "unnamed"]})


def _days() -> pl.LazyFrame:
    return pl.LazyFrame(
        {"datetime": [world.day(2), world.day(8)], "season": ["early", "late"]},
        schema={"datetime": pl.Datetime("us", "UTC"), "season": pl.String},
    ).set_sorted("datetime")
