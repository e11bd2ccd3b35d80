"""Which size, tiles, samples and compression does one image of a TIFF have?

Tag values of an image file directory become an `ImageLayout`; features that the decoder cannot read raise an error that names
them. Tile offsets are read later, and only for images that are used. Sources are TIFF 6.0, BigTIFF, and the reading of libtiff
and GDAL where the standard is open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff import tags
from polars_rasteret.tiff.codecs import colours, lerc
from polars_rasteret.tiff.codecs import pictures as picture_codecs
from polars_rasteret.tiff.codecs.inflate import (
    ADOBE_DEFLATE,
    DEFLATE,
    JPEG,
    LERC,
    LZMA,
    LZW,
    NAMES,
    NONE,
    PACKBITS,
    ZSTD,
)
from polars_rasteret.tiff.codecs.packed_bits import PACKED, widened_dtype
from polars_rasteret.tiff.codecs.tile_codec import BITS_REVERSED, INKS, MAX_TILE_BYTES
from polars_rasteret.tiff.tags import MAX_TABLE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSUPPORTED_COMPRESSIONS = {
    2: "CCITT modified Huffman",
    3: "CCITT group 3 fax",
    4: "CCITT group 4 fax",
    6: "old-style JPEG",
    32766: "NeXT RLE",
    32771: "CCITT RLE word-aligned",
    32809: "ThunderScan",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv 24-bit",
    34892: "lossy JPEG (DNG)",
    52546: "JPEG XL (DNG)",
}
_SAMPLE_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # 4: undefined; GDAL takes it for unsigned
_BITS = {"u": tuple(sorted({8, 16, 32, 64} | PACKED)), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_PREDICTED = frozenset({LZW, DEFLATE, ADOBE_DEFLATE, ZSTD, LZMA})
_SEPARATED, _YCBCR = 5, 6
_CHOP_BYTES = 1 << 18
"""Bytes of a low strip, into which tall uncompressed strips are cut, at most."""
_MAX_LOW_STRIPS = 1 << 20
"""Low strips of an image at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFormat:
    """Storage of pixels in tiles; equal for the full resolution and all overviews of a file."""

    kind: str
    bits: int
    n_samples: int
    planar: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of decoded pixels. Half floats and samples that do not fill bytes are widened, as in GDAL."""
        if self.kind == "u" and self.bits in PACKED:
            return widened_dtype(self.bits)
        return np.dtype(f"{self.kind}{max(self.bits // 8, 4 if self.kind == 'f' else 1)}")

    def row_bytes(self, width: int) -> int:
        """Return the bytes of one row of a tile; a row ends at a whole byte."""
        return -(-width * self.samples_per_tile * self.bits // 8)

    @property
    def samples_per_tile(self) -> int:
        """Number of samples interleaved inside a tile."""
        return self.n_samples if self.planar == 1 else 1

    @property
    def n_planes(self) -> int:
        """Number of planes, each with its own tiles."""
        return 1 if self.planar == 1 else self.n_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayout:
    """Layout of one image of a file, without its tile offsets."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    is_tiled: bool
    compression: int
    predictor: int
    codec_parameter: int
    samples: SampleFormat
    jpeg_tables: bytes = b""
    """Quantization and Huffman tables that the JPEG pictures of the tiles share."""
    is_ycbcr: bool = False
    """Whether JPEG colours must be converted to RGB."""

    @property
    def n_tiles(self) -> int:
        """Number of tiles of one plane."""
        return -(-self.width // self.tile_width) * -(-self.height // self.tile_height)

    @property
    def raw_tile_bytes(self) -> int:
        """Bytes of a whole uncompressed tile."""
        return self.tile_height * self.samples.row_bytes(self.tile_width)


def image_layout(values: Mapping[int, np.ndarray[Any, Any]], href: str, where: str) -> ImageLayout:
    """Return the layout of one image from its tag values.

    Raises
    ------
    FileFormatError
        When a required tag is missing, values contradict each other, or a feature is not supported; the message names it.
    """

    def number(tag: int, default: int | None = None) -> int:
        found = values.get(tag)
        if found is None or not len(found):
            if default is None:
                raise FileFormatError(
                    f"{href}: {where} has no tag {tag} ({tags.NAMES[tag]}), which an image needs. "
                    "The header is damaged: get or write the file again."
                )
            return default
        if found.dtype.kind not in "ui":
            raise FileFormatError(
                f"{href}: tag {tag} ({tags.NAMES[tag]}) of {where} holds {found.dtype} values; expected whole numbers. "
                "The header is damaged: get or write the file again."
            )
        return int(found[0])

    width, height = number(tags.IMAGE_WIDTH), number(tags.IMAGE_LENGTH)
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise FileFormatError(
            f"{href}: {where} is {width} x {height} pixels (ImageWidth, ImageLength); expected 1 to 2147483647 each. "
            "The header is damaged: get or write the file again."
        )
    compression = number(tags.COMPRESSION, NONE)
    if compression not in NAMES:
        name = UNSUPPORTED_COMPRESSIONS.get(compression, "unknown")
        raise _unsupported(
            href, where, f"compression {compression} ({name})", f"supported: {', '.join(sorted(set(NAMES.values())))}"
        )
    samples = _sample_format(values, number, href, where)
    photometric = number(tags.PHOTOMETRIC, 1)
    is_ycbcr = compression == JPEG and photometric == _YCBCR and samples.samples_per_tile == 3
    if not is_ycbcr:
        _refuse_photometric(photometric, samples, href, where)
    _refuse_samples(compression, samples, href, where)
    jpeg_tables = values[tags.JPEG_TABLES].tobytes() if compression == JPEG and tags.JPEG_TABLES in values else b""
    if len(jpeg_tables) > picture_codecs.MAX_JPEG_TABLES_BYTES:
        raise _unsupported(
            href,
            where,
            f"JPEGTables of {len(jpeg_tables)} bytes",
            f"at most {picture_codecs.MAX_JPEG_TABLES_BYTES} are read",
        )
    is_tiled = tags.TILE_WIDTH in values or tags.TILE_LENGTH in values  # one without the other is refused below
    if is_tiled:
        tile_width, tile_height = number(tags.TILE_WIDTH), number(tags.TILE_LENGTH)
    else:
        tile_width, tile_height = width, min(number(tags.ROWS_PER_STRIP, height) or height, height)
    if tile_width < 1 or tile_height < 1:
        raise FileFormatError(
            f"{href}: tiles of {where} are {tile_width} x {tile_height} pixels; expected at least 1 x 1. "
            "The header is damaged: get or write the file again."
        )
    predictor = number(tags.PREDICTOR, 1) if compression in _PREDICTED else 1
    is_packed = samples.kind == "u" and samples.bits in PACKED
    if predictor not in {1, 2, 3} or (predictor == 3 and samples.kind != "f") or (predictor == 2 and is_packed):
        raise _unsupported(
            href,
            where,
            f"Predictor {predictor} with {samples.bits}-bit samples of kind {samples.kind!r}",
            "supported: 1, 2 (differences), 3 (floating point)",
        )
    parameters = values.get(tags.LERC_PARAMETERS)
    parameter = int(parameters[1]) if compression == LERC and parameters is not None and len(parameters) > 1 else 0
    if parameter not in lerc.ADD_ONS:
        raise _unsupported(href, where, f"LERC add-on compression {parameter}", "supported: 0 none, 1 DEFLATE, 2 ZSTD")
    if (
        photometric == _SEPARATED
        and number(tags.INK_SET, 1) == 1
        and samples.n_samples >= 4
        and samples.kind in {"u", "i"}
        and samples.bits == 8
    ):
        if samples.samples_per_tile != 4:
            raise _unsupported(
                href,
                where,
                f"CMYK colours (PhotometricInterpretation {_SEPARATED}) with {samples.n_samples} samples in "
                f"{samples.n_planes} plane(s)",
                "4 in one plane are converted to RGB",
            )
        parameter |= INKS
        samples = replace(samples, kind="u")  # inks have no sign: GDAL, too, reads signed samples as unsigned
    elif photometric == _YCBCR and not is_ycbcr:
        parameter = _ycbcr_parameter(
            values, samples, compression=compression, predictor=predictor, href=href, where=where
        )
    if number(tags.FILL_ORDER, 1) == 2 and compression != JPEG:  # libtiff leaves the bytes of JPEG alone
        parameter |= BITS_REVERSED
    layout = ImageLayout(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        is_tiled=is_tiled,
        compression=compression,
        predictor=predictor,
        codec_parameter=parameter,
        samples=samples,
        jpeg_tables=jpeg_tables,
        is_ycbcr=is_ycbcr,
    )
    if layout.raw_tile_bytes > MAX_TILE_BYTES and not is_chopped(layout):
        raise _unsupported(
            href,
            where,
            f"a {'tile' if is_tiled else 'strip'} of {tile_width} x {tile_height} pixels ({layout.raw_tile_bytes} bytes)",
            f"at most {MAX_TILE_BYTES} bytes are decoded at once",
        )
    if layout.n_tiles * samples.n_planes * 8 > MAX_TABLE_BYTES:
        raise _unsupported(
            href,
            where,
            f"{layout.n_tiles * samples.n_planes} tiles or strips",
            f"at most {MAX_TABLE_BYTES // 8} are read",
        )
    return layout


def is_chopped(layout: ImageLayout) -> bool:
    """Return whether tall uncompressed strips are read as many low ones (libtiff calls this strip chopping)."""
    if layout.compression != NONE or layout.is_tiled or layout.raw_tile_bytes <= 2 * _CHOP_BYTES:
        return False
    rows = chopped_rows(layout)
    return rows < layout.tile_height and -(-layout.height // rows) * layout.samples.n_planes <= _MAX_LOW_STRIPS


def chopped_rows(layout: ImageLayout) -> int:
    """Return the rows of the low strips. They divide the rows of a tall strip, so that each tall strip begins with a low one.

    A single tall strip may be cut anywhere. Where all divisors are far too small, the strips stay whole.
    """
    most = max(1, _CHOP_BYTES // layout.samples.row_bytes(layout.width))
    if layout.n_tiles == 1:
        return most
    rows = next(rows for rows in range(most, 0, -1) if layout.tile_height % rows == 0)
    return rows if 16 * rows > most else layout.tile_height


def _sample_format(values: Mapping[int, np.ndarray[Any, Any]], number: Any, href: str, where: str) -> SampleFormat:
    n_samples = number(tags.SAMPLES_PER_PIXEL, 1)
    if not 0 < n_samples < 1 << 16:
        raise FileFormatError(
            f"{href}: {where} has {n_samples} samples per pixel (SamplesPerPixel); expected 1 to 65535. "
            "The header is damaged: get or write the file again."
        )
    bits_of = {int(bits) for bits in values.get(tags.BITS_PER_SAMPLE, np.ones(1, np.uint8))[:n_samples]}
    formats = {int(code) for code in values.get(tags.SAMPLE_FORMAT, np.ones(1, np.uint8))[:n_samples]}
    if len(bits_of) != 1 or len(formats) != 1:
        raise _unsupported(
            href,
            where,
            f"samples of different formats (BitsPerSample {sorted(bits_of)}, SampleFormat {sorted(formats)})",
            "all alike",
        )
    bits, code = bits_of.pop(), formats.pop()
    if code == 2 and bits in PACKED:
        code = 1  # as in GDAL, which reads no signed numbers of such widths
    if code in {5, 6}:
        raise _unsupported(href, where, f"complex samples (SampleFormat {code})", "integers and floats are read")
    kind = _SAMPLE_KINDS.get(code)
    if kind is None:
        raise _unsupported(href, where, f"SampleFormat {code}", "supported: 1 unsigned, 2 signed, 3 float, 4 undefined")
    if bits not in _BITS[kind]:
        raise _unsupported(
            href,
            where,
            f"{bits}-bit {'floats' if kind == 'f' else 'integers'} (BitsPerSample)",
            f"supported: {', '.join(map(str, _BITS[kind]))}",
        )
    planar = number(tags.PLANAR_CONFIGURATION, 1)
    if planar not in {1, 2}:
        raise _unsupported(href, where, f"PlanarConfiguration {planar}", "supported: 1 and 2")
    return SampleFormat(kind=kind, bits=bits, n_samples=n_samples, planar=planar if n_samples > 1 else 1)


def _refuse_photometric(photometric: int, samples: SampleFormat, href: str, where: str) -> None:
    """Raise for colour spaces that GDAL converts in ways not followed here; all others are read as plain numbers."""
    name = {32844: "LogL", 32845: "LogLuv"}.get(photometric)
    if photometric == 8 and samples.bits == 8:
        name = "8-bit CIE L*a*b*"
    if name is not None:
        raise _unsupported(
            href, where, f"{name} colours (PhotometricInterpretation {photometric})", "no conversion to RGB is made"
        )


def _ycbcr_parameter(
    values: Mapping[int, np.ndarray[Any, Any]],
    samples: SampleFormat,
    *,
    compression: int,
    predictor: int,
    href: str,
    where: str,
) -> int:
    """Return the codec parameter of YCbCr outside JPEG: which pixels share a colour.

    Raises
    ------
    FileFormatError
        When the colours are stored in another way than the defaults of TIFF 6.0.
    """
    shares = values.get(tags.YCBCR_SUBSAMPLING, np.array([2, 2]))
    luma = values.get(tags.YCBCR_COEFFICIENTS, np.array(colours.LUMA))
    black_white = values.get(tags.REFERENCE_BLACK_WHITE, np.array(colours.BLACK_WHITE))
    sharing: tuple[int, ...] = tuple(shares.tolist())
    is_usual = (
        shares.dtype.kind in "iu"
        and all(one.dtype.kind in "iuf" for one in (luma, black_white))
        and (samples.kind, samples.bits, samples.samples_per_tile) == ("u", 8, 3)
        and (compression in _PREDICTED | {PACKBITS} or (compression == NONE and sharing == (1, 1)))
        and predictor == 1
        and sharing in colours.SUBSAMPLINGS
        and len(luma) == 3
        and np.allclose(luma, colours.LUMA, rtol=0, atol=1e-6)
        and np.array_equal(black_white, colours.BLACK_WHITE)
    )
    if not is_usual:
        raise _unsupported(
            href,
            where,
            f"YCbCr colours (PhotometricInterpretation {_YCBCR}) with {NAMES[compression]}, predictor {predictor}, "
            f"subsampling {sharing}, coefficients {luma.tolist()} or reference black and white {black_white.tolist()}",
            "8 bits, interleaved, and the defaults of TIFF 6.0 are converted to RGB",
        )
    return 8 * sharing[0] + sharing[1]


def _refuse_samples(compression: int, samples: SampleFormat, href: str, where: str) -> None:
    """Raise for samples that LERC or a picture codec cannot hold."""
    if compression == LERC and samples.kind == "u" and samples.bits in PACKED:
        raise _unsupported(href, where, f"LERC with {samples.bits}-bit samples", "8, 16 and 32 bits are read")
    if compression not in picture_codecs.PICTURES:
        return
    bits, n_samples = picture_codecs.BITS[compression], picture_codecs.SAMPLES.get(compression)
    if samples.kind != "u" or samples.bits not in bits:
        raise _unsupported(
            href,
            where,
            f"{NAMES[compression]} with {samples.bits}-bit samples of kind {samples.kind!r}",
            f"unsigned samples of {' or '.join(map(str, bits))} bits are read",
        )
    if n_samples is not None and samples.samples_per_tile not in n_samples:
        raise _unsupported(
            href,
            where,
            f"{NAMES[compression]} with {samples.samples_per_tile} interleaved samples",
            f"supported: {', '.join(map(str, n_samples))}",
        )


def _unsupported(href: str, where: str, what: str, instead: str) -> FileFormatError:
    return FileFormatError(
        f"{href}: {where} uses {what}, which is not supported ({instead}). Convert the file, for example with "
        "gdal_translate -of COG."
    )
