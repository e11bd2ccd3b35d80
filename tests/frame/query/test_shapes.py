"""Does every query shape give on rasters what it gives on the eager reference?"""

from __future__ import annotations

import itertools
import random
from functools import cache
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, FORMS, OUTPUT_OF, UNMATCHED, comparable, reference, serials_of
from tests.support.query_shapes import FILTERS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
