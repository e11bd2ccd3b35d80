"""Does every query shape give on rasters what it gives on the eager reference?"""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import TYPE_CHECKING

import frame_world as world
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from query_shapes import FILTERS, SHAPES

import polars_rasteret as pr

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENGINES = ("streaming", "in-memory")
FORMS = ("memory", "parquet")
UNMATCHED = ("null", "drop")
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


@cache
def answer(name: str, serials: tuple[int, ...], unmatched: str) -> pl.DataFrame:
    """What the reference answers to a shape; one engine will do, as it holds no raster."""
    return SHAPES[name].query(reference(serials, unmatched).lazy()).collect(engine="in-memory")


def check(name: str, face: str, collection: pl.LazyFrame, unmatched: str, engine: str) -> None:
    shape, wanted = SHAPES[name], answer(name, serials_of(collection), unmatched)
    asked = shape.query(FACES[face](collection, unmatched))
    got = asked.collect(engine=engine)
    assert_frame_equal(comparable(got, ordered=shape.ordered), comparable(wanted, ordered=shape.ordered))
    assert asked.collect_schema() == wanted.schema


def test_the_reference_holds_every_case_that_the_shapes_are_about():
    frame = reference(tuple(range(8)), "null")
    assert (
        frame["record_id"].null_count() > frame["serial"].null_count() > 5
    )  # a record without id, rows without record
    assert frame.filter(pl.len().over("point") > 3).height > 20
    assert frame.filter(pl.col("serial").is_in([1, 6])).group_by("point").len()["len"].max() == 2
    for band in OUTPUT_OF.values():
        assert 0 < frame.filter(pl.col("serial").is_not_null())[band].null_count() < frame.height
    assert frame.filter(pl.col("serial") == 4)["swir_right"].null_count() == (frame["serial"] == 4).sum()
    assert frame.filter((pl.col("serial") == 5) & pl.col("nir").is_null() & pl.col("red").is_not_null()).height > 3


@pytest.mark.parametrize("name", SHAPES)
def test_a_query_on_sampled_points_agrees_with_the_reference(name: str, collections: Mapping[str, pl.LazyFrame]):
    # Forms, engines and kinds of `unmatched` take turns over the shapes; the slow test has every combination.
    at = list(SHAPES).index(name)
    check(name, "verb", collections[FORMS[at % 2]], UNMATCHED[at // 2 % 2], ENGINES[at // 4 % 2])


def turns() -> Iterator[tuple[str, str, str, str, str]]:
    """Each shape on one of the other faces; the faces meet every form, engine and kind of `unmatched` over all shapes."""
    combinations = list(itertools.product(list(FACES)[1:], FORMS, UNMATCHED, ENGINES))
    random.Random(1).shuffle(combinations)
    for at, name in enumerate(SHAPES):
        yield name, *combinations[at % len(combinations)]


@pytest.mark.parametrize(("name", "face", "form", "unmatched", "engine"), list(turns()))
def test_a_query_on_the_other_faces_agrees_with_the_reference(
    name: str, face: str, form: str, unmatched: str, engine: str, collections: Mapping[str, pl.LazyFrame]
):
    check(name, face, collections[form], unmatched, engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("unmatched", UNMATCHED)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("name", SHAPES)
def test_a_query_agrees_with_the_reference_in_every_combination(
    name: str, face: str, form: str, unmatched: str, engine: str, collections: Mapping[str, pl.LazyFrame]
):
    check(name, face, collections[form], unmatched, engine)


def test_there_are_more_shapes_than_were_promised():
    assert len(FILTERS) >= 30
    assert len(SHAPES) - len(FILTERS) >= 30
