"""Do areas and points over the edge of a cylindrical map lie where the map has them, and not all the way across it?

A place on a Mercator map is counted here from its longitude alone: x grows evenly with it.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from tests.support.engines import ENGINES

PREFIX = "memory://seam-of-maps/"
HALF = math.pi * 6_378_137.0
CRS = {0: "EPSG:3857", 180: "+proj=merc +lon_0=180 +R=6378137"}
PIXEL, SIZE = 10_000.0, 128
IMAGES = {
    # First x, pixel size in x, columns, central meridian of the map.
    "world": (-HALF, HALF / 256, 512, 0),
    "east": (HALF - SIZE * PIXEL, PIXEL, SIZE, 0),
    "west": (-HALF, PIXEL, SIZE, 0),
    "beyond": (HALF, PIXEL, SIZE, 0),
    "over": (HALF - SIZE * PIXEL / 2, PIXEL, SIZE, 0),
    "pacific": (-HALF, HALF / 256, 512, 180),
}


def values_of(name: str) -> np.ndarray:
    return np.arange(SIZE * IMAGES[name][2], dtype=np.uint32).reshape(SIZE, -1)


@pytest.fixture(scope="module")
def collections() -> dict[str, pl.LazyFrame]:
    files = {}
    for name, (first, pixel, width, middle) in IMAGES.items():
        transform = Affine(pixel, 0, first, 0, -PIXEL, SIZE / 2 * PIXEL)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", dtype="uint32", count=1, height=SIZE, width=width, crs=CRS[middle],
                transform=transform, tiled=True, blockxsize=64, blockysize=64,
            ) as sink:  # fmt: skip
                sink.write(values_of(name), 1)
            files[f"{PREFIX}{name}.tif"] = bytes(memory.read())
    pr.configure_store(PREFIX, store=pr.testing.MemorySource(files))
    built = pr.build_from_files(list(files), bands=["v"]).collect()
    return {"with boxes": built.lazy(), "only rasters": built.select("id", "v").lazy()}


def columns(name: str, west: float, east: float) -> list[tuple[int, int]]:
    """Columns of the image under the longitudes, at the placements with most of them."""
    first, pixel, width, middle = IMAGES[name]
    found = {}
    for turns in range(-3, 4):
        low, high = (((lon - middle) / 180 * HALF + 2 * HALF * turns - first) / pixel for lon in (west, east))
        shared = min(high, width) - max(low, 0)
        if shared > 0:
            found[max(math.floor(low + 1e-6), 0), min(math.ceil(high - 1e-6), width)] = shared
    return [window for window, shared in found.items() if shared > max(found.values()) - 1e-6]


def split(west: float, east: float) -> shapely.Geometry:
    """A box from south to north, cut at the antimeridian."""
    pieces = [shapely.box(west, -1, min(east, 180), 1)]
    return shapely.MultiPolygon([*pieces, shapely.box(-180, -1, east - 360, 1)] if east > 180 else pieces)


@pytest.mark.parametrize("kind", ["with boxes", "only rasters"])
@given(
    st.integers(-1790, 1790).map(lambda lon: lon / 10), st.integers(2, 120).map(lambda size: size / 10), st.booleans()
)
@examples(max_examples=12)
def test_an_area_over_the_edge_of_a_map_is_read_on_one_side(collections, kind, west, width, is_split):
    check(collections[kind], west, west + width, is_split=is_split)


@pytest.mark.parametrize(("west", "east"), [(178, 181), (179, 182), (179.5, 190), (170, 180.5), (-2, 1), (-1, 2)])
def test_areas_over_the_edges_of_maps_are_read_on_one_side(collections, west, east):
    check(collections["with boxes"], west, east, is_split=False)
    check(collections["only rasters"], west, east, is_split=True)


def check(lf: pl.LazyFrame, west: float, east: float, *, is_split: bool) -> None:
    area = split(west, east) if is_split else shapely.box(west, -1, east, 1)
    got = lf.raster.read_windows([area], crs=4326).collect()
    alone = (
        lf.with_columns(v=pl.col("v").raster.read_window((west, -1, east, 1), crs=4326))
        .filter(pl.col("v").is_not_null())
        .collect()
    )
    expected = {name for name in IMAGES if columns(name, west, east)}
    for ids, windows in ((got["record_id"], got["v"]), (alone["id"], alone["v"])):
        assert set(ids) == expected
        for name, window in zip(ids, windows, strict=True):
            first = window["pixels"][0] % IMAGES[name][2]
            assert (first, first + window["width"]) in columns(name, west, east)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_answer_with_a_shape_runs_on_over_the_edge_of_a_map(collections, engine):
    """A box of four pixels of the world map on either side of its edge."""
    degrees = 180 / 256 * 4
    area = shapely.box(180 - degrees, -1, 180 + degrees, 1)
    got = collections["with boxes"].raster.read_windows([area], crs=4326, shape=(1, 8), resampling="nearest")
    row = got.filter(pl.col("record_id") == "world").select("v").collect(engine=engine)["v"][0]
    assert [one % 512 for one in row[0].to_list()] == [508, 509, 510, 511, 0, 1, 2, 3]


@pytest.mark.parametrize("engine", ENGINES)
def test_points_are_found_in_images_beyond_the_edge_of_their_map(collections, engine):
    lons = [-179.95, -175.05, 0.05, 175.05, 179.95]
    points = pl.DataFrame({"lon": lons, "lat": [0.05] * len(lons)})
    got = collections["with boxes"].raster.sample_points(points, crs=4326).drop_nulls("v").collect(engine=engine)
    expected = {}
    for name, (_, _, width, _) in IMAGES.items():
        for lon in lons:
            if found := columns(name, lon, lon + 1e-9):
                expected[name, lon] = found[0][0] + width * (SIZE // 2 - 1)
    assert {(name, lon): value for name, lon, value in got.select("record_id", "lon", "v").iter_rows()} == expected
