"""Does the memory of zonal statistics stay that of a few tiles, whatever the size of a zone?"""

from __future__ import annotations

import datetime as dt
import tracemalloc

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.geo.coverage import kept_weights
from tests.support.recorded import RESOLUTION, UTC, Store, build, noise, tiff

SIZE, TILE, N_DATES = 3_072, 256, 4
LEFT, TOP = 500_000.0, 5_000_000.0
PIXEL_BYTES = N_DATES * SIZE * SIZE * 2
"""Of all pixels of the zone: 75 MB."""
BOUND_BYTES = 24_000_000


@pytest.fixture(scope="module")
def world():
    store = Store()
    pixels = noise(1, height=SIZE, width=SIZE) % 4_000 + 1
    pixels[:, :100] = 0
    store.put("a.tif", tiff(pixels, tile=TILE, nodata=0))
    records = [
        {"id": f"{day}", "datetime": dt.datetime(2024, 1, day, tzinfo=UTC), "href": f"{store.prefix}{day}/a.tif"}
        for day in range(1, N_DATES + 1)
    ]
    yield build(store, records, {"red": "href"}), pixels[0]
    store.close()


@pytest.mark.parametrize("stats", [["count", "mean", "std", "min", "max"], ["median", "majority"]])
def test_a_zone_of_many_tiles_takes_the_memory_of_a_few(world, stats):
    scenes, pixels = world
    side = SIZE * RESOLUTION
    disc = shapely.Point(LEFT + side / 2, TOP - side / 2).buffer(side / 2, quad_segs=200)
    frame = pl.DataFrame({"zone": [0], "geometry": [shapely.to_wkb(disc)]})
    query = scenes.raster.zonal_stats(frame, ["red"], stats, crs=32632, coverage="center")
    with pr.options(cache_bytes=0, max_bytes_in_flight=4_000_000):
        kept_weights.clear_weights()
        tracemalloc.start()
        try:
            found = query.collect()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < BOUND_BYTES < PIXEL_BYTES / 3
    row, col = np.indices((SIZE, SIZE), sparse=True)
    is_in = (row + 0.5 - SIZE / 2) ** 2 + (col + 0.5 - SIZE / 2) ** 2 < (SIZE / 2) ** 2
    inside = pixels[is_in & (pixels > 0)]
    if "count" in stats:
        assert found["red_count"].to_list() == pytest.approx([len(inside)] * N_DATES, rel=1e-4)
    else:
        assert found["red_median"].to_list() == pytest.approx([np.median(inside)] * N_DATES, rel=1e-3)
