"""Are blocks of records on other grids those that rasterio warps?"""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.warp import reproject

import polars_rasteret as pr
from polars_rasteret.assemble.kernels import METHODS
from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.pointwise import read_points
from polars_rasteret.cubes.stack import Stack
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.grids.pixel_grid import PixelGrid
from tests.support.gdal_release import skip_newer
from tests.support.recorded import Store

LEFT, TOP = 736_500.0, 4_987_800.0
SIZE = 192


def turned(degrees: float, pixel: float = 10.0) -> Affine:
    """A grid turned around its corner."""
    cos, sin = math.cos(math.radians(degrees)) * pixel, math.sin(math.radians(degrees)) * pixel
    return Affine(cos, sin, LEFT - 200, sin, -cos, TOP + 300)


SOURCES = {
    "parallel": Affine(10.0, 0, LEFT - 137, 0, -10.0, TOP + 94),
    "turned": turned(17),
    "south-up": Affine(10.0, 0, LEFT - 137, 0, 10.0, TOP - 1_800),
}


def image(kind: str, nodata: int | None) -> np.ndarray:
    """Smooth values or a few classes, with holes where there is a nodata value."""
    rng = np.random.default_rng(5)
    rows, cols = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    values = 30_000 + 9_000 * np.sin(rows / 9) + 8_000 * np.cos(cols / 7) + rng.integers(0, 3_000, rows.shape)
    if kind == "classes":
        values = np.kron(rng.integers(1, 9, (SIZE // 4, SIZE // 4)), np.ones((4, 4)))
    if nodata is not None:
        values[50:70, 60:100] = values[130:, 20:33] = nodata
    return values.astype(np.uint16)


def file_of(values: np.ndarray, transform: Affine, *, nodata: int | None, epsg: int = 32632, overviews=()) -> bytes:
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        with memory.open(
            driver="GTiff",
            height=values.shape[0],
            width=values.shape[1],
            count=1,
            dtype=values.dtype.name,
            tiled=True,
            crs=rasterio.crs.CRS.from_epsg(epsg),
            transform=transform,
            blockxsize=64,
            blockysize=64,
            nodata=nodata,
            compress="deflate",
        ) as sink:
            sink.write(values, 1)
            if overviews:
                sink.build_overviews(list(overviews), Resampling.average)
        return bytes(memory.read())


@pytest.fixture
def store():
    one = Store()
    yield one
    one.close()


def stack_of(store: Store, data: bytes, pixel: float, method: str, side: int = 120) -> Stack:
    clear_cache()
    table = pl.DataFrame({"id": ["one"], "href": [store.put("one.tif", data)]})
    scenes = pr.build_from_table(table, bands={"red": "href"}, on_error="raise").collect()
    grid = PixelGrid("EPSG:32632", (pixel, 0.0, LEFT, 0.0, -pixel, TOP), side, side)
    return Stack(
        grid=grid,
        rasters={"red": scenes["red"]},
        bands=("red",),
        step=np.array([0]),
        n_steps=1,
        resampling={"red": method},
    )


def warped(
    values: np.ndarray, transform: Affine, pixel: float, method: str, nodata: int | None, side: int = 120, epsg=32632
):
    result = np.zeros((side, side), values.dtype)
    kinds = {} if nodata is None else {"src_nodata": nodata, "dst_nodata": nodata, "init_dest_nodata": True}
    reproject(
        values,
        result,
        src_transform=transform,
        src_crs=f"EPSG:{epsg}",
        dst_transform=Affine(pixel, 0, LEFT, 0, -pixel, TOP),
        dst_crs="EPSG:32632",
        resampling=Resampling[method],
        # Else the warper takes the scale from the extents of both images, which a turned image has too large.
        XSCALE=min(10 / pixel, 1),
        YSCALE=min(10 / pixel, 1),
        **kinds,
    )
    return result


@pytest.mark.parametrize("pixel", [10.0, 7.3, 33.0])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic", "average", "mode"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_resampled_block_is_that_of_gdals_warper(store, source, method, pixel):
    if method == "mode":
        skip_newer("ties of mode")
    transform = SOURCES[source]
    # How neighbours of nodata are mixed is RasterIO's way here, which the tests of windows compare.
    nodata = None if method in {"bilinear", "cubic"} else 0
    values = image("classes" if method in {"mode", "nearest"} else "smooth", nodata)
    stack = stack_of(store, file_of(values, transform, nodata=nodata), pixel, method)
    block = read_block(stack, ["red"], [0], (0, 120, 0, 120))
    got, valid = block.values["red"][0], block.valid["red"][0]
    expected = warped(values, transform, pixel, method, nodata)
    # Where a part of what lies under a pixel is beyond the image, the centre decides here, and GDAL takes any overlap.
    inside = warped(np.pad(np.ones((SIZE - 12, SIZE - 12), np.uint16), 6), transform, pixel, "nearest", None) == 1
    assert inside.sum() > 1_000
    is_filled = (expected != 0) & inside
    np.testing.assert_array_equal(valid & inside, is_filled)
    off = np.abs(got.astype(np.int64) - expected)[is_filled]
    assert off.max() <= (0 if method in {"nearest", "mode"} else 1)
    # Weights of multiples of a tenth make means that end in a half, which rounding may send either way.
    assert (off == 0).mean() > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["parallel", "turned", "other CRS"])
def test_nodata_never_bleeds_and_a_window_or_a_place_has_the_pixels_of_the_whole(store, place, method):
    epsg = 32633 if place == "other CRS" else 32632
    transform = Affine(10.0, 0, 263_300.0, 0, -10.0, TOP + 40) if epsg == 32633 else SOURCES[place]
    blocks = []
    for nodata in (0, 65_535):
        stack = stack_of(store, file_of(image("smooth", nodata), transform, nodata=nodata, epsg=epsg), 14.0, method)
        blocks.append(read_block(stack, ["red"], [0], (0, 120, 0, 120)))
    (found, valid), (other, is_other) = ((one.values["red"][0], one.valid["red"][0]) for one in blocks[::-1])
    assert 3_000 < valid.sum() < valid.size
    np.testing.assert_array_equal(valid, is_other)
    np.testing.assert_array_equal(found[valid], other[valid])
    assert (found[~valid] == 65_535).all()
    assert (other[~valid] == 0).all()
    parts = np.zeros_like(found), np.zeros_like(valid)
    for top in range(0, 120, 40):
        for left in range(0, 120, 24):
            block = read_block(stack, ["red"], [0], (top, top + 40, left, left + 24))
            parts[0][top : top + 40, left : left + 24] = block.values["red"][0]
            parts[1][top : top + 40, left : left + 24] = block.valid["red"][0]
    np.testing.assert_array_equal(parts[1], valid)
    np.testing.assert_allclose(parts[0].astype(int), found.astype(int), rtol=0, atol=1)
    rows, cols = np.arange(0, 120, 7), np.arange(0, 120, 7)[::-1]
    single = read_points(stack, ["red"], [0], rows, cols)
    np.testing.assert_array_equal(single.valid["red"][0], valid[rows, cols])
    np.testing.assert_allclose(single.values["red"][0].astype(int), found[rows, cols].astype(int), rtol=0, atol=1)


@pytest.mark.parametrize("method", ["nearest", "average", "bilinear"])
def test_a_coarse_grid_reads_the_overview_that_rasterio_reads(store, method):
    values = image("smooth", None)
    transform = Affine(10.0, 0, LEFT, 0, -10.0, TOP)
    data = file_of(values, transform, nodata=None, overviews=(2, 4))
    stack = stack_of(store, data, 40.0, method, side=SIZE // 4)
    with MemoryFile(data) as memory, memory.open() as source:
        expected = source.read(1, out_shape=(SIZE // 4, SIZE // 4), resampling=Resampling[method])
    got = np.concatenate(
        [read_block(stack, ["red"], [0], (row, row + 1, 0, SIZE // 4)).values["red"][0] for row in range(SIZE // 4)]
    )
    np.testing.assert_array_equal(got, expected)
    rows, cols = np.divmod(np.arange(0, (SIZE // 4) ** 2, 11), SIZE // 4)
    np.testing.assert_array_equal(read_points(stack, ["red"], [0], rows, cols).values["red"][0], expected[rows, cols])
