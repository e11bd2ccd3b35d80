"""Do rows in any order share the tiles of their neighbours where an answer needs several batches?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.testing import MemorySource, RecordingSource, make_cog
from tests.support.engines import ENGINES

SIDE, TILE, CHIP = 512, 64, 16
HREF = "memory://any-order/one.tif"
PIXELS = np.arange(SIDE * SIDE, dtype=np.uint32).reshape(SIDE, SIDE)


@pytest.fixture
def scene():
    source = RecordingSource(MemorySource({HREF: make_cog(PIXELS, tile_size=TILE)}))
    pr.configure_store("memory://any-order/", store=source)
    records = pr.build_from_files([HREF], bands=["number"], datetime=["2024-01-01T00:00:00Z"]).collect().lazy()
    source.clear()
    with pr.options(cache_bytes=0):
        clear_cache()
        yield records, source


def places(n: int) -> pl.DataFrame:
    row, col = np.random.default_rng(4).integers(CHIP, SIDE - CHIP, (2, n))
    frame = pl.DataFrame({"row": row, "col": col})
    return frame.with_columns(x=500_000 + 10.0 * (pl.col("col") + 0.5), y=5_000_000 - 10.0 * (pl.col("row") + 0.5))


@pytest.mark.parametrize("engine", ENGINES)
def test_windows_in_any_order_fetch_each_tile_about_once(scene, engine):
    records, source = scene
    asked = places(400)
    n_bytes = {}
    for maintain_order in (True, False):
        source.clear()
        with pr.options(max_answer_bytes=120_000):  # four batches at once: 30 kB, so 29 windows each
            found = records.raster.read_windows(
                asked, x="x", y="y", crs=32632, shape=(CHIP, CHIP), maintain_order=maintain_order
            ).collect(engine=engine)
        n_bytes[maintain_order] = source.bytes
        row, col = (found[name].to_numpy()[:, None, None] for name in ("row", "col"))
        span = np.arange(CHIP) - CHIP // 2
        np.testing.assert_array_equal(found["number"].to_numpy(), PIXELS[row + span[:, None], col + span])
        assert_frame_equal(found.select(asked.columns), asked, check_row_order=maintain_order)
    tiles = len(make_cog(PIXELS, tile_size=TILE))
    assert n_bytes[True] > 3.5 * tiles  # 14 batches, each of which meets a third of the tiles
    assert n_bytes[False] < 2 * tiles


def test_rows_without_a_place_come_too(scene):
    records, _ = scene
    asked = pl.concat(
        [pl.DataFrame({"row": [None], "col": [None], "x": [None], "y": [None]}), places(20)], how="vertical_relaxed"
    )
    words = {"x": "x", "y": "y", "crs": 32632}
    told, free = (
        records.raster.sample_points(asked, maintain_order=order, **words).collect() for order in (True, False)
    )
    assert_frame_equal(free, told, check_row_order=False)
    assert free["number"].null_count() == 1
