"""Is every byte fetched once and every tile decoded once, however many ask for it?"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.recorded import SIZE, TILE, TILE_BYTES, alias, at, build, noise, points, tiff

N_TILES = (SIZE // TILE) ** 2
WHOLE = points(
    [(row, col) for row in range(0, SIZE, 16) for col in range(0, SIZE, 16)],
    plot=list(range((SIZE // 16) ** 2)),
)
"""Points in every tile."""


@pytest.fixture
def pixels():
    return noise(1)


@pytest.fixture
def scenes(store, pixels):
    return build(store, {"id": ["one"], "B01": [store.put("B01.tif", tiff(pixels))]}, {"B01": "B01"})


def red(**words):
    return pl.col("B01").raster.sample_points("x", "y", crs=32632, **words)


def test_two_expressions_in_one_with_columns_fetch_a_tile_once(store, scenes, engine):
    pairs = scenes.raster.pair(WHOLE, crs=32632)
    frame = pairs.with_columns(one=red(), other=red(unscale=True), chip=pl.col("B01").raster.read_window(
        window=(0, 130, 0, 130))).collect(engine=engine)  # fmt: skip
    assert frame["one"].cast(pl.Float64).equals(frame["other"].alias("one"))
    assert store.most_often_asked() == 1
    assert store.bytes == N_TILES * TILE_BYTES


def test_batches_of_the_streaming_engine_fetch_a_tile_once(store, scenes):
    points_again = pl.concat([WHOLE.sample(fraction=1, shuffle=True, seed=seed) for seed in range(4)])
    pairs = scenes.raster.pair(points_again, crs=32632).collect()
    batches = pl.concat([part.lazy() for part in pairs.iter_slices(500)])
    frame = batches.with_columns(one=red()).collect(engine="streaming")
    assert frame.height == 4 * WHOLE.height
    assert store.most_often_asked() == 1
    assert store.bytes == N_TILES * TILE_BYTES


def test_two_verbs_in_one_query_fetch_a_tile_once(store, scenes, engine):
    one = scenes.raster.sample_points(WHOLE, crs=32632)
    other = scenes.raster.read_windows(WHOLE.head(50), crs=32632, shape=(3, 3)).select("plot", chip="B01")
    frame = one.join(other, on="plot").collect(engine=engine)
    assert frame.height == 50
    assert store.most_often_asked() == 1


def test_threads_that_need_one_tile_fetch_it_once(store, scenes):
    start = threading.Barrier(6)

    def run(engine):
        start.wait()
        return scenes.raster.sample_points(WHOLE, crs=32632).collect(engine=engine)

    with ThreadPoolExecutor(6) as pool:
        frames = list(pool.map(run, ["in-memory", "streaming"] * 3))
    assert all(frame.equals(frames[0]) for frame in frames)
    assert store.most_often_asked() == 1
    assert store.bytes == N_TILES * TILE_BYTES


def test_units_of_one_verb_fetch_a_tile_once(store, scenes, engine):
    shuffled = WHOLE.sample(fraction=1, shuffle=True, seed=1)
    with pr.options(max_answer_bytes=1_000):
        query = scenes.raster.sample_points(shuffled, crs=32632)
    with pr.profile() as profile:
        frame = query.collect(engine=engine)
    assert frame["plot"].to_list() == shuffled["plot"].to_list()
    assert profile.summary()["decoded_tiles"].item() > N_TILES  # it was cut indeed
    assert store.most_often_asked() == 1


def test_wide_columns_of_the_caller_make_no_tile_be_decoded_twice(store, scenes, engine):
    wide = WHOLE.sample(fraction=1, shuffle=True, seed=1).with_columns(note=pl.lit("n" * 500))
    with pr.options(max_answer_bytes=10_000):
        query = scenes.raster.sample_points(wide, crs=32632)
    with pr.profile() as profile:
        frame = query.collect(engine=engine)
    assert frame["plot"].to_list() == wide["plot"].to_list()
    assert frame["note"].str.len_chars().unique().to_list() == [500]
    assert profile.summary()["decoded_tiles"].item() == N_TILES


def test_a_second_read_asks_for_nothing_unless_the_cache_is_off(store, scenes, engine):
    query = scenes.raster.sample_points(WHOLE, crs=32632)
    query.collect(engine=engine)
    first = sorted(store.requests)
    assert first
    store.clear()
    with pr.profile() as profile:
        query.collect(engine=engine)
    assert store.requests == []
    assert profile.summary().select("requests", "cache_hits").row(0) == (0, N_TILES)
    with pr.options(cache_bytes=0):
        for _ in range(2):
            store.clear()
            query.collect(engine=engine)
            assert sorted(store.requests) == first
    store.clear()
    query.collect(engine=engine)
    assert sorted(store.requests) == first  # what was cached before is gone


def test_sparse_tiles_ask_for_nothing_and_are_nodata(store, engine):
    pixels = np.zeros((1, SIZE, SIZE), np.uint16)
    pixels[0, :TILE, :TILE] = 7
    href = store.put("sparse.tif", tiff(pixels, sparse_ok=True, nodata=0))
    scenes = build(store, {"id": ["one"], "B01": [href]}, {"B01": "B01"})
    frame = scenes.raster.sample_points(WHOLE, crs=32632).collect(engine=engine)
    assert len(store.requests) == 1
    assert store.bytes == TILE_BYTES
    assert frame["B01"].drop_nulls().to_list() == [7] * (TILE // 16) ** 2
    store.clear()
    clear_cache()
    hole = scenes.select(pl.col("B01").raster.read_window(window=(200, 204, 200, 204)).struct.field("pixels"))
    assert hole.collect(engine=engine).item().to_list() == [0] * 16
    assert store.requests == []


def test_null_targets_and_null_rasters_ask_for_nothing(store, scenes, engine):
    nothing = scenes.with_columns(B01=pl.lit(None, dtype=scenes.collect_schema()["B01"]))
    spot = pl.DataFrame({"x": [None, float("nan"), float("inf")], "y": [1.0, 2.0, 3.0]})
    for query in (
        scenes.raster.sample_points(spot, crs=32632),
        nothing.raster.sample_points(WHOLE, crs=32632),
        nothing.with_columns(value=pl.col("B01").raster.sample_points(500_005.0, 4_999_995.0, crs=32632)),
    ):
        assert query.select(pl.last()).collect(engine=engine).to_series().null_count() > 0
    assert store.requests == []


def test_the_profile_agrees_with_the_recording(store, scenes, engine):
    with pr.profile() as outer:
        with pr.profile() as profile:
            scenes.raster.sample_points(WHOLE, crs=32632).collect(engine=engine)
        told = profile.summary()
        assert told.select("requests", "bytes").row(0) == (len(store.requests), store.bytes)
        assert told.select("tiles", "decoded_tiles", "cache_hits", "retries", "errors").row(0) == (
            N_TILES, N_TILES, 0, 0, 0)  # fmt: skip
        assert told["decoded_bytes"].item() > 0
        assert told["elapsed_s"].item() > 0
        scenes.raster.sample_points(WHOLE.head(40), crs=32632).collect(engine=engine)
    assert outer.summary()["requests"].item() == len(store.requests)
    assert outer.summary()["cache_hits"].item() > 0


@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw", "none", "lzma", "packbits"])
def test_tiles_of_noise_come_back_as_written(store, engine, compress):
    # Compressors store what they cannot compress: then a short output buffer may hold nothing at all.
    noisy = np.random.default_rng(5).integers(1, 65_536, (1, SIZE, SIZE)).astype(np.uint16)
    href = store.put("noise.tif", tiff(noisy, compress=compress))
    scenes = build(store, {"id": ["one"], "B01": [href]}, {"B01": "B01"})
    spots = np.random.default_rng(6).integers(0, SIZE, (40, 2)).tolist()
    frame = scenes.raster.sample_points(points(spots), crs=32632).collect(engine=engine)
    assert frame["B01"].to_list() == [noisy[0, row, col] for row, col in spots]
    rows = (130, 140)
    window = pl.col("B01").raster.read_window(window=(*rows, 0, 300)).struct.field("pixels")
    assert scenes.select(window).collect(engine=engine).item().to_list() == noisy[0, 130:140, :300].ravel().tolist()


MILLION, BIG, BIG_TILE = 1_000_000, 2_000, 256


@pytest.fixture
def large(store):
    """Give two records over one raster of 8 x 8 tiles, and a million random points on it."""
    ramp = np.add.outer(np.arange(BIG, dtype=np.uint16), 7 * np.arange(BIG, dtype=np.uint16))[None]
    href = store.put("B01.tif", tiff(ramp, tile=BIG_TILE, compress="deflate", predictor=2, x=300_000.0))
    scene = build(store, {"id": ["one"], "B01": [href]}, {"B01": "B01"})
    scenes = alias(store, scene, ["B01"], n_places=1, n_per_place=2).lazy()
    rng = np.random.default_rng(3)
    row, col = rng.integers(0, BIG, (2, MILLION))
    x, y = at(row, col, x=300_000.0, y=5_000_000.0)
    expected = ramp[0][row, col]
    return scenes, pl.DataFrame({"x": x, "y": y}), expected


def test_a_million_random_points_decode_each_tile_hardly_more_than_once(large, engine):
    scenes, spots, expected = large
    n_distinct = 2 * (-(-BIG // BIG_TILE)) ** 2
    with pr.profile() as profile:
        frame = (
            scenes.raster.sample_points(spots, crs=32632, record_columns=["id"]).select("B01").collect(engine=engine)
        )
    assert frame.height == 2 * MILLION
    assert profile.summary()["decoded_tiles"].item() <= 1.5 * n_distinct
    values = frame["B01"].to_numpy().reshape(MILLION, 2)
    for record in range(2):
        np.testing.assert_array_equal(values[:, record], expected)


def test_a_million_random_points_through_the_expression_decode_each_tile_hardly_more_than_once(large):
    scenes, spots, expected = large
    n_distinct = (-(-BIG // BIG_TILE)) ** 2
    pairs = scenes.head(1).raster.pair(spots, crs=32632, record_columns=[])
    with pr.profile() as profile:
        frame = pairs.select(value=red()).collect(engine="in-memory")
    assert profile.summary()["decoded_tiles"].item() <= 1.5 * n_distinct
    np.testing.assert_array_equal(frame["value"].to_numpy(), expected)
