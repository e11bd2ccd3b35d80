"""Does a budget refuse before the first request?"""

from __future__ import annotations

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import BudgetError, UsageError
from tests.support.recorded import SIZE, TILE, TILE_BYTES, build, noise, points, tiff

N_TILES = (SIZE // TILE) ** 2
WHOLE = points([(row, col) for row in range(0, SIZE, 16) for col in range(0, SIZE, 16)])
"""Points in every tile, row of tiles after row of tiles."""


@pytest.fixture
def scenes(store):
    hrefs = [store.put(f"{n}.tif", tiff(noise(n))) for n in range(3)]
    return build(store, {"id": ["a", "b", "c"], "href": hrefs}, {"B01": "href"})


def windows_of_tiles(scenes):
    """Give one row per tile of the first record."""
    spots = points([(row + 64, col + 64) for row in range(0, SIZE, TILE) for col in range(0, SIZE, TILE)])
    return scenes.head(1).raster.pair(spots, crs=32632)


def test_a_verb_over_budget_refuses_before_the_first_request(store, scenes, engine):
    whole = 3 * N_TILES * TILE_BYTES
    enough = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=whole)
    too_little = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=whole - 1)
    with pytest.raises(BudgetError, match=f"{whole:,}"):
        too_little.collect(engine=engine)
    assert store.requests == []
    assert enough.collect(engine=engine).height == 3 * WHOLE.height
    assert store.bytes == whole


def test_the_budget_of_the_options_holds_where_the_query_is_written(store, scenes, engine):
    with pr.options(budget_bytes=TILE_BYTES):
        verb = scenes.raster.sample_points(WHOLE, crs=32632)
        expression = scenes.with_columns(window=pl.col("B01").raster.read_window(window=(0, SIZE, 0, SIZE)))
        windows = scenes.raster.read_windows(WHOLE, crs=32632, shape=(2, 2))
    for query in (verb, expression, windows):
        with pytest.raises(BudgetError):
            query.collect(engine=engine)
    assert store.requests == []


def test_pruned_bands_and_filtered_rows_are_not_on_the_bill(store, scenes, engine):
    query = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=N_TILES * TILE_BYTES)
    assert query.select("record_id").collect(engine=engine).height == 3 * WHOLE.height
    assert query.filter(pl.col("record_id") == "b").collect(engine=engine).height == WHOLE.height
    assert store.bytes == N_TILES * TILE_BYTES


def test_an_answer_in_many_units_is_billed_as_a_whole_before_the_first_request(store, scenes, engine):
    with pr.options(max_answer_bytes=20_000):
        query = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=2 * N_TILES * TILE_BYTES)
    with pytest.raises(BudgetError):
        query.collect(engine=engine)
    assert store.requests == []


def test_units_behind_a_pixel_filter_never_fetch_more_than_the_budget(store, scenes, engine):
    budget = N_TILES * TILE_BYTES
    query = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=budget).filter(pl.col("B01") > 60_000)
    with pytest.raises(BudgetError):
        query.collect(engine=engine)
    assert store.bytes <= budget


def test_bounded_columns_never_fetch_more_than_their_budget(store, scenes, engine):
    pairs = windows_of_tiles(scenes).collect()
    wkb = pl.Series([_point(x, y) for x, y in pairs.select("x", "y").iter_rows()], dtype=pl.Binary)
    rows = pairs.with_columns(where=wkb).lazy()
    budget = 4 * TILE_BYTES
    with pr.options(budget_bytes=budget, max_answer_bytes=2 * TILE_BYTES):
        window = pl.col("B01").raster.read_window("where", crs=32632, shape=(TILE, TILE))
        query = rows.raster.with_columns(chip=window)
    with pytest.raises(BudgetError):
        query.collect(engine=engine)
    assert store.bytes <= budget


def test_batches_of_an_expression_together_never_fetch_more_than_the_budget(store, scenes):
    pairs = windows_of_tiles(scenes).collect()
    budget = 4 * TILE_BYTES
    with pr.options(budget_bytes=budget):
        value = pl.col("B01").raster.sample_points("x", "y", crs=32632)
    query = pl.concat([part.lazy() for part in pairs.iter_slices(2)]).with_columns(value=value)
    with pytest.raises(BudgetError):
        query.collect(engine="streaming")
    assert store.bytes <= budget


def test_a_budget_error_is_a_usage_error_that_tells_the_bill(scenes):
    query = scenes.raster.sample_points(WHOLE, crs=32632, budget_bytes=0)
    with pytest.raises(UsageError, match=r"tiles.*requests.*bytes.*budget") as caught:
        query.collect()
    assert isinstance(caught.value, BudgetError)


def _point(x, y):
    import shapely

    return shapely.to_wkb(shapely.Point(x, y))
