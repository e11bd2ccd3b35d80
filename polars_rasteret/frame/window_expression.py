"""How does an expression read windows for its rows?

One callback answers one Polars batch; callables are picklable and carry options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.engine import Spending
from polars_rasteret.engine.at_exit import running
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.answers import struct_series, window_struct_fields
from polars_rasteret.frame.arguments import as_expr, check_fill, checked_shape, is_number, refuse_later
from polars_rasteret.frame.columns import stacked_column, window_array_column, window_struct_column
from polars_rasteret.frame.elementwise import (
    NO_CRS,
    as_dtype_expr,
    band_name,
    check_unscale,
    common_dtype,
    known_crs,
    mapped,
    pixel_dtype_of,
    read_columns,
    same_length,
    settled_crs,
)
from polars_rasteret.frame.reading import BandAnswer, stack_dtype, warn_of_errors
from polars_rasteret.frame.references import RasterColumn, raster_column
from polars_rasteret.frame.targets import areas_of_geometry, geometry_crs, points_of_geometry, stated_crs, wkb_array
from polars_rasteret.frame.watched import Watched
from polars_rasteret.frame.windows import (
    SharedWindows,
    Windows,
    given_windows,
    overlapping,
    windows_of_areas,
    windows_of_images,
    windows_of_points,
)
from polars_rasteret.geo.geometry import are_points
from polars_rasteret.options import OnError, ReadOptions, current_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadWindow(Watched):
    """Callback: raster columns, then what says where, to windows."""

    n_bands: int
    where: Literal["image", "bounds", "box", "window"]
    box: tuple[float, float, float, float] | None
    crs: str | None
    shape: tuple[int, int] | None
    arrays: bool
    masked: bool
    fill_value: float | None
    unscale: bool
    form: Literal["single", "struct", "stack"]
    options: ReadOptions
    spending: Spending | None

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:
        if return_dtype is not None and any(len(one) == 0 for one in series):
            return pl.Series(series[0].name, [], dtype=return_dtype)  # Polars asks so, too, before the first rows
        with running():
            return self._answer(series, return_dtype)

    def _answer(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None) -> pl.Series:
        inputs = same_length(series)
        columns = [raster_column(one) for one in inputs[: self.n_bands]]
        shared = SharedWindows(self._windows(inputs[self.n_bands :], len(inputs[0])))
        dtypes = None
        is_stack = self.form == "stack"
        if is_stack and not self.unscale:
            dtypes = {column.name: stack_dtype(columns) for column in columns}
        answers, errors = read_columns(
            columns,
            shared,
            self.options,
            unscale=self.unscale,
            # A window in pixels means what each band makes of it, except in a stack.
            line_up=is_stack or (self.shape is not None and self.where != "window"),
            want_valid=self.masked,
            dtypes=dtypes,
            fill_value=self.fill_value,
            spending=self.spending,
            shape=self.shape if self.arrays else None,
            stack=is_stack and not self.unscale,
        )
        warn_of_errors(errors, "read_window")
        name = inputs[0].name
        if self.form == "single":
            return self._column(answers[0], name)
        if self.form == "struct":
            return struct_series("pixels", {one.rows.column.name: self._column(one, "") for one in answers})
        assert self.shape is not None
        result = stacked_column(answers, "pixels", self.shape, masked=self.masked)
        return result if return_dtype is None else result.cast(return_dtype)

    def _column(self, answer: BandAnswer, name: str) -> pl.Series:
        if self.arrays:
            assert self.shape is not None
            return window_array_column(answer, name, self.shape, masked=self.masked)
        return window_struct_column(answer, name, masked=self.masked)

    def _windows(self, where: Sequence[pl.Series], n_rows: int) -> Callable[[RasterColumn, NDArray[np.int64]], Windows]:
        rows = np.arange(n_rows, dtype=np.int64)
        if self.where == "image":
            return windows_of_images
        if self.where == "window":
            window = np.stack([_whole_numbers(one) for one in where], axis=1)
            is_null = np.logical_or.reduce([one.is_null().to_numpy() for one in where])
            self._check_sizes(window[~is_null])
            window[is_null] = 0  # an empty window, which meets nothing
            return lambda column, reference_id: given_windows(column, reference_id, window)
        if self.where == "box":
            from shapely import box, to_wkb

            areas = areas_of_geometry(pl.Series([to_wkb(box(*self.box))], dtype=pl.Binary), known_crs(self.crs))  # type: ignore[misc]
            return lambda column, reference_id: windows_of_areas(column, reference_id, areas, np.zeros_like(rows))
        geometry = where[0]
        crs = stated_crs(self.crs, geometry_crs(geometry.dtype), what="read_window")
        if self.shape is not None:
            is_there = geometry.is_not_null().to_numpy()
            if not are_points(wkb_array(geometry)[is_there]).all():
                raise UsageError(
                    "read_window: shape= on boxes and polygons (resampling) is not available yet in this version; "
                    "leave shape out for the raster's own pixels, or pass point geometries"
                )
            points, shape = points_of_geometry(geometry, crs), self.shape
            # Unlike a sample, a window around a point outside of the image may still overlap it.
            return lambda column, reference_id: overlapping(
                column, reference_id, windows_of_points(column, reference_id, points, rows, shape=shape)
            )
        areas = areas_of_geometry(geometry, crs)
        return lambda column, reference_id: windows_of_areas(column, reference_id, areas, rows)

    def _check_sizes(self, window: NDArray[np.int64]) -> None:
        if self.shape is None or not self.arrays:
            return
        sizes = np.stack([window[:, 1] - window[:, 0], window[:, 3] - window[:, 2]], axis=1)
        if (sizes != self.shape).any():
            at = int(np.flatnonzero((sizes != self.shape).any(axis=1))[0])
            raise UsageError(
                f"read_window: a window of {sizes[at, 0]} x {sizes[at, 1]} pixels does not have shape={self.shape}; resampling "
                "is not available yet in this version, so give windows of that size or leave shape out"
            )


def read_window(
    bands: Sequence[pl.Expr],
    bounds: Any,
    *,
    window: Any,
    crs: Any,
    shape: Any,
    resolution: Any,
    resampling: str,
    masked: bool,
    fill_value: float | None,
    unscale: bool,
    on_error: OnError | None,
    form: Literal["single", "struct", "stack"],
) -> pl.Expr:
    """Build the expression behind ``.raster.read_window`` and ``pr.read_window``."""
    what = "read_window"
    refuse_later(what, resolution=(resolution, None), resampling=(resampling, "nearest"))
    check_unscale(what, unscale)
    check_fill(what, fill_value, unscale)
    shape = checked_shape(what, shape)
    if bounds is not None and window is not None:
        raise UsageError(f"{what}: both bounds and window are given; pass one of them")
    where: list[pl.Expr] = []
    box = None
    kind: Literal["image", "bounds", "box", "window"] = "image"
    numbers_shape = None
    if window is not None:
        kind, where, numbers_shape = "window", *_window_expressions(window)
    elif bounds is not None:
        box = _four_numbers(bounds)
        kind = "bounds" if box is None else "box"
        if box is None:
            where = [as_expr(bounds, f"{what}: bounds")]
        elif crs is None:
            raise UsageError(f"{what}: {NO_CRS}")
    if shape is not None and kind in ("image", "box"):
        raise UsageError(
            f"{what}: shape= on {'whole images' if kind == 'image' else 'boxes'} (resampling) is not available yet in this "
            "version; leave shape out for the raster's own pixels"
        )
    if shape is not None and numbers_shape is not None and shape != numbers_shape:
        raise UsageError(
            f"{what}: the window has {numbers_shape[0]} x {numbers_shape[1]} pixels and shape={shape}; resampling is not "
            "available yet in this version, so leave shape out"
        )
    # A window of numbers has a known size: read together, bands come as arrays by themselves.
    size = shape if shape is not None or form == "single" else numbers_shape
    if form == "stack" and size is None:
        raise UsageError(
            f"{what}: stack=True needs a known size: pass shape=(height, width) or window= of four numbers"
        )
    options = current_options(on_error=on_error)
    callback = _ReadWindow(
        n_bands=len(bands),
        where=kind,
        box=box,
        crs=settled_crs(crs),
        shape=size,
        arrays=size is not None,
        masked=masked,
        fill_value=fill_value,
        unscale=unscale,
        form=form,
        options=options,
        spending=Spending.of(options),
    )

    def value_dtype(pixel: Any) -> Any:
        dtype = as_dtype_expr(pl.Float32()) if unscale else pixel
        if size is not None:
            return dtype.wrap_in_array(width=size[1]).wrap_in_array(width=size[0])
        return pl.struct_with_fields(window_struct_fields(dtype.wrap_in_list()))

    if form == "single":
        dtype = value_dtype(pl.self_dtype().struct["nodata"])
    elif form == "struct":
        dtype = pl.struct_with_fields({band_name(band): value_dtype(pixel_dtype_of(band)) for band in bands})
    else:
        dtype = value_dtype(common_dtype(bands)).wrap_in_array(width=len(bands))
    return mapped([*bands, *where], callback, dtype, form)


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
    if not (minx <= maxx and miny <= maxy):
        raise UsageError(f"read_window: bounds={bounds!r} are not minx <= maxx and miny <= maxy")
    return float(minx), float(miny), float(maxx), float(maxy)


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


def _whole_numbers(series: pl.Series) -> NDArray[np.int64]:
    """Give pixels as int64, 0 where null."""
    if not series.dtype.is_integer():
        raise UsageError(
            f"read_window: window column {series.name!r} is {series.dtype}; expected whole numbers of pixels"
        )
    return series.cast(pl.Int64).fill_null(0).to_numpy().copy()
