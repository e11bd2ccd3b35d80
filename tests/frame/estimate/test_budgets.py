"""Do budgets of bytes, requests and dollars refuse before the first request, or stop before the one that would exceed them?"""

from __future__ import annotations

import pickle

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import BudgetError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from tests.support import estimate_world as world
from tests.support.estimate_world import EVERYWHERE, SCATTERED

CRS = world.EPSG
PRICES = {"usd_per_gb": 2.0, "usd_per_1000_requests": 0.5}


@pytest.fixture
def priced(source, scenes, prefix):
    pr.configure_store(prefix, store=source, **PRICES)
    return scenes


def verb(scenes):
    return scenes.raster.sample_points(SCATTERED, ["cog", "r"], crs=CRS)


def windows(scenes):
    return scenes.raster.read_windows(EVERYWHERE, ["cog"], shape=(150, 150), crs=CRS)


def expression(scenes):
    value = pl.col("flat").raster.sample_points("x", "y", crs=CRS)
    return scenes.raster.pair(EVERYWHERE, crs=CRS).with_columns(value=value)


def limits(bill):
    return {"budget_bytes": bill.bytes, "budget_requests": bill.requests, "budget_usd": bill.cost_usd}


def a_little_less(name, limit):
    return limit * (1 - 1e-9) if name == "budget_usd" else limit - 1


def spent(source):
    n_bytes, n_requests = source.bytes, len(source.requests)
    usd = n_bytes / 1e9 * PRICES["usd_per_gb"] + n_requests / 1e3 * PRICES["usd_per_1000_requests"]
    return {"budget_bytes": n_bytes, "budget_requests": n_requests, "budget_usd": usd}


@pytest.mark.parametrize("max_answer_bytes", [2_000, 500_000_000])
@pytest.mark.parametrize("name", ["budget_bytes", "budget_requests", "budget_usd"])
def test_a_verb_spends_its_exact_bill_and_is_refused_for_less(priced, source, engine, name, max_answer_bytes):
    with pr.options(max_answer_bytes=max_answer_bytes):
        limit = limits(pr.estimate(verb(priced)))[name]
        with pr.options(**{name: limit * (1 + 1e-9) if name == "budget_usd" else limit}):
            enough = verb(priced)
        with pr.options(**{name: a_little_less(name, limit)}):
            too_little = verb(priced)
    with pytest.raises(BudgetError, match=rf"tiles in .* requests, .* bytes.*{name} allows.*Nothing was fetched"):
        too_little.collect(engine=engine)
    assert source.requests == []
    assert enough.collect(engine=engine).height == 3 * SCATTERED.height
    assert spent(source)[name] == pytest.approx(limit)


@pytest.mark.parametrize("name", ["budget_bytes", "budget_requests", "budget_usd"])
def test_windows_are_refused_before_the_first_request(priced, source, engine, name):
    with pr.options(**{name: a_little_less(name, limits(pr.estimate(windows(priced)))[name])}):
        query = windows(priced)
    with pytest.raises(BudgetError):
        query.collect(engine=engine)
    assert source.requests == []


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("name", ["budget_bytes", "budget_requests", "budget_usd"])
def test_an_expression_stops_before_the_request_that_exceeds_its_budget(priced, source, engine, name, share):
    whole = limits(pr.estimate(expression(priced)))[name]
    limit = whole * share if name == "budget_usd" else int(whole * share)
    with pr.options(**{name: limit}):
        query = expression(priced)
    with pytest.raises(BudgetError, match=rf"{name} allows"):
        query.collect(engine=engine)
    assert spent(source)[name] <= limit


@pytest.mark.parametrize("name", ["budget_bytes", "budget_requests", "budget_usd"])
def test_a_read_that_looks_further_stops_before_it_exceeds_its_budget(priced, source, engine, name):
    def query():
        return priced.raster.sample_points(SCATTERED, ["cog"], crs=CRS, match="latest", valid=pl.col("qa") == 9)

    whole = limits(pr.estimate(query()))[name]
    first = priced.filter(pl.col("id") == "c").raster.sample_points(SCATTERED, ["qa"], crs=CRS)
    certain = limits(pr.estimate(first))[name]
    with pr.options(**{name: a_little_less(name, certain)}):
        refused = query()
    with pr.options(**{name: certain * 1.5 if name == "budget_usd" else int(certain * 1.5)}):
        stopped = query()
    with pr.options(**{name: whole}):
        paid = query()
    with pytest.raises(BudgetError, match="Nothing was fetched"):
        refused.collect(engine=engine)
    assert source.requests == []
    with pytest.raises(BudgetError, match="are spent"):
        stopped.collect(engine=engine)
    assert 0 < spent(source)[name] <= certain * 1.5
    process_scheduler().clear_cache()
    assert paid.collect(engine=engine)["cog"].null_count() == SCATTERED.height


def test_what_is_cached_is_free_for_expressions(priced, source, engine):
    expression(priced).collect(engine=engine)
    source.clear()
    with pr.options(budget_bytes=0, budget_requests=0, budget_usd=0):
        query = expression(priced)
    assert query.collect(engine=engine)["value"].null_count() < 10
    assert source.requests == []


def test_dollars_need_a_price(scenes, source, engine, prefix):
    with pr.options(budget_usd=1.0):
        queries = [verb(scenes), expression(scenes)]
    for query in queries:
        with pytest.raises(UsageError, match=rf"price of memory://.*configure_store\('{prefix}'"):
            query.collect(engine=engine)
    assert source.requests == []


def test_a_verb_takes_the_tighter_of_its_own_budgets(priced, source, engine):
    bill = pr.estimate(verb(priced))
    with pr.options(budget_requests=bill.requests - 1):
        query = priced.raster.sample_points(SCATTERED, ["cog", "r"], crs=CRS, budget_bytes=bill.bytes)
    with pytest.raises(BudgetError, match="budget_requests"):
        query.collect(engine=engine)
    assert source.requests == []


@pytest.mark.parametrize(
    "change",
    [{"budget_requests": -1}, {"budget_requests": 1.5}, {"budget_usd": -0.1}, {"budget_usd": "1"}, {"budget_usd": True},
     {"budget_usd": float("nan")}, {"dry_run": None}],
)  # fmt: skip
def test_wrong_budgets_are_refused(change):
    with pytest.raises(UsageError, match=next(iter(change))):
        pr.options(**change)


def test_queries_with_budgets_go_to_other_processes(priced):
    with pr.options(budget_requests=3, budget_usd=0.5):
        query = verb(priced)
    copy = pickle.loads(pickle.dumps(query))
    with pytest.raises(BudgetError, match="budget_requests"):
        copy.collect()
