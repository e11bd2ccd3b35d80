"""Does every query shape give on rasters what it gives on the eager reference?"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import frame_world as world
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from query_shapes import FILTERS, SHAPES

import polars_rasteret as pr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENGINES = ("streaming", "in-memory")
OUTPUT_OF = {"red": "red", "nir": "nir", "swir": "swir_right", "temp": "temp"}


def verb(collection: pl.LazyFrame, unmatched: str, caller: pl.DataFrame | None = None) -> pl.LazyFrame:
    return collection.raster.sample_points(
        world.points() if caller is None else caller,
        world.BANDS,
        crs=4326,
        unmatched=unmatched,
        record_columns=world.RECORD_COLUMNS,
    )


def verb_in_small_units(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    with pr.options(max_answer_bytes=4_000):
        return verb(collection, unmatched)


def paired(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return collection.raster.pair(
        world.points().lazy(), crs=4326, unmatched=unmatched, record_columns=world.RECORD_COLUMNS
    )


def samples() -> list[pl.Expr]:
    return [pl.col(name).raster.sample_points("lon", "lat", crs=4326) for name in OUTPUT_OF.values()]


def expressions(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return paired(collection, unmatched).with_columns(*samples())


def batched_expressions(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    return paired(collection, unmatched).raster.with_columns(*samples())


def struct_expression(collection: pl.LazyFrame, unmatched: str) -> pl.LazyFrame:
    together = pr.sample_points(list(OUTPUT_OF.values()), "lon", "lat", crs=4326)
    return paired(collection, unmatched).with_columns(together).drop(list(OUTPUT_OF.values())).unnest("pixels")


FACES = {
    "verb": verb,
    "verb_in_small_units": verb_in_small_units,
    "expressions": expressions,
    "batched_expressions": batched_expressions,
    "struct_expression": struct_expression,
}


@cache
def reference(serials: tuple[int, ...], unmatched: str) -> pl.DataFrame:
    return world.sampled(world.points(), list(serials), unmatched=unmatched)


def serials_of(collection: pl.LazyFrame) -> tuple[int, ...]:
    return tuple(collection.select("serial").collect()["serial"])


def comparable(frame: pl.DataFrame, *, ordered: bool) -> pl.DataFrame:
    if ordered:
        return frame
    return frame.select(sorted(frame.columns)).sort(pl.all(), nulls_last=True)


def check(
    frame: pl.LazyFrame, expected: pl.DataFrame, query: Callable[[pl.LazyFrame], pl.LazyFrame], *, ordered: bool = True
) -> None:
    for engine in ENGINES:
        wanted = query(expected.lazy()).collect(engine=engine)
        asked = query(frame)
        got = asked.collect(engine=engine)
        assert_frame_equal(comparable(got, ordered=ordered), comparable(wanted, ordered=ordered))
        assert asked.collect_schema() == wanted.schema


def test_the_reference_holds_every_case_that_the_shapes_are_about():
    frame = reference(tuple(range(8)), "null")
    assert frame["record_id"].null_count() > frame["serial"].null_count() > 5  # a record without id, rows without record
    assert frame.filter(pl.len().over("point") > 3).height > 20
    assert frame.filter(pl.col("serial").is_in([1, 6])).group_by("point").len()["len"].max() == 2
    for band in OUTPUT_OF.values():
        assert 0 < frame.filter(pl.col("serial").is_not_null())[band].null_count() < frame.height
    assert frame.filter(pl.col("serial") == 4)["swir_right"].null_count() == (frame["serial"] == 4).sum()
    assert frame.filter((pl.col("serial") == 5) & pl.col("nir").is_null() & pl.col("red").is_not_null()).height > 3


@pytest.mark.parametrize("unmatched", ["null", "drop"])
@pytest.mark.parametrize("form", ["memory", "parquet"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_query_on_sampled_points_agrees_with_the_reference(
    name: str, form: str, unmatched: str, collections: Mapping[str, pl.LazyFrame]
):
    expected = reference(serials_of(collections[form]), unmatched)
    check(verb(collections[form], unmatched), expected, SHAPES[name].query, ordered=SHAPES[name].ordered)


@pytest.mark.parametrize("face", [face for face in FACES if face != "verb"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_query_on_every_other_face_agrees_with_the_reference(
    name: str, face: str, collections: Mapping[str, pl.LazyFrame]
):
    # Forms and unmatched take turns, so that each shape meets each of them.
    turn = list(SHAPES).index(name) + list(FACES).index(face)
    unmatched, form = ("null", "drop")[turn % 2], ("memory", "parquet")[turn // 2 % 2]
    expected = reference(serials_of(collections[form]), unmatched)
    check(FACES[face](collections[form], unmatched), expected, SHAPES[name].query, ordered=SHAPES[name].ordered)


def test_there_are_more_shapes_than_were_promised():
    assert len(FILTERS) >= 30
    assert len(SHAPES) - len(FILTERS) >= 30
