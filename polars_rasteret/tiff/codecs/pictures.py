"""How does a tile that holds a JPEG, WebP, JPEG 2000, JPEG XL or PNG picture become pixels?

Such a tile is always decoded whole. The head of the picture is read first, so that no memory is allocated for a picture of
another size than the TIFF promises. JPEG follows TIFF technical note 2; the others hold a whole file or codestream per tile.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.inflate import JPEG, JPEG2000, JPEGXL, NAMES, PNG, WEBP, Bytes, codecs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PICTURES = frozenset({JPEG, WEBP, JPEG2000, JPEGXL, PNG})
BITS = {JPEG: (8,), WEBP: (8,), JPEG2000: (8, 16), JPEGXL: (8, 16), PNG: (8, 16)}
"""Bits per unsigned sample that each compression allows."""
SAMPLES = {WEBP: (3, 4), JPEGXL: (1, 2, 3, 4), PNG: (1, 2, 3, 4), JPEG: (1, 2, 3, 4)}
"""Interleaved samples that each compression allows; any number for a compression without an entry."""
MAX_JPEG_TABLES_BYTES = 65_534

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_MAX_SCANS = 100
"""Scans of a progressive JPEG at most, as in libtiff. Each scan goes over the whole picture, however few bytes it has."""
_MOST_JPEG_SAMPLES_PER_BYTE = 4_096
"""Samples that one byte of JPEG may hold: a block of 64 samples takes at least one bit, and colours may be subsampled."""


def decode(
    compression: int,
    data: Bytes,
    *,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    max_rows: int,
    jpeg_tables: bytes = b"",
    is_ycbcr: bool = False,
) -> NDArray[Any]:
    """Return the pixels of a tile, shape (rows, columns, samples).

    Parameters
    ----------
    compression
        One of `PICTURES`.
    data
        Bytes of the tile.
    shape, dtype
        Rows, columns, samples and dtype that the TIFF promises.
    max_rows
        Rows of a full tile: encoders may write the last strip of an image as tall as the others.
    jpeg_tables
        Tag 347: quantization and Huffman tables that the tiles share.
    is_ycbcr
        Whether JPEG colours must be converted to RGB.

    Raises
    ------
    FileFormatError
        When the picture is damaged, or has another shape or dtype.
    """
    rows, columns, samples = shape
    head = _HEADS[compression](memoryview(data).cast("B"))
    if head is None:
        raise _damaged(compression, data, "its head is missing or incomplete")
    if jpeg_tables and _jpeg_frame(memoryview(jpeg_tables)) is not None:
        raise _damaged(compression, data, "the tables of all tiles (JPEGTables) hold a picture of their own")
    n_rows, n_columns = head
    # libtiff takes the first rows of a last strip that is too tall.
    if n_columns != columns or not rows <= n_rows <= max(max_rows, rows):
        raise _unexpected(compression, head, shape)
    if compression == JPEG and not _is_whole_jpeg(data, n_rows * n_columns * samples):
        raise _damaged(compression, data, "it ends too early")
    try:
        pixels = _pixels(compression, data, jpeg_tables, samples, is_ycbcr=is_ycbcr)
    except (RuntimeError, ValueError, MemoryError, LookupError, TypeError, struct.error, zlib.error) as error:
        raise _damaged(compression, data, error) from error
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape != (n_rows, n_columns, samples) or pixels.dtype != dtype:
        raise _unexpected(compression, (*pixels.shape, str(pixels.dtype)), (*shape, str(dtype)))
    return pixels[:rows]


def _pixels(compression: int, data: Bytes, jpeg_tables: bytes, samples: int, *, is_ycbcr: bool) -> NDArray[Any]:
    pixels: NDArray[Any]
    if compression == JPEG:
        # As in libtiff: only YCbCr is converted, whatever the markers in the picture are.
        space = codecs.JPEG8.CS
        stored, wanted = (space.YCbCr, space.RGB) if is_ycbcr else (space.UNKNOWN, space.UNKNOWN)
        pixels = codecs.jpeg8_decode(data, tables=jpeg_tables or None, colorspace=stored, outcolorspace=wanted)
    elif compression == WEBP:
        pixels = codecs.webp_decode(data, hasalpha=samples == 4)
    elif compression == JPEG2000:
        pixels = codecs.jpeg2k_decode(data, numthreads=1)
    elif compression == JPEGXL:
        pixels = codecs.jpegxl_decode(data, index=0, numthreads=1)
    else:
        pixels = codecs.png_decode(_sound_png(memoryview(data).cast("B")))
    return pixels


def _sound_png(data: memoryview) -> bytes:
    """Return a PNG of the same pixels that is certain to decode.

    `png_decode` of imagecodecs 2026.3 loses a reference to None with every failure, and a Python before 3.12 ends when no
    reference is left. The function also ignores wrong checksums. So everything that can fail is checked here.

    Raises
    ------
    ValueError, zlib.error, struct.error
        The picture is damaged, interlaced or has a palette.
    """
    chunks: dict[bytes, bytes] = {}
    at = len(_PNG_MAGIC)
    while b"IEND" not in chunks:
        n_bytes, kind = struct.unpack_from(">I4s", data, at)
        (checksum,) = struct.unpack_from(">I", data, at + 8 + n_bytes)
        if zlib.crc32(data[at + 4 : at + 8 + n_bytes]) != checksum:
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")
        chunks[kind] = chunks.get(kind, b"") + bytes(data[at + 8 : at + 8 + n_bytes])
        at += 12 + n_bytes
    columns, rows, bits, colours, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    samples = {0: 1, 2: 3, 4: 2, 6: 4}.get(colours)
    if samples is None or bits not in {8, 16} or rest != [0, 0, 0]:
        raise ValueError(f"colour type {colours} with {bits} bits, compression, filter and interlace {rest}")
    row_bytes = 1 + columns * samples * bits // 8
    inflater = zlib.decompressobj()
    raw = inflater.decompress(chunks.get(b"IDAT", b""), rows * row_bytes + 1)
    if len(raw) != rows * row_bytes or not inflater.eof or max(raw[::row_bytes]) > 4:
        raise ValueError(f"it holds {len(raw)} bytes of {rows * row_bytes}, or an unknown filter")
    sound = [(b"IHDR", chunks[b"IHDR"]), (b"IDAT", zlib.compress(raw, 0)), (b"IEND", b"")]
    return _PNG_MAGIC + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in sound
    )


# -- (rows, columns) from the head of a picture, before anything is allocated; None where there is none ------------------


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    frame = _jpeg_frame(data)
    if frame is None:
        return None
    marker, precision, rows, columns = frame
    is_progressive = marker in {0xC2, 0xCA}
    if precision != 8 or (is_progressive and bytes(data).count(b"\xff\xda") > _MAX_SCANS):
        return None
    return rows, columns


def _jpeg_frame(data: memoryview) -> tuple[int, int, int, int] | None:
    """Return (marker, precision, rows, columns) of the frame header of a JPEG stream; None without a frame header."""
    at, n_bytes = 2, len(data)
    if bytes(data[:2]) != b"\xff\xd8":
        return None
    while at + 9 <= n_bytes:
        marker = data[at + 1]
        if data[at] != 0xFF or marker in {0x00, 0xFF}:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            precision, rows, columns = struct.unpack_from(">BHH", data, at + 4)
            return marker, precision, rows, columns
        elif marker in {0xD9, 0xDA}:
            return None
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _is_whole_jpeg(data: Bytes, n_samples: int) -> bool:
    """Return whether a JPEG stream has an end marker and enough bytes for its samples.

    libjpeg fills missing samples with grey and raises no error.
    """
    stream = bytes(data)
    return b"\xff\xd9" in stream and n_samples <= _MOST_JPEG_SAMPLES_PER_BYTE * len(stream)


def _webp_size(data: memoryview) -> tuple[int, int] | None:
    head = bytes(data[:30])
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[27:30], "little"), 1 + int.from_bytes(head[24:27], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        columns, rows = struct.unpack_from("<HH", head, 26)
        return rows & 0x3FFF, columns & 0x3FFF
    return None


def _jpeg2000_size(data: memoryview) -> tuple[int, int] | None:
    stream = _boxed(data, b"jp2c") if bytes(data[4:8]) == b"jP  " else data
    if len(stream) < 24 or bytes(stream[:4]) != b"\xff\x4f\xff\x51":
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", stream, 8)
    return bottom - top, right - left


def _jpegxl_size(data: memoryview) -> tuple[int, int] | None:
    head = bytes((_boxed(data, b"jxlc") or _boxed(data, b"jxlp")[4:] if bytes(data[4:8]) == b"JXL " else data)[:12])
    if head[:2] != b"\xff\x0a" or len(head) < 12:
        return None
    bits, at = int.from_bytes(head[2:12], "little"), 0

    def take(n_bits: int) -> int:
        nonlocal at
        at += n_bits
        return bits >> at - n_bits & (1 << n_bits) - 1

    def size(*, is_small: int) -> int:
        return 8 * (1 + take(5)) if is_small else 1 + take((9, 13, 18, 30)[take(2)])

    is_small = take(1)
    rows = size(is_small=is_small)
    ratio = take(3)
    if ratio == 0:
        return rows, size(is_small=is_small)
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return rows, rows * over // under


def _boxed(data: memoryview, kind: bytes) -> memoryview:
    """Return the bytes behind the head of the first box of a kind, in a file of boxes (ISO 14496-12); empty without a box."""
    at = 0
    while at + 8 <= len(data):
        n_bytes, n_head_bytes = int.from_bytes(data[at : at + 4], "big"), 8
        if n_bytes == 1:
            n_bytes, n_head_bytes = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if bytes(data[at + 4 : at + 8]) == kind:
            return data[at + n_head_bytes :]
        if n_bytes < n_head_bytes:  # 0: to the end
            break
        at += n_bytes
    return data[:0]


def _png_size(data: memoryview) -> tuple[int, int] | None:
    head = bytes(data[:24])
    if len(head) < 24 or head[:8] != _PNG_MAGIC or head[12:16] != b"IHDR":
        return None
    columns, rows = struct.unpack_from(">II", head, 16)
    return rows, columns


_HEADS = {JPEG: _jpeg_size, WEBP: _webp_size, JPEG2000: _jpeg2000_size, JPEGXL: _jpegxl_size, PNG: _png_size}


def _damaged(compression: int, data: Bytes, why: Exception | str) -> FileFormatError:
    return FileFormatError(
        f"a tile does not decode as {NAMES[compression]} ({memoryview(data).nbytes} bytes): {why}. "
        "The file is damaged: get it again, or index it again if it was replaced."
    )


def _unexpected(compression: int, found: tuple[object, ...], expected: tuple[object, ...]) -> FileFormatError:
    return FileFormatError(
        f"a tile holds a {NAMES[compression]} picture of {' x '.join(map(str, found))}; expected "
        f"{' x '.join(map(str, expected))} (rows, columns, samples). The file is damaged: get it again."
    )
