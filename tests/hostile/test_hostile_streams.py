"""Do streams that were cut off or damaged give an error or the bytes of a streaming decoder, and never what a decoder made up?"""

from __future__ import annotations

import contextlib
import lzma
import zlib

import imagecodecs
import numpy as np
import pyarrow as pa
import pytest

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.inflate import DEFLATE, LZMA, ZSTD, Scratch, inflate

STRIPES = np.repeat(np.arange(100) % 2 * 255, 25).astype(np.uint8).tobytes()


def prefix(compression: int, data: bytes, n_bytes: int) -> bytes:
    if compression == ZSTD:
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(n_bytes)
    return zlib.decompressobj().decompress(data, n_bytes)


def check(compression: int, data: bytes, n_bytes: int) -> bool:
    found = []
    for junk in (0x55, 0xA9):
        scratch = Scratch()
        scratch.buffer("inflate", n_bytes + (1 << 20))[:] = junk
        try:
            found.append(inflate(compression, data, n_bytes, scratch)[:n_bytes].tobytes())
        except FileFormatError:
            return False
    assert found[0] == found[1], "bytes that nobody wrote"
    with contextlib.suppress(OSError):  # damage behind the prefix, which a streaming decoder may have reached already
        assert found[0] == prefix(compression, data, n_bytes)
    return True


@pytest.mark.parametrize(("compression", "encode"), [(DEFLATE, zlib.compress), (ZSTD, imagecodecs.zstd_encode)])
def test_streams_that_were_cut_off(compression, encode):
    data = bytes(encode(STRIPES))
    assert check(compression, data, len(STRIPES))
    for stop in range(1, len(data)):
        for n_bytes in (len(STRIPES), len(STRIPES) - 600):
            check(compression, data[:stop], n_bytes)


@pytest.mark.parametrize(("compression", "encode"), [(DEFLATE, zlib.compress), (ZSTD, imagecodecs.zstd_encode)])
def test_streams_with_a_changed_byte(compression, encode):
    rng = np.random.default_rng(1)
    raw = np.repeat(rng.integers(0, 9, 12_000), rng.integers(1, 150, 12_000)).astype(np.uint8).tobytes()
    data = bytes(encode(raw))
    n_read = 0
    for at in rng.integers(0, len(data), 400):
        changed = data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        for n_bytes in (100_000, 300_000):
            n_read += check(compression, changed, n_bytes)
    assert n_read > 20


def test_an_lzma_stream_does_not_go_on_into_the_next_one():
    one = lzma.compress(STRIPES)
    assert inflate(LZMA, one, 700, Scratch())[:700].tobytes() == STRIPES[:700]
    with pytest.raises(FileFormatError, match="holds 2500 bytes"):
        inflate(LZMA, one + one, len(STRIPES) + 1, Scratch())
