"""Which tags and value types does a TIFF directory have, and how are its entries unpacked?

Tag numbers (TIFF 6.0, GeoTIFF 1.1, GDAL), value types, and the entries of one image file directory (IFD). The meaning of values
does not belong here; nothing is fetched here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polars_rasteret.errors import FileFormatError

ByteOrder = Literal["<", ">"]

NEW_SUBFILE_TYPE = 254
SUBFILE_TYPE = 255
IMAGE_WIDTH = 256
IMAGE_LENGTH = 257
BITS_PER_SAMPLE = 258
COMPRESSION = 259
PHOTOMETRIC = 262
FILL_ORDER = 266
STRIP_OFFSETS = 273
SAMPLES_PER_PIXEL = 277
ROWS_PER_STRIP = 278
STRIP_BYTE_COUNTS = 279
PLANAR_CONFIGURATION = 284
DATE_TIME = 306
PREDICTOR = 317
TILE_WIDTH = 322
TILE_LENGTH = 323
TILE_OFFSETS = 324
TILE_BYTE_COUNTS = 325
SUB_IFDS = 330
INK_SET = 332
EXTRA_SAMPLES = 338
SAMPLE_FORMAT = 339
JPEG_TABLES = 347
YCBCR_COEFFICIENTS = 529
YCBCR_SUBSAMPLING = 530
REFERENCE_BLACK_WHITE = 532
MODEL_PIXEL_SCALE = 33550
MODEL_TIEPOINT = 33922
MODEL_TRANSFORMATION = 34264
GEO_KEY_DIRECTORY = 34735
GEO_DOUBLE_PARAMS = 34736
GEO_ASCII_PARAMS = 34737
GDAL_METADATA = 42112
GDAL_NODATA = 42113
LERC_PARAMETERS = 50674

NAMES = {
    NEW_SUBFILE_TYPE: "NewSubfileType",
    SUBFILE_TYPE: "SubfileType",
    IMAGE_WIDTH: "ImageWidth",
    IMAGE_LENGTH: "ImageLength",
    BITS_PER_SAMPLE: "BitsPerSample",
    COMPRESSION: "Compression",
    PHOTOMETRIC: "PhotometricInterpretation",
    FILL_ORDER: "FillOrder",
    STRIP_OFFSETS: "StripOffsets",
    SAMPLES_PER_PIXEL: "SamplesPerPixel",
    ROWS_PER_STRIP: "RowsPerStrip",
    STRIP_BYTE_COUNTS: "StripByteCounts",
    PLANAR_CONFIGURATION: "PlanarConfiguration",
    DATE_TIME: "DateTime",
    PREDICTOR: "Predictor",
    TILE_WIDTH: "TileWidth",
    TILE_LENGTH: "TileLength",
    TILE_OFFSETS: "TileOffsets",
    TILE_BYTE_COUNTS: "TileByteCounts",
    SUB_IFDS: "SubIFDs",
    INK_SET: "InkSet",
    EXTRA_SAMPLES: "ExtraSamples",
    SAMPLE_FORMAT: "SampleFormat",
    JPEG_TABLES: "JPEGTables",
    YCBCR_COEFFICIENTS: "YCbCrCoefficients",
    YCBCR_SUBSAMPLING: "YCbCrSubSampling",
    REFERENCE_BLACK_WHITE: "ReferenceBlackWhite",
    MODEL_PIXEL_SCALE: "ModelPixelScale",
    MODEL_TIEPOINT: "ModelTiepoint",
    MODEL_TRANSFORMATION: "ModelTransformation",
    GEO_KEY_DIRECTORY: "GeoKeyDirectory",
    GEO_DOUBLE_PARAMS: "GeoDoubleParams",
    GEO_ASCII_PARAMS: "GeoAsciiParams",
    GDAL_METADATA: "GDAL_METADATA",
    GDAL_NODATA: "GDAL_NODATA",
    LERC_PARAMETERS: "LercParameters",
}

TILE_TABLES = frozenset({STRIP_OFFSETS, STRIP_BYTE_COUNTS, TILE_OFFSETS, TILE_BYTE_COUNTS})
"""Tags with one number per tile; their values are large."""

IMAGE_TAGS = frozenset(tag for tag in NAMES if tag < MODEL_PIXEL_SCALE) - {DATE_TIME, SUB_IFDS} | {LERC_PARAMETERS}
"""Tags read for every image: its size, its samples and its tile offsets."""

INTEGER_TAGS = IMAGE_TAGS - {YCBCR_COEFFICIENTS, REFERENCE_BLACK_WHITE} | {SUB_IFDS}

FILE_TAGS = frozenset(NAMES)
"""Tags read for the first image: those of every image, georeferencing and GDAL's metadata."""

TYPE_CODES = {
    1: "u1",  # BYTE
    2: "S1",  # ASCII
    3: "u2",  # SHORT
    4: "u4",  # LONG
    5: "V8",  # RATIONAL: two LONGs
    6: "i1",  # SBYTE
    7: "u1",  # UNDEFINED
    8: "i2",  # SSHORT
    9: "i4",  # SLONG
    10: "V8",  # SRATIONAL
    11: "f4",  # FLOAT
    12: "f8",  # DOUBLE
    13: "u4",  # IFD
    16: "u8",  # LONG8
    17: "i8",  # SLONG8
    18: "u8",  # IFD8
}
"""TIFF value type to a NumPy type without byte order."""

TYPE_SIZES = {code: int(name[1:]) for code, name in TYPE_CODES.items()}

MAX_TABLE_BYTES = 1 << 28
"""Bytes of a tile table at most: 2**25 tiles with 8-byte offsets are an image of 1.5 million by 1.5 million pixels."""
MAX_VALUE_BYTES = 1 << 24
"""Bytes of the value of any other tag at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory: type and number of its values, and their place in the file."""

    type_code: int
    count: int
    byte_start: int
    n_bytes: int

    @property
    def byte_stop(self) -> int:
        """Byte behind the last byte of the values."""
        return self.byte_start + self.n_bytes

    def values(self, data: bytes, byte_order: ByteOrder) -> np.ndarray[Any, Any]:
        """Return the values (numbers, or characters of dtype S1) in `data`, shape (count,); rationals as float64."""
        if TYPE_CODES[self.type_code] == "V8":
            kind = "u4" if self.type_code == 5 else "i4"
            fractions = np.frombuffer(data, np.dtype(kind).newbyteorder(byte_order), 2 * self.count).astype(np.float64)
            return fractions[::2] / np.where(fractions[1::2] == 0, np.nan, fractions[1::2])
        return np.frombuffer(data, np.dtype(TYPE_CODES[self.type_code]).newbyteorder(byte_order), self.count)


@dataclass(frozen=True, slots=True)
class IfdShape:
    """Byte order and sizes of the parts of a directory, in classic TIFF or BigTIFF."""

    byte_order: ByteOrder
    is_big: bool

    @property
    def n_count_bytes(self) -> int:
        """Bytes of the number of entries."""
        return 8 if self.is_big else 2

    @property
    def n_entry_bytes(self) -> int:
        """Bytes of one entry."""
        return 20 if self.is_big else 12

    @property
    def n_offset_bytes(self) -> int:
        """Bytes of an offset, and of a value that is stored inside its entry."""
        return 8 if self.is_big else 4

    def n_entries(self, data: bytes) -> int:
        """Return the number of entries from the first bytes of a directory."""
        return int(struct.unpack(f"{self.byte_order}{'Q' if self.is_big else 'H'}", data)[0])

    def offset(self, data: bytes) -> int:
        """Return the offset that `data` holds."""
        return int(struct.unpack(f"{self.byte_order}{'Q' if self.is_big else 'I'}", data)[0])

    def entries(self, data: bytes, byte_start: int, wanted: frozenset[int], href: str) -> dict[int, Entry]:
        """Return the entries of the `wanted` tags; `data` holds all entries and begins at `byte_start` in the file.

        A tag that comes twice keeps its first entry, as in libtiff.

        Raises
        ------
        FileFormatError
            When a wanted tag has an unknown type, or implausibly many values.
        """
        found: dict[int, Entry] = {}
        step = self.n_entry_bytes
        value_at = step - self.n_offset_bytes
        layout = f"{self.byte_order}{'HHQQ' if self.is_big else 'HHII'}"
        for index, (tag, type_code, count, offset) in enumerate(struct.iter_unpack(layout, data)):
            if tag not in wanted or tag in found or count == 0:
                continue
            size = TYPE_SIZES.get(type_code)
            if size is None or (tag in INTEGER_TAGS and TYPE_CODES[type_code][0] not in "ui"):
                raise FileFormatError(
                    f"{href}: tag {tag} ({NAMES[tag]}) in the directory at byte {byte_start - self.n_count_bytes} has "
                    f"value type {type_code}; expected {'an integer type' if tag in INTEGER_TAGS else 'a known type'}, one of "
                    f"{', '.join(str(code) for code, name in TYPE_CODES.items() if tag not in INTEGER_TAGS or name[0] in 'ui')}. "
                    "The header is damaged: get or write the file again."
                )
            n_bytes = size * count
            most = MAX_TABLE_BYTES if tag in TILE_TABLES else MAX_VALUE_BYTES
            if n_bytes > most:
                raise FileFormatError(
                    f"{href}: tag {tag} ({NAMES[tag]}) in the directory at byte "
                    f"{byte_start - self.n_count_bytes} claims {count} "
                    f"values ({n_bytes} bytes); at most {most} bytes are read. The header is damaged, or the file has "
                    "too many tiles: write it with larger tiles."
                )
            start = byte_start + index * step + value_at if n_bytes <= self.n_offset_bytes else offset
            found[tag] = Entry(type_code, count, start, n_bytes)
        return found
