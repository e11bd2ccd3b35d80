"""How do the tests read a TIFF without any of the I/O of the package?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from polars_rasteret.tiff.band_tiles import BandTiles
from polars_rasteret.tiff.codecs.tile_codec import Scratch, TileCodec
from polars_rasteret.tiff.header import ByteRange, TiffFile, read_header
from polars_rasteret.tiff.tile_table import unpack


@dataclass
class Driver:
    """Answers byte ranges from the bytes of a file; `limit` says how long an answer may be, by its number."""

    data: bytes
    limit: Callable[[int], int] = lambda _: 1 << 60
    asked: list[ByteRange] = field(default_factory=list)

    def parse(self, href: str = "file") -> TiffFile:
        parser = read_header(href)
        wish = next(parser)
        while True:
            assert 0 <= wish.byte_start < wish.byte_stop
            self.asked.append(wish)
            stop = min(wish.byte_stop, wish.byte_start + self.limit(len(self.asked)))
            try:
                wish = parser.send(self.data[wish.byte_start : stop])
            except StopIteration as end:
                return end.value


class Raster:
    """One band of a file in memory."""

    def __init__(self, data: bytes, tiff: TiffFile, band: int) -> None:
        self.data = memoryview(data)
        packed = tiff.band_tiles(band, file_size=len(data), etag=None, last_modified=None)
        self.tiles: BandTiles = unpack(packed)
        self.sample = band if self.tiles.planar == 1 else 0
        self.scratch = Scratch()

    def window(self, row: int, col: int, height: int, width: int, level: int = 0) -> np.ndarray:
        image = self.tiles.images[level]
        codec = TileCodec.for_image(self.tiles, image)
        fill = 0 if self.tiles.nodata is None else self.tiles.nodata
        out = np.full((height, width), fill, self.tiles.dtype)
        for down in range(row // image.tile_height, -(-(row + height) // image.tile_height)):
            for across in range(col // image.tile_width, -(-(col + width) // image.tile_width)):
                tile = down * image.tiles_across + across
                count, start = int(image.byte_count[tile]), int(image.byte_start[tile])
                if count == 0:
                    continue
                top, left = down * image.tile_height, across * image.tile_width
                rows = slice(max(row, top), min(row + height, top + image.tile_height))
                cols = slice(max(col, left), min(col + width, left + image.tile_width))
                pixels = codec.decode(
                    self.data[start : start + count],
                    self.scratch,
                    rows=slice(rows.start - top, rows.stop - top),
                    col_stop=cols.stop - left,
                    tile_rows=min(image.tile_height, image.height - top),
                )
                out[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col] = pixels[
                    :, cols.start - left : cols.stop - left, self.sample
                ]
        return out

    def whole(self, level: int = 0) -> np.ndarray:
        image = self.tiles.images[level]
        return self.window(0, 0, image.height, image.width, level)


def sha256(pixels: np.ndarray) -> str:
    """Hash pixels as make_reference.py of the shared data does."""
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()


def description(tiff: TiffFile, file_size: int) -> tuple:
    """All a parse says, comparable."""
    facts = (tiff.crs, tiff.transform, tiff.width, tiff.height, tiff.n_bands, str(tiff.dtype), repr(tiff.nodata))
    notes = (tiff.descriptions, tiff.scales, tiff.offsets, tiff.datetime, len(tiff.masks), tiff.alpha)
    bands = {0, tiff.n_bands - 1}
    return *facts, *notes, [tiff.band_tiles(band, file_size=file_size, etag="e", last_modified=None) for band in bands]
