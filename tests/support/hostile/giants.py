"""What if TIFF and picture agree on a giant, of which a few bytes are there?

Then the size of the head says nothing against it, and only memory, time, or what so few bytes can hold may.
"""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.tile_codec import Scratch, TileCodec
from tests.support.hostile.reading import Outcome
from tests.support.hostile.tiles import fletcher32

_SMALL = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)


def _jpeg(rows: int, columns: int) -> bytes:
    data = bytearray(imagecodecs.jpeg8_encode(_SMALL))
    struct.pack_into(">HH", data, data.find(b"\xff\xc0") + 5, rows, columns)
    return bytes(data)


def _webp(rows: int, columns: int) -> bytes:
    data = bytearray(imagecodecs.webp_encode(_SMALL[..., None].repeat(3, 2), lossless=True))
    bits = int.from_bytes(data[21:25], "little") >> 28 << 28 | (rows - 1) << 14 | (columns - 1)
    data[21:25] = bits.to_bytes(4, "little")
    return bytes(data)


def _jpeg2000(tile: int | None):
    def made(rows: int, columns: int) -> bytes:
        data = bytearray(imagecodecs.jpeg2k_encode(_SMALL, level=0, codecformat="J2K"))
        at = data.find(b"\xff\x51")
        struct.pack_into(">II", data, at + 6, columns, rows)
        struct.pack_into(">II", data, at + 22, tile or columns, tile or rows)
        return bytes(data)

    return made


def _lerc(pixels: np.ndarray):
    def made(rows: int, columns: int) -> bytes:
        data = bytearray(imagecodecs.lerc_encode(pixels))
        struct.pack_into("<ii", data, 14, rows, columns)
        struct.pack_into("<i", data, 26, min(rows * columns, (1 << 31) - 1))
        struct.pack_into("<I", data, 10, fletcher32(bytes(data[14:])))
        return bytes(data)

    return made


def _png(rows: int, columns: int) -> bytes:
    data = bytearray(imagecodecs.png_encode(_SMALL))
    struct.pack_into(">II", data, 16, columns, rows)
    struct.pack_into(">I", data, 29, zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def _raw(compression: int):
    def made(rows: int, columns: int) -> bytes:
        encode = {
            5: imagecodecs.lzw_encode,
            8: zlib.compress,
            50000: imagecodecs.zstd_encode,
            34925: imagecodecs.lzma_encode,
        }
        return bytes(encode[compression](bytes(4_000)))

    return made


GIANTS = {
    "JPEG": (7, 1, _jpeg),
    "WebP": (50001, 3, _webp),
    "JPEG-2000": (34712, 1, _jpeg2000(None)),
    "JPEG-2000-of-pixels": (34712, 1, _jpeg2000(1)),
    "JPEG-2000-of-tiles": (34712, 1, _jpeg2000(32)),
    "PNG": (34933, 1, _png),
    "LERC": (34887, 1, _lerc(_SMALL)),
    "LERC-constant": (34887, 1, _lerc(np.full((40, 50), 7, np.uint8))),
    "LZW": (5, 1, _raw(5)),
    "DEFLATE": (8, 1, _raw(8)),
    "ZSTD": (50000, 1, _raw(50000)),
    "LZMA": (34925, 1, _raw(34925)),
}
SIZES = ((1_000, 1_000), (16_000, 16_000), (40_000, 50_000))


def read_giant(case: str) -> Outcome:
    """Decode the last row of ``name/rows/columns``."""
    name, rows, columns = case.split("/")
    compression, samples, make = GIANTS[name]
    data = make(int(rows), int(columns))
    codec = TileCodec(
        stored=np.dtype(np.uint8), dtype=np.dtype(np.uint8), compression=compression, predictor=1, codec_parameter=0,
        samples=samples, tile_width=int(columns), tile_height=int(rows),
    )  # fmt: skip
    try:
        codec.decode(data, Scratch(), rows=slice(int(rows) - 1, int(rows)), col_stop=1, tile_rows=int(rows))
    except FileFormatError as error:
        return Outcome("refused", str(error))
    return Outcome("read")
