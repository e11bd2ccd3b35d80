"""What does rasteret need to know of a band, and which bands would it not read right?

Measured with rasteret 0.4.1. Where it would fail or read other pixels than the file has, nothing is written down for it, and the
reason is told.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from polars_rasteret.tiff.codecs.inflate import LERC, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from polars_rasteret.tiff.band_tiles import BandTiles, Image

_READS = frozenset({NONE, 5, 8, 32773, 32946, LERC, 34925, 50000})
"""Compressions that rasteret decodes: none, LZW, DEFLATE (two numbers), PackBits, LERC, LZMA, Zstandard."""
_EPSG = re.compile(r"EPSG:(\d{1,9})", re.IGNORECASE)
_TILE_UNIT = 16
"""Sides of tiles are multiples of 16 pixels, those of strips need not be."""


def metadata_type() -> pa.DataType:
    """Return the Arrow type of ``BAND_metadata``."""
    import pyarrow as pa

    whole, wholes, numbers = pa.int32(), pa.list_(pa.int64()), pa.list_(pa.float64())
    return pa.struct(
        [
            ("image_width", whole),
            ("image_height", whole),
            ("tile_width", whole),
            ("tile_height", whole),
            ("dtype", pa.string()),
            ("transform", numbers),
            ("predictor", whole),
            ("compression", whole),
            ("tile_offsets", wholes),
            ("tile_byte_counts", wholes),
            ("pixel_scale", numbers),
            ("tiepoint", numbers),
            ("nodata", pa.float64()),
            ("samples_per_pixel", whole),
            ("planar_configuration", whole),
            ("photometric", whole),
            ("extra_samples", pa.list_(whole)),
        ]
    )


def epsg_of(crs: str | None) -> int | None:
    """Return the EPSG code in a text ``EPSG:n``; None for other texts."""
    found = None if crs is None else _EPSG.fullmatch(crs)
    return None if found is None else int(found[1])


def why_unread(value: Mapping[str, Any], tiles: BandTiles) -> str | None:
    """Return why rasteret would not read a raster value right; None where it would."""
    transform, image = value["transform"], tiles.images[0]
    if tiles.is_borrowed:
        return "a header that could not be read"
    if epsg_of(value["crs"]) is None:
        return "no EPSG code"
    if transform is None or not all(one is not None and math.isfinite(one) for one in transform):
        return "no place on a map"
    if transform[1] or transform[3]:
        return "a turned or sheared grid"
    if image.compression not in _READS:
        return f"compression {image.compression}"
    if tiles.byte_order == ">" and tiles.bits_per_sample > 8:
        return "big-endian"
    if image.compression == LERC and tiles.dtype.kind == "f":
        return "LERC of floats, whose NaN becomes 0"
    if (image.byte_count <= 0).any():
        return "sparse tiles"
    if _may_be_strips(image, tiles):
        return "strips"
    return None


def their_metadata(value: Mapping[str, Any], tiles: BandTiles) -> dict[str, Any]:
    """Return what rasteret needs to know of a raster value, field by field; null are fields that no read needs."""
    image, (a, _, c, _, e, f) = tiles.images[0], value["transform"]
    native = None if tiles.ignore_nodata or tiles.nodata is None else tiles.nodata.item()
    nodata = native if value["nodata"] is None else value["nodata"]
    is_half = tiles.bits_per_sample == 16 and tiles.dtype.kind == "f"
    return {
        "image_width": image.width,
        "image_height": image.height,
        "tile_width": image.tile_width,
        "tile_height": image.tile_height,
        "dtype": "float16" if is_half else tiles.dtype.name,
        "transform": [a, c, e, f],
        "predictor": image.predictor,
        "compression": image.compression,
        "tile_offsets": image.byte_start.tolist(),
        "tile_byte_counts": image.byte_count.tolist(),
        "nodata": None if nodata is None else float(nodata),
        # Of separate planes the count of the file is not known here; it must be larger than the index of the band.
        "samples_per_pixel": tiles.samples_per_tile if tiles.planar == 1 else value["band_index"] + 1,
        "planar_configuration": tiles.planar,
    }


def _may_be_strips(image: Image, tiles: BandTiles) -> bool:
    """Return whether an image may be in strips, whose last one is shorter than rasteret expects.

    The table of a raster does not say. A tile as wide as the image is taken for a strip where the last one would be cut off,
    unless its bytes show that it is not.
    """
    if image.tile_width != image.width:
        return False
    if image.tile_width % _TILE_UNIT or image.tile_height % _TILE_UNIT:
        return True
    if not image.height % image.tile_height:
        return False
    row_bits = image.tile_width * tiles.samples_per_tile * tiles.bits_per_sample
    whole = image.tile_height * (-(-row_bits // 8))
    return not (image.compression == NONE and int(image.byte_count[-1]) == whole)
