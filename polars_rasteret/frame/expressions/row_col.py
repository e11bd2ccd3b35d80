"""Which pixel of a raster value holds a point? Nothing is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import NO_CRS, check_native, known_crs, normalized_crs, same_length
from polars_rasteret.grids.windows import windows_of_points
from polars_rasteret.pairing.impossible_places import warn_if_impossible
from polars_rasteret.pairing.stated_crs import crs_of_geometry
from polars_rasteret.pairing.targets import points_of_columns, points_of_geometry
from polars_rasteret.pixels.rasters.raster_column import raster_column
from polars_rasteret.pixels.series import struct_series

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW_COL = pl.Struct({"row": pl.Int64(), "col": pl.Int64()})

_NOWHERE_PX = 2**51
"""Pixel number of a point without a place; no grid is that large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowCol:
    """Callback: a raster column, then x and y (or a point geometry), to pixels."""

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


def row_col(raster: pl.Expr, x: Any, y: Any, crs: Any) -> pl.Expr:
    """Return the expression of ``.raster.row_col``."""
    what = "row_col"
    if y is None and is_number(x):
        raise UsageError(f"{what}: x={x!r} without y; pass both coordinates, or a geometry column as x")
    if y is not None and crs is None:
        raise UsageError(f"{what}: {NO_CRS}")
    where = [as_expr(x, f"{what}: x")] if y is None else [as_expr(x, f"{what}: x"), as_expr(y, f"{what}: y")]
    return pl.map_batches(
        [raster, *where],
        _RowCol(has_xy=y is not None, crs=normalized_crs(crs)),
        return_dtype=ROW_COL,
        is_elementwise=True,
    )
