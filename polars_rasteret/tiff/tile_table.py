"""How are the layout and tile offsets of one band packed into a few hundred bytes?

`pack` makes the ``tiles`` field of a raster column, `unpack` reads it. Layout, little-endian::

    0       flags (see `tile_flags`)
    1..8    digest: BLAKE2b (8 bytes) of everything after it
    9       version
    10      1 if the body is deflated
    11..14  bytes of the body before deflation
    15..    body: _FIXED, etag, one _IMAGE per image, byte planes of all byte counts, byte planes of the irregular gaps;
            in version 2 followed by one _EXTRA per image, then the JPEG tables that they count;
            in version 3 several of these: that of the band, then one per mask, then one _PART for each, then _PARTS

Versions 2 (JPEG) and 3 (masks, alpha) are written only for bands that need them. All other bands can be read by a release that
knows only version 1.

Where tiles follow each other in the file with the same gap, as in files that GDAL wrote, an image stores its first
offset and that gap; else every gap. Nothing about pixels or I/O belongs here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.band_tiles import MAX_BYTE_STOP, BandTiles, Image
from polars_rasteret.tiff.offset_packing import UNEVEN, from_gaps, from_planes, to_gaps, to_planes, unzigzag, zigzag
from polars_rasteret.tiff.tile_flags import first_byte, flags_of, is_borrowed

if TYPE_CHECKING:
    from numpy.typing import NDArray

VERSION = 3
"""Newest version that is read and written."""

_HEAD = struct.Struct("<B8sBBI")
_FIXED = struct.Struct("<BBBBHBHqqHHBBB8s")
"""dtype, byte order, bits, predictor, compression, planar, samples per tile, file size, last modified (us), images,
etag bytes (65535: none), codec parameter, bytes per count, bytes per gap, nodata."""
_IMAGE = struct.Struct("<IIIIHBBqq")
"""width, height, tile width, tile height, compression, predictor, layout, first offset, gap or number of gaps."""
_EXTRA = struct.Struct("<BH")
"""1 if JPEG colours are YCbCr, bytes of JPEG tables (65535: the tables of the image before)."""
_PART = struct.Struct("<BI")
"""Version and bytes of one of the bodies in a body of version 3."""
_PARTS = struct.Struct("<HB")
"""Sample that is alpha (65535: none), bodies."""
_NO_ALPHA = 65_535
_ONE_PLANE = 3  # instead of planar 2: "samples per tile" is the band, counted from 1
_SAME_TABLES = 65_535
_NO_ETAG = 65_535
_NO_NUMBER = -(1 << 63)
_DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
_HAS_NODATA = 0x80
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_MAX_TILES = 1 << 26
_MAX_BODY_BYTES = 1 << 30


def pack(tiles: BandTiles) -> bytes:
    """Return the ``tiles`` field of a band; equal tables give equal bytes. The digest is computed, `tiles.digest` is not used."""
    parts = [_body(one) for one in (tiles, *tiles.masks)]
    version, body = parts[0]
    if tiles.masks or tiles.alpha is not None:
        version, body = VERSION, b"".join(one for _, one in parts)
        body += b"".join(_PART.pack(its_version, len(one)) for its_version, one in parts)
        body += _PARTS.pack(_NO_ALPHA if tiles.alpha is None else tiles.alpha, len(parts))
    n_body_bytes = len(body)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = compressor.compress(body) + compressor.flush()
    is_deflated = len(deflated) < n_body_bytes
    tail = struct.pack("<BBI", version, is_deflated, n_body_bytes) + (deflated if is_deflated else body)
    digest = hashlib.blake2b(tail, digest_size=8).digest()
    flags = first_byte(ignore_nodata=tiles.ignore_nodata, provenance=tiles.provenance, is_borrowed=tiles.is_borrowed)
    return flags + digest + tail


def _body(tiles: BandTiles) -> tuple[int, bytes]:
    """Return the version (1 or 2) and the body of a table, without its masks."""
    images = tiles.images
    counts = np.concatenate([image.byte_count for image in images])
    count_width, count_planes = to_planes(counts)
    image_parts: list[bytes] = []
    gap_tables: list[NDArray[np.int64]] = []
    for image in images:
        layout, first, gap, gaps = to_gaps(image.byte_start, image.byte_count)
        if gaps is not None:
            gap_tables.append(gaps)
        image_parts.append(
            _IMAGE.pack(
                image.width,
                image.height,
                image.tile_width,
                image.tile_height,
                image.compression,
                image.predictor,
                layout,
                first,
                gap,
            )
        )
    gap_width, gap_planes = to_planes(zigzag(np.concatenate(gap_tables))) if gap_tables else (0, b"")
    extra = _extra(images)
    etag = b"" if tiles.etag is None else tiles.etag.encode()[: _NO_ETAG - 1]
    body = b"".join(
        (
            _FIXED.pack(
                _DTYPES.index(tiles.dtype.name) | (_HAS_NODATA if tiles.nodata is not None else 0),
                tiles.byte_order == ">",
                tiles.bits_per_sample,
                tiles.predictor,
                tiles.compression,
                tiles.planar if tiles.plane is None else _ONE_PLANE,
                tiles.samples_per_tile if tiles.plane is None else tiles.plane + 1,
                _NO_NUMBER if tiles.file_size is None else tiles.file_size,
                _NO_NUMBER if tiles.last_modified is None else (tiles.last_modified - _EPOCH) // _MICROSECOND,
                len(images),
                _NO_ETAG if tiles.etag is None else len(etag),
                tiles.codec_parameter,
                count_width,
                gap_width,
                b"" if tiles.nodata is None else np.asarray(tiles.nodata, tiles.dtype.newbyteorder("<")).tobytes(),
            ),
            etag,
            *image_parts,
            count_planes,
            gap_planes,
            extra,
        )
    )
    return 2 if extra else 1, body


def file_identity(tiles: bytes) -> tuple[int | None, str | None, dt.datetime | None]:
    """Return size, ETag and modification time of the file from a ``tiles`` field, without unpacking its tables.

    Each is None when the field does not have it.

    Raises
    ------
    FileFormatError
        When the field is damaged.
    """
    try:
        n_wanted = _FIXED.size + _NO_ETAG
        body = tiles[_HEAD.size :]
        if tiles[10]:
            body = zlib.decompressobj(-15).decompress(body, n_wanted)
        *_, file_size, modified, _, n_etag_bytes, _, _, _, _ = _FIXED.unpack_from(body)
        etag = None if n_etag_bytes == _NO_ETAG else body[_FIXED.size : _FIXED.size + n_etag_bytes].decode()
        return (
            None if file_size == _NO_NUMBER else file_size,
            etag,
            None if modified == _NO_NUMBER else _EPOCH + modified * _MICROSECOND,
        )
    except (struct.error, zlib.error, ValueError, IndexError, OverflowError) as error:
        raise _damaged(str(error)) from error


def unpack(tiles: bytes) -> BandTiles:
    """Return the table in a ``tiles`` field.

    Raises
    ------
    FileFormatError
        When the bytes are truncated, changed, or of a version that this release does not know.
    """
    if len(tiles) < _HEAD.size:
        raise _damaged(f"it has {len(tiles)} bytes, fewer than its head of {_HEAD.size}")
    _, digest, version, is_deflated, n_body_bytes = _HEAD.unpack_from(tiles)
    if not 1 <= version <= VERSION:
        raise FileFormatError(
            f"the tiles field of a raster column has format version {version}; this release reads versions 1 to {VERSION}. "
            "Upgrade polars-rasteret, or index the files again with this release."
        )
    if hashlib.blake2b(memoryview(tiles)[9:], digest_size=8).digest() != digest:
        raise _damaged("its digest does not match its content")
    if n_body_bytes > _MAX_BODY_BYTES:
        raise _damaged(f"its head claims a body of {n_body_bytes} bytes")
    body = bytes(memoryview(tiles)[_HEAD.size :])
    try:
        if is_deflated:
            body = zlib.decompressobj(-15).decompress(body, n_body_bytes + 1)
        if len(body) != n_body_bytes:
            raise _damaged(f"its body has {len(body)} bytes where its head says {n_body_bytes}")
        read = _from_parts(body) if version == VERSION else _from_body(body, version)
        ignore_nodata, provenance = flags_of(tiles)
        masks = tuple(replace(mask, provenance=provenance) for mask in read.masks)
        return replace(
            read,
            digest=digest,
            ignore_nodata=ignore_nodata,
            provenance=provenance,
            masks=masks,
            is_borrowed=is_borrowed(tiles),
        )
    except (struct.error, zlib.error, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise _damaged(str(error)) from error


def _extra(images: tuple[Image, ...]) -> bytes:
    """Return the packed JPEG tables and YCbCr flags of the images; empty when no image has any."""
    if not any(image.jpeg_tables or image.is_ycbcr for image in images):
        return b""
    heads, tables, before = b"", b"", None
    for image in images:
        is_same = image.jpeg_tables == before
        heads += _EXTRA.pack(image.is_ycbcr, _SAME_TABLES if is_same else len(image.jpeg_tables))
        tables += b"" if is_same else image.jpeg_tables
        before = image.jpeg_tables
    return heads + tables


def _from_extra(body: bytes, at: int, n_images: int) -> list[tuple[bool, bytes]]:
    """Return (is YCbCr, JPEG tables) of each image from the bytes behind the tile tables."""
    heads = [_EXTRA.unpack_from(body, at + index * _EXTRA.size) for index in range(n_images)]
    at += n_images * _EXTRA.size
    found: list[tuple[bool, bytes]] = []
    for is_ycbcr, n_bytes in heads:
        if n_bytes == _SAME_TABLES:
            found.append((bool(is_ycbcr), found[-1][1]))
            continue
        found.append((bool(is_ycbcr), body[at : at + n_bytes]))
        at += n_bytes
    if at != len(body):
        raise _damaged(f"its JPEG tables end at byte {at} of {len(body)}")
    return found


def _from_parts(body: bytes) -> BandTiles:
    """Return the table in a body of version 3."""
    alpha, n_parts = _PARTS.unpack_from(body, len(body) - _PARTS.size)
    heads_at = len(body) - _PARTS.size - n_parts * _PART.size
    heads = [_PART.unpack_from(body, heads_at + index * _PART.size) for index in range(n_parts)]
    stops = np.cumsum([n_bytes for _, n_bytes in heads]).tolist()
    if heads_at < 0 or not heads or stops[-1] != heads_at or any(version not in {1, 2} for version, _ in heads):
        raise _damaged(f"its {n_parts} tables do not fit its {len(body)} bytes")
    band, *masks = (
        _from_body(body[stop - n_bytes : stop], version) for (version, n_bytes), stop in zip(heads, stops, strict=True)
    )
    sizes = [(image.width, image.height) for image in band.images]
    if any([(image.width, image.height) for image in mask.images] != sizes for mask in masks):
        raise _damaged("it has a mask of another size than its image")
    if band.samples_per_tile <= alpha != _NO_ALPHA:
        raise _damaged(f"sample {alpha} of {band.samples_per_tile} is alpha")
    return replace(band, alpha=None if alpha == _NO_ALPHA else alpha, masks=tuple(masks))


def _from_body(body: bytes, version: int) -> BandTiles:
    (
        dtype_code,
        is_big_endian,
        bits_per_sample,
        predictor,
        compression,
        planar,
        samples_per_tile,
        file_size,
        modified,
        n_images,
        n_etag_bytes,
        codec_parameter,
        count_width,
        gap_width,
        nodata,
    ) = _FIXED.unpack_from(body)
    dtype = np.dtype(_DTYPES[dtype_code & ~_HAS_NODATA])
    at = _FIXED.size
    etag = None
    if n_etag_bytes != _NO_ETAG:
        etag = body[at : at + n_etag_bytes].decode()
        at += n_etag_bytes
    heads = [_IMAGE.unpack_from(body, at + index * _IMAGE.size) for index in range(n_images)]
    at += n_images * _IMAGE.size
    if not heads or any(min(head[:4]) < 1 for head in heads) or not samples_per_tile:
        raise _damaged("it has an image without pixels")
    n_tiles = [-(-width // across) * -(-height // down) for width, height, across, down, *_ in heads]
    n_all = sum(n_tiles)
    n_gaps = sum(gap for *_, layout, _, gap in heads if layout == UNEVEN)
    if (
        n_all > _MAX_TILES
        or any(head[6] == UNEVEN and not 0 <= head[8] < n for head, n in zip(heads, n_tiles, strict=True))
        or (stop := at + count_width * n_all + gap_width * n_gaps) > len(body)
        or (version == 1 and stop != len(body))
        or max(count_width, gap_width) > 8
    ):
        raise _damaged(f"its tables for {n_all} tiles do not fit its {len(body)} bytes")
    counts = from_planes(body, at, count_width, n_all)
    gaps = unzigzag(from_planes(body, at + count_width * n_all, gap_width, n_gaps)) if gap_width else counts[:0]
    extras = _from_extra(body, stop, n_images) if version > 1 else [(False, b"")] * n_images
    images: list[Image] = []
    tile = gap_at = 0
    for (width, height, tile_width, tile_height, its_compression, its_predictor, layout, first, gap), n, extra in zip(
        heads, n_tiles, extras, strict=True
    ):
        byte_count = counts[tile : tile + n]
        own_gaps: NDArray[np.int64] | int = gap
        if layout == UNEVEN:
            own_gaps = gaps[gap_at : gap_at + gap]
            gap_at += gap
        images.append(
            Image(
                width=width,
                height=height,
                tile_width=tile_width,
                tile_height=tile_height,
                byte_start=from_gaps(first, own_gaps, byte_count),
                byte_count=byte_count,
                compression=its_compression,
                predictor=its_predictor,
                is_ycbcr=extra[0],
                jpeg_tables=extra[1],
            )
        )
        tile += n
    # Viewed as unsigned, a negative number is larger than any allowed one.
    tables = (table.view(np.uint64) for image in images for table in (image.byte_start, image.byte_count))
    if any(int(table.max()) >= MAX_BYTE_STOP for table in tables):
        raise _damaged(f"its tables lead to bytes outside 0..{MAX_BYTE_STOP}")
    return BandTiles(
        dtype=dtype,
        byte_order=">" if is_big_endian else "<",
        bits_per_sample=bits_per_sample,
        compression=compression,
        predictor=predictor,
        samples_per_tile=1 if planar == _ONE_PLANE else samples_per_tile,
        planar=2 if planar == _ONE_PLANE else planar,
        plane=samples_per_tile - 1 if planar == _ONE_PLANE else None,
        nodata=np.frombuffer(nodata, dtype.newbyteorder("<"), 1).astype(dtype)[0] if dtype_code & _HAS_NODATA else None,
        ignore_nodata=False,
        images=tuple(images),
        file_size=None if file_size == _NO_NUMBER else file_size,
        etag=etag,
        last_modified=None if modified == _NO_NUMBER else _EPOCH + modified * _MICROSECOND,
        codec_parameter=codec_parameter,
    )


def _damaged(what: str) -> FileFormatError:
    return FileFormatError(
        f"the tiles field of a raster column is damaged: {what}. Expected the bytes an index wrote; index the "
        "file again."
    )
