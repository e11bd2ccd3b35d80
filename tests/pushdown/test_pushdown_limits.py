"""Does a limit reach the tiles?"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.child_process import environment
from tests.support.quiet import wait_until_idle
from tests.support.recorded import SIZE, TILE, alias, at, build, noise, points, tiff

N_RECORDS = 400
BANDS = ["B01", "B02"]


@pytest.fixture
def scenes(store):
    record = {"id": ["one"], **{band: [store.put(f"{band}.tif", tiff(noise(n)))] for n, band in enumerate(BANDS)}}
    scene = build(store, record, {band: band for band in BANDS})
    return alias(store, scene, BANDS, n_places=1, n_per_place=N_RECORDS).lazy()


def plots(n=500, seed=0):
    """Give points anywhere in the one place of the records."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, SIZE, (n, 2)).tolist()
    return points(pixels, x=300_000.0, y=5_000_000.0, plot=list(range(n)))


@pytest.mark.parametrize("unmatched", ["null", "drop"])
def test_head_asks_for_a_handful_of_tiles(store, scenes, engine, unmatched):
    query = scenes.raster.sample_points(plots(), crs=32632, unmatched=unmatched)
    frame = query.head(5).collect(engine=engine)
    assert frame.height == 5
    assert len(store.requests) <= 5 * len(BANDS)
    store.clear()
    clear_cache()
    assert query.select("plot", "B01").head(1).collect(engine=engine).height == 1
    assert len(store.requests) == 1


def test_head_gives_the_first_rows_of_the_whole(scenes, engine):
    query = scenes.head(10).raster.sample_points(plots(), ["B01"], crs=32632)
    assert query.head(37).collect(engine=engine).equals(query.collect(engine=engine).head(37))


def test_a_filter_behind_head_filters_the_first_rows_and_asks_for_no_more(store, scenes, engine):
    query = scenes.head(10).raster.sample_points(plots(), ["B01"], crs=32632).head(37)
    whole = query.collect(engine=engine)
    for condition in (
        pl.col("B01") > 20_000,
        pl.col("plot") == 2,
        pl.col("record_id") >= "p000-005",
        (pl.col("plot") > 1) & (pl.col("B01") > 20_000),
        pl.col("datetime").is_null(),
    ):
        clear_cache()
        store.clear()
        assert query.filter(condition).collect(engine=engine).equals(whole.filter(condition))
        assert len(store.requests) <= 37


def test_head_behind_record_and_caller_filters_asks_for_a_part_of_the_tiles(store, scenes):
    # A limit is not delivered together with a predicate, so what stops the read is that units end where Polars stops asking.
    query = scenes.raster.sample_points(plots(), ["B01"], crs=32632)
    frame = query.filter(pl.col("plot") > 3, pl.col("datetime").is_not_null()).head(5).collect(engine="streaming")
    assert frame["plot"].to_list() == [4] * 5


def test_head_behind_a_pixel_filter_asks_for_a_small_part_on_the_streaming_engine(store, scenes):
    query = scenes.raster.sample_points(plots(), ["B01"], crs=32632).filter(pl.col("B01") > 20_000)
    frame = query.head(5).collect(engine="streaming")
    assert frame.height == 5
    assert frame["B01"].min() > 20_000
    # 500 points in 400 records are 200,000 rows, which need all 16 tiles of 400 files.
    assert len(store.requests) < 16 * N_RECORDS / 4


def red_and_more(lf):
    return lf.filter(pl.col("B01") > 20_000)


ABOVE = {
    "filter": red_and_more,
    "filter and columns": lambda lf: red_and_more(lf).with_columns(more=pl.col("B01") * 2.0).select("plot", "more"),
    "two filters": lambda lf: red_and_more(lf).filter((pl.col("plot") + pl.col("B01")) > 0),
    "filter and a function": lambda lf: red_and_more(lf).with_columns(
        more=pl.col("B01").map_batches(lambda one: one + 1, return_dtype=pl.UInt16, is_elementwise=True)
    ),
}


@pytest.mark.parametrize("n_rows", [1, 20])
@pytest.mark.parametrize(("above", "match"), [*((name, "all") for name in ABOVE), ("filter", "latest")])
def test_no_request_starts_beyond_the_unit_that_gave_the_last_row(store, scenes, match, above, n_rows):
    asked = scenes.raster.sample_points(plots(), ["B01"], crs=32632, match=match)
    whole = asked.head(320).collect()
    has_it = (whole["B01"] > 20_000).to_numpy()
    rows_needed = int(np.flatnonzero(has_it)[n_rows - 1]) + 1
    unit_ends = np.cumsum(16 * 4 ** np.arange(6))  # units start with 16 rows and grow fourfold
    rows_read = int(unit_ends[np.searchsorted(unit_ends, rows_needed)])
    store.clear()
    clear_cache()
    frame = ABOVE[above](asked).head(n_rows).collect(engine="streaming")
    assert frame.height == n_rows
    wait_until_idle()
    # Each row is another record or another point of one, so at most one request.
    assert len(store.requests) <= rows_read
    if match == "all":
        assert len(store.requests) > rows_read // 4


@pytest.mark.parametrize("n_rows", [1, 40])
def test_no_bounded_column_is_read_beyond_the_unit_that_gave_the_last_row(store, scenes, n_rows):
    x, y = at(TILE // 2, TILE // 2, x=300_000.0, y=5_000_000.0)
    made = scenes.raster.with_columns(value=pl.col("B01").raster.sample_points(x, y, crs=32632))
    frame = made.filter(pl.col("value") >= 0).select("id", "value").head(n_rows).collect(engine="streaming")
    assert frame.height == n_rows
    wait_until_idle()
    assert len(store.requests) <= (16 if n_rows == 1 else 80)


def test_windows_under_head_ask_for_their_tiles_only(store, scenes, engine):
    query = scenes.raster.read_windows(plots(), ["B01"], crs=32632, shape=(8, 8))
    assert query.head(3).collect(engine=engine).height == 3
    assert len(store.requests) <= 3 * 4


def test_bounded_columns_under_head_ask_for_their_tiles_only(store, scenes, engine):
    query = scenes.raster.with_columns(chip=pr.read_window(["B01"], window=(0, 64, 0, 64), stack=True))
    assert query.head(4).collect(engine=engine).height == 4
    assert len(store.requests) == 4


def test_an_expression_under_head_asks_for_its_rows_only(store, scenes, engine):
    x, y = at(TILE // 2, TILE // 2, x=300_000.0, y=5_000_000.0)
    query = scenes.with_columns(value=pl.col("B01").raster.sample_points(x, y, crs=32632)).select("id", "value")
    assert query.head(3).collect(engine=engine).height == 3
    assert len(store.requests) == 3


SCRIPT = """
import polars as pl
from tests.support.recorded import Store, alias, build, noise, points, tiff

store = Store()
scene = build(store, {"id": ["one"], "B01": [store.put("B01.tif", tiff(noise(0)))]}, {"B01": "B01"})
scenes = alias(store, scene, ["B01"], n_places=1, n_per_place=2_000).lazy()
plots = points([(200, 300)], x=300_000.0, y=5_000_000.0)
query = scenes.raster.sample_points(plots, crs=32632).filter(pl.col("B01") > 0).head(5)
print(query.collect(engine="streaming").height, flush=True)
"""


def test_a_script_that_ends_right_after_head_ends_cleanly(tmp_path):
    # Polars answers as soon as it has its rows, while its thread is still inside our source.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
    assert (done.returncode, done.stdout.strip()) == (0, "5"), done.stderr
