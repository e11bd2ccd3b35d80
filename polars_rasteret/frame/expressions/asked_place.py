"""Which place do ``bounds=``, ``window=`` and ``crs=`` of an expression name?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.bundles import bundle
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import NO_CRS, known_crs, normalized_crs
from polars_rasteret.frame.expressions.places import Box, GeometryColumn, PixelWindows, WholeImages
from polars_rasteret.geo.turns import eastward_boxes

if TYPE_CHECKING:
    from polars_rasteret.frame.expressions.places import Place
    from polars_rasteret.pixels.windows.window_options import WindowOptions


@bundle
class AskedPlace:
    """The place that a caller named."""

    columns: list[pl.Expr]
    """Columns that say where."""
    crs: str | None
    """Normalized, or ``"native"``; None: not passed."""
    window_shape: tuple[int, int] | None
    """Size of a window of numbers, which is known before any data is there."""
    is_window: bool
    sides: tuple[float, float, float, float] | None
    """Of a box."""
    options: WindowOptions

    def place(self, shape: tuple[int, int] | None) -> Place:
        """Return the place; `shape` is the known size of windows."""
        options = self.options
        if self.is_window:
            return PixelWindows(shape=shape, has_own_grid=options.resolution is not None)
        if self.sides is not None:
            crs = known_crs(self.crs)
            return Box(sides=_eastward(self.sides, crs), crs=crs)
        return GeometryColumn(crs=self.crs) if self.columns else WholeImages(has_own_grid=options.has_grid)


def asked_place(what: str, bounds: Any, window: Any, crs: Any, options: WindowOptions) -> AskedPlace:
    """Return the place that a caller named; whole images where none is.

    Raises
    ------
    UsageError
        For arguments that are wrong, or do not go together.
    """
    if bounds is not None and window is not None:
        raise UsageError(f"{what}: both bounds and window are given; pass one of them")
    columns: list[pl.Expr] = []
    window_shape, sides = None, None
    if window is not None:
        columns, window_shape = _window_expressions(window)
    elif bounds is not None:
        sides = _four_numbers(bounds)
        if sides is None:
            columns = [as_expr(bounds, f"{what}: bounds")]
        elif crs is None:
            raise UsageError(f"{what}: {NO_CRS}")
    return AskedPlace(
        columns=columns,
        crs=normalized_crs(crs),
        window_shape=window_shape,
        is_window=window is not None,
        sides=sides,
        options=options,
    )


def _four_numbers(bounds: Any) -> tuple[float, float, float, float] | None:
    if isinstance(bounds, str | pl.Expr):
        return None
    try:
        minx, miny, maxx, maxy = bounds
    except (TypeError, ValueError):
        minx = miny = maxx = maxy = None
    if not all(is_number(one) for one in (minx, miny, maxx, maxy)):
        raise UsageError(
            f"read_window: bounds={bounds!r}; expected a geometry column, a bbox struct column, or four numbers "
            "(minx, miny, maxx, maxy)"
        )
    if not miny <= maxy:
        raise UsageError(f"read_window: bounds={bounds!r} are not miny <= maxy")
    return float(minx), float(miny), float(maxx), float(maxy)


def _eastward(box: tuple[float, float, float, float], crs: str) -> tuple[float, float, float, float]:
    west, south, east, north = eastward_boxes(np.array([box]), crs)[0].tolist()
    return west, south, east, north


def _window_expressions(window: Any) -> tuple[list[pl.Expr], tuple[int, int] | None]:
    try:
        parts = tuple(window)
    except TypeError:
        parts = ()
    if len(parts) != 4 or isinstance(window, str):
        raise UsageError(f"read_window: window={window!r}; expected (row_start, row_stop, col_start, col_stop)")
    numbers = [one for one in parts if is_number(one)]
    size = None
    if len(numbers) == 4:
        if not all(float(one).is_integer() for one in parts):
            raise UsageError(f"read_window: window={window!r}; expected whole numbers of pixels")
        size = int(parts[1] - parts[0]), int(parts[3] - parts[2])
        if min(size) <= 0:
            raise UsageError(
                f"read_window: window={window!r} is empty; expected row_start < row_stop and col_start < col_stop"
            )
    expressions = [
        pl.lit(int(one), dtype=pl.Int64) if is_number(one) else as_expr(one, "read_window: window") for one in parts
    ]
    return expressions, size
