"""Does resampling give the pixels that GDAL's RasterIO gives?"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import rasterio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.windows import Window

from polars_rasteret.assemble.at_positions import values_at
from polars_rasteret.assemble.kernels import METHODS, METHODS_AT_POSITIONS
from polars_rasteret.assemble.resample import Axis, Source, resampled, source_spans

HEIGHT, WIDTH = 90, 110
NODATA = {"uint8": 0, "uint16": None, "int16": -7, "float32": -9999.0}
# Sums of positive and negative weights that cancel out blow up rounding errors; GDAL adds in another order.
MIXED = ("bilinear", "cubic_spline", "average")


@cache
def image(dtype: str, holes: bool) -> np.ndarray:
    rng = np.random.default_rng([np.dtype(dtype).num, holes])
    values = rng.integers(1, 250 if dtype == "uint8" else 9_999, (HEIGHT, WIDTH)).astype(dtype)
    if holes:
        values[rng.random(values.shape) < 0.15] = NODATA[dtype]
        values[20:40, 30:70] = NODATA[dtype]
    return values


@cache
def file_of(dtype: str, holes: bool) -> bytes:
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": dtype, "nodata": NODATA[dtype]}
    with MemoryFile() as memory:
        with memory.open(**profile, transform=rasterio.Affine(1, 0, 5, 0, -1, 5), tiled=True) as sink:
            sink.write(image(dtype, holes), 1)
        return bytes(memory.read())


def ours(dtype: str, holes: bool, window: Window, shape: tuple[int, int], method: str):
    values, nodata = image(dtype, holes), NODATA[dtype]
    rows = Axis(window.row_off, window.height / shape[0], shape[0], HEIGHT)
    cols = Axis(window.col_off, window.width / shape[1], shape[1], WIDTH)
    (top, bottom), (left, right) = source_spans(method, rows), source_spans(method, cols)
    part = values[top:bottom, left:right]
    valid = np.ones(part.shape, np.bool_) if nodata is None else part != nodata
    source = Source(values=part, valid=valid, first_row=int(top), first_col=int(left))
    return resampled(source, rows, cols, method, None if nodata is None else values.dtype.type(nodata))


@st.composite
def windows(draw) -> Window:
    whole = draw(st.booleans())
    number = (
        (lambda low, high: float(draw(st.integers(int(low), int(high)))))
        if whole
        else (lambda low, high: draw(st.floats(low, high)))
    )
    height, width = number(1, HEIGHT), number(1, WIDTH)
    return Window(number(0, WIDTH - width), number(0, HEIGHT - height), width, height)


def hangs_by_rounding(window: Window, shape: tuple[int, int]) -> np.ndarray:
    """Tell the pixels whose centre is that of a source pixel: beside a hole, weights of rounding errors alone decide there."""
    on_centre = []
    for n_source, n in zip((window.height, window.width), shape, strict=True):
        place = (np.arange(n) + 0.5) * n_source / n - 0.5
        on_centre.append(np.abs(place - np.round(place)) < 1e-9)
    return on_centre[0][:, None] | on_centre[1]


@settings(deadline=None, max_examples=150, derandomize=True)
@given(
    window=windows(),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    dtype=st.sampled_from([*NODATA]),
    holes=st.booleans(),
    method=st.sampled_from(["nearest", *MIXED]),
)
def test_windows_without_overviews_are_those_of_rasterio(window, shape, dtype, holes, method):
    holes = holes and NODATA[dtype] is not None
    assume((window.height, window.width) != shape)  # that would be no resampling
    # Where columns are halved, GDAL's averages take the rows as halved too.
    assume(method != "average" or window.width != 2 * shape[1] or window.height == 2 * shape[0])
    with MemoryFile(file_of(dtype, holes)) as memory, memory.open() as source:
        wanted = source.read(1, window=window, out_shape=shape, resampling=Resampling[method])
    values, valid, part = ours(dtype, holes, window, shape, method)
    assert part == (slice(0, shape[0]), slice(0, shape[1]))
    if method == "nearest":
        np.testing.assert_array_equal(values, wanted)
        return
    judged = ~hangs_by_rounding(window, shape) if holes else np.ones(shape, np.bool_)
    if NODATA[dtype] is not None:
        np.testing.assert_array_equal(valid[judged], (wanted != NODATA[dtype])[judged])
    difference = np.abs(values.astype(np.float64) - wanted.astype(np.float64))[judged]
    # float32 sums lose the last digits; a pixel may hang by a weight of rounding errors alone (spline next to a hole).
    allowed = 1.0 if dtype != "float32" else 0.05
    assert (difference > allowed).sum() <= (0 if method != "cubic_spline" else 2)


@pytest.mark.parametrize("method", ["cubic", "lanczos"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_kernels_with_negative_weights_are_those_of_rasterio(method, dtype):
    rng = np.random.default_rng(3)
    with MemoryFile(file_of(dtype, holes=False)) as memory, memory.open() as source:
        for shape in map(tuple, rng.integers(5, 60, (20, 2)).tolist()):
            window = Window(*rng.integers(0, 20, 2).tolist(), *rng.integers(60, 70, 2).tolist())
            wanted = source.read(1, window=window, out_shape=shape, resampling=Resampling[method]).astype(np.int64)
            values, _, _ = ours(dtype, False, window, shape, method)
            # At the edges of its window GDAL cuts off the far end of wide kernels.
            np.testing.assert_allclose(values[4:-4, 4:-4], wanted[4:-4, 4:-4], atol=1)
            np.testing.assert_allclose(values, wanted, atol=1 if method == "cubic" else 40)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_the_most_frequent_value_is_that_of_rasterio(dtype):
    classes = (image(dtype, holes=False).astype(np.int64) % 4 + 1).astype(dtype)
    rng = np.random.default_rng(4)
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, transform=rasterio.Affine(1, 0, 5, 0, -1, 5)) as sink:
            sink.write(classes, 1)
        with memory.open() as source:
            for shape in [(30, 22), (45, 55), (17, 41), (90, 10), (120, 130)]:
                window = Window(*rng.integers(0, 9, 2).tolist(), 100, 80)
                wanted = source.read(1, window=window, out_shape=shape, resampling=Resampling.mode)
                rows = Axis(window.row_off, 80 / shape[0], shape[0], HEIGHT)
                cols = Axis(window.col_off, 100 / shape[1], shape[1], WIDTH)
                whole = Source(values=classes, valid=np.ones(classes.shape, np.bool_), first_row=0, first_col=0)
                np.testing.assert_array_equal(resampled(whole, rows, cols, "mode", None)[0], wanted)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_of_rows_do_not_show(method, monkeypatch):
    pixels = image("int16", holes=True)
    source = Source(values=pixels, valid=pixels != -7, first_row=0, first_col=0)
    for step in (0.3, 1.0, 2.6):
        rows, cols = Axis(4.2, step, 30, HEIGHT), Axis(-3.0, step, 40, WIDTH)
        wanted = resampled(source, rows, cols, method, np.int16(-7))
        with monkeypatch.context() as patch:
            patch.setattr("polars_rasteret.assemble.resample._BLOCK_PIXELS", 700)
            got = resampled(source, rows, cols, method, np.int16(-7))
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


def test_mixed_values_are_clamped_and_never_become_nodata():
    stripes = np.tile(np.array([[255, 255, 255, 1, 1, 1]], np.uint8), (6, 1))
    source = Source(values=stripes, valid=np.ones(stripes.shape, np.bool_), first_row=0, first_col=0)
    axis = Axis(0.0, 0.25, 24, 6)
    values, valid, _ = resampled(source, axis, axis, "cubic", np.uint8(0))
    assert valid.all()
    assert values.max() == 255  # overshoots beyond
    assert values.min() == 1  # undershoots below 0, which is nodata


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_limits_of_64_bits_survive(dtype):
    limits = np.iinfo(dtype)
    pixels = np.array([[limits.max, limits.max], [limits.min, limits.min]], dtype)
    source = Source(values=pixels, valid=np.ones((2, 2), np.bool_), first_row=0, first_col=0)
    axis = Axis(0.0, 0.5, 4, 2)
    values, _, _ = resampled(source, axis, axis, "bilinear", None)
    assert values[0].tolist() == [limits.max] * 4
    assert values[-1].tolist() == [limits.min] * 4


def test_pixels_beyond_the_image_are_not_in_the_part_inside():
    source = Source(values=np.full((2, 2), 5, np.uint8), valid=np.ones((2, 2), np.bool_), first_row=0, first_col=0)
    for method in METHODS:
        values, valid, part = resampled(source, Axis(-1.0, 1.0, 4, 2), Axis(0.5, 0.5, 5, 2), method, None)
        assert part == (slice(1, 3), slice(0, 3))
        assert valid.astype(int).tolist() == [[0] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0] * 5]
        assert (values[part] == 5).all()


@pytest.mark.parametrize("method", METHODS_AT_POSITIONS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_places_on_a_parallel_grid_have_the_values_of_that_grid(method, dtype):
    pixels, nodata = image(dtype, holes=False), NODATA[dtype]
    source = Source(values=pixels, valid=pixels != nodata, first_row=0, first_col=0)
    rows, cols = Axis(3.3, 1.7, 30, HEIGHT), Axis(-2.1, 0.8, 40, WIDTH)
    wanted, wanted_valid, part = resampled(source, rows, cols, method, nodata)
    where = np.meshgrid((np.arange(30) + 0.5) * 1.7 + 3.3, (np.arange(40) + 0.5) * 0.8 - 2.1, indexing="ij")
    values, valid, inside = values_at(source, where, (1.7, 0.8), (HEIGHT, WIDTH), method=method, nodata=nodata)
    np.testing.assert_allclose(values[part].astype(np.float64), wanted[part].astype(np.float64), atol=1, rtol=1e-4)
    np.testing.assert_array_equal(valid, wanted_valid)
    assert inside[part].all()
    assert inside.sum() == inside[part].size


def test_places_that_are_nowhere_are_not_inside():
    source = Source(values=np.full((2, 2), 5, np.uint8), valid=np.ones((2, 2), np.bool_), first_row=0, first_col=0)
    where = (np.array([0.5, np.nan, np.inf, 2.0]), np.array([1.5, 0.5, 0.5, 0.5]))
    values, valid, inside = values_at(source, where, (1.0, 1.0), (2, 2), method="bilinear", nodata=None)
    assert inside.tolist() == valid.tolist() == [True, False, False, False]
    assert values[0] == 5
