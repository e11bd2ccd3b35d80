"""Does any Polars query on the answer of any question agree with the same query on the eager reference?

The world, the query shapes and the random queries of the frame tests, on answers that choose records, look around and ask what is
valid.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.oracle import points as eager
from tests.support.query_shapes import SHAPES
from tests.support.random_queries import query

bright = eager.Validity(pl.col("red") > 1_500, lambda v: None if v["red"] is None else v["red"] > 1_500, ("red",))
# The caller has a column of this name too: a band's name means the band.
above_zero = eager.Validity(pl.col("swir") > 0, lambda v: None if v["swir"] is None else v["swir"] > 0, ("swir",))
light = eager.Validity(
    pl.col("weight") < pl.col("eo:cloud_cover") * 300,
    lambda v: None if None in (v["weight"], v["eo:cloud_cover"]) else v["weight"] < v["eo:cloud_cover"] * 300,
)
QUESTIONS: dict[str, dict[str, Any]] = {
    "latest": {"match": "latest"},
    "latest_valid": {"match": "latest", "at": "harvest", "valid": bright},
    "earliest_around": {"match": "earliest", "max_distance_pixels": 1},
    "nearest_within": {"match": "nearest", "at": "planting", "tolerance": "2d", "valid": above_zero},
    "all_within": {"match": "all", "at": "harvest", "tolerance": "2d", "valid": light},
    "all_around": {"match": "all", "max_distance_pixels": 2, "joint": False, "valid": above_zero},
}
NAMES = {"lon": "x", "lat": "y", "swir": "caller_swir", "platform": "caller_platform"}
"""What the caller's columns are called while the reference works, so that none clashes."""
CASES = [(name, unmatched) for name in QUESTIONS for unmatched in ("null", "drop")]


@pytest.fixture(scope="module")
def collection() -> pl.LazyFrame:
    pr.configure_store(world.PREFIX, store=MemorySource(world.files()))
    built = [pr.build_from_table(table, bands=bands) for table, bands in world.tables_with_band_indices()]
    return pl.concat(built, how="vertical").collect().sort("serial").lazy()


def asked(name: str, unmatched: str) -> eager.Question:
    return eager.Question(
        bands=world.BANDS,
        crs="EPSG:4326",
        unmatched=unmatched,
        record_columns=world.RECORD_COLUMNS,
        **QUESTIONS[name],
    )


@cache
def reference(name: str, unmatched: str) -> pl.DataFrame:
    caller = world.points().rename(NAMES)
    dtypes = {one: world.RECORD_SCHEMA[output] for output, one in world.RECORD_NAMES.items()}
    records = [world.record(scene.serial) for scene in world.SCENES]
    wanted = eager.answer(asked(name, unmatched), caller, records, dtypes=dict(world.DTYPES), record_dtypes=dtypes)
    wanted = wanted.rename({"swir": "swir_right", "platform": "platform_right"})
    wanted = wanted.rename({new: old for old, new in NAMES.items()})
    return wanted.select(~pl.selectors.ends_with("_distance"))


def verb(collection: pl.LazyFrame, name: str, unmatched: str) -> pl.LazyFrame:
    words = asked(name, unmatched).words() | {"x": "lon", "y": "lat"}
    answer = collection.raster.sample_points(world.points(), list(words.pop("bands")), **words)
    return answer.select(~pl.selectors.ends_with("_distance"))


def test_the_questions_have_different_answers():
    frames = [reference(*case) for case in CASES]
    assert len({frame.write_json() for frame in frames}) == len(frames)
    for frame in frames:
        assert frame["serial"].n_unique() > 3
        assert frame["red"].null_count() < frame.height


@pytest.mark.parametrize(("name", "unmatched"), CASES)
def test_the_answers_agree_with_the_reference(name: str, unmatched: str, collection: pl.LazyFrame):
    for engine in ENGINES:
        assert_frame_equal(verb(collection, name, unmatched).collect(engine=engine), reference(name, unmatched))


def check_shape(shape: str, name: str, unmatched: str, engine: str, collection: pl.LazyFrame) -> None:
    one = SHAPES[shape]
    wanted = one.query(reference(name, unmatched).lazy()).collect(engine="in-memory")
    got = one.query(verb(collection, name, unmatched)).collect(engine=engine)
    if not one.ordered:
        got, wanted = (frame.select(sorted(frame.columns)).sort(pl.all(), nulls_last=True) for frame in (got, wanted))
    assert_frame_equal(got, wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_query_agrees_with_the_reference(shape: str, collection: pl.LazyFrame):
    # Questions take turns; the slow test has all.
    turn = list(SHAPES).index(shape)
    name, unmatched = CASES[turn % len(CASES)]
    check_shape(shape, name, unmatched, ENGINES[turn // len(CASES) % 2], collection)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "unmatched"), CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_query_on_every_question_agrees_with_the_reference(
    shape: str, name: str, unmatched: str, collection: pl.LazyFrame
):
    for engine in ENGINES:
        check_shape(shape, name, unmatched, engine, collection)


def check_random(seed: int, collection: pl.LazyFrame) -> None:
    chance = random.Random(-seed)
    name, unmatched = chance.choice(CASES)
    engine = chance.choice(ENGINES)
    is_cut = chance.random() < 0.3
    wanted = query(seed, reference(name, unmatched).lazy())
    with pr.options(max_answer_bytes=8_000 if is_cut else 512_000_000):
        got = query(seed, verb(collection, name, unmatched))
    where = f"seed {seed}, {name}, {unmatched}, {engine}, cut={is_cut}:\n{wanted.explain(optimized=False)}"
    try:
        assert_frame_equal(got.collect(engine=engine), wanted.collect(engine="in-memory"))
    except (AssertionError, pl.exceptions.PolarsError, pr.errors.RasteretError) as error:
        pytest.fail(f"{where}\n{error}")


@pytest.mark.parametrize("seed", range(15))
def test_a_random_query_agrees_with_the_reference(seed: int, collection: pl.LazyFrame):
    check_random(seed, collection)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_thousands_of_random_queries_agree_with_the_reference(block: int, collection: pl.LazyFrame):
    for seed in range(1_000 + 100 * block, 1_100 + 100 * block):
        check_random(seed, collection)
