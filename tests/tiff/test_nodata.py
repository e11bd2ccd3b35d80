"""Does a text of GDAL_NODATA mask the pixels that GDAL masks?"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

import polars_rasteret as pr
from polars_rasteret.assemble.values import masking_value, validity
from polars_rasteret.tiff.tile_table import unpack
from tests.support.gdal_release import skip_newer
from tests.support.tiff_driver import Driver
from tests.support.tiff_writer import ASCII, LONG, SHORT, tiff_of

DTYPES = [f"{kind}{size}" for kind in "ui" for size in (1, 2, 4, 8)] + ["f4", "f8"]
FORMATS = {"u": 1, "i": 2, "f": 3}
TEXTS = [
    *("-3.4e+38", "-3.40282e+38", "-3.4028234663852886e+38", "3.4028235e+38", "3.4028236e38", "3.5e38", "-1.79e308"),
    *("1.70141e+38", "1e38", "-1e31", "1e30", "1.7976931348623157e308", "-1e300", "1e400", "1e-310", "1e-38", "1e-45"),
    *(
        "-9999",
        "-32768.0",
        "12.7",
        "-12.7",
        "-0.5",
        "0",
        "-0",
        "255.5",
        "256",
        "65535",
        "1e2",
        "1e10",
        ".5",
        "5.",
        "+7",
    ),
    *("9223372036854775807", "18446744073709551615", "9007199254740993", "9223372036854775808", "-9223372036854775809"),
    *(
        "-1",
        "-18446744073709551615",
        "123456789012345678901234567890",
        "-123456789012345678901234567890",
        "000000000007",
    ),
    *("nan", "NaN", "+nan", "-nan", "NAN", "nan ", " nan", "inf", "-inf", "INF", "Infinity", "infinity", "-Infinity"),
    *("1.#QNAN", "-1.#IND", "-1.#INF", "1.#INF00", "1.#IND", "1.#SNAN", "+1.#INF", "-1.#QNAN0"),
    *("1,5", "-12,75", "1,500.5", "1,5e2", "12 m", "12abc", "7;8", "1e", "1e+", "0x10", "1_000", "--5", "+-5", "- 5"),
    *("none", "null", "abc", ".", ",", " 7 ", "\t7\n", "\v7", "\u0663", ""),
]


def file_of(pixels: np.ndarray, text: str) -> bytes:
    tags = {256: (LONG, [len(pixels)]), 257: (LONG, [1]), 258: (SHORT, [8 * pixels.itemsize]), 259: (SHORT, [1])}
    tags |= {262: (SHORT, [1]), 277: (SHORT, [1]), 278: (LONG, [1]), 339: (SHORT, [FORMATS[pixels.dtype.kind]])}
    return tiff_of([pixels.tobytes()], tags | {42113: (ASCII, text.encode() + b"\0")})


def near(text: str, dtype: np.dtype) -> np.ndarray:
    """Pixels equal to what GDAL reads, their neighbours as far as its tolerance and beyond, and the limits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(file_of(np.zeros(1, dtype), text)) as memory, memory.open() as file:
            nodata = file.nodata
    found = [0, 1, 7, 12, 13, 15, 100]
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            centre = dtype.type(0 if nodata is None else nodata)
            edges = np.array([centre, limits.max - centre, limits.max + centre, -centre, 1e38, 1.7e38], dtype)
            steps = np.array([0, 1, -1, 2, 3, 4, 5, -5, 7, 8, 9, -9], dtype) * (dtype.type(np.finfo("f4").eps) / 2)
            around = (edges[:, None] * (1 + steps)).ravel()
            found = np.concatenate([around, np.nextafter(around, dtype.type(0)), np.array(found, dtype)])
            found = np.concatenate([found, np.array([limits.max, limits.tiny, np.nan, np.inf], dtype)])
            return np.concatenate([found, -found])
    limits = np.iinfo(dtype)
    centre = 0 if nodata is None or not np.isfinite(nodata) else int(nodata)
    found += [limits.min, limits.max, limits.max // 2, limits.max // 2 + 1, limits.max - 6, 2**53 + 1]
    found += [centre + step for step in (-1, 0, 1)]
    return np.array([value for value in found if limits.min <= value <= limits.max], dtype)


def assert_masked_as_in_gdal(text: str, dtype: np.dtype) -> None:
    pixels = near(text, dtype)
    data = file_of(pixels, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(data) as memory, memory.open() as file:
            expected = file.read_masks(1)[0] != 0
    if dtype.kind == "f":
        expected &= ~np.isnan(pixels)  # here NaN never is a value
    tiles = unpack(Driver(data).parse().band_tiles(0, file_size=len(data), etag=None, last_modified=None))
    valid = np.empty(len(pixels), np.bool_)
    validity(pixels, masking_value(tiles, None), valid)
    wrong = valid != expected
    assert not wrong.any(), (text, dtype, tiles.nodata, pixels[wrong], expected[wrong])


@pytest.mark.parametrize("dtype", DTYPES)
def test_pixels_are_masked_as_in_gdal(dtype):
    skip_newer("nodata texts that the dtype cannot hold")
    for text in TEXTS:
        assert_masked_as_in_gdal(text, np.dtype(dtype))


numbers = st.one_of(
    st.integers(-(2**66), 2**66).map(str),
    st.integers(-300, 70_000).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.builds("{:.{}e}".format, st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 9)),
    st.builds("{:.{}f}".format, st.floats(-1e6, 1e6), st.integers(0, 9)),
)
tails = st.sampled_from(["", "", "", " ", "x", ",5", ".5", "e1", " 12", "\n", "f"])
drawn_texts = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["", "", " ", "+", "\t"]), numbers, tails),
    st.builds(lambda text: text.replace(".", ","), numbers),
    st.text("0123456789+-.,e# INFinfaQ1", max_size=8),
)


@settings(max_examples=50, deadline=None)
@given(drawn_texts, st.sampled_from(DTYPES))
def test_pixels_are_masked_as_in_gdal_for_drawn_texts(text, dtype):
    assert_masked_as_in_gdal(text, np.dtype(dtype))


@pytest.mark.slow
@settings(max_examples=5_000, deadline=None)
@given(drawn_texts, st.sampled_from(DTYPES))
def test_pixels_are_masked_as_in_gdal_for_thousands_of_texts(text, dtype):
    assert_masked_as_in_gdal(text, np.dtype(dtype))


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize(("text", "dtype"), [("-3.4e+38", "f4"), ("-9999.0001", "f8"), ("12,7 m", "u1"), ("-1", "u8")])
def test_values_are_null_where_gdal_masks(tmp_path, text, dtype, engine):
    pixels = near(text, np.dtype(dtype))
    path = tmp_path / "one.tif"
    path.write_bytes(file_of(pixels, text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            expected = (file.read_masks(1)[0] != 0) & (pixels == pixels)
    assert not expected.all()
    scenes = pr.build_from_files([str(path)], bands=["b"])
    window = pl.col("b").raster.read_window(window=(0, 1, 0, len(pixels)), shape=(1, len(pixels)), masked=True)
    (row,) = scenes.select(window).collect(engine=engine).to_series()
    assert [value is not None for value in row.to_list()[0]] == expected.tolist()
