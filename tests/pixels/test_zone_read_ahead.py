"""Is the next unit of work fetched while one is reduced, and never more than the next?"""

from __future__ import annotations

import threading

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import FetchError
from polars_rasteret.pixels.zones import tile_pixels, zone_reads
from tests.support.range_server import Fault, RangeServer
from tests.support.recorded import SIZE, TILE, noise, tiff

LEFT, TOP, RESOLUTION = 500_000.0, 5_000_000.0, 10.0
N_TILES = (SIZE // TILE) ** 2
BOUND_S = 20.0
"""How long a test waits for what must come; a test that passes waits for nothing but the request itself."""


class Arrivals:
    """Ranges of tiles in the order in which they came."""

    def __init__(self):
        self.changed = threading.Condition()
        self.starts = []
        self.are_tiles = False

    def __call__(self, seen):
        with self.changed:
            if self.are_tiles:
                self.starts.append(seen.byte_start)
            self.changed.notify_all()

    def wait_for(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.starts) >= n, BOUND_S), (
                f"{len(self.starts)} requests came, not {n}"
            )


@pytest.fixture
def world():
    arrivals = Arrivals()
    pixels = noise(1)
    with RangeServer({"a.tif": tiff(pixels)}) as server:
        server.fault = arrivals
        scenes = pr.build_from_files([server.url("a.tif")], bands=["red"], on_error="raise")
        whole = shapely.box(LEFT, TOP - SIZE * RESOLUTION, LEFT + SIZE * RESOLUTION, TOP)
        frame = pl.DataFrame({"zone": [0], "geometry": [shapely.to_wkb(whole)]})
        arrivals.are_tiles = True  # the header was read before
        with pr.options(cache_bytes=0, max_gap_bytes=0, max_request_bytes=1):
            yield scenes, frame, arrivals, server, pixels[0]


def test_the_next_tile_is_asked_for_while_one_is_reduced(world, monkeypatch):
    scenes, frame, arrivals, _, pixels = world
    monkeypatch.setattr(zone_reads, "_UNIT_BYTES", 1)  # a tile is a unit
    plain, seen = zone_reads._GridReader._reduce_unit, []

    def reduced(self, unit, found):
        n_next = min(len(seen) + 2, N_TILES)
        arrivals.wait_for(n_next)
        seen.append(len(arrivals.starts))
        plain(self, unit, found)

    monkeypatch.setattr(zone_reads._GridReader, "_reduce_unit", reduced)
    found = scenes.raster.zonal_stats(frame, ["red"], ["count", "sum"], crs=32632).collect()
    assert seen == [min(one + 2, N_TILES) for one in range(N_TILES)], "one unit ahead, and no more"
    assert len(set(arrivals.starts)) == N_TILES
    assert found["red_count"].to_list() == [SIZE * SIZE]
    assert found["red_sum"].to_list() == [float(pixels.sum())]


def test_the_next_tiles_are_asked_for_while_pixels_become_rows(world, monkeypatch):
    scenes, frame, arrivals, _, _ = world
    monkeypatch.setattr(tile_pixels, "_UNIT_BYTES", 1)
    plain, seen = tile_pixels.ReadTile, []

    def tile(**how):
        n_in_row = SIZE // TILE
        at_end = (
            len(seen) % n_in_row == n_in_row - 1
        )  # the next row of tiles is begun when the pixels of this one are out
        arrivals.wait_for(len(seen) + (1 if at_end else 2))
        seen.append(len(arrivals.starts))
        return plain(**how)

    monkeypatch.setattr(tile_pixels, "ReadTile", tile)
    found = scenes.raster.pixels(frame, ["red"], crs=32632).select(pl.col("red").cast(pl.UInt64).sum()).collect()
    assert len(seen) == N_TILES
    assert all(one <= at + 2 for at, one in enumerate(seen))
    assert found.item() == noise(1).sum()


def test_a_failure_ends_the_read_that_runs_ahead(world, monkeypatch):
    scenes, frame, arrivals, server, _ = world
    monkeypatch.setattr(zone_reads, "_UNIT_BYTES", 1)

    def fault(seen):
        arrivals(seen)
        return Fault(status=403) if len(arrivals.starts) == 3 else None

    server.fault = fault
    with pytest.raises(FetchError):
        scenes.raster.zonal_stats(frame, ["red"], ["count"], crs=32632).collect()
    assert 3 <= len(arrivals.starts) <= 4


def test_statistics_with_a_mask_run_ahead_and_are_the_same(world, monkeypatch):
    scenes, frame, _, _, pixels = world
    asked = scenes.raster.zonal_stats(frame, ["red"], ["count", "sum"], crs=32632, valid=pl.col("red") < 30_000)
    monkeypatch.setattr(zone_reads, "_UNIT_BYTES", 1)
    found = asked.collect()
    is_valid = pixels < 30_000
    assert found["red_count"].to_list() == [float(is_valid.sum())]
    assert found["red_sum"].to_list() == [float(pixels[is_valid].astype(np.float64).sum())]
