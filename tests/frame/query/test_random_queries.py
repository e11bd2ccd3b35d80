"""Does a query that nobody thought of agree with the reference?

Queries are drawn from a seed: predicates nested to any depth over record, caller and pixel columns, between steps that keep, cut,
rename and combine rows. A failure names its seed and the query.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, FORMS, UNMATCHED, reference, serials_of
from tests.support.random_queries import NUMBERS, TEXTS, TIMES, query

if TYPE_CHECKING:
    from collections.abc import Mapping


def check(seed: int, collections: Mapping[str, pl.LazyFrame]) -> None:
    chance = random.Random(-seed)
    face = chance.choice([*FACES, "verb", "verb"])
    unmatched, form, engine = chance.choice(UNMATCHED), chance.choice(FORMS), chance.choice(ENGINES)
    wanted = query(seed, reference(serials_of(collections[form]), unmatched).lazy())
    asked = query(seed, FACES[face](collections[form], unmatched))
    where = f"seed {seed}, {face}, {unmatched}, {form}, {engine}:\n{wanted.explain(optimized=False)}"
    try:
        got = asked.collect(engine=engine)
    except pl.exceptions.PolarsError as error:
        pytest.fail(f"{where}\n{error}")
    try:
        assert_frame_equal(got, wanted.collect(engine="in-memory"))
    except AssertionError as error:
        pytest.fail(f"{where}\n{error}")


@pytest.mark.parametrize("seed", range(40))
def test_a_random_query_agrees_with_the_reference(seed: int, collections: Mapping[str, pl.LazyFrame]):
    check(seed, collections)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_thousands_of_random_queries_agree_with_the_reference(block: int, collections: Mapping[str, pl.LazyFrame]):
    for seed in range(1_000 + 100 * block, 1_100 + 100 * block):
        check(seed, collections)


def test_the_columns_that_random_queries_know_are_there():
    columns = set(reference(tuple(range(8)), "null").columns)
    assert columns >= NUMBERS.keys() | TEXTS.keys() | set(TIMES)
    assert len(world.points()) > 50
