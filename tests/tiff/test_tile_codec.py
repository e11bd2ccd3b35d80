"""Does decoding a part of a tile give the same pixels as were encoded?"""

from __future__ import annotations

import contextlib
import dataclasses
import zlib

import imagecodecs
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs import inflate
from polars_rasteret.tiff.codecs import pictures as picture_codecs
from polars_rasteret.tiff.codecs.tile_codec import Scratch, TileCodec
from tests.support.tiff_driver import Driver, Raster

ENCODERS = {
    1: bytes,
    5: lambda raw: bytes(imagecodecs.lzw_encode(raw)),
    8: zlib.compress,
    32946: lambda raw: zlib.compress(raw, 1),
    32773: lambda raw: bytes(imagecodecs.packbits_encode(raw)),
    34925: lambda raw: bytes(imagecodecs.lzma_encode(raw)),
    50000: lambda raw: bytes(imagecodecs.zstd_encode(raw, level=3)),
}
PREDICTED = (5, 8, 32946, 34925, 50000)
DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
CASES = [
    (compression, predictor, dtype)
    for compression in ENCODERS
    for dtype in DTYPES
    for predictor in (1, 2, 3)
    if (predictor == 1 or compression in PREDICTED) and (predictor != 3 or dtype[0] == "f")
]


def encode(pixels: np.ndarray, compression: int, predictor: int, byte_order: str) -> bytes:
    """Encode (rows, columns, samples) as TIFF 6.0 section 14 and technical note 3 say, with nothing but NumPy."""
    rows, columns, samples = pixels.shape
    size = pixels.dtype.itemsize
    if predictor == 2:
        words = pixels.view(f"u{size}")
        raw = np.concatenate([words[:, :1], words[:, 1:] - words[:, :-1]], axis=1).astype(f"{byte_order}u{size}")
    elif predictor == 3:
        big = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(rows, columns * samples)
        planes = big.view(np.uint8).reshape(rows, columns * samples, size).transpose(0, 2, 1).reshape(rows, -1)
        raw = planes.copy()
        raw[:, samples:] -= planes[:, :-samples]
    else:
        raw = pixels.astype(pixels.dtype.newbyteorder(byte_order))
    return ENCODERS[compression](np.ascontiguousarray(raw).tobytes())


def make(seed: int, dtype: str, shape: tuple[int, int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        return (np.cumsum(rng.normal(size=shape), axis=1) * 100).astype(dtype)
    info = np.iinfo(dtype)
    smooth = np.cumsum(rng.integers(-3, 4, shape), axis=1) + rng.integers(0, 100)
    noisy = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.9, smooth.astype(dtype), noisy)


def codec_of(compression, predictor, dtype, byte_order, shape):
    dtype = np.dtype(dtype)
    return TileCodec(
        stored=dtype.newbyteorder(byte_order),
        dtype=np.dtype(np.float32) if dtype == np.float16 else dtype,
        compression=compression,
        predictor=predictor,
        codec_parameter=0,
        samples=shape[2],
        tile_width=shape[1],
        tile_height=shape[0],
    )


@pytest.mark.parametrize(("compression", "predictor", "dtype"), CASES)
@pytest.mark.parametrize("byte_order", "<>")
def test_any_part_of_a_tile_is_what_was_encoded(compression, predictor, dtype, byte_order):
    scratch = Scratch()
    for samples, shape in ((1, (67, 130, 1)), (3, (31, 33, 3)), (7, (16, 16, 7))):
        pixels = make(samples, dtype, shape)
        data = memoryview(encode(pixels, compression, predictor, byte_order))
        codec = codec_of(compression, predictor, dtype, byte_order, shape)
        height, width = shape[:2]
        parts = [
            (slice(0, height), width),
            (slice(0, 1), 1),
            (slice(0, height // 3), width // 2),
            (slice(height - 1, height), width),
            (slice(5, 5), width),
            (np.array([0, 3, 9]), 11),
            (np.array([height - 1]), width),
            (np.zeros(0, np.intp), 4),
        ]
        for rows, col_stop in parts:
            found = codec.decode(data, scratch, rows=rows, col_stop=col_stop, tile_rows=height)
            assert found.dtype == codec.dtype
            assert found.dtype.isnative
            assert found.shape[1] >= col_stop
            assert found.shape[2] == samples
            assert np.array_equal(found[:, :col_stop], pixels[rows, :col_stop])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CASES), st.sampled_from("<>"), st.integers(0, 1000), st.data())
def test_rows_and_columns_of_a_large_tile(case, byte_order, seed, data):
    compression, predictor, dtype = case
    shape = (
        data.draw(st.integers(1, 300)),
        data.draw(st.integers(1, 300)),
        data.draw(st.sampled_from([1, 1, 1, 2, 5])),
    )
    pixels = make(seed, dtype, shape)
    encoded = encode(pixels, compression, predictor, byte_order)
    codec = codec_of(compression, predictor, dtype, byte_order, shape)
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, shape[0] - 1), min_size=1, max_size=9))))
    col_stop = data.draw(st.integers(1, shape[1]))
    found = codec.decode(encoded, Scratch(), rows=rows, col_stop=col_stop, tile_rows=shape[0])
    assert np.array_equal(found[:, :col_stop], pixels[rows, :col_stop])


@pytest.mark.parametrize("compression", [8, 50000])
def test_without_the_undocumented_early_stop_parts_are_the_same(compression, monkeypatch):
    assert inflate._stops_early(compression), (
        "this release of imagecodecs stops differently: prefix decoding is slow now"
    )
    pixels = make(1, "u2", (300, 500, 1))
    data = encode(pixels, compression, 2, "<")
    codec = codec_of(compression, 2, "u2", "<", pixels.shape)
    monkeypatch.setattr(inflate, "_stops_early", lambda _: False)
    for rows in (slice(0, 10), slice(290, 300), slice(0, 300)):
        found = codec.decode(data, Scratch(), rows=rows, col_stop=500, tile_rows=300)
        assert np.array_equal(found, pixels[rows])


@pytest.mark.parametrize("compression", ENCODERS)
def test_a_tile_that_holds_more_than_its_rows_is_read(compression):
    pixels = make(1, "u2", (64, 64, 1))
    codec = codec_of(compression, 1, "u2", "<", (32, 64, 1))
    found = codec.decode(encode(pixels, compression, 1, "<"), Scratch(), rows=slice(0, 32), col_stop=64, tile_rows=32)
    assert np.array_equal(found, pixels[:32])


@pytest.mark.parametrize("compression", ENCODERS)
def test_a_tile_that_holds_less_than_is_wanted_is_refused(compression):
    pixels = make(1, "u2", (32, 64, 1))
    codec = codec_of(compression, 1, "u2", "<", (64, 64, 1))
    data = encode(pixels, compression, 1, "<")
    found = codec.decode(data, Scratch(), rows=slice(0, 32), col_stop=64, tile_rows=64)
    assert np.array_equal(found, pixels)
    with pytest.raises(FileFormatError, match="holds 4096 bytes of pixels; expected at least 4224"):
        codec.decode(data, Scratch(), rows=slice(0, 33), col_stop=64, tile_rows=64)


@pytest.mark.parametrize("compression", ENCODERS)
def test_empty_and_truncated_and_random_data_are_refused_or_right(compression):
    pixels = make(1, "u2", (64, 64, 1))
    codec = codec_of(compression, 1, "u2", "<", (64, 64, 1))
    data = encode(pixels, compression, 1, "<")
    rng = np.random.default_rng(0)
    for broken in (b"", b"\0", data[: len(data) // 2], data[:-1], rng.bytes(500)):
        try:
            found = codec.decode(broken, Scratch(), rows=slice(0, 64), col_stop=64, tile_rows=64)
        except FileFormatError as error:
            message = str(error)
            assert message.startswith("a tile")
        else:
            # What is missing is the check sum at the end, which not every decoder waits for.
            assert broken == data[:-1]
            assert np.array_equal(found, pixels)


@pytest.mark.parametrize("compression", [5, 8, 32773, 34925, 50000])
def test_a_decompression_bomb_takes_no_more_memory_than_the_tile(compression):
    # PackBits by hand: imagecodecs takes minutes to encode this.
    data = b"\x81\0" * (1 << 17) if compression == 32773 else ENCODERS[compression](bytes(1 << 24))
    scratch = Scratch()
    codec = codec_of(compression, 1, "u1", "<", (16, 16, 1))
    found = codec.decode(data, scratch, rows=slice(0, 16), col_stop=16, tile_rows=16)
    assert not found.any()
    assert sum(len(held) for held in scratch._buffers.values()) <= 300_000 + 64 * len(data) * (compression == 32773)


def lzw_stream(codes: list[int]) -> bytes:
    """Write LZW codes with the widths of TIFF 6.0 section 13."""
    bits, n = "", 0
    for code in codes:
        bits += format(code, f"0{9 + (n >= 254) + (n >= 766) + (n >= 1790)}b")
        n = 0 if code == 256 else n + 1
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


@pytest.mark.parametrize("before", [0, 1, 60, 70, 253, 254, 255, 800, 2000, 3837])
@pytest.mark.parametrize("clears", [1, 2])
def test_an_lzw_clear_code_must_be_followed_by_a_literal(before, clears):
    codec = codec_of(5, 1, "u1", "<", (64, 64, 1))
    start = [256, *([65] * before), *([256] * clears)]
    for bad in (258, 300, 511):
        # imagecodecs reads foreign memory here, and may end the process.
        with pytest.raises(FileFormatError, match="Clear"):
            codec.decode(
                lzw_stream([*start, bad, 65, 66, 257]), Scratch(), rows=slice(0, 64), col_stop=64, tile_rows=64
            )
    good = lzw_stream([*start, *([66] * 200), 257])
    found = codec.decode(good, Scratch(), rows=slice(0, 1), col_stop=64, tile_rows=64)
    assert found.ravel().tolist() == [*[65] * before, *[66] * 200][:64]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 20))
def test_damaged_lzw_ends_in_an_error_or_bytes(seed, n_changes):
    rng = np.random.default_rng(seed)
    data = bytearray(imagecodecs.lzw_encode(rng.integers(0, 256, 20_000).astype(np.uint8).tobytes()))
    for at in rng.integers(2, len(data), n_changes):
        data[at] = rng.integers(0, 256)
    codec = codec_of(5, 1, "u1", "<", (100, 200, 1))
    try:
        assert codec.decode(data, Scratch(), rows=slice(0, 100), col_stop=200, tile_rows=100).shape == (100, 200, 1)
    except FileFormatError as error:
        assert "a tile" in str(error)  # noqa: PT017


def test_rows_beyond_the_tile_are_a_mistake_of_the_caller():
    codec = codec_of(1, 1, "u1", "<", (4, 4, 1))
    with pytest.raises(IndexError):
        codec.decode(bytes(16), Scratch(), rows=np.array([4]), col_stop=4, tile_rows=4)


def _write(path, pixels, **options):
    bands, height, width = pixels.shape
    transform = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype=pixels.dtype,
        crs="EPSG:32632", transform=transform, **options,
    ) as file:  # fmt: skip
        file.write(pixels)


@pytest.mark.parametrize("compress", ["LERC", "LERC_DEFLATE", "LERC_ZSTD"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("tiled", [True, False])
def test_lerc_reads_as_gdal_reads_it(tmp_path, compress, interleave, dtype, tiled):
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {"blockysize": 50}
    for bands in (1, 2, 3, 4):
        pixels = make(bands, dtype, (100, 90, bands)).transpose(2, 0, 1).copy()
        for with_nan in (False, True) if dtype[0] == "f" else (False,):
            if with_nan:
                pixels[:, 20:40, 10:70] = np.nan
            path = tmp_path / f"{bands}{with_nan}.tif"
            _write(path, pixels, compress=compress, interleave=interleave, **layout)
            data = path.read_bytes()
            tiff = Driver(data).parse()
            with rasterio.open(path) as file:
                expected = file.read()
            for band in range(bands):
                raster = Raster(data, tiff, band)
                assert np.array_equal(raster.whole(), expected[band], equal_nan=dtype[0] == "f")
                assert np.array_equal(
                    raster.window(30, 20, 9, 11), expected[band, 30:39, 20:31], equal_nan=dtype[0] == "f"
                )


def test_lerc_that_lies_about_its_size_is_refused(tmp_path):
    path = tmp_path / "lerc.tif"
    _write(
        path, make(0, "u2", (64, 64, 1)).transpose(2, 0, 1), compress="LERC", tiled=True, blockxsize=64, blockysize=64
    )
    data = bytearray(path.read_bytes())
    tiff = Driver(bytes(data)).parse()
    start = int(tiff.images[0].byte_start[0, 0])
    for at in (start + 14, start + 18, start + 22):
        lying = data.copy()
        lying[at : at + 4] = b"\xff\xff\xff\x7f"
        with pytest.raises(FileFormatError, match="LERC"):
            Raster(bytes(lying), tiff, 0).whole()


PICTURES = {
    7: lambda pixels: imagecodecs.jpeg8_encode(pixels, level=100, colorspace="RGB", outcolorspace="RGB"),
    34712: lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K"),
    34933: imagecodecs.png_encode,
    50001: lambda pixels: imagecodecs.webp_encode(pixels, lossless=True),
    50002: lambda pixels: imagecodecs.jpegxl_encode(pixels, lossless=True),
}


def picture_codec(compression: int, rows: int, columns: int) -> TileCodec:
    return TileCodec(
        stored=np.dtype(np.uint8),
        dtype=np.dtype(np.uint8),
        compression=compression,
        predictor=1,
        codec_parameter=0,
        samples=3,
        tile_width=columns,
        tile_height=rows,
    )


@pytest.mark.parametrize("compression", PICTURES)
@pytest.mark.parametrize("shape", [(64, 64), (48, 31), (200, 300), (9, 1000)])
def test_a_picture_is_read_and_one_of_another_size_is_refused_from_its_head(compression, shape):
    down, across = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([down + across, down * 2, across], axis=-1).astype(np.uint8)
    data = bytes(PICTURES[compression](pixels))
    part = picture_codec(compression, *shape).decode(data, Scratch(), rows=slice(3, 7), col_stop=20, tile_rows=shape[0])
    tolerance = 4 if compression == 7 else 0
    assert part.shape == (4, 20, 3)
    assert np.abs(part.astype(int) - pixels[3:7, :20]).max() <= tolerance
    for rows, columns in [(shape[0] - 1, shape[1]), (shape[0], shape[1] + 1), (shape[0] + 1, shape[1])]:
        with pytest.raises(FileFormatError, match="picture of"):
            picture_codec(compression, rows, columns).decode(
                data, Scratch(), rows=slice(0, 1), col_stop=1, tile_rows=rows
            )


def test_a_boxed_picture_is_measured_by_its_codestream_and_not_by_what_looks_like_one():
    pixels = np.zeros((20, 30, 3), np.uint8)
    boxed = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="JP2"))
    other = bytes(imagecodecs.jpeg2k_encode(pixels[:10], level=0, codecformat="J2K"))
    at = 12 + int.from_bytes(boxed[12:16], "big")  # behind the signature and ftyp
    decoy = boxed[:at] + (8 + len(other)).to_bytes(4, "big") + b"free" + other + boxed[at:]
    for data in (boxed, decoy):
        got = picture_codec(34712, 20, 30).decode(data, Scratch(), rows=slice(0, 20), col_stop=30, tile_rows=20)
        assert not got.any()
        with pytest.raises(FileFormatError, match="picture of"):
            picture_codec(34712, 10, 30).decode(data, Scratch(), rows=slice(0, 10), col_stop=30, tile_rows=10)
    container = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl \0\0\0\0jxlc"
    data = container + bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))
    assert picture_codec(50002, 20, 30).decode(data, Scratch(), rows=slice(0, 2), col_stop=3, tile_rows=20).shape == (
        2,
        3,
        3,
    )


def test_jpeg_tables_that_hold_a_picture_and_too_many_scans_are_refused():
    pixels = np.zeros((20, 30, 3), np.uint8)
    data = bytes(PICTURES[7](pixels))
    codec = dataclasses.replace(picture_codec(7, 20, 30), jpeg_tables=data)
    with pytest.raises(FileFormatError, match="JPEGTables"):
        codec.decode(data, Scratch(), rows=slice(0, 1), col_stop=1, tile_rows=20)
    progressive = data.replace(b"\xff\xc0", b"\xff\xc2", 1) + b"\xff\xda" * 200
    with pytest.raises(FileFormatError, match="head"):
        picture_codec(7, 20, 30).decode(progressive, Scratch(), rows=slice(0, 1), col_stop=1, tile_rows=20)


@pytest.mark.parametrize("compression", PICTURES)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 32), n_changes=st.integers(0, 6), is_cut=st.booleans())
def test_a_damaged_picture_ends_in_an_error_or_pixels(compression, seed, n_changes, is_cut):
    rng = np.random.default_rng(seed)
    pixels = np.add.outer(np.arange(40), np.arange(50))[..., None].repeat(3, axis=2).astype(np.uint8)
    data = bytearray(PICTURES[compression](pixels))
    for at in rng.integers(0, len(data), n_changes):
        data[at] = rng.integers(0, 256)
    if is_cut:
        del data[int(rng.integers(0, len(data))) :]
    codec = picture_codec(compression, 40, 50)
    with contextlib.suppress(FileFormatError):
        assert codec.decode(bytes(data), Scratch(), rows=slice(0, 40), col_stop=50, tile_rows=40).shape == (40, 50, 3)


@pytest.mark.parametrize("byte_order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("interleave", ["PIXEL", "BAND"])
@pytest.mark.parametrize("compress", ["NONE", "DEFLATE", "LZW", "PACKBITS", "ZSTD"])
@pytest.mark.parametrize("bits", [*range(1, 8), *range(9, 16), 24])
def test_samples_that_do_not_fill_bytes_are_widened_as_gdal_widens_them(
    tmp_path, bits, compress, interleave, byte_order
):
    dtype = "u1" if bits < 8 else "u2" if bits < 16 else "u4"
    pixels = np.random.default_rng(bits).integers(0, 1 << bits, (3, 45, 37)).astype(dtype)
    options = {"compress": compress, "interleave": interleave, "nbits": bits, "ENDIANNESS": byte_order}
    path = tmp_path / "packed.tif"
    transform = rasterio.Affine(1, 0, 10, 0, -1, 10)
    with rasterio.open(
        path, "w", "GTiff", 37, 45, 3, dtype=pixels.dtype, transform=transform, blockysize=13, **options
    ) as file:
        file.write(pixels)
    data = path.read_bytes()
    tiff = Driver(data).parse()
    assert (tiff.dtype, tiff.images[0].layout.samples.bits) == (pixels.dtype, bits)
    for band in range(3):
        raster = Raster(data, tiff, band)
        assert np.array_equal(raster.whole(), pixels[band])
        assert np.array_equal(raster.window(11, 5, 20, 9), pixels[band, 11:31, 5:14])


def test_damaged_png_never_reaches_the_decoder_that_loses_references_to_none(monkeypatch):
    data = bytes(imagecodecs.png_encode(np.arange(6000, dtype=np.uint8).reshape(40, 50, 3)))
    reached = []
    monkeypatch.setattr(picture_codecs.codecs, "png_decode", reached.append)
    for at in range(8, len(data) - 12):
        with pytest.raises(FileFormatError):
            picture_codec(34933, 40, 50).decode(
                data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :],
                Scratch(),
                rows=slice(0, 40),
                col_stop=50,
                tile_rows=40,
            )
    assert reached == []
