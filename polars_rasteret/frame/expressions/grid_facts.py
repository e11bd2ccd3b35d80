"""Which facts about its image does a raster value have, without reading a pixel?

Bounds, pixel size and overviews: all from the reference alone. Nothing is fetched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.frame.expressions.elementwise import normalized_crs
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.footprints import image_bounds
from polars_rasteret.grids.extents import bounds_in_own_crs
from polars_rasteret.pixels.rasters.raster_column import RasterColumn, raster_column
from polars_rasteret.pixels.series import struct_series
from polars_rasteret.schema import BBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import Image

PIXEL_SIZE = pl.Struct({"x": pl.Float64(), "y": pl.Float64()})
OVERVIEWS = pl.List(
    pl.Struct({"level": pl.UInt32(), "height": pl.UInt32(), "width": pl.UInt32(), "decimation": pl.UInt32()})
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfReference:
    """Callback that computes a fact per distinct reference and returns it for each row."""

    what: Literal["bounds", "pixel_size", "overviews"]
    crs: str | None = None

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:  # noqa: ARG002
        column = raster_column(series[0])
        for fault in column.faults.values():
            raise fault
        if self.what == "overviews":
            # A borrowed table does not know its overviews.
            known = [None if one.tiles.is_borrowed else _overviews(one.tiles.images) for one in column.references]
            told = pl.Series(column.name, known, dtype=OVERVIEWS)
        elif self.what == "pixel_size":
            told = _numbers(column.name, _pixel_sizes(column), PIXEL_SIZE)
        else:
            told = _numbers(column.name, _bounds(column, self.crs), BBOX)
        if not column.references:
            return pl.Series(column.name, [None], dtype=told.dtype).new_from_index(0, len(column.reference_id))
        index = pl.Series(column.reference_id)
        return told.gather(index.set(index < 0, None))


def bounds(raster: pl.Expr, crs: Any) -> pl.Expr:
    """Return the expression of ``.raster.bounds``."""
    return _mapped([raster], _OfReference(what="bounds", crs=normalized_crs(crs)), BBOX)


def pixel_size(raster: pl.Expr) -> pl.Expr:
    """Return the expression of ``.raster.pixel_size``."""
    return _mapped([raster], _OfReference(what="pixel_size"), PIXEL_SIZE)


def overviews(raster: pl.Expr) -> pl.Expr:
    """Return the expression of ``.raster.overviews``."""
    return _mapped([raster], _OfReference(what="overviews"), OVERVIEWS)


def _mapped(inputs: list[pl.Expr], callback: Callable[..., pl.Series], dtype: pl.DataType) -> pl.Expr:
    return pl.map_batches(inputs, callback, return_dtype=dtype, is_elementwise=True)


def _overviews(images: Sequence[Image]) -> list[dict[str, int]]:
    """Return the overviews of a band, the largest first, with their decimation as in GDAL."""
    full = images[0]
    by_width = full.width >= full.height // 2
    return [
        {
            "level": level,
            "height": one.height,
            "width": one.width,
            "decimation": int(0.5 + (full.width / one.width if by_width else full.height / one.height)),
        }
        for level, one in enumerate(images)
        if level
    ]


def _pixel_sizes(column: RasterColumn) -> NDArray[np.float64]:
    """Return width and height of a pixel in units of the CRS, shape (n_references, 2)."""
    a, b, _, d, e, _ = column.grids.transform.T
    return np.stack([np.hypot(a, d), np.hypot(b, e)], axis=1)


def _bounds(column: RasterColumn, crs: str | None) -> NDArray[np.float64]:
    """Return the bounds of each reference, shape (n_references, 4); NaN where it has no place in `crs`."""
    grids = column.grids
    if crs is None or crs == NATIVE:
        return bounds_in_own_crs(grids.transform, grids.width, grids.height)
    return image_bounds(crs, grids.crs.tolist(), grids.transform, grids.width, grids.height)


def _numbers(name: str, values: NDArray[np.float64], dtype: pl.Struct) -> pl.Series:
    """Return a Struct column of rows of numbers; null where any number is missing."""
    fields = {field.name: pl.Series(values[:, at]) for at, field in enumerate(dtype.fields)}
    is_null: NDArray[np.bool_] = np.asarray(~np.isfinite(values).all(axis=1))
    return struct_series(name, fields, is_null=is_null)
