"""Which raster value is made of what rasteret knows of a band?

The work is done row by row when Polars asks for a raster column, so only for records that passed the filters of the query. Tile
tables are marked as borrowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.schema import raster_dtype
from polars_rasteret.tiff.band_tiles import MAX_BYTE_STOP, BandTiles, Image
from polars_rasteret.tiff.gdal_metadata import nodata_of
from polars_rasteret.tiff.tile_table import pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.rasteret_format.places_of_files import FilePlaces

_WIDENED: dict[str, np.dtype[Any]] = {"float16": np.dtype(np.float32), "bool": np.dtype(np.uint8)}
_MOST_TILES = 1 << 26
USER_DEFINED = 32_767
"""EPSG code by which GeoTIFF says that a CRS has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterValues:
    """Callback of Polars: a Struct of asset, metadata and CRS becomes a raster column. It can be pickled."""

    pixel_dtype: pl.DataType
    places: FilePlaces

    def __call__(self, series: pl.Series) -> pl.Series:
        """Return the raster column of one batch: ``href``, ``band_index``, ``metadata`` and ``crs`` of each row go in."""
        rows = [None if one is None else self._value(one) for one in series.to_list()]
        return pl.Series(series.name, rows, dtype=raster_dtype(self.pixel_dtype))

    def _value(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        href, known = row["href"], row["metadata"]
        if href is None or known is None or (tiles := borrowed_tiles(known)) is None:
            return None
        return {
            "href": self.places.of(href),
            "band_index": row["band_index"] or 0,
            "crs": row["crs"],
            "transform": affine(known["transform"]),
            "width": known["image_width"],
            "height": known["image_height"],
            "nodata": None,
            "scale": None,
            "offset": None,
            "tiles": tiles,
        }


def pixel_dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of the pixels of a band whose metadata have this ``dtype``.

    Raises
    ------
    TypeError
        For a text that NumPy does not know as a dtype.
    """
    return _WIDENED.get(name) or np.dtype(name)


def affine(numbers: Sequence[float | None] | None) -> list[float | None] | None:
    """Return a transform as a, b, c, d, e, f. Four numbers are x size, x of the corner, y size, y of the corner.

    Examples
    --------
    >>> affine([30.0, 500_000.0, -30.0, 4_600_000.0])
    [30.0, 0.0, 500000.0, 0.0, -30.0, 4600000.0]
    """
    if numbers is None or len(numbers) not in (4, 6):
        return None
    if len(numbers) == 6:
        return list(numbers)
    x_size, x, y_size, y = numbers
    return [x_size, 0.0, x, 0.0, y_size, y]


def borrowed_tiles(known: Mapping[str, Any]) -> bytes | None:
    """Return the ``tiles`` field of a band, marked as borrowed; None where not even size and dtype are known."""
    width, height, name = known["image_width"], known["image_height"], known["dtype"]
    if not width or not height or width < 0 or height < 0 or not name:
        return None
    try:
        dtype = pixel_dtype_of(name)
        is_interleaved = known.get("planar_configuration") in (None, 1)
        nodata = known.get("nodata")
        value = None if nodata is None else nodata_of(repr(float(nodata)), dtype)
        return pack(
            BandTiles(
                dtype=dtype,
                byte_order="<",
                bits_per_sample=16 if name == "float16" else dtype.itemsize * 8,
                compression=_code(known.get("compression")),
                predictor=_code(known.get("predictor")),
                samples_per_tile=max(known.get("samples_per_pixel") or 1, 1) if is_interleaved else 1,
                planar=1 if is_interleaved else 2,
                nodata=None if value is None else dtype.type(value),
                ignore_nodata=False,
                images=(_image(known, width, height),),
                file_size=None,
                etag=None,
                last_modified=None,
                is_borrowed=True,
            )
        )
    except (TypeError, ValueError):  # a dtype that is none of ours, such as complex64
        return None


def _code(value: int | None) -> int:
    return value if value is not None and 0 < value < 1 << 16 else 1


def _image(known: Mapping[str, Any], width: int, height: int) -> Image:
    """Return the image, with the tile offsets where they fit it; else with none, which does not matter to a read."""
    tile_width = min(max(known.get("tile_width") or width, 1), 1 << 31)
    tile_height = min(max(known.get("tile_height") or height, 1), 1 << 31)
    n_tiles = -(-width // tile_width) * -(-height // tile_height)
    if n_tiles > _MOST_TILES:
        tile_width, tile_height, n_tiles = width, height, 1
    start, count = (_column(known.get(name), n_tiles) for name in ("tile_offsets", "tile_byte_counts"))
    if start is None or count is None:
        start = count = np.zeros(n_tiles, np.int64)
    return Image(
        width=width,
        height=height,
        tile_width=tile_width,
        tile_height=tile_height,
        byte_start=start,
        byte_count=count,
        compression=_code(known.get("compression")),
        predictor=_code(known.get("predictor")),
    )


def _column(values: Sequence[int | None] | None, n: int) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    if values is None or len(values) != n or None in values:
        return None
    column = np.array(values, np.int64)
    return column if column.min() >= 0 and column.max() < MAX_BYTE_STOP else None
