"""Are approximate statistics of zones those of the pixels of GDAL's overviews, and read when they are asked for only?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import MemorySource, RecordingSource
from tests.support.zone_world import Image, statistics

PREFIX = "memory://zonal-approx/"
HEIGHT, WIDTH, NODATA = 500, 421, 0
"""Not divisible by 8: the pixels of overviews are not exactly 2, 4 and 8 pixels wide."""
GRID = Affine(10, 0, 500_000, 0, -10, 5_000_000)
LEVELS = {1: {2, 3}, 1_000: {0, 1, 2, 3}, 10**9: {0}}
"""Levels that answer for the zones by the least number of pixels."""
STATS = ("count", "sum", "mean", "var", "min", "max", "variety", "majority", "median", "valid_fraction")


def file_of(pixels, factors, transform=GRID):
    n_bands, height, width = pixels.shape
    profile = {
        "driver": "GTiff", "count": n_bands, "height": height, "width": width, "dtype": "uint16", "nodata": NODATA,
        "crs": "EPSG:32632", "transform": transform, "tiled": True, "blockxsize": 64, "blockysize": 64,
        "interleave": "band",
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
        if factors:
            with rasterio.open(memory.name, "r+") as file:
                file.build_overviews(factors, Resampling.average)
        return bytes(memory.read())


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(5)
    pixels = rng.integers(1, 900, (2, HEIGHT, WIDTH)).astype("uint16")
    pixels[:, :, :30] = NODATA
    coarse = rng.integers(1, 900, (1, HEIGHT // 2, WIDTH // 2)).astype("uint16")
    files = {
        f"{PREFIX}fine.tif": file_of(pixels, [2, 4, 8]),
        f"{PREFIX}plain.tif": file_of(pixels, []),
        f"{PREFIX}coarse.tif": file_of(coarse, [2], Affine(20, 0, 500_000, 0, -20, 5_000_000)),
    }
    source = RecordingSource(MemorySource(files))
    pr.configure_store(PREFIX, store=source)
    row = {
        "id": ["one"],
        "fine": [f"{PREFIX}fine.tif"],
        "plain": [f"{PREFIX}plain.tif"],
        "coarse": [f"{PREFIX}coarse.tif"],
    }
    bands = {"red": ("fine", 0), "nir": ("fine", 1), "plain": ("plain", 0), "coarse": ("coarse", 0)}
    scenes = pr.build_from_table(pl.DataFrame(row), bands=bands, on_error="raise").collect().lazy()
    source.requests.clear()
    yield scenes, files, source
    pr.configure_store(PREFIX)


def levels(files, band):
    """Return full resolution and the overviews, as GDAL reads them."""
    found = []
    with MemoryFile(files[f"{PREFIX}fine.tif"]) as memory:
        for level in (None, 0, 1, 2):
            with memory.open(**({} if level is None else {"overview_level": level})) as file:
                pixels = file.read(band + 1)
                found.append(Image(pixels, pixels != NODATA, file.transform))
    return found


def zones():
    """Zones of 150,000 to 30 pixels: partly beside the image, over nodata, with slanted edges."""
    big = shapely.Point(502_100, 4_997_400).buffer(2_300)
    middle = shapely.Polygon([(500_050, 4_999_950), (502_000, 4_999_300), (501_300, 4_998_200)])
    beside = shapely.box(503_800, 4_996_000, 505_300, 4_997_777)
    small = shapely.Point(502_000, 4_998_000).buffer(31)
    return [big, middle, beside, small]


def frame_of(geometries):
    return pl.DataFrame({"zone": range(len(geometries)), "geometry": shapely.to_wkb(geometries)})


def level_of(images, zone, approx):
    """Return the coarsest level on which the area of a zone takes at least `approx` pixels."""
    return max(at for at, one in enumerate(images) if at == 0 or zone.area / abs(one.transform.determinant) >= approx)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("approx", [1, 100, 1_000, 10_000, 10**9])
def test_statistics_are_those_of_the_overview_that_has_enough_pixels(world, approx, engine):
    scenes, files, _ = world
    asked = scenes.raster.zonal_stats(frame_of(zones()), ["red", "nir"], STATS, crs=32632, approx=approx)
    found, chosen = asked.collect(engine=engine), []
    big = zones()[0]
    for row, zone in zip(found.iter_rows(named=True), zones(), strict=True):
        for band in (0, 1):
            images = levels(files, band)
            level = level_of(images, zone, approx)
            chosen.append(level)
            if level == 0 and zone.equals(big):
                continue  # its 150,000 cells cost the oracle seconds; full resolution is the middle zone's here
            image = images[level]
            n_full = HEIGHT * WIDTH / image.pixels.size
            told = statistics(image.pixels[image.valid], image.weights(zone, "exact")[image.valid])
            whole = zone.area / abs(image.transform.determinant)
            told |= {
                "valid_fraction": told["count"] / whole,
                "count": told["count"] * n_full,
                "sum": told["sum"] * n_full,
            }
            for name in STATS:
                got = row[f"{('red', 'nir')[band]}_{name}"]
                assert got == pytest.approx(told[name], rel=1e-7, abs=1e-9), (zone, name)
    assert set(chosen) == LEVELS.get(approx, set(chosen))


def test_overviews_are_read_only_when_asked(world):
    scenes, files, source = world
    images = levels(files, 0)

    def bytes_of(**how):
        query = scenes.raster.zonal_stats(frame_of(zones()[:1]), ["red"], ["mean"], crs=32632, **how)
        estimate = pr.estimate(query)
        assert estimate.bound == "exact"
        source.requests.clear()
        with pr.options(cache_bytes=0, max_gap_bytes=0):
            query.collect()
        n_bytes = sum(stop - start for _, start, stop in source.requests)
        assert estimate.bytes == n_bytes
        return n_bytes

    with pr.options(max_gap_bytes=0):
        full, approximate = bytes_of(), bytes_of(approx=1_000)
    assert level_of(images, zones()[0], 1_000) == 3
    assert full >= 40 * 64 * 64 * 2
    assert approximate <= 64 * 64 * 2


def test_a_zone_does_not_depend_on_the_others(world):
    scenes, _, _ = world
    asked = {"bands": ["red"], "stats": ["count", "mean", "max"], "crs": 32632, "approx": 500}
    together = scenes.raster.zonal_stats(frame_of(zones()), **asked).collect()
    alone = [scenes.raster.zonal_stats(frame_of([one]), **asked).collect() for one in zones()]
    columns = ["red_count", "red_mean", "red_max"]
    assert pl.concat(alone).select(columns).equals(together.select(columns))


def test_files_without_overviews_are_read_at_full_resolution(world):
    scenes, _, _ = world
    asked = {"stats": ["count", "mean"], "crs": 32632}
    found = scenes.raster.zonal_stats(frame_of(zones()), ["plain"], approx=10, **asked).collect()
    assert found.equals(scenes.raster.zonal_stats(frame_of(zones()), ["plain"], **asked).collect())


def test_formulas_and_masks_see_the_pixels_of_the_overview(world):
    scenes, files, _ = world
    ndvi = {"ndvi": pr.normalized_difference("nir", "red")}
    asked = {"stats": ["count", "mean"], "crs": 32632, "valid": pl.col("red") > 400}
    found = scenes.raster.zonal_stats(frame_of(zones()[:2]), ndvi, approx=100, **asked).collect()
    for row, zone in zip(found.iter_rows(named=True), zones(), strict=False):
        red, nir = (levels(files, band)[level_of(levels(files, band), zone, 100)] for band in (0, 1))
        weights = red.weights(zone, "exact") * (red.valid & nir.valid & (red.pixels > 400))
        value = (nir.pixels.astype(float) - red.pixels) / np.maximum(nir.pixels.astype(float) + red.pixels, 1)
        assert row["ndvi_count"] == pytest.approx(weights.sum() * HEIGHT * WIDTH / red.pixels.size, rel=1e-9)
        assert row["ndvi_mean"] == pytest.approx(np.average(value, weights=weights), rel=1e-5)
    exact = {**asked, "valid": pl.col("coarse") > 400}  # on another grid
    approximate = scenes.raster.zonal_stats(frame_of(zones()), ["red"], approx=100, **exact).collect()
    assert approximate.equals(scenes.raster.zonal_stats(frame_of(zones()), ["red"], **exact).collect())


@pytest.mark.parametrize("approx", [0, -3, True, 2.5, "auto"])
def test_a_wrong_number_is_refused(world, approx):
    with pytest.raises(UsageError, match="approx="):
        world[0].raster.zonal_stats(frame_of(zones()), ["red"], crs=32632, approx=approx)


def test_gdal_has_the_overviews_that_are_expected(world):
    with MemoryFile(world[1][f"{PREFIX}fine.tif"]) as memory, memory.open() as file:
        assert file.overviews(1) == [2, 4, 8]
