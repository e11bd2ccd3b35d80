"""Can a few bytes take much memory? Measured in processes of their own, by the peak that Linux keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import FileFormatError, UsageError
from tests.support.tiff_writer import DOUBLE, LONG, SHORT, tiff_of

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux keeps the peak of a process")
MB = 1_000_000

PEAK = """
import json, struct, sys, zlib, hashlib
import imagecodecs, numpy as np

def memory(what):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(what))

def peak_of(call):
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    told = call()
    return memory("VmHWM") - before, told
"""

TABLES = (
    PEAK
    + """
from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff import tile_table as tt

def packed(body, version):
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = compressor.compress(body) + compressor.flush()
    tail = struct.pack("<BBI", version, 1, len(body)) + deflated
    return b"\\0" + hashlib.blake2b(tail, digest_size=8).digest() + tail

def body(side, layout, gap):
    fixed = tt._FIXED.pack(0, 0, 8, 1, 1, 1, 1, tt._NO_NUMBER, tt._NO_NUMBER, 1, tt._NO_ETAG, 0, 0, 0, b"")
    return fixed + tt._IMAGE.pack(side, side, 1, 1, 1, 1, layout, 0, gap)

def in_parts(one, n):
    return one * n + tt._PART.pack(1, len(one)) * n + tt._PARTS.pack(65535, n)

def read(tiles):
    try:
        return [len(image.byte_count) for image in tt.unpack(tiles).images]
    except FileFormatError as error:
        return str(error)

told = []
for tiles in (
    packed(body(1 << 13, 0, 0), 1),
    packed(body(1 << 13, 1, (1 << 26) - 1), 1),
    packed(body(1, 1, 1 << 40), 1),
    packed(in_parts(body(1 << 13, 0, 0), 200), 3),
):
    assert len(tiles) < 400
    told.append(peak_of(lambda: read(tiles)))
print(json.dumps(told))
"""
)

TILES = (
    PEAK
    + """
import gc, lzma
from dataclasses import replace
from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.tile_codec import Scratch, TileCodec
from polars_rasteret.tiff.band_tiles import BandTiles, Image

rng = np.random.default_rng(1)

def tile(compression, data, side, dtype, samples, **more):
    table = np.array([len(data)], np.int64)
    image = Image(width=side, height=side, tile_width=side, tile_height=side, byte_start=table, byte_count=table,
        compression=compression, predictor=more.get("predictor", 1), is_ycbcr=more.get("is_ycbcr", False))
    tiles = BandTiles(dtype=np.dtype(dtype), byte_order="<", bits_per_sample=8 * np.dtype(dtype).itemsize,
        compression=compression, predictor=image.predictor, samples_per_tile=samples, planar=1, nodata=None,
        ignore_nodata=False, images=(image,), file_size=None, etag=None, last_modified=None,
        codec_parameter=more.get("codec_parameter", 0))
    return tiles, image, data

def pixels(side, dtype, samples, noisy):
    shape = (side, side) if samples == 1 else (side, side, samples)
    if not noisy:
        return np.zeros(shape, dtype)
    return rng.integers(0, 255, shape).astype(dtype)

def made(name, side, noisy):
    p = lambda dtype="u1", samples=1: pixels(side, dtype, samples, noisy)
    if name == "raw": return tile(1, p().tobytes(), side, "u1", 1)
    if name == "deflate": return tile(8, zlib.compress(p().tobytes(), 1), side, "u1", 1, predictor=2)
    if name == "deflate floats": return tile(8, zlib.compress(p("f4").tobytes(), 1), side, "f4", 1, predictor=3)
    if name == "zstd": return tile(50000, imagecodecs.zstd_encode(p("u2").tobytes()), side, "u2", 1)
    if name == "lzw": return tile(5, imagecodecs.lzw_encode(p().tobytes()), side, "u1", 1)
    if name == "lzma": return tile(34925, lzma.compress(p().tobytes(), preset=0), side, "u1", 1)
    if name == "packbits": return tile(32773, imagecodecs.packbits_encode(p().tobytes()), side, "u1", 1)
    if name == "packbits bomb": return tile(32773, b"\\x81\\x00" * (side * side // 16), side, "u1", 1)
    if name == "inks": return tile(8, zlib.compress(p("u1", 4).tobytes(), 1), side, "u1", 4, codec_parameter=0x40)
    if name == "ycbcr": return tile(8, zlib.compress(bytes(side * side * 3), 1), side, "u1", 3, codec_parameter=9)
    if name == "lerc": return tile(34887, imagecodecs.lerc_encode(p("f4")), side, "f4", 1)
    if name == "jpeg": return tile(7, imagecodecs.jpeg8_encode(p("u1", 3)), side, "u1", 3)
    if name == "webp": return tile(50001, imagecodecs.webp_encode(p("u1", 3), lossless=True), side, "u1", 3)
    if name == "jpeg 2000": return tile(34712, imagecodecs.jpeg2k_encode(p(), codecformat="J2K"), side, "u1", 1)
    if name == "jpeg xl": return tile(50002, imagecodecs.jpegxl_encode(p(), effort=1), side, "u1", 1)
    if name == "png": return tile(34933, imagecodecs.png_encode(p(), level=1), side, "u1", 1)
    raise KeyError(name)

name, noisy, max_bytes = sys.argv[1], sys.argv[2] == "noise", int(sys.argv[3])
tiles, image, data = made(name, 64, True)  # what is loaded at first use counts no more
TileCodec.for_image(tiles, image).decode(data, Scratch(), rows=slice(0, 64), col_stop=64, tile_rows=64)
side = 256
while True:
    try:
        larger = replace(image, width=side + 64, height=side + 64, tile_width=side + 64, tile_height=side + 64)
        TileCodec.for_image(tiles, larger, max_bytes=max_bytes)
    except FileFormatError as error:
        assert "max_tile_bytes" in str(error), error
        break
    side += 64
tiles, image, data = made(name, side, noisy)
gc.collect()
codec = TileCodec.for_image(tiles, image, max_bytes=max_bytes)
peak, shape = peak_of(lambda: codec.decode(data, Scratch(), rows=slice(0, side), col_stop=side, tile_rows=side).shape)
print(json.dumps([peak, side, len(data)]))
"""
)


def provenance(script: str, *arguments: str) -> list:
    run = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@needs_proc
def test_tables_of_a_few_bytes_take_little_memory():
    sparse, gaps, wild, parts = provenance(TABLES)
    assert sparse[1] == [1 << 26]
    assert "damaged" in wild[1]
    assert max(peak for peak, _ in (sparse, gaps, wild, parts)) < 20 * MB


CODECS = [
    "raw",
    "deflate",
    "deflate floats",
    "zstd",
    "lzw",
    "lzma",
    "packbits",
    "packbits bomb",
    "inks",
    "ycbcr",
    "lerc",
]
PICTURES = ["jpeg", "webp", "jpeg 2000", "jpeg xl", "png"]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("what", ["zeros", "noise"])
@pytest.mark.parametrize("name", CODECS + PICTURES)
def test_the_largest_tile_of_every_codec_takes_at_most_twice_max_tile_bytes(name, what):
    most = 32 * MB
    peak, side, _ = provenance(TILES, name, what, str(most))
    assert side >= 1_000
    assert peak < 2 * most + 8 * MB


def huge(compression: int, data: bytes, side: int) -> bytes:
    tags = {256: (LONG, [side]), 257: (LONG, [side]), 258: (SHORT, [8]), 259: (SHORT, [compression]), 262: (SHORT, [1])}
    return tiff_of([data], tags | {277: (SHORT, [1]), 322: (LONG, [side]), 323: (LONG, [side])}, tiled=True)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("compression", [1, 5, 7, 8, 32773, 34712, 34887, 34925, 34933, 50000, 50002])
def test_a_tile_beyond_the_option_is_refused_by_name_before_it_is_fetched(tmp_path, compression, engine):
    (tmp_path / "huge.tif").write_bytes(huge(compression, bytes(200), 32_000))
    (tmp_path / "small.tif").write_bytes(huge(1, bytes(range(256)), 16))
    scenes = pr.build_from_files(str(tmp_path / "*.tif"), bands=["b"]).sort("id")
    assert scenes.select(pl.col("header_error").count()).collect().item() == 0
    windows = pl.col("b").raster.read_window(window=(0, 1, 0, 4), shape=(1, 4), on_error="null")
    with pr.profile() as profile, pytest.warns(RuntimeWarning, match="1 values are null"):
        found = scenes.select(windows).collect(engine=engine).to_series()
    assert found[0] is None
    assert found[1].to_list() == [[0, 1, 2, 3]]
    assert "max_tile_bytes allows 256000000" in str(profile.errors)


def test_the_option_raises_the_bound(tmp_path):
    side = 300
    (tmp_path / "one.tif").write_bytes(huge(1, np.full(side * side, 7, np.uint8).tobytes(), side))
    scenes = pr.build_from_files(str(tmp_path / "one.tif"), bands=["b"])
    window = scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1), shape=(1, 1)))
    with (
        pr.options(max_tile_bytes=side * side - 1),
        pytest.raises((FileFormatError, pl.exceptions.ComputeError)) as told,
    ):
        scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1), shape=(1, 1))).collect()
    assert f"pr.options(max_tile_bytes={side * side})" in str(told.value)
    assert window.collect().to_series()[0].to_list() == [[7]]
    with pytest.raises(UsageError, match="max_tile_bytes"):
        pr.options(max_tile_bytes=0)


ROWS = (
    PEAK
    + """
import polars as pl
import polars_rasteret as pr
from polars_rasteret.engine.decoding import decode_pool

href, flight, answer, cache, tile = sys.argv[1], *map(int, sys.argv[2:])
pr.options(max_bytes_in_flight=flight, max_answer_bytes=answer, cache_bytes=cache, max_tile_bytes=tile)
scenes = pr.build_from_files([href], bands=["b"])
corners = [(row, col) for row in range(0, 12_000, 1_000) for col in range(0, 12_000, 1_000)]
places = pl.DataFrame(corners, schema=["y", "x"], orient="row").with_columns(x=pl.col("x") + 500.5, y=11_999.5 - pl.col("y"))

def read(shape):
    got = scenes.raster.read_windows(places.lazy(), ["b"], x="x", y="y", crs="native", shape=shape)
    return sum(frame["b"].len() for frame in got.select("b").collect_batches(chunk_size=8))

read((8, 8))  # what is loaded at first use counts no more
peak, n = peak_of(lambda: read((500, 500)))
print(json.dumps([peak, n, decode_pool().n_threads]))
"""
)
CONSTANT = 30 * MB
"""What a read takes besides: Polars' own batches, threads, tables."""


@needs_proc
@pytest.mark.slow
def test_rows_take_no_more_than_what_the_options_add_up_to(tmp_path):
    n, side = 12_000, 3_000
    tags = {
        256: (LONG, [n]),
        257: (LONG, [n]),
        258: (SHORT, [8]),
        259: (SHORT, [8]),
        262: (SHORT, [1]),
        277: (SHORT, [1]),
    }
    tags |= {322: (LONG, [side]), 323: (LONG, [side]), 33550: (DOUBLE, [1, 1, 0])}
    tile = zlib.compress(bytes(side * side), 9)
    data = tiff_of([tile] * 16, tags | {33922: (DOUBLE, [0, 0, 0, 0, n, 0])}, tiled=True)
    assert len(data) < MB
    (tmp_path / "bomb.tif").write_bytes(data)
    flight, answer, cache, most = 10 * MB, 16 * MB, 10 * MB, 10 * MB
    peak, n_rows, n_threads = provenance(ROWS, str(tmp_path / "bomb.tif"), *map(str, (flight, answer, cache, most)))
    assert n_rows == 144
    assert peak < flight + answer + cache + 2 * n_threads * most + CONSTANT
