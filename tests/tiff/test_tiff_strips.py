"""Are tall strips read in parts, and files with GDAL's ghost areas where their tables say?"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import polars as pl
import pytest
import rasterio
from rasterio.shutil import copy as copy_raster

import polars_rasteret as pr
from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.tile_table import pack, unpack
from tests.support import tiff_writer as tw
from tests.support.tiff_driver import Driver, Raster
from tests.support.tiff_writer import tiff_of

TRANSFORM = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)


def strips_of(width, height, rows, *, bits=8, samples=1, planar=1, predictor=1, compression=1):
    return {
        256: (tw.LONG, [width]),
        257: (tw.LONG, [height]),
        258: (tw.SHORT, [bits] * samples),
        259: (tw.SHORT, [compression]),
        262: (tw.SHORT, [1]),
        277: (tw.SHORT, [samples]),
        278: (tw.LONG, [rows]),
        284: (tw.SHORT, [planar]),
        317: (tw.SHORT, [predictor]),
        33550: (tw.DOUBLE, [10, 10, 0]),
        33922: (tw.DOUBLE, [0, 0, 0, 500_000, 5_000_000, 0]),
        34735: (tw.SHORT, [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632]),
    }


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize(("height", "rows"), [(2000, 2000), (2000, 900), (1900, 1000), (1801, 600)])
def test_tall_strips_without_compression_are_cut(height, rows, byte_order, planar):
    width, samples = 500, 3
    pixels = np.random.default_rng(rows).integers(0, 65_536, (height, width, samples)).astype(np.uint16)
    stored = pixels.astype(f"{byte_order}u2")
    planes = [stored] if planar == 1 else [stored[..., index] for index in range(samples)]
    pieces = [plane[at : at + rows].tobytes() for plane in planes for at in range(0, height, rows)]
    tags = strips_of(width, height, rows, bits=16, samples=samples, planar=planar)
    data = tiff_of(pieces, tags, byte_order=byte_order)
    with rasterio.MemoryFile(data) as memory, memory.open() as file:
        expected = file.read()
    assert np.array_equal(expected, pixels.transpose(2, 0, 1))
    tiff = Driver(data).parse()
    for band in range(samples):
        raster = Raster(data, tiff, band)
        assert raster.tiles.images[0].byte_count.max() <= 1 << 18
        assert np.array_equal(raster.whole(), expected[band])
        assert len(pack(raster.tiles)) < 500


def test_a_sparse_strip_stays_sparse_and_a_short_one_is_never_nodata():
    height, width, rows = 3000, 1000, 1000
    raw = np.random.default_rng(0).integers(1, 256, (height, width), np.uint8)
    pieces = [raw[at : at + rows].tobytes() for at in range(0, height, rows)]
    data = tiff_of([pieces[0], b"", pieces[2]], strips_of(width, height, rows))
    found = Raster(data, Driver(data).parse(), 0)
    assert found.tiles.images[0].tile_height < rows
    assert np.array_equal(found.whole(), np.concatenate([raw[:1000], np.zeros_like(raw[:1000]), raw[2000:]]))
    data = tiff_of([pieces[0][:5000], pieces[1], pieces[2]], strips_of(width, height, rows))
    with pytest.raises(FileFormatError, match="holds 5000 bytes"):
        Raster(data, Driver(data).parse(), 0).window(500, 0, 1, 1)


def test_strips_of_a_prime_number_of_rows_are_read():
    pixels = np.random.default_rng(0).integers(0, 256, (2 * 1009, 700), np.uint8)
    data = tiff_of([pixels[:1009].tobytes(), pixels[1009:].tobytes()], strips_of(700, 2018, 1009))
    assert np.array_equal(Raster(data, Driver(data).parse(), 0).whole(), pixels)


def test_more_low_strips_than_can_be_meant_are_refused():
    # 4,000 planes, each one strip of 256 GiB: cut, they would be 2**32 strips.
    tags = strips_of(1 << 18, 1 << 20, 1 << 20, samples=4_000, planar=2)
    tags[258] = (tw.SHORT, [8])
    data = tiff_of([b"x"] * 4_000, tags)
    with pytest.raises(FileFormatError, match="a strip of 262144 x 1048576 pixels"):
        Driver(data).parse()


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_point_in_one_strip_of_400_megabytes_requests_few_bytes(tmp_path, engine):
    size = 20_000
    path = tmp_path / f"{engine}.tif"
    head = tiff_of([b""], strips_of(size, size, size))
    start = len(head)
    entry = head.index(struct.pack("<HHI", 273, 4, 1))
    count = head.index(struct.pack("<HHI", 279, 4, 1))
    head = bytearray(head)
    head[entry + 8 : entry + 12] = struct.pack("<I", start)
    head[count + 8 : count + 12] = struct.pack("<I", size * size)
    row, col = 13_579, 4_321
    with path.open("wb") as file:
        file.write(head)
        file.seek(start + row * size + col)
        file.write(b"\x2a")
        file.truncate(start + size * size)  # a hole: takes no space
    x, y = 500_000 + 10 * (col + 0.5), 5_000_000 - 10 * (row + 0.5)
    scenes = pr.build_from_files([str(path)], bands=["band"])
    points = pl.DataFrame({"x": [x, x + 10], "y": [y, y]})
    with pr.profile() as p:
        found = (
            scenes.lazy().raster.sample_points(points.lazy(), ["band"], x="x", y="y", crs=32632).collect(engine=engine)
        )
    assert found["band"].to_list() == [42, 0]
    assert p.amounts["requests"] == 1
    assert p.amounts["bytes"] <= 1 << 18
    assert p.amounts["decoded_bytes"] <= 1 << 18
    assert path.stat().st_size > 4e8


@pytest.mark.parametrize("compress", ["DEFLATE", "ZSTD", "LZW"])
@pytest.mark.parametrize("predictor", [1, 2])
def test_a_compressed_strip_is_decoded_down_to_the_wanted_row_only(tmp_path, compress, predictor):
    pixels = np.random.default_rng(0).integers(0, 99, (1, 4000, 600)).astype(np.uint16)
    path = tmp_path / "strip.tif"
    with rasterio.open(
        path, "w", "GTiff", 600, 4000, 1, dtype="uint16", transform=TRANSFORM, crs=32632, blockysize=4000,
        compress=compress, predictor=predictor,
    ) as file:  # fmt: skip
        file.write(pixels)
    data = path.read_bytes()
    raster = Raster(data, Driver(data).parse(), 0)
    assert np.array_equal(raster.window(100, 7, 3, 9), pixels[0, 100:103, 7:16])
    held = sum(len(buffer) for name, buffer in raster.scratch._buffers.items() if name != "stream")
    assert held <= 103 * 1200 + (1 << 18) + (1 << 12)  # the rows, and what the decoders write ahead
    assert np.array_equal(raster.whole(), pixels[0])


def test_a_file_cut_short_after_the_wanted_rows_still_gives_them():
    pixels = np.random.default_rng(0).integers(0, 99, (3000, 400), np.uint8)
    stored = zlib.compress(pixels.tobytes())
    data = tiff_of([stored], strips_of(400, 3000, 3000, compression=8))
    tiff = Driver(data).parse()
    start = int(tiff.images[0].byte_start[0, 0])
    broken = data[: start + len(stored) // 2] + bytes(len(stored) - len(stored) // 2) + data[start + len(stored) :]
    assert np.array_equal(Raster(broken, tiff, 0).window(50, 0, 5, 400), pixels[50:55])


# -- ghost areas -------------------------------------------------------------------------------------------------------


def ghost_file(path, *, bands=1, interleave="PIXEL", mask=False, compress="DEFLATE"):
    pixels = np.random.default_rng(bands).integers(1, 200, (bands, 700, 600)).astype(np.uint16)
    source = path.with_suffix(".source.tif")
    with rasterio.open(source, "w", "GTiff", 600, 700, bands, dtype="uint16", transform=TRANSFORM, crs=32632) as file:
        file.write(pixels)
    options = {"COMPRESS": compress, "BLOCKSIZE": 128, "OVERVIEW_RESAMPLING": "NEAREST", "INTERLEAVE": interleave}
    copy_raster(source, path, driver="COG", **options)
    return pixels


def assert_reads_as_gdal(path):
    data = path.read_bytes()
    tiff = Driver(data).parse()
    for level in range(len(tiff.images)):
        options = {"overview_level": level - 1} if level else {}
        with rasterio.open(path, **options) as file:
            expected = file.read()
        for band in range(tiff.n_bands):
            assert np.array_equal(Raster(data, tiff, band).whole(level), expected[band])
    return data, tiff


@pytest.mark.parametrize("compress", ["NONE", "DEFLATE", "LZW", "ZSTD", "LERC_ZSTD"])
@pytest.mark.parametrize("bands", [1, 3])
def test_leaders_and_trailers_around_tiles_are_gaps(tmp_path, compress, bands):
    path = tmp_path / "cog.tif"
    pixels = ghost_file(path, bands=bands, compress=compress)
    data, tiff = assert_reads_as_gdal(path)
    head = data[:2000]
    for promise in (b"BLOCK_LEADER=SIZE_AS_UINT4", b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED"):
        assert promise in head
    assert b"KNOWN_INCOMPATIBLE_EDITION=NO" in head
    raster = Raster(data, tiff, bands - 1)
    assert np.array_equal(raster.whole(), pixels[bands - 1])
    for image in raster.tiles.images:
        start, count = image.byte_start, image.byte_count
        assert [int.from_bytes(data[at - 4 : at], "little") for at in start] == count.tolist()
        assert (start[1:] - start[:-1] - count[:-1] == 8).all()
    assert unpack(pack(raster.tiles)).images[0].byte_start.tolist() == raster.tiles.images[0].byte_start.tolist()


def test_tiles_rewritten_elsewhere_are_found_where_the_table_says(tmp_path):
    path = tmp_path / "cog.tif"
    pixels = ghost_file(path)
    new = np.random.default_rng(9).integers(0, 65_536, (300, 200)).astype(np.uint16)  # deflates worse: moves to the end
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as file:
        file.write(new, 1, window=((150, 450), (100, 300)))
    data, tiff = assert_reads_as_gdal(path)
    assert b"KNOWN_INCOMPATIBLE_EDITION=YES" in data[:2000]
    raster = Raster(data, tiff, 0)
    starts = raster.tiles.images[0].byte_start
    assert (np.diff(starts) < 0).any()
    expected = pixels[0].copy()
    expected[150:450, 100:300] = new
    assert np.array_equal(raster.whole(), expected)
