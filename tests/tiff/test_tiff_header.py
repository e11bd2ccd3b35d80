"""Does the header parser ask for little, end always, and say the same however its bytes arrive?"""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.tiff.gdal_metadata import band_notes, nodata_of
from polars_rasteret.tiff.georeference import transform_of
from polars_rasteret.tiff.received_bytes import ReceivedBytes
from polars_rasteret.tiff.tile_table import unpack
from tests.support.tiff_driver import Driver, Raster, description

FEED = [
    "derived/COG_f32_zstd_b128.tif",
    "derived/f32_zstd_p3_BE_bigtiff.tif",
    "derived/u16_sparse_nodata_sep_BE.tif",
    "derived/u16_rotated.tif",
    "derived/i32_lzw_p2_BE_sep.tif",
    "tiff/gdal-autotest__tiff_with_subifds.tif",
    "tiff/cogeotiff__model_transformation.tif",
    "tiff/libertiff__be_bigtiff_strip_single_band.tif",
    "tiff/landsat__LC08_L2SP_008059_20191201_20200825_02_T1_QA_PIXEL.TIF",
    "tiff/rio-tiler__cog_dateline.tif",
    "tiff/rio-tiler__cog_uint8_rgb_mask.tif",
    "tiff/rio-cogeo__image_web_z5_z11.tif",
    "tiff/rasteret__BigTIFFMotorola.tif",
    "tiff/rioxarray__cog.tif",
]


@pytest.mark.parametrize("name", FEED)
def test_the_header_is_the_same_however_its_bytes_arrive(name, shared_file):
    data = shared_file(name).read_bytes()
    expected = description(Driver(data).parse(), len(data))
    limits = [lambda _: 16, lambda n: 2**n, lambda n: 16 << (n // 4), lambda n: 7 + n % 1000]
    if len(data) < 20_000:
        limits.append(lambda _: 1)
    for limit in limits:
        assert description(Driver(data, limit).parse(), len(data)) == expected


def test_a_cloud_optimized_file_takes_one_request(shared_data):
    for name in ("derived/COG_f32_zstd_b128.tif", "tiff/rio-tiler__cog_dateline.tif", "derived/COG_u16_zstd_b128.tif"):
        driver = Driver((shared_data / name).read_bytes())
        driver.parse()
        assert [(one.byte_start, one.byte_stop) for one in driver.asked] == [(0, 32_768)]


def test_a_file_with_its_directory_at_the_end_takes_few_requests(tmp_path):
    path = tmp_path / "end.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=3000, height=3000, count=1, dtype="uint8", crs="EPSG:3857",
        transform=rasterio.Affine(10, 0, 500, 0, -10, 900), tiled=True, blockxsize=16, blockysize=16,
    ) as file:  # fmt: skip
        file.write(np.arange(9_000_000, dtype=np.uint32).astype(np.uint8).reshape(1, 3000, 3000))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4, 8])
    driver = Driver(path.read_bytes())
    tiff = driver.parse()
    assert len(tiff.images) == 4
    assert len(driver.asked) <= 12


@settings(deadline=None)
@given(st.binary(max_size=600), st.lists(st.tuples(st.integers(0, 590), st.integers(1, 60)), max_size=12), st.data())
def test_known_bytes_are_the_bytes_of_the_file(data, wishes, chooser):
    data = data + bytes(660 - len(data))
    known = ReceivedBytes("file")
    for at in range(0, len(wishes), 3):
        ranges = [(start, start + n) for start, n in wishes[at : at + 3]]
        asking = known.fetch(ranges, "bytes", ahead=chooser.draw(st.integers(0, 30)))
        answer = None
        try:
            while True:
                wish = asking.send(answer)
                n = chooser.draw(st.integers(1, wish.byte_stop - wish.byte_start))
                answer = data[wish.byte_start : wish.byte_start + n]
        except StopIteration:
            pass
        for start, stop in ranges:
            assert known.get(start, stop) == data[start:stop]
    assert known.starts == sorted(set(known.starts))


def mutants(seeds: list[bytes], n: int):
    """Files with some header bytes changed, cut or copied elsewhere."""
    rng = random.Random(20_240_229)
    for _ in range(n):
        data = bytearray(rng.choice(seeds))
        hot = min(len(data), 1_500)
        for _ in range(rng.choice([1, 1, 2, 4, 12])):
            hot = min(hot, len(data))
            at = rng.randrange(hot)
            kind = rng.random()
            if kind < 0.5:
                data[at] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            elif kind < 0.75:
                data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", rng.randbytes(4)])
            elif kind < 0.9:
                source = rng.randrange(hot)
                data[at : at + 12] = data[source : source + 12]
            else:
                del data[rng.randrange(8, max(9, len(data))) :]
        yield bytes(data)


def test_2000_mutated_headers_end_in_an_answer_or_a_format_error(shared_data, reference):
    folders = {"derived", "tiff"}
    seeds = [
        (shared_data / name).read_bytes()
        for name, facts in sorted(reference.items())
        if name.split("/")[0] in folders and facts["status"] == "ok" and facts["bytes"] < 30_000
    ]
    assert len(seeds) > 50
    slowest, n_parsed, n_read = 0.0, 0, 0
    for data in mutants(seeds, 2_000):
        began = time.perf_counter()
        driver = Driver(data)
        try:
            tiff = driver.parse("mutant")
            n_parsed += 1
            packed = tiff.band_tiles(0, file_size=len(data), etag=None, last_modified=None)
            assert unpack(packed).images
            if max(image.layout.raw_tile_bytes for image in tiff.images) < 1 << 22:
                Raster(data, tiff, tiff.n_bands - 1).window(0, 0, min(tiff.height, 20), min(tiff.width, 20))
                n_read += 1
        except FileFormatError as error:
            assert len(error.args) == 1  # noqa: PT017
            assert str(error).startswith(("mutant: ", "a ", "the "))  # noqa: PT017
        assert len(driver.asked) < 1_100
        slowest = max(slowest, time.perf_counter() - began)
    assert n_read > 300
    assert n_parsed < 2_000
    assert slowest < 20


def test_a_loop_of_directories_ends():
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\x04\0\1\0\0\0" + value.to_bytes(4, "little")
        for tag, value in ((256, 4), (257, 4), (258, 8), (273, 8), (279, 16))
    )
    ifd = b"\5\0" + entries
    first, second = 24, 24 + len(ifd) + 4
    data = b"II*\0" + first.to_bytes(4, "little") + bytes(range(16))
    data += ifd + second.to_bytes(4, "little") + ifd + first.to_bytes(4, "little")
    tiff = Driver(data).parse()
    assert len(tiff.images) == 1
    assert np.array_equal(Raster(data, tiff, 0).whole(), np.arange(16).reshape(4, 4))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "ends at byte 0"),
        (b"<html><body>not found", "not a TIFF"),
        (b"PK\3\4" + bytes(50), "not a TIFF"),
        (b"II*\0\0\0\0\0", "offset is impossible"),
        (b"II*\0\x08\0\0\0", "ends at byte 8"),
        (b"II*\0\x08\0\0\0\xff\xff", "65535 entries"),
        (b"II+\0\x09\0\0\0" + bytes(8), "offsets of 8 bytes"),
    ],
)
def test_what_is_not_a_tiff_says_so(data, what):
    with pytest.raises(FileFormatError, match=what):
        Driver(data).parse()


def test_a_band_that_is_not_there_is_a_usage_error(shared_data):
    data = (shared_data / "tiff/rio-tiler__cog_scale.tif").read_bytes()
    with pytest.raises(UsageError, match="bands 0 to 1"):
        Driver(data).parse().band_tiles(2, file_size=None, etag=None, last_modified=None)


def test_bands_share_their_tiles_exactly_when_they_share_bytes(shared_data):
    for name, planar in (("tiff/rio-tiler__rgb.tif", 1), ("derived/i32_lzw_p2_BE_sep.tif", 2)):
        data = (shared_data / name).read_bytes()
        tiff = Driver(data).parse()
        packed = {
            tiff.band_tiles(band, file_size=len(data), etag="e", last_modified=None) for band in range(tiff.n_bands)
        }
        assert len(packed) == (1 if planar == 1 else tiff.n_bands)
        assert {unpack(one).samples_per_tile for one in packed} == {tiff.n_bands if planar == 1 else 1}


def test_one_long_strip_without_compression_is_read_in_parts(tmp_path):
    path = tmp_path / "strip.tif"
    pixels = np.arange(2_000_000, dtype=np.uint32).astype(np.uint16).reshape(1, 2000, 1000)
    with rasterio.open(
        path, "w", driver="GTiff", width=1000, height=2000, count=1, dtype="uint16", blockysize=2000, nodata=7,
        crs="EPSG:3857", transform=rasterio.Affine(10, 0, 500, 0, -10, 900),
    ) as file:  # fmt: skip
        file.write(pixels)
    data = path.read_bytes()
    raster = Raster(data, Driver(data).parse(), 0)
    assert raster.tiles.images[0].byte_count.max() <= 1 << 18
    assert np.array_equal(raster.whole(), pixels[0])


@pytest.mark.parametrize("compress", ["NONE", "DEFLATE", "LZW"])
def test_missing_byte_counts_are_inferred(tmp_path, compress):
    path = tmp_path / "strips.tif"
    pixels = np.random.default_rng(0).integers(0, 50, (1, 40, 30), np.uint16)
    for strip_rows in (40, 16):
        with rasterio.open(
            path, "w", driver="GTiff", width=30, height=40, count=1, dtype="uint16", compress=compress,
            blockysize=strip_rows, crs="EPSG:3857", transform=rasterio.Affine(10, 0, 500, 0, -10, 900),
        ) as file:  # fmt: skip
            file.write(pixels)
        data = path.read_bytes()
        entry = data.index((279).to_bytes(2, "little") + (4 if b"\x17\x01\x04\0" in data else 3).to_bytes(2, "little"))
        data = data[:entry] + (65_000).to_bytes(2, "little") + data[entry + 2 :]
        assert np.array_equal(Raster(data, Driver(data).parse(), 0).whole(), pixels[0])


def test_too_many_samples_are_refused(shared_data):
    data = (shared_data / "tiff/libertiff__le_strip_single_band.tif").read_bytes()
    entry = data.index((277).to_bytes(2, "little") + b"\3\0")
    lying = data[: entry + 2] + b"\4\0\1\0\0\0\0\0\1\0" + data[entry + 12 :]
    with pytest.raises(FileFormatError, match="65536 samples"):
        Driver(lying).parse()


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("0", "u1", 0),
        ("-9999", "i2", -9999),
        ("-9999", "u1", None),
        ("255.0", "u1", 255),
        ("0.5", "u1", 0),  # as GDAL has it: cut to a whole number
        ("nan", "u2", None),
        ("18446744073709551615", "u8", 2**64 - 1),
        ("9007199254740993", "i8", 2**53 + 1),
        ("-3.4028234663852886e+38", "f4", -3.4028234663852886e38),
        ("-3.40282346638529e+38", "f4", -3.4028234663852886e38),
        ("1e300", "f4", float("inf")),
        ("0.1", "f4", float(np.float32(0.1))),
        ("1.#INF", "f8", float("inf")),
        ("-1.#INF", "f4", float("-inf")),
        (" -inf", "f4", float("-inf")),
        ("none", "f4", 0.0),  # as GDAL has it
        ("", "f4", None),
    ],
)
def test_nodata_is_a_value_of_the_dtype_or_nothing(text, dtype, expected):
    found = nodata_of(text, np.dtype(dtype))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["nan", "NaN", "+nan", "1.#QNAN", "-1.#IND"])
def test_nodata_nan(text):
    assert np.isnan(nodata_of(text, np.dtype("f4")))


def test_malformed_metadata_is_ignored():
    assert band_notes("<GDALMetadata><Item").scale == {}
    assert band_notes('<!DOCTYPE x [<!ENTITY a "b">]><G><Item sample="0" role="scale">2</Item></G>').scale == {}
    assert band_notes('<G><Item sample="0" role="scale">x</Item><Item role="scale">2</Item></G>').scale == {}
    assert band_notes('<G><Item sample="1" role="offset">-2.5</Item></G>').offset == {1: -2.5}


def test_pixel_is_point_shifts_by_half_a_pixel_along_both_axes():
    keys = np.array([1, 1, 0, 1, 1025, 0, 1, 2], np.uint16)
    matrix = np.array([2.0, 1, 0, 100, 3, -4, 0, 200, 0, 0, 0, 0, 0, 0, 0, 1])
    assert transform_of({34264: matrix, 34735: keys}) == (2, 1, 98.5, 3, -4, 200.5)
    assert transform_of({34264: matrix}) == (2, 1, 100, 3, -4, 200)
