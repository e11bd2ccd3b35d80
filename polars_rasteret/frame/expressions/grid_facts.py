"""Which facts about its image does a raster value have, without reading a pixel?

Bounds, pixel size, overviews, and the pixel that holds a point: all from the reference alone. Nothing is fetched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import NO_CRS, check_native, known_crs, normalized_crs, same_length
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.footprints import image_bounds
from polars_rasteret.grids.extents import bounds_in_own_crs
from polars_rasteret.grids.windows import windows_of_points
from polars_rasteret.pairing.impossible_places import warn_if_impossible
from polars_rasteret.pairing.stated_crs import crs_of_geometry
from polars_rasteret.pairing.targets import points_of_columns, points_of_geometry
from polars_rasteret.pixels.raster_column import RasterColumn, raster_column
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
ROW_COL = pl.Struct({"row": pl.Int64(), "col": pl.Int64()})

_NOWHERE_PX = 2**51
"""Pixel number of a point without a place; no grid is that large."""


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
            told = pl.Series(column.name, [_overviews(one.tiles.images) for one in column.references], dtype=OVERVIEWS)
        elif self.what == "pixel_size":
            told = _numbers(column.name, _pixel_sizes(column), PIXEL_SIZE)
        else:
            told = _numbers(column.name, _bounds(column, self.crs), BBOX)
        if not column.references:
            return pl.Series(column.name, [None], dtype=told.dtype).new_from_index(0, len(column.reference_id))
        index = pl.Series(column.reference_id)
        return told.gather(index.set(index < 0, None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowCol:
    """Callback that returns pixels for a raster column followed by x and y (or a point geometry)."""

    has_xy: bool
    crs: str | None

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:  # noqa: ARG002
        raster, *where = same_length(series)
        if self.has_xy:
            points = points_of_columns(where[0], where[1], known_crs(self.crs))
        else:
            points = points_of_geometry(where[0], crs_of_geometry(where[0], self.crs, what="row_col"))
        column = raster_column(raster, targets_in=points.crs)
        for fault in column.faults.values():
            raise fault
        if not self.has_xy:
            check_native(where[0], self.crs, [column], what="row_col")
        warn_if_impossible(points, what="row_col")
        windows = windows_of_points(
            column.grids_of(column.reference_id), points, np.arange(len(raster), dtype=np.int64)
        )
        row, col = windows.row_start, windows.col_start
        has_place = (column.reference_id >= 0) & np.isfinite(points.x) & np.isfinite(points.y)
        has_place &= (np.abs(row) < _NOWHERE_PX) & (np.abs(col) < _NOWHERE_PX)
        return struct_series(raster.name, {"row": pl.Series(row), "col": pl.Series(col)}, is_null=~has_place)


def bounds(raster: pl.Expr, crs: Any) -> pl.Expr:
    """Return the expression of ``.raster.bounds``."""
    return _mapped([raster], _OfReference(what="bounds", crs=normalized_crs(crs)), BBOX)


def pixel_size(raster: pl.Expr) -> pl.Expr:
    """Return the expression of ``.raster.pixel_size``."""
    return _mapped([raster], _OfReference(what="pixel_size"), PIXEL_SIZE)


def overviews(raster: pl.Expr) -> pl.Expr:
    """Return the expression of ``.raster.overviews``."""
    return _mapped([raster], _OfReference(what="overviews"), OVERVIEWS)


def row_col(raster: pl.Expr, x: Any, y: Any, crs: Any) -> pl.Expr:
    """Return the expression of ``.raster.row_col``."""
    what = "row_col"
    if y is None and is_number(x):
        raise UsageError(f"{what}: x={x!r} without y; pass both coordinates, or a geometry column as x")
    if y is not None and crs is None:
        raise UsageError(f"{what}: {NO_CRS}")
    where = [as_expr(x, f"{what}: x")] if y is None else [as_expr(x, f"{what}: x"), as_expr(y, f"{what}: y")]
    return _mapped([raster, *where], _RowCol(has_xy=y is not None, crs=normalized_crs(crs)), ROW_COL)


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
