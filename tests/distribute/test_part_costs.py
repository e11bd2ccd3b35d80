"""Do parts fetch what they were planned to, no tile twice, and about equally much? A server's log decides."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import polars as pl
import pytest
import shapely
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.distribute.cutting.cut import cut
from polars_rasteret.distribute.cutting.cut_query import part_query
from polars_rasteret.errors import UsageError
from tests.support.range_server import RangeServer

CRS, SIDE, DATES = 32632, 1024, 2
"""Images of 64 x 64 tiles."""


def image(date, *, uneven=False, **words):
    pixels = np.random.default_rng(date).integers(0, 9999, (SIDE, SIDE)).astype("uint16")
    if uneven:  # tiles of 30 bytes, of 200 and of 500
        pixels[:, SIDE // 3 :] %= 16
        pixels[:, SIDE // 2 : 3 * SIDE // 4] = 7
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            width=SIDE,
            height=SIDE,
            count=1,
            dtype="uint16",
            crs=f"EPSG:{CRS}",
            transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
            tiled=True,
            blockxsize=16,
            blockysize=16,
            **words,
        ) as dataset:
            dataset.write(pixels, 1)
        return file.read()


@pytest.fixture(scope="module")
def served():
    with RangeServer({f"{date}.tif": image(date) for date in range(DATES)}) as server:
        hrefs = [server.url(f"{date}.tif") for date in range(DATES)]
        times = pl.Series(range(DATES)).cast(pl.Datetime("us", "UTC"))
        scenes = pr.build_from_files(hrefs, bands={"red": 0}, datetime=times)
        # Tiles of 512 bytes are smaller than the gap up to which two tiles share a request; real ones are larger.
        with pr.options(max_gap_bytes=0):
            yield server, scenes


def rows(n):
    rng = np.random.default_rng(n)
    x, y = rng.uniform(500_010, 510_200, n), rng.uniform(4_989_800, 4_999_990, n)
    return pl.DataFrame({"pid": np.arange(n), "x": x, "y": y})


def boxes(n, side_m):
    pid, x, y = rows(n).to_numpy().T
    outlines = shapely.to_wkb(shapely.box(x, y, x + side_m, y + side_m))
    return pl.DataFrame({"pid": pid.astype(np.int64), "geometry": outlines.tolist()})


def fetched(server, whole):
    """Return the bytes that each part moves, and the byte ranges of all parts, without a cache."""
    moved, ranges = [], []
    with pr.options(cache_bytes=0):
        for part in whole.parts:
            server.clear()
            part_query(whole.plan, part, whole.targets[slice(*part.targets)], whole.records).collect()
            spans = [(one.path, one.byte_start, one.byte_stop) for one in server.requests]
            moved.append(sum(stop - start for _, start, stop in spans))
            ranges += spans
    return moved, ranges


def duplication(ranges):
    """Return the bytes of all ranges over the bytes of the files that any of them holds."""
    touched = {}
    for path, start, stop in ranges:
        touched.setdefault(path, np.zeros(4 * SIDE * SIDE, np.bool_))[start:stop] = True
    return sum(stop - start for _, start, stop in ranges) / sum(int(one.sum()) for one in touched.values())


def test_points_cut_by_tiles_move_no_byte_twice_and_what_was_estimated(served):
    server, scenes = served
    whole = cut(scenes.raster.sample_points(rows(30_000), crs=CRS), min_parts=8)
    moved, ranges = fetched(server, whole)
    assert len(whole.parts) == 8
    assert (whole.bound, whole.by, whole.duplication) == ("exact", "tiles", 1.0)
    assert moved == [part.bytes for part in whole.parts]
    assert duplication(ranges) <= 1.05
    assert max(moved) <= 1.2 * np.mean(moved)


@pytest.mark.parametrize("n_parts", [8, 40])
def test_tiles_of_unlike_sizes_are_weighed_as_they_are(n_parts):
    with RangeServer({"0.tif": image(0, uneven=True, compress="deflate")}) as server, pr.options(max_gap_bytes=0):
        scenes = pr.build_from_files([server.url("0.tif")], bands={"red": 0})
        whole = cut(scenes.raster.sample_points(rows(30_000), crs=CRS), min_parts=n_parts)
        moved, _ = fetched(server, whole)
    assert len(whole.parts) == n_parts
    assert moved == [part.bytes for part in whole.parts]
    assert max(moved) <= 1.2 * np.mean(moved)
    assert min(moved) >= 0.8 * np.mean(moved)


@pytest.mark.parametrize("n_parts", [8, 11])
def test_windows_cut_at_blocks_of_tiles_move_few_bytes_twice(served, n_parts):
    server, scenes = served
    whole = cut(scenes.raster.read_windows(boxes(1_500, 300), crs=CRS), min_parts=n_parts)
    moved, ranges = fetched(server, whole)
    assert (len(whole.parts), whole.by) == (n_parts, "tiles")
    assert moved == [part.bytes for part in whole.parts]
    assert duplication(ranges) == pytest.approx(whole.duplication)
    assert duplication(ranges) <= 1.25
    assert max(moved) <= 1.2 * np.mean(moved)


def test_areas_of_all_records_are_cut_by_time_where_space_is_short(served):
    server, scenes = served
    whole = cut(scenes.raster.zonal_stats(boxes(40, 400), crs=CRS, coverage="center"), min_parts=24)
    moved, _ = fetched(server, whole)
    assert whole.by == "tiles and time"
    assert whole.duplication <= 1.25
    assert moved == [part.bytes for part in whole.parts]
    assert {part.records for part in whole.parts} == {1}


def test_rows_that_come_in_any_order_are_cut_alike(served):
    _, scenes = served
    points = rows(5_000)
    one, other = (
        cut(scenes.raster.sample_points(frame, crs=CRS), min_parts=6)
        for frame in (points, points.sample(fraction=1, shuffle=True, seed=3))
    )
    assert [part.bytes for part in one.parts] == [part.bytes for part in other.parts]


def test_a_small_query_is_one_part_and_a_large_one_follows_part_bytes(served):
    _, scenes = served
    query = scenes.raster.sample_points(rows(30_000), crs=CRS)
    assert len(cut(query).parts) == 1
    planned = pr.plan_parts(query, part_bytes=300_000)
    assert planned["bytes"].max() <= 360_000
    assert planned["bytes"].sum() == pr.estimate(query).bytes
    assert planned["part"].to_list() == list(range(planned.height))


def test_memory_of_many_parts_is_that_of_few_and_parts_are_small(served):
    _, scenes = served
    query = scenes.raster.sample_points(rows(20_000), crs=CRS)
    peaks = []
    for n_parts in (10, 10, 400):  # what is kept for later queries is made by the first
        tracemalloc.start()
        whole = cut(query, min_parts=n_parts)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(whole.parts) == n_parts
        assert max(len(pickle.dumps(part)) for part in whole.parts) < 300
        assert len(whole.plan) < 20_000
    assert peaks[2] < 1.3 * peaks[1]


def test_no_rows_no_records_and_rows_nowhere_are_parts_too(served):
    _, scenes = served
    nowhere = rows(10).with_columns(pl.col("x") + 1_000_000)
    for query in (
        scenes.raster.sample_points(rows(5).clear(), crs=CRS),
        scenes.filter(pl.col("id") == "none").raster.sample_points(rows(5), crs=CRS),
        scenes.raster.sample_points(nowhere, crs=CRS),
        scenes.raster.sample_points(nowhere, crs=CRS, unmatched="drop"),
    ):
        whole = cut(query)
        frames = [
            part_query(whole.plan, part, whole.targets[slice(*part.targets)], whole.records).collect()
            for part in whole.parts
        ]
        assert pl.concat(frames).equals(query.collect())


@pytest.mark.parametrize("words", [{"part_bytes": 0}, {"workers": 1.5}, {"min_parts": True}])
def test_wrong_numbers_are_refused(served, words):
    _, scenes = served
    with pytest.raises(UsageError, match=next(iter(words))):
        pr.plan_parts(scenes.raster.sample_points(rows(5), crs=CRS), **words)
