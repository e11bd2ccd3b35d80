"""Does every photometric interpretation with every sample format read as GDAL reads it, or is it refused by name?"""

from __future__ import annotations

import itertools
import logging
import re
import warnings

import numpy as np
import pytest
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import MemoryFile

from polars_rasteret.errors import FileFormatError
from tests.support.gdal_release import same_dtype
from tests.support.tiff_driver import Driver, Raster
from tests.support.tiff_writer import LONG, SHORT, tiff_of

PHOTOMETRICS = {
    0: "white is zero",
    1: "black is zero",
    2: "RGB",
    3: "palette",
    4: "transparency mask",
    5: "separated",
    6: "YCbCr",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
SIZES = {1: (8, 16, 32, 64), 2: (8, 16, 32, 64), 3: (16, 32, 64), 4: (8, 16, 32)}
WIDTH = HEIGHT = 16


def file_of(photometric: int, sample_format: int, bits: int, n_samples: int, planar: int) -> bytes:
    kind = KINDS[sample_format]
    rng = np.random.default_rng(photometric + 7 * bits + n_samples)
    shape = (HEIGHT, WIDTH, n_samples) if planar == 1 else (n_samples, HEIGHT, WIDTH)
    if kind == "f":
        pixels = rng.normal(size=shape).astype(f"f{bits // 8}")
    else:
        pixels = rng.integers(0, 256, (*shape, bits // 8), dtype=np.uint8).view(f"{kind}{bits // 8}")[..., 0]
    tags = {256: (LONG, [WIDTH]), 257: (LONG, [HEIGHT]), 258: (SHORT, [bits] * n_samples), 259: (SHORT, [1])}
    tags |= {262: (SHORT, [photometric]), 277: (SHORT, [n_samples]), 278: (LONG, [HEIGHT]), 284: (SHORT, [planar])}
    tags |= {339: (SHORT, [sample_format] * n_samples)}
    usual = {2: 3, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3, 32845: 3}.get(photometric, 1)
    if n_samples > usual:
        tags[338] = (SHORT, [0] * (n_samples - usual))
    if photometric == 3:
        tags[320] = (SHORT, list(range(3 * 256)) if bits == 8 else [0] * 3 * (1 << min(bits, 16)))
    if photometric == 6:
        tags[530] = (SHORT, [1, 1])
    pieces = [pixels.tobytes()] if planar == 1 else [plane.tobytes() for plane in pixels]
    return tiff_of(pieces, tags)


def of_gdal(data: bytes) -> np.ndarray | None:
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with MemoryFile(data) as memory, memory.open() as file:
                return file.read()
        except RasterioIOError:
            return None


def of_us(data: bytes) -> np.ndarray | str:
    try:
        tiff = Driver(data).parse("a.tif")
        return np.stack([Raster(data, tiff, band).whole() for band in range(tiff.n_bands)])
    except FileFormatError as error:
        return str(error)


@pytest.mark.parametrize("photometric", PHOTOMETRICS, ids=PHOTOMETRICS.get)
def test_pixels_are_those_of_gdal_or_refused_by_name(photometric):
    differing, read = {}, 0
    for sample_format, n_samples, planar in itertools.product(KINDS, (1, 3, 4, 5), (1, 2)):
        for bits in SIZES[sample_format]:
            if planar == 2 and n_samples == 1:
                continue
            data = file_of(photometric, sample_format, bits, n_samples, planar)
            ours, theirs = of_us(data), of_gdal(data)
            if theirs is not None:
                theirs = theirs.astype(same_dtype(theirs.dtype), copy=False)
            read += not isinstance(ours, str)
            case = (sample_format, bits, n_samples, planar)
            if isinstance(ours, str):
                if not re.search(r" uses .+, which is not supported", ours):
                    differing[case] = ours
            elif theirs is None:
                differing[case] = f"GDAL reads nothing, we {ours.dtype} {ours.shape}"
            elif ours.dtype != theirs.dtype or not np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"):
                differing[case] = f"{ours.dtype} {ours.shape}, GDAL {theirs.dtype} {theirs.shape}"
    assert differing == {}
    assert read or photometric in {32844, 32845}


@pytest.mark.parametrize("sample_format", [1, 2, 4])
def test_four_inks_of_8_bits_become_red_green_blue_and_alpha(sample_format):
    data = file_of(5, sample_format, 8, 4, 1)
    ours = of_us(data)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, of_gdal(data))
