"""Does a block read no more tiles than its pixels need?"""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.pointwise import read_points
from polars_rasteret.cubes.stack import Stack
from polars_rasteret.engine import Budget, open_dry_run_log
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.grids.pixel_grid import PixelGrid
from polars_rasteret.options import DryRun, ReadOptions
from tests.support.recorded import SIZE, TILE, TILE_BYTES, Store, noise, tiff

N_DATES = 4
N_TILES = (SIZE // TILE) ** 2
GRID = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), SIZE, SIZE)


@pytest.fixture(scope="module")
def world():
    """Four dates, the first of which is nine tenths clear: clouds cover two of its sixteen tiles, in part."""
    store = Store()
    records = []
    for date in range(N_DATES):
        mask = np.ones((1, SIZE, SIZE), np.uint8)
        if date == 0:
            mask[0, :TILE, 50:200] = 9
        red = noise(date)
        records.append(
            {
                "id": str(date),
                "href_red": store.put(f"{date}-red.tif", tiff(red, nodata=0)),
                "href_scl": store.put(f"{date}-scl.tif", tiff(mask)),
            }
        )
    scenes = pr.build_from_table(
        pl.DataFrame(records), bands={"red": "href_red", "scl": "href_scl"}, on_error="raise"
    ).collect()
    yield store, scenes
    store.close()


def stack_of(scenes: pl.DataFrame, *, steps=(0,) * N_DATES, **how) -> Stack:
    return Stack(
        grid=GRID,
        rasters={name: scenes[name] for name in ("red", "scl")},
        bands=("red",),
        step=np.array(steps),
        n_steps=max(steps) + 1,
        **how,
    )


def tiles_read(store: Store, band: str) -> float:
    tile_bytes = TILE_BYTES if band == "red" else TILE_BYTES // 2
    return sum(stop - start for href, start, stop in store.requests if href.endswith(f"{band}.tif")) / tile_bytes


def read(world, stack: Stack, window=(0, SIZE, 0, SIZE)):
    store, _ = world
    clear_cache()
    store.clear()
    return read_block(stack, ["red"], range(stack.n_steps), window)


CLEAR = pl.col("scl") < 8


def test_a_window_of_one_step_reads_its_own_tiles_only(world):
    store, scenes = world
    stack = stack_of(scenes, steps=(0, 1, 2, 3))
    clear_cache()
    store.clear()
    block = read_block(stack, ["red"], [2], (120, 130, 10, 100))
    np.testing.assert_array_equal(block.values["red"][0], noise(2)[0, 120:130, 10:100])
    assert store.names == {"2-red.tif"}
    assert tiles_read(store, "red") == 2


def test_a_mosaic_asks_the_next_record_only_for_tiles_that_are_not_filled(world):
    store, scenes = world
    block = read(world, stack_of(scenes, valid=CLEAR))
    expected = np.where(
        (np.arange(SIZE)[:, None] < TILE) & (np.abs(np.arange(SIZE) - 124.5) < 75), noise(1)[0], noise(0)[0]
    )
    np.testing.assert_array_equal(block.values["red"][0], expected)
    assert block.valid["red"].all()
    assert tiles_read(store, "scl") == tiles_read(store, "red") == N_TILES + 2
    assert N_TILES + 2 <= N_DATES * N_TILES / 2


def test_a_band_is_not_read_where_the_mask_leaves_no_pixel(world):
    store, scenes = world
    block = read(world, stack_of(scenes, steps=(0, 1, 2, 3), valid=pl.col("scl") > 8))
    assert tiles_read(store, "scl") == N_DATES * N_TILES
    assert tiles_read(store, "red") == 2
    assert block.valid["red"].sum() == TILE * 150


@pytest.mark.parametrize("mosaic", ["last_valid", "median"])
def test_small_memory_reads_each_tile_once(world, mosaic):
    store, scenes = world
    read(world, stack_of(scenes, mosaic=mosaic, options=ReadOptions(max_answer_bytes=500_000, cache_bytes=0)))
    assert tiles_read(store, "red") == N_TILES * (1 if mosaic == "last_valid" else N_DATES)


def test_a_copy_from_a_pickle_reads_the_same(world):
    _, scenes = world
    stack = stack_of(scenes, valid=CLEAR, mosaic="last_valid")
    before = read(world, stack)
    after = read(world, pickle.loads(pickle.dumps(stack)))
    np.testing.assert_array_equal(before.values["red"], after.values["red"])


def test_single_places_read_their_own_tiles_only_and_the_next_record_only_where_one_is_open(world):
    store, scenes = world
    rows, cols = np.array([10, 11, 500, 300]), np.array([60, 70, 500, 300])
    clear_cache()
    store.clear()
    found = read_points(stack_of(scenes, valid=CLEAR), ["red"], [0], rows, cols)
    first, second = noise(0)[0, rows, cols], noise(1)[0, rows, cols]
    np.testing.assert_array_equal(found.values["red"][0], [second[0], second[1], first[2], first[3]])
    assert tiles_read(store, "scl") == 3 + 1
    assert tiles_read(store, "red") == 2 + 1


@pytest.mark.parametrize("places", ["window", "points"])
@pytest.mark.parametrize(
    "how",
    [{}, {"mosaic": "median"}, {"steps": (0, 1, 2, 3)}, {"valid": CLEAR}],
    ids=["plain", "median", "all steps", "valid"],
)
def test_a_dry_run_writes_down_what_is_read_or_says_that_it_is_an_upper_bound(world, how, places):
    store, scenes = world
    rows, cols = np.array([10, 11, 500, 300]), np.array([60, 70, 500, 300])

    def read_with(options):
        stack = stack_of(scenes, options=options, **how)
        if places == "points":
            return read_points(stack, ["red"], range(stack.n_steps), rows, cols)
        return read_block(stack, ["red"], range(stack.n_steps), (100, 400, 0, 200))

    store.clear()
    with open_dry_run_log() as (name, log):
        read_with(ReadOptions(dry_run=DryRun(log=name, read=0)))
        cost = log.cost(Budget())
    assert not store.requests
    clear_cache()
    read_with(ReadOptions())
    read = sum(stop - start for _, start, stop in store.requests)
    is_exact = how.get("mosaic") == "median" or "steps" in how
    assert log.is_upper != is_exact
    assert (cost.bytes, cost.requests) == (read, len(store.requests)) if is_exact else cost.bytes > read


def test_a_failed_record_leaves_its_pixels_to_the_next_and_its_reason_is_told(world):
    store, scenes = world
    broken = store.prefix + "gone.tif"
    red = (
        scenes["red"]
        .to_frame()
        .select(
            pl.col("red").struct.with_fields(
                pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(broken)).otherwise(pl.field("href")).alias("href")
            )
        )
    )
    wrong = scenes.with_columns(red)
    clear_cache()
    block = read_block(stack_of(wrong, options=ReadOptions(on_error="null")), ["red"], [0], (0, 200, 0, 200))
    np.testing.assert_array_equal(block.values["red"][0], noise(1)[0, :200, :200])
    assert list(block.errors) == [0]
    assert broken in block.errors[0]
    found = read_points(stack_of(wrong, options=ReadOptions(on_error="null")), ["red"], [0], [5], [6])
    assert found.values["red"][0, 0] == noise(1)[0, 5, 6]
    assert list(found.errors) == [0]
    for call in (
        lambda stack: read_block(stack, ["red"], [0], (0, 200, 0, 200)),
        lambda stack: read_points(stack, ["red"], [0], [5], [6]),
    ):
        with pytest.raises(pr.errors.FetchError, match=r"gone\.tif"):
            call(stack_of(wrong))


@pytest.fixture(scope="module")
def interleaved():
    """Two dates whose three bands lie in the same tiles. The first date has holes: one in two bands, one in green alone."""
    store = Store()
    records = []
    for date in range(2):
        pixels = noise(date, n_bands=3)
        if date == 0:
            pixels[:2, :60, :40] = 0
            pixels[1, 300:310] = 0
        records.append({"id": str(date), "href": store.put(f"{date}.tif", tiff(pixels, interleave="pixel", nodata=0))})
    bands = {name: ("href", at) for at, name in enumerate(("red", "green", "blue"))}
    yield store, pr.build_from_table(pl.DataFrame(records), bands=bands, on_error="raise").collect()
    store.close()


@pytest.mark.parametrize("places", ["window", "points"])
@pytest.mark.parametrize("steps", [(0, 1), (0, 0)])
def test_bands_in_the_same_tiles_are_decoded_once_though_read_one_after_another(interleaved, steps, places):
    store, scenes = interleaved
    names = ("red", "green", "blue")
    stack = Stack(
        grid=GRID,
        rasters={name: scenes[name] for name in names},
        bands=names,
        step=np.array(steps),
        n_steps=max(steps) + 1,
    )

    def read_bands(bands, of=stack):
        if places == "points":
            return read_points(of, bands, range(of.n_steps), np.arange(0, SIZE, 5), np.arange(0, SIZE, 5) // 3)
        return read_block(of, bands, range(of.n_steps), (0, SIZE, 0, SIZE))

    together = read_bands(names, pickle.loads(pickle.dumps(stack)))
    clear_cache()
    store.clear()
    n_tiles = []
    for name in names:
        with pr.profile() as profile:
            block = read_bands([name])
        n_tiles.append(profile.summary()["decoded_tiles"].item())
        np.testing.assert_array_equal(block.values[name], together.values[name])
        np.testing.assert_array_equal(block.valid[name], together.valid[name])
    # Where green has a hole of its own, red did not ask the second date: green is read again, blue is not.
    assert n_tiles[0] > 0
    assert (n_tiles[1] > 0) == (steps == (0, 0))
    assert n_tiles[2] == 0
    assert store.most_often_asked() == 1


def test_blocks_are_read_on_many_threads_at_once(world):
    _, scenes = world
    stack = stack_of(scenes, valid=CLEAR)
    whole = read_block(stack, ["red"], [0], (0, SIZE, 0, SIZE)).values["red"]
    windows = [(top, top + 64, left, left + 64) for top in range(0, SIZE, 64) for left in range(0, SIZE, 64)]
    with ThreadPoolExecutor(8) as pool:
        blocks = pool.map(lambda window: read_block(stack, ["red"], [0], window).values["red"], windows)
    for (top, bottom, left, right), block in zip(windows, blocks, strict=True):
        np.testing.assert_array_equal(block, whole[:, top:bottom, left:right])


def test_a_stack_without_records_is_empty_everywhere(world):
    _, scenes = world
    stack = Stack(
        grid=GRID, rasters={"red": scenes["red"].clear()}, bands=("red",), step=np.zeros(0, np.int64), n_steps=1
    )
    block = read_block(stack, ["red"], [0], (0, 5, 0, 6))
    assert block.values["red"].shape == (1, 5, 6)
    assert not block.valid["red"].any()
    assert not read_points(stack, ["red"], [0], [1, 2], [3, 4]).valid["red"].any()


def test_a_budget_is_that_of_all_reads_of_a_stack(world):
    store, scenes = world
    clear_cache()
    stack = stack_of(scenes, steps=(0, 1, 2, 3), options=ReadOptions(budget_bytes=int(2.5 * TILE_BYTES)))
    for step in (0, 1):
        read_block(stack, ["red"], [step], (0, 10, 0, 10))
    store.clear()
    with pytest.raises(pr.errors.BudgetError, match="of which"):
        read_block(stack, ["red"], [2], (0, 10, 0, 10))
    assert not store.requests


def test_a_coarse_grid_without_overviews_is_read_in_parts_that_the_memory_allows(world):
    _, scenes = world
    grid = PixelGrid("EPSG:32632", (80.0, 0.0, 500_000.0, 0.0, -80.0, 5_000_000.0), SIZE // 8, SIZE // 8)
    stack = Stack(
        grid=grid,
        rasters={"red": scenes["red"]},
        bands=("red",),
        step=np.arange(N_DATES),
        n_steps=N_DATES,
        resampling={"red": "average"},
        options=ReadOptions(max_answer_bytes=300_000),
    )
    block = read_block(stack, ["red"], [1], (0, SIZE // 8, 0, SIZE // 8))
    mean = noise(1)[0].reshape(SIZE // 8, 8, SIZE // 8, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(block.values["red"][0], mean, rtol=0, atol=0.5)
