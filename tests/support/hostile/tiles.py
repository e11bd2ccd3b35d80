"""How are the bytes of tiles damaged? Also by someone who knows the codecs: bombs, and heads that lie."""

from __future__ import annotations

import functools
import lzma
import random
import struct
import zlib

import imagecodecs
import numpy as np

from tests.support.hostile.headers import Outline, Tag

_HUGE = (0, 1, 2, 15, 17, 31, 33, 60_000, 65_535, 16_383, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 30)
_MARKERS = (
    b"\xff\xc0",
    b"\xff\xc1",
    b"\xff\xc2",
    b"\xff\xc4",
    b"\xff\xda",
    b"\xff\xdb",
    b"\xff\xdd",
    b"\xff\xd9",
    b"\xff\xee",
)


@functools.cache
def _bomb(compression: int) -> bytes:
    """Give a few kilobytes that decompress to very many."""
    zeros = bytes(1 << 23)
    if compression in {8, 32946}:
        return zlib.compress(bytes(1 << 25), 6)
    if compression == 50000:
        # One frame of many RLE blocks: 4 bytes for 128 KiB each.
        blocks = b"".join((1 << 17 << 3 | 2).to_bytes(3, "little") + b"\0" for _ in range(8_000))
        return struct.pack("<I", 0xFD2FB528) + b"\x00\x58" + blocks + (1 << 3 | 3).to_bytes(3, "little") + b"\0"
    if compression == 34925:
        return lzma.compress(zeros)
    if compression == 5:
        return bytes(imagecodecs.lzw_encode(zeros))
    if compression == 32773:
        return b"\x81\0" * (1 << 15)
    if compression == 7:
        return bytes(imagecodecs.jpeg8_encode(np.zeros((2000, 2000), np.uint8)))
    if compression == 34712:
        return bytes(imagecodecs.jpeg2k_encode(np.zeros((1000, 1000), np.uint8), level=0, codecformat="J2K"))
    if compression == 34933:
        return bytes(imagecodecs.png_encode(np.zeros((3000, 3000), np.uint8)))
    if compression == 50001:
        return bytes(imagecodecs.webp_encode(np.zeros((2000, 2000, 3), np.uint8), lossless=True, method=0))
    if compression == 50002:
        return bytes(imagecodecs.jpegxl_encode(np.zeros((1000, 1000), np.uint8), lossless=True, effort=1))
    if compression == 34887:
        return bytes(imagecodecs.lerc_encode(np.zeros((4000, 4000), np.uint8)))
    return zeros[: 1 << 16]


def _swap(rng: random.Random, tile: bytearray, at: int, width: int, order: str) -> None:
    """Put a telling number in the place of another."""
    value = rng.choice([*_HUGE, int.from_bytes(tile[at : at + width], order) + rng.choice([-1, 1, 8])])
    tile[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, order)


def _lie_jpeg(rng: random.Random, tile: bytearray) -> None:
    at = tile.find(rng.choice([b"\xff\xc0", b"\xff\xc0", b"\xff\xda", b"\xff\xc4", b"\xff\xdb"]))
    if at < 0:
        return
    kind = rng.randrange(6)
    if kind == 0:
        _swap(rng, tile, at + 5, 2, "big")
    elif kind == 1:
        _swap(rng, tile, at + 7, 2, "big")
    elif kind == 2:
        tile[at + 1] = rng.choice([0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xDA, 0xDD])
    elif kind == 3:
        scan = bytes(tile[tile.find(b"\xff\xda") :])[:40]
        tile[at + 1] = 0xC2
        tile[len(tile) - 2 :] = scan * rng.choice([2, 50, 3000])
    elif kind == 4:
        tile[at:at] = rng.choice(_MARKERS) + struct.pack(">H", rng.choice([0, 1, 2, 8, 65_535])) + rng.randbytes(8)
    else:
        _swap(rng, tile, at + rng.randrange(2, 20), 1, "big")


def _lie_webp(rng: random.Random, tile: bytearray) -> None:
    kind = rng.randrange(4)
    if kind == 0:
        _swap(rng, tile, rng.choice([4, 16]), 4, "little")
    elif kind == 1:
        _swap(rng, tile, rng.choice([21, 23, 24, 26, 27, 28]), 2, "little")
    elif kind == 2:
        tile[12:16] = rng.choice([b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM"])
    else:  # an extended file whose own size says something else than its frame
        size = (32 - 1).to_bytes(3, "little") + (16 - 1).to_bytes(3, "little")
        body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([rng.choice([0, 2, 16])]) + b"\0\0\0" + size
        body += rng.choice([bytes(tile[12:]), bytes(_bomb(50001)[12:])])
        tile[:] = b"RIFF" + struct.pack("<I", len(body)) + body


def _lie_jpeg2000(rng: random.Random, tile: bytearray) -> None:
    at = tile.find(b"\xff\x51")
    if at < 0 or rng.random() < 0.3:
        at = tile.find(rng.choice([b"\xff\x52", b"\xff\x5c", b"\xff\x90", b"jp2c", b"ihdr"]))
        if at >= 0:
            _swap(rng, tile, at + rng.randrange(2, 16), rng.choice([1, 2, 4]), "big")
        return
    what = rng.choice([6, 10, 14, 18, 22, 26, 30, 34])
    if rng.random() < 0.4:  # many tiny tiles, or one past the picture
        struct.pack_into(">IIII", tile, at + 22, rng.choice([1, 1, 2, 1 << 31]), rng.choice([1, 1, 3, 1 << 31]), 0, 0)
    elif rng.random() < 0.3:
        _swap(rng, tile, at + 38, 2, "big")
    elif rng.random() < 0.3:
        # Far away, but of the right size.
        right, bottom, left, top = struct.unpack_from(">IIII", tile, at + 6)
        shift = rng.choice([1, 1 << 20, 1 << 30])
        struct.pack_into(
            ">IIII", tile, at + 6, *(min(one + shift, (1 << 32) - 1) for one in (right, bottom, left, top))
        )
    else:
        _swap(rng, tile, at + what, 4, "big")


def _lie_png(rng: random.Random, tile: bytearray) -> None:
    what = rng.choice([16, 20, 24, 25, 26, 27, 28])
    _swap(rng, tile, what, 4 if what < 24 else 1, "big")
    struct.pack_into(">I", tile, 29, zlib.crc32(bytes(tile[12:29])))
    if rng.random() < 0.3:
        tile[33:33] = struct.pack(">I", 4) + b"iCCP" + bytes(4) + struct.pack(">I", zlib.crc32(b"iCCP" + bytes(4)))


def _lie_lerc(rng: random.Random, tile: bytearray) -> None:
    if tile[:6] != b"Lerc2 ":
        return
    _swap(rng, tile, rng.choice([6, 14, 18, 22, 26, 30, 34, 38, 46, 54, 60, 66, 90]), 4, "little")
    version = struct.unpack_from("<i", tile, 6)[0]
    if version >= 3:
        struct.pack_into("<I", tile, 10, fletcher32(bytes(tile[14:])))


def fletcher32(data: bytes) -> int:
    """The checksum of LERC, over what follows it."""
    one = two = 0xFFFF
    words = np.frombuffer(data[: len(data) // 2 * 2], ">u2").tolist()
    for start in range(0, len(words), 359):
        for word in words[start : start + 359]:
            one += word
            two += one
        one, two = (one & 0xFFFF) + (one >> 16), (two & 0xFFFF) + (two >> 16)
    if len(data) % 2:
        one += data[-1] << 8
        two += one
    one, two = (one & 0xFFFF) + (one >> 16), (two & 0xFFFF) + (two >> 16)
    return two << 16 | one


_LIARS = {7: _lie_jpeg, 50001: _lie_webp, 34712: _lie_jpeg2000, 34933: _lie_png, 34887: _lie_lerc}


def _changed(rng: random.Random, tile: bytearray, compression: int) -> None:
    kind = rng.randrange(9)
    if kind < 3 and compression in _LIARS and len(tile) > 40:
        _LIARS[compression](rng, tile)
        return
    if kind < 4:
        for _ in range(rng.choice([1, 1, 3, 20])):
            tile[rng.randrange(len(tile))] ^= 1 << rng.randrange(8)
    elif kind < 5:
        del tile[rng.randrange(len(tile)) :]
    elif kind < 6:
        at = rng.randrange(len(tile))
        tile[at:at] = rng.choice([rng.randbytes(rng.choice([1, 2, 40])), bytes(rng.choice([1, 300])), b"\xff" * 9])
    elif kind < 7:
        tile[:] = _bomb(compression if rng.random() < 0.9 else rng.choice([8, 50000, 34925, 5, 32773, 7, 34933]))
    elif kind < 8:
        at = rng.randrange(len(tile))
        size = rng.choice([1, 2, 4])
        tile[at : at + size] = rng.choice([b"\0" * size, b"\xff" * size, rng.randbytes(size)])
    else:
        tile[:] = rng.choice([rng.randbytes(rng.choice([0, 1, 7, 500])), bytes(200), bytes(tile) * 2, bytes(tile[:20])])


def tiles(rng: random.Random, data: bytearray, out: Outline) -> None:
    """Damage one tile or all; what became longer moves to the end of the file."""
    directory = rng.randrange(len(out.tags)) if rng.random() < 0.3 else 0
    starts = out.find(directory, 324) or out.find(directory, 273)
    counts = out.find(directory, 325) or out.find(directory, 279)
    code = out.find(directory, 259)
    if starts is None or counts is None:
        return
    compression = out.number(data, code) if code is not None else 1
    n = min(starts.count, counts.count)
    for index in range(min(n, 20)) if rng.random() < 0.15 else [rng.randrange(n)]:
        start, size = _range(data, out, starts, counts, index)
        if not 0 < size <= len(data) - start:
            continue
        tile = bytearray(data[start : start + size])
        _changed(rng, tile, compression)
        if len(tile) <= size:
            data[start : start + len(tile)] = tile
        else:
            out.put(data, starts, index, len(data))
            data += tile
        out.put(data, counts, index, len(tile))


def _range(data: bytearray, out: Outline, starts: Tag, counts: Tag, index: int) -> tuple[int, int]:
    try:
        return out.number(data, starts, index), out.number(data, counts, index)
    except struct.error:
        return 0, 0
