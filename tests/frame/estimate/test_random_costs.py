"""Does the bill of a query that nobody thought of hold: exact where it says so, never too small?

The queries are those of `test_random_queries`, in one unit or many.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, FORMS, UNMATCHED
from tests.support.quiet import end_all_reads
from tests.support.random_queries import query

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


def moved(lf: pl.LazyFrame, engine: str) -> tuple[int, int]:
    """Give the tiles and bytes that a query fetches with a cold cache, with what it leaves running under a limit."""
    process_scheduler().clear_cache()
    with pr.profile() as p:
        lf.collect(engine=engine)
        end_all_reads()
    told = p.summary().row(0, named=True)
    return told["tiles"] - told["cache_hits"] - told["shared_tiles"], told["bytes"]


def check(seed: int, collections: Mapping[str, pl.LazyFrame]) -> str:
    chance = random.Random(-seed)
    face = chance.choice([*FACES, "verb", "verb"])
    unmatched, form = chance.choice(UNMATCHED), chance.choice(FORMS)
    with pr.options(max_answer_bytes=chance.choice([3_000, 500_000_000])):
        asked = query(seed, FACES[face](collections[form], unmatched))
    bill = pr.estimate(asked)
    for engine in ENGINES:
        tiles, n_bytes = moved(asked, engine)
        where = f"seed {seed}, {face}, {unmatched}, {form}, {engine}:\n{asked.explain(optimized=False)}"
        if bill.bound == "exact":
            assert (bill.tiles, bill.bytes) == (tiles, n_bytes), where
        if bill.bound == "upper":
            assert tiles <= bill.tiles, where
            assert n_bytes <= bill.bytes, where
    return bill.bound


def test_random_queries_cost_what_their_bills_say(collections: Mapping[str, pl.LazyFrame]):
    assert {check(seed, collections) for seed in range(12)} == {"exact", "upper"}


@pytest.mark.parametrize("seed", [233, 246])
def test_a_limit_above_steps_that_polars_does_once_is_not_exact(seed: int, collections: Mapping[str, pl.LazyFrame]):
    check(seed, collections)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_thousands_of_random_queries_cost_what_their_bills_say(block: int, collections: Mapping[str, pl.LazyFrame]):
    for seed in range(1_000 + 100 * block, 1_100 + 100 * block):
        check(seed, collections)
