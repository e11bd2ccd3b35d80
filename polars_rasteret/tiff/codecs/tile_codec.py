"""How do the bytes of a tile become pixels?

`TileCodec` decompresses as much of a tile as the wanted rows need, and undoes the predictor on those rows and columns only. A
codec has no state, so threads share it; each thread has its own `Scratch`. The choice of tiles, and nodata, do not belong here.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs import colours, lerc
from polars_rasteret.tiff.codecs import pictures as picture_codecs
from polars_rasteret.tiff.codecs.inflate import (
    JPEG,
    JPEG2000,
    JPEGXL,
    LERC,
    NAMES,
    PNG,
    WEBP,
    Bytes,
    Scratch,
    codecs,
    inflate,
)
from polars_rasteret.tiff.codecs.packed_bits import PACKED, widen

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import BandTiles, Image

__all__ = ["MAX_TILE_BYTES", "Scratch", "TileCodec"]

MAX_TILE_BYTES = (1 << 31) - 1
"""Bytes that a tile may decode to at most."""
_WORKING = {LERC: 3.0, JPEG: 3.0, WEBP: 3.0, PNG: 8.0}
"""Memory at the peak of decoding, as a multiple of the decoded tile; measured, with some room."""
BITS_REVERSED, INKS = 0x80, 0x40
"""Flags in the codec parameter: the lowest bit of each stored byte comes first (FillOrder 2); samples are CMYK."""
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
P = ParamSpec("P")
R = TypeVar("R")


def _explaining_memory_errors(decode: Callable[P, R]) -> Callable[P, R]:
    """Return a decoder that raises `FileFormatError` in place of `MemoryError`, so that the error names the tile.

    A tile that claims to be huge must not end a whole query without an explanation.
    """

    @functools.wraps(decode)
    def explaining(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return decode(*args, **kwargs)
        except MemoryError as error:
            raise FileFormatError(
                f"a tile needs more memory than there is: {error or 'allocation failed'}. If its size is meant, write the "
                "file with smaller tiles; else the file is damaged: get it again."
            ) from error

    return explaining


@bundle(eq=True)
class TileCodec:
    """Decoder of the tiles of one image."""

    stored: np.dtype[Any]
    """Dtype in the file, in the file's byte order."""
    dtype: np.dtype[Any]
    """Dtype of decoded pixels, in this machine's byte order."""
    compression: int
    predictor: int
    codec_parameter: int
    """LERC: the add-on. YCbCr outside JPEG: which pixels share a colour. Others: 0."""
    samples: int
    """Samples interleaved in a tile."""
    tile_width: int
    tile_height: int
    jpeg_tables: bytes = b""
    is_ycbcr: bool = False
    packed_bits: int = 0
    """Bits per sample where samples do not fill whole bytes; else 0."""
    is_cmyk: bool = False
    """Whether samples are inks, to be converted to RGBA."""
    is_reversed: bool = False
    """Whether stored bytes have their lowest bit first."""

    @classmethod
    def for_image(cls, tiles: BandTiles, image: Image, *, max_bytes: int = MAX_TILE_BYTES) -> Self:
        """Return the decoder of one image of a band.

        A tile may decode to `max_bytes` at most, and take twice as much memory while it is decoded.

        Raises
        ------
        FileFormatError
            When this release does not read the compression, or the tiles are larger than allowed.
        """
        if image.compression not in NAMES:
            raise FileFormatError(
                f"tiles are compressed with TIFF compression {image.compression}, which this release does not "
                "decode; expected one "
                f"of {', '.join(f'{number} ({name})' for number, name in NAMES.items())}."
            )
        is_half = tiles.dtype.kind == "f" and tiles.bits_per_sample == 16
        stored = np.dtype(np.float16) if is_half else tiles.dtype
        codec = cls(
            stored=stored.newbyteorder(tiles.byte_order),
            dtype=tiles.dtype,
            compression=image.compression,
            predictor=image.predictor,
            codec_parameter=tiles.codec_parameter & ~(BITS_REVERSED | INKS),
            is_cmyk=bool(tiles.codec_parameter & INKS),
            is_reversed=bool(tiles.codec_parameter & BITS_REVERSED),
            samples=tiles.samples_per_tile,
            tile_width=image.tile_width,
            tile_height=image.tile_height,
            jpeg_tables=image.jpeg_tables,
            is_ycbcr=image.is_ycbcr,
            packed_bits=tiles.bits_per_sample if tiles.dtype.kind == "u" and tiles.bits_per_sample in PACKED else 0,
        )
        sharing = divmod(codec.codec_parameter, 8)
        is_rgb = codec.samples == 3 and codec.dtype == np.uint8
        if image.compression != LERC and codec.codec_parameter and not (sharing in colours.SUBSAMPLINGS and is_rgb):
            raise FileFormatError(
                f"tiles are said to share a colour among {sharing[0]} x {sharing[1]} of {codec.samples} samples; no file has "
                "such. The tile table is damaged: index the file again."
            )
        if codec.is_cmyk and not (codec.samples == 4 and codec.dtype == np.uint8):
            raise FileFormatError(
                f"tiles of {codec.samples} samples of {codec.dtype} are said to be inks; expected 4 of 8 bits. The tile table is "
                "damaged: index the file again."
            )
        n_bytes = max(codec.row_bytes, image.tile_width * codec.samples * codec.dtype.itemsize) * image.tile_height
        if n_bytes > MAX_TILE_BYTES:
            raise FileFormatError(
                f"a tile of {image.tile_width} x {image.tile_height} pixels decodes to "
                f"{n_bytes} bytes; "
                f"at most {MAX_TILE_BYTES} are read. Write the file with smaller tiles."
            )
        working = int(n_bytes * codec._working_factor)
        if max(n_bytes, working // 2) > max_bytes:
            raise FileFormatError(
                f"a tile of {image.tile_width} x {image.tile_height} pixels decodes to {n_bytes} bytes and takes {working} on "
                f"the way; max_tile_bytes allows {max_bytes} and twice that. If that size is meant, read it with "
                f"pr.options(max_tile_bytes={max(n_bytes, -(-working // 2))}) or write the file with smaller tiles; else "
                "the file is damaged."
            )
        return codec

    @property
    def _working_factor(self) -> float:
        """Memory at the peak of decoding, as a multiple of the decoded tile; measured, with some room."""
        if self.compression in _WORKING:
            factor = _WORKING[self.compression]
        elif self.compression in {JPEG2000, JPEGXL}:  # samples of 32 bits inside
            factor = 2 + 5 / self.dtype.itemsize
        elif self.predictor == 3:
            factor = 3.0
        else:
            factor = 2.0
        if self.is_cmyk:
            factor += 6
        elif self.codec_parameter and self.compression != LERC:
            factor += 14
        return factor

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of a tile."""
        if self.packed_bits:
            return -(-self.tile_width * self.samples * self.packed_bits // 8)
        return self.tile_width * self.samples * self.stored.itemsize

    @_explaining_memory_errors
    def decode(
        self,
        data: Bytes,
        scratch: Scratch,
        *,
        rows: slice | NDArray[np.intp],
        col_stop: int,
        tile_rows: int,
    ) -> NDArray[Any]:
        """Return the wanted rows of a tile, shape (n_rows, >= col_stop, samples), native byte order.

        Parameters
        ----------
        data
            Bytes of the compressed tile.
        scratch
            Buffers of this thread. The result may be a view of them, valid until the next decode with the same `scratch`.
        rows
            Wanted rows of the tile: a slice with step 1, or sorted distinct numbers. Rows below the last one are not decoded.
        col_stop
            Column from which on pixels may be missing or undefined.
        tile_rows
            Rows that the tile really has: the last strip of an image may be shorter than the others.

        Raises
        ------
        FileFormatError
            When the data is corrupt or too short.
        """
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(tile_rows)
            rows = slice(start, max(start, stop))
            row_stop = rows.stop
        else:
            row_stop = int(rows[-1]) + 1 if len(rows) else 0
            if row_stop > tile_rows:
                raise IndexError(f"row {row_stop - 1} of a tile that has {tile_rows} rows")
        if self.is_reversed:
            data = _REVERSED[np.frombuffer(data, np.uint8)]
        pixels = self._pixels(data, scratch, rows, row_stop, col_stop, tile_rows)
        return colours.rgba_of_cmyk(pixels) if self.is_cmyk else pixels

    def _pixels(  # noqa: PLR0917 - what `decode` was given
        self,
        data: Bytes,
        scratch: Scratch,
        rows: slice | NDArray[np.intp],
        row_stop: int,
        col_stop: int,
        tile_rows: int,
    ) -> NDArray[Any]:
        if self.compression == LERC:
            pixels = lerc.decode(
                data,
                scratch,
                add_on=self.codec_parameter,
                shape=(tile_rows, self.tile_width, self.samples),
                dtype=self.dtype,
                max_rows=self.tile_height,
            )[rows, :col_stop]
            # libtiff passes numbers in the byte order of the file to its LERC encoder, as if they were native.
            return pixels if self.stored.isnative else pixels.byteswap()
        if self.compression in picture_codecs.PICTURES:
            pixels = picture_codecs.decode(
                self.compression,
                data,
                shape=(tile_rows, self.tile_width, self.samples),
                dtype=self.dtype,
                max_rows=self.tile_height,
                jpeg_tables=self.jpeg_tables,
                is_ycbcr=self.is_ycbcr,
            )
            return pixels[rows, :col_stop]
        if self.codec_parameter:
            n_bytes = colours.n_block_bytes(self.codec_parameter, row_stop, self.tile_width)
            raw = inflate(self.compression, data, n_bytes, scratch)[:n_bytes]
            return colours.rgb_of_ycbcr(raw, self.codec_parameter, row_stop, self.tile_width)[rows, :col_stop]
        raw = inflate(self.compression, data, row_stop * self.row_bytes, scratch)[: row_stop * self.row_bytes]
        if self.packed_bits:
            keep = min(col_stop, self.tile_width)
            values = widen(
                raw.reshape(row_stop, self.row_bytes)[rows],
                self.packed_bits,
                keep * self.samples,
                is_big_endian=self.stored.str[0] == ">",
            )
            pixels = values.reshape(len(values), keep, self.samples)
        elif self.predictor == 3:
            pixels = self._undo_float_predictor(raw.reshape(row_stop, self.row_bytes)[rows], scratch, col_stop)
        else:
            grid = raw.view(self.stored).reshape(row_stop, self.tile_width, self.samples)
            pixels = grid[rows, :col_stop]
            if self.predictor == 2:
                pixels = self._undo_differences(pixels, scratch)
            elif not self.stored.isnative:
                pixels = pixels.astype(self.stored.newbyteorder("="))
        return pixels if pixels.dtype == self.dtype else pixels.astype(self.dtype)

    def _undo_differences(self, pixels: NDArray[Any], scratch: Scratch) -> NDArray[Any]:
        """Return pixels from horizontal differences, summed per sample modulo the word size, also for floats.

        TIFF 6.0 section 14.
        """
        native = self.stored.newbyteorder("=")
        words = np.dtype(f"u{native.itemsize}")
        # Byte order first: a difference is between numbers, not between bytes.
        differences = pixels.view(words.newbyteorder(self.stored.byteorder))
        if not self.stored.isnative:
            differences = differences.astype(words)
        out = scratch.buffer("pixels", pixels.nbytes).view(words).reshape(pixels.shape)
        if pixels.size:
            codecs.delta_decode(differences, axis=-2, out=out)
        return out.view(native)

    def _undo_float_predictor(self, raw: NDArray[np.uint8], scratch: Scratch, col_stop: int) -> NDArray[Any]:
        """Return pixels from the floating-point predictor: byte planes, high bytes first, then differences.

        Adobe TIFF technical note 3. One running sum goes through all planes of a row, so whole rows are summed. Columns are cut
        when the planes are joined.
        """
        size = self.stored.itemsize
        n_rows = len(raw)
        width = self.tile_width * self.samples
        keep = min(col_stop, self.tile_width) * self.samples
        summed = scratch.buffer("planes", raw.size).reshape(n_rows, self.tile_width * size, self.samples)
        if raw.size:
            codecs.delta_decode(raw.reshape(summed.shape), axis=-2, out=summed)
        planes = summed.reshape(n_rows, size, width)
        words = np.dtype(f"u{size}")
        out = scratch.buffer("pixels", n_rows * keep * size).view(words).reshape(n_rows, keep)
        out[:] = planes[:, 0, :keep]
        for plane in range(1, size):
            np.left_shift(out, words.type(8), out=out)
            np.bitwise_or(out, planes[:, plane, :keep], out=out)
        return out.view(self.stored.newbyteorder("=")).reshape(n_rows, keep // self.samples, self.samples)
