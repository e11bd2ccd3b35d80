"""Do filters, limits and column selection above the area verbs reach the byte ranges?

What a query above a verb asks for is compared with what the verb asks for when the caller restricts its arguments by hand.
"""

from __future__ import annotations

import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import BudgetError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.zone_world import ZoneWorld, zones

BANDS = ["red", "clear"]
VERBS = {
    "zonal_stats": lambda scenes, polygons, bands: scenes.raster.zonal_stats(polygons, bands, ["mean"], crs=32632),
    "pixels": lambda scenes, polygons, bands: scenes.raster.pixels(polygons, bands, crs=32632),
    "read_windows": lambda scenes, polygons, bands: scenes.raster.read_windows(polygons, bands, crs=32632),
}


@pytest.fixture(scope="module")
def world():
    return ZoneWorld(n_scenes=3, dtype="uint16")


@pytest.fixture(scope="module")
def polygons():
    shapes = [one for one in zones(24, seed=1) if one.intersects(shapely.box(500_000, 4_999_040, 500_960, 5_000_000))]
    return pl.DataFrame({"zone": range(len(shapes)), "geometry": shapely.to_wkb(shapes)})


def requests(world, query, engine):
    """Give the answer and what was asked for."""
    clear_cache()
    world.source.clear()
    answer = query.collect(engine=engine)
    return answer, sorted(world.source.requests)


def value(verb, band):
    return f"{band}_mean" if verb == "zonal_stats" else band


@pytest.mark.parametrize("verb", VERBS)
def test_filters_and_columns_ask_for_what_is_needed(world, polygons, verb, engine):
    ask = VERBS[verb]
    query = ask(world.scenes, polygons, BANDS)
    cases = {
        "of the caller": (
            query.filter(pl.col("zone").is_in([3, 7])),
            ask(world.scenes, polygons.filter(pl.col("zone").is_in([3, 7])), BANDS),
        ),
        "of records": (
            query.filter(pl.col("datetime").dt.day() == 2),
            ask(world.scenes.filter(pl.col("datetime").dt.day() == 2), polygons, BANDS),
        ),
        "of both": (
            query.filter(pl.col("zone") > 6, pl.col("record_id") != "scene-0"),
            ask(world.scenes.filter(pl.col("id") != "scene-0"), polygons.filter(pl.col("zone") > 6), BANDS),
        ),
        "columns": (
            query.select("zone", "record_id", value(verb, "red")),
            ask(world.scenes, polygons, ["red"]).select("zone", "record_id", value(verb, "red")),
        ),
    }
    _, everything = requests(world, query, engine)
    for name, (above, by_hand) in cases.items():
        answer, asked = requests(world, above, engine)
        expected, needed = requests(world, by_hand, engine)
        assert answer.equals(expected), name
        assert asked == needed, name
        assert 0 < sum(stop - start for _, start, stop in asked) < sum(stop - start for _, start, stop in everything)
    for free in (query.select("zone", "record_id"), query.filter(pl.col("zone") < 0)):
        assert requests(world, free, engine)[1] == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_limit_asks_for_no_more_than_its_rows(world, polygons, verb, engine):
    query = VERBS[verb](world.scenes, polygons, BANDS)
    _, everything = requests(world, query, engine)
    answer, asked = requests(world, query.head(1), engine)
    assert answer.equals(query.collect().head(1))
    assert {href.rpartition("/")[2] for href, _, _ in asked} == {"0-fine.tif", "0-clear.tif"}
    assert len(asked) < len(everything)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("above", ["nothing", "filter", "columns"])
def test_an_estimate_of_the_query_above_is_exact(world, polygons, verb, above):
    query = VERBS[verb](world.scenes, polygons, BANDS)
    if above == "filter":
        query = query.filter(pl.col("zone") > 6, pl.col("record_id") != "scene-0")
    if above == "columns":
        query = query.select("zone", value(verb, "clear"))
    estimate = pr.estimate(query)
    asked = requests(world, query, "streaming")[1]
    assert estimate.bound == "exact"
    assert (estimate.requests, estimate.bytes) == (len(asked), sum(stop - start for _, start, stop in asked))


@pytest.mark.parametrize("verb", ["zonal_stats", "pixels", "read_windows"])
@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_a_budget_of_chosen_records_is_for_what_a_limit_reads(world, verb, unmatched, engine):
    small = [shapely.box(500_000 + x, 4_999_500, 500_090 + x, 4_999_590) for x in range(0, 900, 20)]
    polygons = pl.DataFrame({"zone": range(len(small)), "geometry": shapely.to_wkb(small)})

    def first(**words):
        asked = getattr(world.scenes.raster, verb)(
            polygons, ["red"], crs=32632, match="latest", unmatched=unmatched, **words
        )
        return asked.head(1)

    expected, asked = requests(world, first(), engine)
    n_bytes = sum(stop - start for _, start, stop in asked)
    assert requests(world, first(budget_bytes=n_bytes), engine)[0].equals(expected)
    with pytest.raises(BudgetError):
        requests(world, first(budget_bytes=n_bytes - 1), engine)
