"""Are mosaics those that NumPy makes of layers that rasterio reprojects?"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl
import pyproj
import pytest
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

import polars_rasteret as pr
from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.pointwise import read_points
from polars_rasteret.cubes.stack import MOSAICS, Stack
from polars_rasteret.grids.pixel_grid import PixelGrid
from polars_rasteret.options import ReadOptions
from tests.support.recorded import Store, tiff

HEIGHT, WIDTH = 300, 260
GRID = PixelGrid("EPSG:32632", (10.0, 0.0, 736_500.0, 0.0, -10.0, 4_987_800.0), WIDTH, HEIGHT)
WINDOW = (17, 290, 5, 251)


class Image(NamedTuple):
    """Where a record lies, and what means nodata in it."""

    x: float
    y: float
    epsg: int = 32632
    nodata: int | None = 0


IMAGES = [
    Image(736_500.0, 4_987_800.0),  # the pixels of the common grid
    Image(736_100.0, 4_987_000.0, nodata=9),  # its lattice, cut otherwise
    Image(736_503.0, 4_987_806.0, nodata=None),  # between its pixels
    Image(263_300.0, 4_987_840.0, epsg=32633, nodata=60_000),  # another CRS
    Image(737_500.0, 4_986_900.0),
]
STEP = np.array([0, 0, 0, 2, 2])


@cache
def pixels(number: int, band: str) -> np.ndarray:
    """Pixels with large holes of nodata; genuine zeros where nodata is another number."""
    rng = np.random.default_rng([number, len(band)])
    values = rng.integers(0, 50_000, (256, 224)).astype(np.uint16)
    if band == "scl":
        return rng.integers(1, 7, (256, 224)).astype(np.uint8)
    if IMAGES[number].nodata is not None:
        values[np.kron(rng.random((16, 14)) < 0.4, np.ones((16, 16))).astype(bool)] = IMAGES[number].nodata
    return values


@pytest.fixture(scope="module")
def scenes():
    store = Store()
    records = []
    for number, image in enumerate(IMAGES):
        hrefs = {}
        for band in ("red", "nir", "scl"):
            nodata = None if band == "scl" else image.nodata
            data = tiff(pixels(number, band)[None], x=image.x, y=image.y, epsg=image.epsg, tile=64, nodata=nodata)
            hrefs[band] = store.put(f"{number}-{band}.tif", data)
        records.append({"id": str(number), "cloud": number, **hrefs})
    bands = {name: name for name in ("red", "nir", "scl")}
    table = pl.DataFrame(records).rename({name: f"href_{name}" for name in bands})
    yield pr.build_from_table(table, bands={name: f"href_{name}" for name in bands}, on_error="raise").collect()
    store.close()


@cache
def layer(number: int, band: str) -> tuple[np.ndarray, np.ndarray]:
    """Nearest pixels and validity of a record on the window."""
    image, source = IMAGES[number], pixels(number, band)
    nodata = None if band == "scl" else image.nodata
    # Validity is brought there by itself, so that a genuine zero is told from a pixel that nothing fills.
    is_valid = np.ones(source.shape, np.uint8) if nodata is None else (source != nodata).astype(np.uint8)
    bring = nearest_by_rasterio if image.epsg == 32632 else nearest_by_pyproj
    return bring(image, source), bring(image, is_valid) == 1


def nearest_by_rasterio(image: Image, source: np.ndarray) -> np.ndarray:
    values = np.zeros((WINDOW[1] - WINDOW[0], WINDOW[3] - WINDOW[2]), source.dtype)
    reproject(
        source,
        values,
        src_transform=Affine(10.0, 0, image.x, 0, -10.0, image.y),
        src_crs=f"EPSG:{image.epsg}",
        dst_transform=Affine(10.0, 0, 736_500.0 + 10 * WINDOW[2], 0, -10.0, 4_987_800.0 - 10 * WINDOW[0]),
        dst_crs="EPSG:32632",
        resampling=Resampling.nearest,
    )
    return values


def nearest_by_pyproj(image: Image, source: np.ndarray) -> np.ndarray:
    """Other than rasterio's, positions are exact; rasterio interpolates them to an eighth of a pixel."""
    rows, cols = np.arange(*WINDOW[:2]) + 0.5, np.arange(*WINDOW[2:]) + 0.5
    x, y = np.meshgrid(736_500.0 + 10 * cols, 4_987_800.0 - 10 * rows)
    x, y = pyproj.Transformer.from_crs(32632, image.epsg, always_xy=True).transform(x, y)
    row, col = np.floor((image.y - y) / 10).astype(int), np.floor((x - image.x) / 10).astype(int)
    inside = (row >= 0) & (row < source.shape[0]) & (col >= 0) & (col < source.shape[1])
    values = np.zeros(inside.shape, source.dtype)
    values[inside] = source[row[inside], col[inside]]
    assert (values == nearest_by_rasterio(image, source)).mean() > 0.999
    return values


def stack_of(scenes: pl.DataFrame, **how) -> Stack:
    names = ("red", "nir", "scl") if "valid" in how else ("red", "nir")
    return Stack(
        grid=GRID, rasters={name: scenes[name] for name in names}, bands=("red", "nir"), step=STEP, n_steps=3, **how
    )


def expected(band: str, step: int, mosaic: str, accepts=lambda number: True) -> tuple[np.ndarray, np.ndarray]:
    """The mosaic of a step, and where it has a value, by NumPy's masked arrays."""
    layers = [layer(number, band) for number in np.flatnonzero(step == STEP)]
    masks = [valid & accepts(number) for number, (_, valid) in zip(np.flatnonzero(step == STEP), layers, strict=True)]
    shape = WINDOW[1] - WINDOW[0], WINDOW[3] - WINDOW[2]
    if not layers:
        return np.zeros(shape), np.full(shape, mosaic == "count")
    values = np.stack([one for one, _ in layers]).astype(np.float64)
    values[~np.stack(masks)] = np.nan
    is_valid = np.isfinite(values).any(axis=0)
    if mosaic in ("first_valid", "last_valid"):
        ordered = values if mosaic == "first_valid" else values[::-1]
        return np.take_along_axis(ordered, np.isfinite(ordered).argmax(axis=0)[None], 0)[0], is_valid
    if mosaic == "count":
        return np.isfinite(values).sum(axis=0), np.ones(shape, bool)
    result = np.full(shape, np.nan)
    result[is_valid] = getattr(np, f"nan{mosaic}")(values[:, is_valid], axis=0)
    return result, is_valid


def assert_is_mosaic(stack: Stack, block, steps, accepts=lambda number: True) -> None:
    for band in stack.bands:
        for at, step in enumerate(steps):
            values, valid = expected(band, step, stack.mosaic, accepts)
            assert valid.any() == (step != 1 or stack.mosaic == "count")
            np.testing.assert_array_equal(block.valid[band][at], valid)
            np.testing.assert_array_equal(block.values[band][at][valid], values[valid].astype(stack.dtype(band)))
            fill = stack.fill(band)
            np.testing.assert_array_equal(block.values[band][at][~valid], np.full((~valid).sum(), fill))


@pytest.mark.parametrize("mosaic", MOSAICS)
def test_a_mosaic_is_that_of_numpy_on_layers_that_rasterio_reprojects(scenes, mosaic):
    stack = stack_of(scenes, mosaic=mosaic)
    assert_is_mosaic(stack, read_block(stack, ["red", "nir"], [2, 0, 1], WINDOW), [2, 0, 1])
    assert stack.dtype("red") == {"mean": np.float64, "median": np.float64, "count": np.uint32}.get(mosaic, np.uint16)


@pytest.mark.parametrize("mosaic", ["first_valid", "median", "max"])
def test_a_mosaic_does_not_depend_on_the_memory_that_a_read_may_take(scenes, mosaic):
    stack = stack_of(scenes, mosaic=mosaic, options=ReadOptions(max_answer_bytes=100_000))
    assert_is_mosaic(stack, read_block(stack, ["red", "nir"], [0, 1, 2], WINDOW), [0, 1, 2])


@pytest.mark.parametrize("mosaic", ["first_valid", "last_valid", "mean"])
def test_where_valid_is_false_a_record_fills_no_band(scenes, mosaic):
    valid = pl.col("scl").is_in([1, 2, 3]) & (pl.col("cloud") != 1)
    stack = stack_of(scenes, mosaic=mosaic, valid=valid, context=scenes.select("cloud"))

    def accepts(number):
        values, is_inside = layer(number, "scl")
        return is_inside & (values <= 3) & (number != 1)

    assert_is_mosaic(stack, read_block(stack, ["red", "nir"], [0, 2], WINDOW), [0, 2], accepts)


@pytest.mark.parametrize("mosaic", MOSAICS)
def test_pixels_at_single_places_are_those_of_the_block(scenes, mosaic):
    rng = np.random.default_rng(3)
    rows, cols = rng.integers(0, HEIGHT, 400), rng.integers(0, WIDTH, 400)
    for how in ({}, {"valid": pl.col("scl") < 4}, {"resampling": {"nir": "bilinear"}, "unscale": frozenset({"nir"})}):
        stack = stack_of(scenes, mosaic=mosaic, options=ReadOptions(max_answer_bytes=4_000_000), **how)
        whole = read_block(stack, ["red", "nir"], [2, 1, 0], (0, HEIGHT, 0, WIDTH))
        places = read_points(stack, ["red", "nir"], [2, 1, 0], rows, cols)
        for band in ("red", "nir"):
            np.testing.assert_array_equal(places.valid[band], whole.valid[band][:, rows, cols])
            # Weights of multiples of a tenth make means that end in a half, which rounding may send either way.
            off = 1 if "resampling" in how and band == "nir" else 0
            np.testing.assert_allclose(places.values[band], whole.values[band][:, rows, cols], rtol=0, atol=off)
            assert places.values[band].dtype == stack.dtype(band)
        assert places.valid["red"].any()


@pytest.mark.parametrize("mosaic", ["first_valid", "min", "mean"])
def test_unscaled_records_are_compared_in_their_units_and_nan_leaves_a_pixel_open(mosaic):
    store = Store()
    rng = np.random.default_rng(1)
    files = rng.uniform(-5, 5, (2, 64, 64)).astype(np.float32)
    files[0, :40, :30] = np.nan
    hrefs = [store.put(f"{at}.tif", tiff(one[None], tile=64)) for at, one in enumerate(files)]
    table = pl.DataFrame({"id": ["a", "b"], "href": hrefs, "gain": [2.0, -0.5], "shift": [1.0, 3.0]})
    scenes = pr.build_from_table(table, bands={"t": "href"}, on_error="raise").collect()
    scenes = scenes.with_columns(pl.col("t").raster.with_metadata(scale=pl.col("gain"), offset=pl.col("shift")))
    grid = PixelGrid("EPSG:32632", (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0), 70, 64)
    how = {"grid": grid, "rasters": {"t": scenes["t"]}, "bands": ("t",), "step": np.zeros(2, int), "n_steps": 1}
    for unscale in (frozenset(), frozenset({"t"})):
        stack = Stack(**how, mosaic=mosaic, unscale=unscale)
        block = read_block(stack, ["t"], [0], (0, 64, 0, 70))
        layers = [one.astype(np.float64) for one in files]
        if unscale:
            layers = [one * gain + shift for one, gain, shift in zip(layers, (2, -0.5), (1, 3), strict=True)]
        expected = {
            "first_valid": np.where(np.isnan(layers[0]), layers[1], layers[0]),
            "min": np.fmin(*layers),
            "mean": np.nanmean(layers, axis=0),
        }[mosaic]
        assert block.values["t"].dtype == (np.float64 if mosaic == "mean" else np.float32)
        np.testing.assert_array_equal(block.values["t"][0, :, :64], expected.astype(block.values["t"].dtype))
        assert block.valid["t"][0, :, :64].all()
        assert not block.valid["t"][0, :, 64:].any()
        assert np.isnan(block.values["t"][0, :, 64:]).all()
    store.close()
