"""Do packed tile tables survive the round trip, stay small, and refuse damage?"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.band_tiles import BandTiles, Image
from polars_rasteret.tiff.codecs.tile_codec import INKS, TileCodec
from polars_rasteret.tiff.tile_flags import with_flag
from polars_rasteret.tiff.tile_table import file_identity, pack, unpack

DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]


@st.composite
def images(draw):
    width, height = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    tile_width, tile_height = draw(st.integers(30, 400)), draw(st.integers(30, 400))
    n = -(-width // tile_width) * -(-height // tile_height)
    count = draw(hnp.arrays(np.int64, n, elements=st.integers(0, draw(st.sampled_from([1, 300, 1 << 33])))))
    if draw(st.booleans()):
        start = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1 << 50)))
    else:
        start = draw(st.integers(1 << 20, 1 << 50)) + np.cumsum(count + draw(st.integers(-5, 20))) - count
    return Image(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        byte_start=np.where(count == 0, 0, start),
        byte_count=count,
        compression=draw(st.sampled_from([1, 5, 8, 50000])),
        predictor=draw(st.integers(1, 3)),
        jpeg_tables=draw(st.sampled_from([b"", b"", b"tables", bytes(65_534)])),
        is_ycbcr=draw(st.booleans()),
    )


@st.composite
def masks_for(draw, tiles):
    """Give tables whose images have the sizes of those of a band, in other tiles."""
    found = []
    for image in tiles.images:
        tile_width, tile_height = draw(st.integers(30, 400)), draw(st.integers(30, 400))
        n = -(-image.width // tile_width) * -(-image.height // tile_height)
        count = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 300)))
        found.append(
            Image(
                width=image.width,
                height=image.height,
                tile_width=tile_width,
                tile_height=tile_height,
                byte_start=np.where(count == 0, 0, draw(st.integers(0, 1 << 50)) + np.cumsum(count) - count),
                byte_count=count,
                compression=draw(st.sampled_from([1, 5, 8, 50000])),
                jpeg_tables=draw(st.sampled_from([b"", b"tables"])),
            )
        )
    return dataclasses.replace(
        tiles,
        dtype=np.dtype(np.uint8),
        bits_per_sample=draw(st.sampled_from([1, 8])),
        compression=8,
        predictor=1,
        samples_per_tile=1,
        nodata=None,
        ignore_nodata=False,
        images=tuple(found),
        codec_parameter=draw(st.integers(0, 2)),
    )


@st.composite
def masked_tiles(draw):
    tiles = draw(band_tiles())
    alpha = draw(st.none() | st.integers(0, min(tiles.samples_per_tile - 1, 65_534)))
    masks = draw(st.lists(masks_for(tiles), min_size=int(alpha is None), max_size=2))
    return dataclasses.replace(tiles, alpha=alpha, masks=tuple(masks))


@st.composite
def band_tiles(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    nodata = None
    if draw(st.booleans()):
        nodata = draw(hnp.from_dtype(dtype))
    return BandTiles(
        dtype=dtype,
        byte_order=draw(st.sampled_from("<>")),
        bits_per_sample=dtype.itemsize * 8,
        compression=draw(st.sampled_from([1, 5, 8, 32946, 34887, 50000])),
        predictor=draw(st.integers(1, 3)),
        samples_per_tile=draw(st.integers(1, 65535)),
        planar=draw(st.integers(1, 2)),
        nodata=nodata,
        ignore_nodata=draw(st.booleans()),
        images=tuple(draw(st.lists(images(), min_size=1, max_size=4))),
        file_size=draw(st.none() | st.integers(0, 1 << 60)),
        etag=draw(st.none() | st.text(max_size=50)),
        last_modified=draw(
            st.none() | st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))
        ),
        codec_parameter=draw(st.integers(0, 2)),
    )


def same(left: BandTiles, right: BandTiles) -> None:
    for name in BandTiles.__slots__:
        if name == "images":
            assert len(left.images) == len(right.images)
            for one, two in zip(left.images, right.images, strict=True):
                for part in Image.__slots__:
                    assert np.array_equal(getattr(one, part), getattr(two, part)), part
                assert two.byte_start.dtype == two.byte_count.dtype == np.int64
        elif name == "nodata":
            assert np.array(left.nodata).tobytes() == np.array(right.nodata).tobytes() or left.nodata is right.nodata
        elif name == "masks":
            assert len(left.masks) == len(right.masks)
            for one, two in zip(left.masks, right.masks, strict=True):
                same(one, two)
        elif name != "digest":
            assert getattr(left, name) == getattr(right, name), name


@settings(deadline=None, max_examples=60)
@given(band_tiles() | masked_tiles())
def test_unpack_gives_back_what_was_packed(tiles):
    packed = pack(tiles)
    same(tiles, unpack(packed))
    assert packed == pack(tiles)


@settings(deadline=None, max_examples=60)
@given(band_tiles() | masked_tiles(), st.booleans())
def test_the_flag_changes_the_flag_and_nothing_else(tiles, ignore):
    packed = pack(tiles)
    flagged = with_flag(packed, ignore_nodata=ignore)
    assert flagged[1:] == packed[1:]
    assert unpack(flagged).ignore_nodata is ignore
    assert unpack(flagged).digest == unpack(packed).digest == hashlib.blake2b(packed[9:], digest_size=8).digest()


@settings(deadline=None, max_examples=60)
@given(band_tiles() | masked_tiles(), st.data())
def test_damage_is_refused(tiles, data):
    packed = bytearray(pack(tiles))
    at = data.draw(st.integers(1, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FileFormatError, match="tiles field"):
        unpack(bytes(packed))
    with pytest.raises(FileFormatError, match="tiles field"):
        unpack(bytes(packed[:at]))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300), st.booleans(), st.integers(1, 3))
def test_garbage_with_a_right_digest_is_refused(body, is_deflated, version):
    n_bytes = len(body)
    if is_deflated:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = compressor.compress(body) + compressor.flush()
    tail = struct.pack("<BBI", version, is_deflated, n_bytes) + body
    with pytest.raises(FileFormatError, match="damaged"):
        unpack(b"\0" + hashlib.blake2b(tail, digest_size=8).digest() + tail)


@settings(deadline=None, max_examples=60)
@given(band_tiles())
def test_a_file_without_jpeg_keeps_the_first_version(tiles):
    needs_more = any(image.jpeg_tables or image.is_ycbcr for image in tiles.images)
    assert pack(tiles)[9] == (2 if needs_more else 1)


@settings(deadline=None, max_examples=60)
@given(masked_tiles())
def test_masks_take_a_newer_version_and_leave_the_rest_of_the_table_alone(tiles):
    packed = pack(tiles)
    assert packed[9] == 3
    assert file_identity(packed) == (tiles.file_size, tiles.etag, tiles.last_modified)
    same(dataclasses.replace(tiles, masks=(), alpha=None), dataclasses.replace(unpack(packed), masks=(), alpha=None))


def test_masks_of_other_sizes_and_impossible_alpha_are_refused():
    tiles = masked_example()
    larger = dataclasses.replace(tiles.masks[0].images[0], width=tiles.images[0].width + 1)
    for wrong in (
        dataclasses.replace(tiles, masks=(dataclasses.replace(tiles.masks[0], images=(larger,)),)),
        dataclasses.replace(tiles, masks=(dataclasses.replace(tiles.masks[0], images=tiles.images * 2),)),
        dataclasses.replace(tiles, alpha=1),
    ):
        with pytest.raises(FileFormatError, match=r"damaged: .*(mask of another size|alpha)"):
            unpack(pack(wrong))


def masked_example():
    image = Image(
        width=20, height=20, tile_width=32, tile_height=32, byte_start=np.array([99]), byte_count=np.array([50])
    )
    tiles = BandTiles(
        dtype=np.dtype(np.uint8),
        byte_order="<",
        bits_per_sample=8,
        compression=8,
        predictor=1,
        samples_per_tile=1,
        planar=1,
        nodata=None,
        ignore_nodata=False,
        images=(image,),
        file_size=1000,
        etag=None,
        last_modified=None,
    )
    return dataclasses.replace(tiles, masks=(tiles,))


@pytest.mark.parametrize("parameter", [1, 8, 40, 63])
def test_colours_shared_among_impossible_pixels_are_damage(parameter):
    tiles = dataclasses.replace(masked_example(), samples_per_tile=3, codec_parameter=parameter)
    with pytest.raises(FileFormatError, match="damaged"):
        TileCodec.for_image(tiles, tiles.images[0])


def test_inks_that_are_not_four_bytes_are_damage():
    tiles = dataclasses.replace(masked_example(), samples_per_tile=3, codec_parameter=INKS)
    with pytest.raises(FileFormatError, match="damaged"):
        TileCodec.for_image(tiles, tiles.images[0])


def test_a_newer_version_says_to_upgrade():
    with pytest.raises(FileFormatError, match="Upgrade"):
        unpack(bytes(9) + b"\x63" + bytes(30))


def test_121_tiles_and_overviews_take_less_than_600_bytes():
    rng = np.random.default_rng(0)
    sizes, at, found = [5490, 2745, 1373, 687, 344], 1000, []
    for size in sizes:
        n = (-(-size // 512)) ** 2
        count = rng.normal(300_000, 20_000, n).astype(np.int64)
        start = at + np.cumsum(count + 8) - count
        at = int(start[-1] + count[-1] + 8)
        found.append(
            Image(width=size, height=size, tile_width=512, tile_height=512, byte_start=start, byte_count=count)
        )
    tiles = BandTiles(
        dtype=np.dtype(np.uint16),
        byte_order="<",
        bits_per_sample=16,
        compression=8,
        predictor=2,
        samples_per_tile=1,
        planar=1,
        nodata=np.uint16(0),
        ignore_nodata=False,
        images=tuple(found),
        file_size=at,
        etag='"d41d8cd98f00b204e9800998ecf8427e-7"',
        last_modified=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    )
    assert len(pack(tiles)) <= 600
