"""How are only the first bytes of a compressed tile decompressed?

One function per compression: compressed bytes in, at least the first `n_bytes` of the tile out, in a buffer of the
caller's thread. A window rarely needs the whole tile, so decoders get an output buffer that ends soon after the last
wanted byte:

- libdeflate stops at the end of the buffer with INSUFFICIENT_SPACE. Everything but the last match (258 bytes) is written. But of
  a stored block that does not fit nothing is written: a mark behind the wanted bytes tells the two cases apart. Undocumented.
- ZSTD_decompress writes whole blocks (at most 128 KiB) in order and stops at the first block that does not fit. A damaged block
  has the same error: two marks tell the two cases apart. Undocumented.
- LZW and LZMA stop at the end of the buffer by design.
- PackBits stops at the first run that does not fit; everything before that run is written. Undocumented.
- LERC and pictures are decoded whole (``lerc``, ``picture_codecs``).

All bytes of a compressed tile are fetched; only uncompressed strips are read in part (``layout.is_chopped``).

libdeflate has no streams (https://github.com/ebiggers/libdeflate/issues/73), and imagecodecs has no argument for "the first
bytes". A test in ``tests/upstream`` fails once a decoder returns the bytes that fit.

The undocumented stops are tested once per process on known data (`_stops_early`). If a release behaves otherwise, zlib's
streaming decoder or a full decode is used instead. Nothing about pixels belongs here.
"""

from __future__ import annotations

import functools
import lzma
import zlib
from typing import TYPE_CHECKING, Any, TypeAlias

import imagecodecs
import numpy as np

from polars_rasteret.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Bytes: TypeAlias = Any
"""Anything with the buffer protocol: bytes, memoryview, the buffer type of a store."""

codecs: Any = imagecodecs
"""imagecodecs, untyped, because it annotates `bytes` where it accepts any buffer."""

NONE, LZW, DEFLATE, PACKBITS, ADOBE_DEFLATE, LERC, LZMA, ZSTD = 1, 5, 8, 32773, 32946, 34887, 34925, 50000
JPEG, JPEG2000, PNG, WEBP, JPEGXL = 7, 34712, 34933, 50001, 50002
NAMES = {
    NONE: "none",
    LZW: "LZW",
    JPEG: "JPEG",
    DEFLATE: "DEFLATE",
    PACKBITS: "PackBits",
    ADOBE_DEFLATE: "DEFLATE",
    JPEG2000: "JPEG 2000",
    LERC: "LERC",
    LZMA: "LZMA",
    PNG: "PNG",
    ZSTD: "ZSTD",
    WEBP: "WebP",
    JPEGXL: "JPEG XL",
}

_DEFLATE_SLACK = 9_216
"""Bytes of the buffer behind the wanted ones.

libdeflate reads up to 8 zero bytes behind truncated data. They may decode to 32 matches of 258 bytes before libdeflate reports
that the buffer is too small. When the buffer is full, these invented bytes must lie behind the wanted ones.
"""
_MARK_START, _MARK_STOP = 64, 254
_MARK = np.frombuffer(b"\xd3\x5a\x09\xc7\x81\xee\x2b\x66\x90\x17" * 19, np.uint8)
"""Mark, written `_MARK_START` to `_MARK_STOP` bytes behind the wanted ones.

libdeflate copies up to 64 bytes too many. A Huffman block that runs out of space has written all but 258 bytes of the buffer. So
an intact mark means that a stored block stopped libdeflate earlier.
"""
_ZSTD_SLACK = (1 << 18) + 512
_ZSTD_MARKS = (slice(64, 128), slice((1 << 17) + 256, (1 << 17) + 320))
"""Places of two marks behind the wanted bytes.

A sound block that does not fit begins behind both marks. A damaged block has the same error but stops anywhere. Apart from its
decoded bytes it has written only its literals (at most 128 KiB), too few to overwrite both marks.
"""
_PACKBITS_SLACK = 128
"""Bytes of the longest run. So a run that does not fit begins behind the wanted bytes."""
_KEPT_BYTES = 1 << 26
"""Bytes of the largest buffer that a thread keeps."""
MOST_PER_BYTE = {LZW: 4_096, DEFLATE: 1_040, ADOBE_DEFLATE: 1_040, PACKBITS: 64, LZMA: 1 << 15, ZSTD: 1 << 15}
"""Most bytes that one byte of data decompresses to.

The longest LZW string; 258 bytes for 2 bits; 128 bytes for 2 bytes; a block of one value. LZMA by experience, with room. A header
that claims more is refused before memory is allocated.
"""
_MOST_BESIDES = 1 << 17
"""Bytes allowed beyond `MOST_PER_BYTE`, for very short data."""


_LZMA_BYTES = 1 << 27
"""Memory limit of the dictionary that an LZMA stream asks for. The dictionary of the strongest preset takes half of it."""


class Scratch:
    """Buffers of one decoding thread, reused from tile to tile: allocating new memory would cost the gain of threads."""

    __slots__ = ("_buffers",)

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def buffer(self, use: str, n_bytes: int) -> NDArray[np.uint8]:
        """Return a buffer of `n_bytes` for one use, uint8, shape (n_bytes,). The next call for that use may return it again."""
        buffer = self._buffers.get(use)
        if buffer is None or len(buffer) < n_bytes:
            buffer = np.empty(n_bytes, np.uint8)
            if n_bytes <= _KEPT_BYTES:
                self._buffers[use] = buffer
        return buffer[:n_bytes]


def inflate(compression: int, data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:
    """Return the first `n_bytes` (or more) of a tile, uint8: a view of `scratch`, or of `data` when the tile is not compressed.

    Raises
    ------
    FileFormatError
        When the data is corrupt, or holds fewer bytes than wanted.
    """
    most = n_bytes
    if (per_byte := MOST_PER_BYTE.get(compression)) is not None:
        most = per_byte * memoryview(data).nbytes + _MOST_BESIDES
    if most < n_bytes:
        raise FileFormatError(
            f"a tile ({NAMES[compression]}, {memoryview(data).nbytes} bytes) cannot hold the {n_bytes} bytes of pixels "
            f"that are expected; at most {most}. The file is damaged: get it again, or index it again if it was replaced."
        )
    decoded = _INFLATERS[compression](data, n_bytes, scratch)
    if len(decoded) < n_bytes:
        raise FileFormatError(
            f"a tile ({NAMES[compression]}, {memoryview(data).nbytes} bytes) holds {len(decoded)} bytes of "
            "pixels; expected at "
            f"least {n_bytes}. The file is truncated or damaged: get it again, or index it again if it was replaced."
        )
    return decoded


def _plain(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:  # noqa: ARG001
    return np.frombuffer(data, np.uint8)


def _deflate(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:
    if not _stops_early(DEFLATE):
        return _zlib(data, n_bytes)
    out = scratch.buffer("inflate", n_bytes + _DEFLATE_SLACK)
    mark = out[n_bytes + _MARK_START : n_bytes + _MARK_STOP]
    mark[:] = _MARK
    try:
        decoded: NDArray[np.uint8] = codecs.deflate_decode(data, out=out)
    except codecs.DeflateError as error:
        if "INSUFFICIENT_SPACE" in str(error):
            return _zlib(data, n_bytes) if np.array_equal(mark, _MARK) else out[:n_bytes]
        raise _corrupt(DEFLATE, data, error) from error
    return decoded


def _zlib(data: Bytes, n_bytes: int) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(zlib.decompressobj().decompress(data, n_bytes), np.uint8)
    except zlib.error as error:
        raise _corrupt(DEFLATE, data, error) from error


def _zstd(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:
    out = scratch.buffer("inflate", n_bytes + _ZSTD_SLACK)
    marks = [out[n_bytes:][part] for part in _ZSTD_MARKS]
    for mark in marks:
        mark[:] = _MARK[: len(mark)]
    try:
        decoded: NDArray[np.uint8] = codecs.zstd_decode(data, out=out)
    except codecs.ZstdError as error:
        if "too small" not in str(error):
            raise _corrupt(ZSTD, data, error) from error
        if _stops_early(ZSTD):
            if any(np.array_equal(mark, _MARK[: len(mark)]) for mark in marks):
                raise _corrupt(ZSTD, data, "a block of it is damaged") from error
            return out[:n_bytes]
        # A tile that is larger than it should be, or a release that decodes nothing into a short buffer.
        return _zstd_whole(data)
    return decoded


def _zstd_whole(data: Bytes) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(codecs.zstd_decode(data), np.uint8)
    except codecs.ZstdError as error:
        raise _corrupt(ZSTD, data, error) from error


def _lzw(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:
    stream = np.frombuffer(data, np.uint8)
    padded = scratch.buffer("stream", len(stream) + 4)
    padded[: len(stream)] = stream
    from polars_rasteret.tiff.codecs import lzw_check

    if not lzw_check.is_safe(padded, len(stream), n_bytes):
        raise _corrupt(LZW, data, "a Clear code is not followed by a literal")
    try:
        decoded: NDArray[np.uint8] = codecs.lzw_decode(data, out=scratch.buffer("inflate", n_bytes))
    except codecs.LzwError as error:
        raise _corrupt(LZW, data, error) from error
    return decoded


def _lzma(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:  # noqa: ARG001
    # imagecodecs also decodes a second stream behind the tile's own; libtiff does not.
    try:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_BYTES)
        return np.frombuffer(decompressor.decompress(data, n_bytes), np.uint8)
    except (lzma.LZMAError, EOFError) as error:
        raise _corrupt(LZMA, data, error) from error


def _packbits(data: Bytes, n_bytes: int, scratch: Scratch) -> NDArray[np.uint8]:
    stops_early = _stops_early(PACKBITS)
    # One code gives at most 128 bytes per 2 bytes of data, so a full decode takes at most 64 times the data.
    n_whole = n_bytes if stops_early else max(n_bytes, 64 * memoryview(data).nbytes)
    out = scratch.buffer("inflate", n_whole + _PACKBITS_SLACK)
    try:
        decoded: NDArray[np.uint8] = codecs.packbits_decode(data, out=out)
    except codecs.PackbitsError as error:
        if stops_early and "OUTPUT_TOO_SMALL" in str(error):
            return out[:n_bytes]
        raise _corrupt(PACKBITS, data, error) from error
    return decoded


_INFLATERS: dict[int, Callable[[Any, int, Scratch], NDArray[np.uint8]]] = {
    NONE: _plain,
    LZW: _lzw,
    DEFLATE: _deflate,
    ADOBE_DEFLATE: _deflate,
    ZSTD: _zstd,
    PACKBITS: _packbits,
    LZMA: _lzma,
}


@functools.cache
def _stops_early(compression: int) -> bool:
    """Return whether a decoder writes a correct prefix into a buffer that is too short; tested on known data."""
    noise = (np.arange(400_000, dtype=np.uint32) * np.uint32(2_654_435_761) >> np.uint32(20)).astype(np.uint8)
    noise[::3] = 7
    if compression == DEFLATE:
        data, slack, decode, failure = (
            zlib.compress(noise.tobytes(), 1),
            _DEFLATE_SLACK,
            codecs.deflate_decode,
            codecs.DeflateError,
        )
    elif compression == PACKBITS:
        noise[::7] = noise[1::7][: len(noise[::7])]
        data, slack, decode, failure = (
            codecs.packbits_encode(noise),
            _PACKBITS_SLACK,
            codecs.packbits_decode,
            codecs.PackbitsError,
        )
    else:
        data, slack, decode, failure = codecs.zstd_encode(noise), _ZSTD_SLACK, codecs.zstd_decode, codecs.ZstdError
    for n_bytes in (1, 1_000, 70_001, 250_000):
        out = np.zeros(n_bytes + slack, np.uint8)
        try:
            decode(data, out=out)
        except failure as error:
            message = str(error)
            if not any(known in message for known in ("INSUFFICIENT_SPACE", "too small", "OUTPUT_TOO_SMALL")):
                return False
        if not np.array_equal(out[:n_bytes], noise[:n_bytes]):
            return False
    return True


def load_common_codecs() -> None:
    """Load and try out the decoders of DEFLATE and of predictors, which most files need."""
    _stops_early(DEFLATE)
    codecs.delta_decode  # noqa: B018 - imagecodecs loads it when it is looked up


def _corrupt(compression: int, data: Bytes, error: Exception | str) -> FileFormatError:
    return FileFormatError(
        f"a tile does not decode as {NAMES[compression]} ({memoryview(data).nbytes} bytes): {error}. "
        "The file is damaged: get it again, or index it again if it was replaced."
    )
