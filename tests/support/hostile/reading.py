"""What becomes of a damaged file that is read? An answer, a clear error, or a fault of ours."""

from __future__ import annotations

import contextlib
import lzma
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

import polars_rasteret as pr
from polars_rasteret.errors import FileFormatError, RasteretError
from polars_rasteret.testing import MemorySource
from polars_rasteret.tiff.band_tiles import BandTiles, Image
from polars_rasteret.tiff.codecs.inflate import ADOBE_DEFLATE, DEFLATE, JPEG, LZMA, ZSTD, inflate
from polars_rasteret.tiff.codecs.tile_codec import Scratch, TileCodec
from polars_rasteret.tiff.header import read_header
from polars_rasteret.tiff.tile_table import pack, unpack
from tests.support.hostile.fingerprint import fingerprint

_MOST_PIXELS = 1 << 20
_WINDOW = 96
_MOST_REQUESTS = 1_100
_MOST_TILES = 400


@dataclass
class Outcome:
    """Of one file."""

    status: str
    """``read``, ``refused`` or ``fault``."""
    told: str = ""
    """Why it was refused, or what is special about how it was read."""
    pixels: str = ""
    """What identifies the pixels of the first and the last band: comparable with that of another reader."""


def read_directly(data: bytes) -> Outcome:
    """Read a file through the format layer alone: header, packed tables, some windows of each image."""
    try:
        bands, notes, told = _direct(data)
    except FileFormatError as error:
        return _refused(error, at_header=True)
    if told:
        return Outcome("refused", told)
    return Outcome("read", " ".join(sorted(notes)).strip(), fingerprint(bands) if bands else "")


def _direct(data: bytes) -> tuple[list[np.ndarray], set[str], str]:
    parser = read_header("mutant")
    wish = next(parser)
    for _ in range(_MOST_REQUESTS):
        assert 0 <= wish.byte_start < wish.byte_stop
        try:
            wish = parser.send(data[wish.byte_start : wish.byte_stop])
        except StopIteration as end:
            tiff = end.value
            break
    else:
        raise AssertionError(f"more than {_MOST_REQUESTS} requests for one header")
    told, notes = "", set()
    whole: list[np.ndarray] = []
    scratch = Scratch()
    for band in dict.fromkeys((0, tiff.n_bands - 1)):
        tiles = unpack(tiff.band_tiles(band, file_size=len(data), etag=None, last_modified=None))
        sample = band if tiles.planar == 1 else 0
        for level, image in enumerate(tiles.images[:4]):
            codec = TileCodec.for_image(tiles, image)
            for top, left, height, width in windows_of(image.width, image.height):
                try:
                    pixels = _window(data, tiles, image, codec, scratch, (top, left, height, width), sample, notes)
                except FileFormatError as error:
                    told = _refused(error).told
                    continue
                if level == 0 and (height, width) == (image.height, image.width):
                    whole.append(pixels)
    return whole, notes, told


def windows_of(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Give windows (row, column, height, width): the whole, or corners and middle of a large image."""
    if width * height <= _MOST_PIXELS:
        return [(0, 0, height, width)]
    rows, columns = min(height, _WINDOW), min(width, _WINDOW)
    places = {(0, 0), (height - rows, width - columns), ((height - rows) // 2, (width - columns) // 2)}
    return [(top, left, rows, columns) for top, left in sorted(places)]


def _window(
    data: bytes, tiles: BandTiles, image: Image, codec: TileCodec, scratch: Scratch,
    window: tuple[int, int, int, int], sample: int, notes: set[str],
) -> np.ndarray:  # fmt: skip
    row, col, height, width = window
    out = np.full((height, width), 0 if tiles.nodata is None else tiles.nodata, tiles.dtype)
    n_read = 0
    for down in range(row // image.tile_height, -(-(row + height) // image.tile_height)):
        for across in range(col // image.tile_width, -(-(col + width) // image.tile_width)):
            tile = down * image.tiles_across + across
            start, size = int(image.byte_start[tile]), int(image.byte_count[tile])
            n_read += bool(size)
            if size == 0 or n_read > _MOST_TILES:
                continue
            top, left = down * image.tile_height, across * image.tile_width
            rows = slice(max(row, top), min(row + height, top + image.tile_height))
            cols = slice(max(col, left), min(col + width, left + image.tile_width))
            if start + size > len(data):
                raise FileFormatError("a tile lies beyond the end of the file, as a source would say")
            pixels = codec.decode(
                memoryview(data)[start : start + size],
                scratch,
                rows=slice(rows.start - top, rows.stop - top),
                col_stop=cols.stop - left,
                tile_rows=min(image.tile_height, image.height - top),
            )
            assert pixels.dtype == tiles.dtype
            if codec.compression in {DEFLATE, ADOBE_DEFLATE, ZSTD, LZMA}:
                notes.add(
                    _check_prefix(codec.compression, data[start : start + size], (rows.stop - top) * codec.row_bytes)
                )
            elif codec.compression == JPEG:
                notes.add("JPEG")
            out[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col] = pixels[
                :, cols.start - left : cols.stop - left, sample
            ]
    return out


def _check_prefix(compression: int, data: bytes, n_bytes: int) -> str:
    """Compare the prefix that we take of a stream with that of a streaming decoder; say whether DEFLATE ends with it."""
    if compression == ZSTD:
        try:
            expected = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(n_bytes)
        except OSError:  # libzstd's streaming decoder refuses some damage that its one-shot decoder takes as it is
            return ""
    elif compression == LZMA:
        expected = lzma.LZMADecompressor().decompress(data, n_bytes)
    else:
        unpacker = zlib.decompressobj()
        expected = unpacker.decompress(data, n_bytes)
    assert inflate(compression, data, n_bytes, Scratch())[:n_bytes].tobytes() == expected, (
        "differs from a streaming decoder"
    )
    if compression in {DEFLATE, ADOBE_DEFLATE}:
        with contextlib.suppress(zlib.error):
            if not unpacker.decompress(unpacker.unconsumed_tail, 1) and unpacker.eof:
                return ""
        return "DEFLATE goes on"
    return ""


def read_by_query(href: str, engine: str) -> Outcome:
    """Index a file and read its bands with Polars, as a user would."""
    scenes = pr.build_from_files([href]).collect()
    bands = [name for name, dtype in scenes.schema.items() if isinstance(dtype, pl.Struct) and name != "bbox"]
    reason = scenes["header_error"][0]
    if reason is not None:
        _check_told(reason)
        assert href.rsplit("/", 1)[-1] in reason, reason
        if all(scenes[name][0] is None for name in bands):
            return Outcome("refused", reason)
    whole: list[np.ndarray] = []
    told = ""
    for band in dict.fromkeys((bands[0], bands[-1])):
        raster = scenes[band][0]
        if raster is None:
            continue
        for window in windows_of(raster["width"], raster["height"]):
            row, col, height, width = window
            query = scenes.lazy().select(
                pl.col(band).raster.read_window(window=(row, row + height, col, col + width)).alias("got")
            )
            try:
                got = query.unnest("got").collect(engine=engine)
            except RasteretError as error:
                told = _refused(error).told
                assert href.rsplit("/", 1)[-1] in told, told
                continue
            pixels = got["pixels"].explode().to_numpy().reshape(height, width)
            if (height, width) == (raster["height"], raster["width"]):
                whole.append(pixels)
    return Outcome("refused", told) if told else Outcome("read", "", fingerprint(whole) if whole else "")


def read_from_memory(data: bytes, name: str, engine: str) -> Outcome:
    """Read by query what is no file."""
    href = f"memory://hostile/{name}.tif"
    _FILES[href] = data
    try:
        return read_by_query(href, engine)
    finally:
        del _FILES[href]


def unpack_mutant(data: bytes) -> Outcome:
    """Read a packed table that may be damaged; what is read must be usable."""
    try:
        tiles = unpack(data)
    except FileFormatError as error:
        return _refused(error)
    for image in tiles.images:
        n_tiles = image.tiles_across * -(-image.height // image.tile_height)
        assert image.byte_start.shape == image.byte_count.shape == (n_tiles,)
        assert not n_tiles or (image.byte_count.min() >= 0 and image.byte_start.min() >= 0)
        try:
            codec = TileCodec.for_image(tiles, image)
            n_rows = min(image.tile_height, 3)
            for noise in (bytes(70_000), b"\xff" * 70_000):
                codec.decode(noise, Scratch(), rows=slice(0, n_rows), col_stop=1, tile_rows=n_rows)
        except FileFormatError as error:
            return _refused(error)
    if sum(len(image.byte_count) for image in tiles.images) < 1 << 16:
        unpack(pack(tiles))
    return Outcome("read")


def _refused(error: RasteretError, *, at_header: bool = False) -> Outcome:
    assert len(error.args) == 1
    message = str(error)
    _check_told(message)
    assert not at_header or message.startswith(("mutant: ", "a ", "the ")), message
    return Outcome("refused", message)


def _check_told(message: str) -> None:
    assert len(message) > 40, message
    assert not message.rstrip().endswith(": ."), message


_FILES: dict[str, bytes] = {}
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="build_from_files: none of")  # a file alone, and it is broken
pr.configure_store("memory://hostile/", store=MemorySource(_FILES))
