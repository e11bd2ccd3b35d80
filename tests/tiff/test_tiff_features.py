"""Do rare features of TIFF read as rasterio reads them?"""

from __future__ import annotations

import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from polars_rasteret.errors import FileFormatError
from tests.support import tiff_writer as tw
from tests.support.tiff_driver import Driver, Raster
from tests.support.tiff_writer import tiff_of

CODECS = {
    1: bytes,
    5: lambda raw: bytes(imagecodecs.lzw_encode(raw)),
    8: zlib.compress,
    32773: lambda raw: bytes(imagecodecs.packbits_encode(raw)),
    50000: lambda raw: bytes(imagecodecs.zstd_encode(raw)),
}


def grid_tags(width, height, bits, samples, compression, photometric=1, **more):
    """Tags of an image of strips or tiles; `more` by name."""
    tags = {
        256: (tw.LONG, [width]),
        257: (tw.LONG, [height]),
        258: (tw.SHORT, [bits] * samples),
        259: (tw.SHORT, [compression]),
        262: (tw.SHORT, [photometric]),
        277: (tw.SHORT, [samples]),
    }
    if "rows" in more:
        tags[278] = (tw.LONG, [more["rows"]])
    else:
        tags[322], tags[323] = (tw.SHORT, [more["tile"][0]]), (tw.SHORT, [more["tile"][1]])
    return tags


def gdal_pixels(data: bytes) -> np.ndarray:
    with warnings.catch_warnings(), rasterio.MemoryFile(data) as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open() as file:
            return file.read()


def assert_as_gdal(data: bytes) -> np.ndarray:
    """Compare all pixels and a window of each band with rasterio; give the pixels."""
    expected = gdal_pixels(data)
    tiff = Driver(data).parse()
    assert (tiff.n_bands, tiff.height, tiff.width) == expected.shape
    assert tiff.dtype == expected.dtype
    is_float = expected.dtype.kind == "f"
    bottom, right = expected.shape[1] // 2, expected.shape[2] // 3
    for band in range(tiff.n_bands):
        raster = Raster(data, tiff, band)
        assert np.array_equal(raster.whole(), expected[band], equal_nan=is_float)
        part = raster.window(bottom, right, expected.shape[1] - bottom, expected.shape[2] - right)
        assert np.array_equal(part, expected[band, bottom:, right:], equal_nan=is_float)
        point = raster.window(bottom, right, 1, 1)
        assert np.array_equal(point[0, 0], expected[band, bottom, right], equal_nan=is_float)
    return expected


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("sharing", [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)])
@pytest.mark.parametrize("pieces", ["one strip", "strips", "tiles"])
def test_ycbcr_outside_jpeg(compression, sharing, pieces):
    across, down = sharing
    width, height = 43, 57
    block = {"one strip": (width, height), "strips": (width, 16), "tiles": (32, 16)}[pieces]
    layout = {"tile": block} if pieces == "tiles" else {"rows": block[1]}
    tags = grid_tags(width, height, 8, 3, compression, 6, **layout)
    tags[530] = (tw.SHORT, list(sharing))
    tags[532] = (tw.RATIONAL, [0, 255, 128, 255, 128, 255])
    rng = np.random.default_rng(across * 8 + down)
    n_tiles = -(-width // block[0]) * -(-height // block[1])
    raw: list[bytes] = []
    for piece in range(n_tiles):
        rows = block[1] if pieces == "tiles" else min(block[1], height - piece * block[1])
        n_blocks = -(-block[0] // across) * -(-rows // down)
        raw.append(rng.integers(0, 256, n_blocks * (across * down + 2), np.uint8).tobytes())
    data = tiff_of([CODECS[compression](piece) for piece in raw], tags, tiled=pieces == "tiles")
    if compression == 1 and sharing != (1, 1):
        with pytest.raises(FileFormatError, match="YCbCr colours"):
            Driver(data).parse()
    elif compression == 1 and pieces == "tiles":  # which libtiff refuses
        tags[259] = (tw.SHORT, [8])
        expected = gdal_pixels(tiff_of([zlib.compress(piece) for piece in raw], tags, tiled=True))
        tiff = Driver(data).parse()
        assert np.array_equal([Raster(data, tiff, band).whole() for band in range(3)], expected)
    else:
        assert_as_gdal(data)


def test_unusual_ycbcr_is_refused_by_name():
    tags = grid_tags(8, 8, 8, 3, 8, 6, rows=8)
    raw = [zlib.compress(bytes(8 * 8 * 3))]
    usual = {530: (tw.SHORT, [1, 1]), 532: (tw.RATIONAL, [0, 255, 128, 255, 128, 255])}
    assert_as_gdal(tiff_of(raw, tags | usual))
    for odd in (
        {529: (tw.RATIONAL, [0.2126, 0.7152, 0.0722])},
        {532: (tw.RATIONAL, [15, 235, 128, 240, 128, 240])},
        {530: (tw.SHORT, [4, 4])},
        {317: (tw.SHORT, [2])},
        {284: (tw.SHORT, [2])},
        {258: (tw.SHORT, [16, 16, 16])},
    ):
        with pytest.raises(FileFormatError, match=r"YCbCr colours .* not supported"):
            Driver(tiff_of(raw, tags | usual | odd)).parse()


def test_cmyk():
    inks = np.random.default_rng(1).integers(0, 256, (4, 4, 4)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    space = imagecodecs.JPEG8.CS
    piece = imagecodecs.jpeg8_encode(inks, level=95, colorspace=space.CMYK, outcolorspace=space.CMYK)
    tags = grid_tags(32, 32, 8, 4, 7, 5, rows=32)
    assert assert_as_gdal(tiff_of([bytes(piece)], tags))[3].min() == 255
    assert assert_as_gdal(tiff_of([bytes(piece)], tags | {332: (tw.SHORT, [2])}))[3].min() < 255  # other inks
    for compression, encode in CODECS.items():
        its_tags = tags | {259: (tw.SHORT, [compression])}
        assert assert_as_gdal(tiff_of([encode(inks.tobytes())], its_tags))[3].min() == 255
        planes = [encode(inks[..., index].tobytes()) for index in range(4)]
        with pytest.raises(FileFormatError, match=r"CMYK colours .* with 4 samples in 4 plane"):
            Driver(tiff_of(planes, its_tags | {284: (tw.SHORT, [2])})).parse()


@pytest.mark.parametrize(("bits", "n"), [(8, 3), (16, 3), (16, 4), (16, 5)])
def test_other_inks_are_numbers(bits, n):
    raw = np.random.default_rng(0).integers(0, 256, 32 * 32 * n * bits // 8, np.uint8).tobytes()
    assert_as_gdal(tiff_of([raw], grid_tags(32, 32, bits, n, 1, 5, rows=32)))


@pytest.mark.parametrize("bits", [3, 7, 10, 12, 15, 24])
@pytest.mark.parametrize("byte_order", "<>")
def test_signed_samples_that_do_not_fill_bytes_are_unsigned_as_in_gdal(bits, byte_order):
    row_bytes = -(-19 * bits // 8)
    raw = np.random.default_rng(bits).integers(0, 256, 11 * row_bytes, np.uint8).tobytes()
    tags = grid_tags(19, 11, bits, 1, 1, rows=11) | {339: (tw.SHORT, [2])}
    assert_as_gdal(tiff_of([raw], tags, byte_order=byte_order))


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("bits", [1, 2, 8, 12, 16, 32])
@pytest.mark.parametrize("byte_order", "<>")
def test_fill_order_2_turns_the_bits_of_every_stored_byte(compression, bits, byte_order):
    row_bytes = -(-37 * bits // 8)
    raw = np.random.default_rng(bits).integers(0, 256, (29, row_bytes)).astype(np.uint8)
    stored = [CODECS[compression](raw[at : at + 10].tobytes()) for at in range(0, 29, 10)]
    turned = [bytes(int(f"{byte:08b}"[::-1], 2) for byte in piece) for piece in stored]
    tags = grid_tags(37, 29, bits, 1, compression, rows=10)
    usual = assert_as_gdal(tiff_of(stored, tags, byte_order=byte_order))
    found = assert_as_gdal(tiff_of(turned, tags | {266: (tw.SHORT, [2])}, byte_order=byte_order))
    assert np.array_equal(usual, found)


def test_fill_order_2_with_a_predictor():
    pixels = np.random.default_rng(0).integers(0, 1000, (20, 30)).astype(np.uint16)
    stored = zlib.compress(np.diff(pixels, axis=1, prepend=np.uint16(0)).tobytes())
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in stored)
    tags = grid_tags(30, 20, 16, 1, 8, rows=20) | {266: (tw.SHORT, [2]), 317: (tw.SHORT, [2])}
    assert np.array_equal(assert_as_gdal(tiff_of([turned], tags))[0], pixels)


def test_fill_order_2_does_not_touch_jpeg():
    pixels = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)
    piece = bytes(imagecodecs.jpeg8_encode(pixels, level=95))
    assert_as_gdal(tiff_of([piece], grid_tags(32, 32, 8, 1, 7, rows=32) | {266: (tw.SHORT, [2])}))


INTEGERS = (tw.BYTE, tw.SHORT, tw.LONG, tw.SBYTE, tw.SSHORT, tw.SLONG, tw.LONG8, tw.SLONG8)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("kind", INTEGERS)
def test_whole_numbers_of_any_type(kind, byte_order, is_big):
    raw = np.random.default_rng(0).integers(0, 256, (6, 11), np.uint8)
    tags = grid_tags(11, 6, 8, 1, 1, rows=2)
    tags = {tag: (kind, numbers) for tag, (_, numbers) in tags.items()}
    pieces = [raw[at : at + 2].tobytes() for at in (0, 2, 4)]
    data = tiff_of(pieces, tags, byte_order=byte_order, is_big=is_big, offset_type=kind, count_type=kind)
    tiff = Driver(data).parse()
    assert np.array_equal(Raster(data, tiff, 0).whole(), raw)


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("offset_type", [tw.SHORT, tw.LONG, tw.LONG8, tw.IFD, tw.IFD8])
@pytest.mark.parametrize("count_type", [tw.BYTE, tw.SHORT, tw.LONG, tw.LONG8, None])
@pytest.mark.parametrize("compression", [1, 5])
def test_tile_tables_of_any_type_or_missing(offset_type, count_type, is_big, compression):
    raw = np.random.default_rng(0).integers(0, 9, (6, 11), np.uint8)
    pieces = [CODECS[compression](raw[at : at + 2].tobytes()) for at in (0, 2, 4)]
    tags = grid_tags(11, 6, 8, 1, compression, rows=2)
    data = tiff_of(pieces, tags, is_big=is_big, offset_type=offset_type, count_type=count_type)
    assert np.array_equal(Raster(data, Driver(data).parse(), 0).whole(), raw)
    # libtiff refuses the other types, and missing counts unless there is one strip.
    if offset_type not in {tw.IFD, tw.IFD8} and count_type not in {tw.BYTE, None}:
        assert np.array_equal(gdal_pixels(data)[0], raw)


def test_a_transform_in_floats_of_either_width():
    raw = bytes(12)
    for kind in (tw.FLOAT, tw.DOUBLE):  # libtiff reads either as doubles
        tags = grid_tags(4, 3, 8, 1, 1, rows=3)
        tags[33550], tags[33922] = (kind, [0.5, 0.25, 0]), (kind, [0, 0, 0, 10, 20, 0])
        assert Driver(tiff_of([raw], tags)).parse().transform == (0.5, 0, 10, 0, -0.25, 20)
