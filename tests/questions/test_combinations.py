"""Is every combination of words answered as the eager reference does, on one rich world and on real scenes?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support import check_answers as check
from tests.support import real_scenes as real
from tests.support import small_worlds as small
from tests.support.engines import ENGINES
from tests.support.oracle import points as eager

ATS = (None, "visited", "visited_day")
TOLERANCES = (None, "1d12h")
DISTANCES = ({}, {"max_distance_pixels": 2}, {"max_distance_pixels": 2, "joint": False})
NEIGHBOURHOODS = ("off", "always", "if_center_nodata")


def combinations(validities: tuple[eager.Validity | None, ...]) -> list[dict[str, Any]]:
    found = []
    for match, at, tolerance, valid, unmatched, distance, neighbourhood in itertools.product(
        ("all", "latest", "earliest", "nearest"),
        ATS,
        TOLERANCES,
        validities,
        ("null", "drop"),
        DISTANCES,
        NEIGHBOURHOODS,
    ):
        if at is None and (match == "nearest" or tolerance is not None):
            continue
        words = {"match": match, "at": at, "tolerance": tolerance, "valid": valid, "unmatched": unmatched}
        found.append({**words, **distance, "return_neighbourhood": neighbourhood})
    return found


SMALL = combinations((None, small.clear, small.few_clouds))
REAL = combinations((None, real.clear, real.few_clouds))


def some(of: list[dict[str, Any]], n: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Some combinations, each with its number; every pair of words is met by many."""
    for number in random.Random(3).sample(range(len(of)), n):
        yield number, of[number]


def named(number: int, words: dict[str, Any]) -> Any:
    parts = [f"{value.expr}"[:20] if isinstance(value, eager.Validity) else str(value) for value in words.values()]
    return pytest.param(number, words, id="-".join([str(number), *parts]))


class Place:
    """A collection, its reference, and who asks."""

    def __init__(
        self,
        collection: pl.LazyFrame,
        records: list[eager.Record],
        caller: pl.DataFrame,
        crs: str,
        bands: tuple[str, ...],
        dtypes: dict[str, pl.DataType],
    ) -> None:
        self.collection, self.records, self.caller = collection, records, caller
        self.crs, self.bands, self.dtypes = crs, bands, dtypes

    def check(self, number: int, words: dict[str, Any], names: list[str]) -> None:
        bands = self.bands[: 1 + number % len(self.bands)]
        question = eager.Question(bands=bands, crs=self.crs, **words, record_columns=small.RECORD_COLUMNS)
        wanted = eager.answer(
            question, self.caller, self.records, dtypes=self.dtypes, record_dtypes=small.RECORD_DTYPES
        ).lazy()
        sent = question.words()
        asked = self.collection.raster.sample_points(self.caller, list(sent.pop("bands")), **sent)
        afters = check.afters(question)
        for name in ["everything", *names]:
            for engine in ENGINES:
                got = afters[name](asked).collect(engine=engine)
                try:
                    check.assert_same(got, afters[name](wanted).collect())
                except AssertionError as error:
                    raise AssertionError(f"{name}, {engine}: {error}") from None


@pytest.fixture(scope="module")
def rich() -> Place:
    world = small.rich_world()
    return Place(world.collection, world.eager, world.caller, world.crs, ("red", "scl", "nir", "temp"), small.DTYPES)


@pytest.fixture(scope="module")
def scenes(shared_file: Callable[[str], Path]) -> Place:
    folder = shared_file(f"tiff/{real.SENTINEL['blue']}").parent
    return Place(
        real.collection(folder), real.records(folder), real.points(), "EPSG:4326", ("red", "nir", "blue"), real.DTYPES
    )


def after(number: int) -> list[str]:
    """One query after the verb; they take turns."""
    question = eager.Question(bands=("red",), crs="native", record_columns=small.RECORD_COLUMNS)
    names = sorted(check.afters(question))
    return [names[number % len(names)]]


@pytest.mark.parametrize(("number", "words"), [named(*one) for one in some(SMALL, 24)])
def test_a_combination_on_the_rich_world(number: int, words: dict[str, Any], rich: Place):
    rich.check(number, words, after(number))


@pytest.mark.parametrize(("number", "words"), [named(*one) for one in some(REAL, 16)])
def test_a_combination_on_real_scenes(number: int, words: dict[str, Any], scenes: Place):
    scenes.check(number, words, after(number))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "words"), [named(*one) for one in enumerate(SMALL)])
def test_every_combination_on_the_rich_world(number: int, words: dict[str, Any], rich: Place):
    for turn in range(3):
        rich.check(number, words, after(number + 29 * turn))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "words"), [named(*one) for one in enumerate(REAL)])
def test_every_combination_on_real_scenes(number: int, words: dict[str, Any], scenes: Place):
    scenes.check(number, words, after(number))


def test_the_worlds_hold_what_the_words_are_about(rich: Place, scenes: Place):
    """A difference in any word shows in the answers of both worlds."""
    for place, valid in ((rich, small.clear), (scenes, real.clear)):

        def rows(valid: eager.Validity | None, place: Place = place, **words: Any) -> list[tuple[Any, ...]]:
            question = eager.Question(
                bands=("red", "nir"), crs=place.crs, valid=valid, record_columns=small.RECORD_COLUMNS, **words
            )
            wanted = eager.answer(
                question, place.caller, place.records, dtypes=place.dtypes, record_dtypes=small.RECORD_DTYPES
            )
            return wanted.select("point", "serial", "red", "nir").rows()

        different = [
            {"match": "latest"},
            {"match": "earliest"},
            {"match": "latest", "at": "visited"},
            {"match": "earliest", "at": "visited"},
            {"match": "nearest", "at": "visited"},
            {"match": "nearest", "at": "visited_day"},
            {"match": "nearest", "at": "visited", "tolerance": "1d12h"},
            {"match": "all", "at": "visited", "tolerance": "1d12h"},
            {"match": "all"},
            {"match": "all", "unmatched": "drop"},
            {"match": "all", "max_distance_pixels": 2},
            {"match": "latest", "max_distance_pixels": 2},
        ]
        if place is rich:  # all bands of a real scene are null in the same pixels
            different.append({"match": "all", "max_distance_pixels": 2, "joint": False})
        answers = [rows(which, **words) for words in different for which in (None, valid)]
        for one, other in itertools.combinations(range(len(answers)), 2):
            assert answers[one] != answers[other], (different[one // 2], different[other // 2])
