"""How does an expression read windows for its rows?

One callback answers one Polars batch; callables are picklable and carry options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, check_fill, checked_resolution, checked_shape, is_number
from polars_rasteret.engine import Spending
from polars_rasteret.engine.interruption import running
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.columns.answers import stacked_column, window_array_column, window_struct_column
from polars_rasteret.frame.expressions.elementwise import (
    ADVICE,
    NO_CRS,
    as_dtype_expr,
    asked_rows,
    band_name,
    check_native,
    check_unscale,
    common_dtype,
    in_batches,
    known_crs,
    mapped,
    pixel_dtype_of,
    same_length,
    settled_crs,
)
from polars_rasteret.frame.query.watched import Watched
from polars_rasteret.geo.antimeridian import eastward_boxes
from polars_rasteret.geo.geometry import are_points
from polars_rasteret.grids.choosing import FINEST, check_grid
from polars_rasteret.grids.windows import (
    SharedWindows,
    Windows,
    overlapping,
    windows_of_areas,
    windows_of_images,
    windows_of_points,
    windows_on_grids,
    with_own_grid,
    written_windows,
)
from polars_rasteret.options import OnError, ReadOptions, current_options
from polars_rasteret.pairing.impossible_places import warn_if_impossible
from polars_rasteret.pairing.stated_crs import crs_of_geometry
from polars_rasteret.pairing.targets import areas_of_geometry, points_of_geometry, wkb_array
from polars_rasteret.pixels.aligned_bands import AlignedBand, aligned_bands, are_answers, may_be_resampled
from polars_rasteret.pixels.raster_column import raster_columns_of
from polars_rasteret.pixels.reading import BandAnswer, BandRows, read_bands, stack_dtype, warn_of_errors
from polars_rasteret.pixels.resampled import read_onto_grids
from polars_rasteret.pixels.resampling import check_resampling, methods_by_band
from polars_rasteret.pixels.series import struct_series, window_struct_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReadWindow(Watched):
    """Callback: raster columns, then what says where, to windows."""

    n_bands: int
    where: Literal["image", "bounds", "box", "window"]
    box: tuple[float, float, float, float] | None
    crs: str | None
    shape: tuple[int, int] | None
    resolution: tuple[float, float] | None
    resizes: bool
    """Whether windows are brought to `shape`; else it is a size that they have."""
    resampling: str | Mapping[str, str]
    grid: str
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
        where = inputs[self.n_bands :]
        targets_in = self._targets_in(where)
        columns = raster_columns_of(inputs[: self.n_bands], targets_in=targets_in)
        if self.where == "bounds":
            check_native(where[0], self.crs, columns, what="read_window")
        shared = SharedWindows(self._windows(where, targets_in, len(inputs[0])))
        dtypes = None
        is_stack = self.form == "stack"
        if is_stack and not self.unscale:
            dtypes = {column.name: stack_dtype(columns) for column in columns}
        bands = asked_rows(columns, shared, unscale=self.unscale)
        how: dict[str, Any] = {
            "want_valid": self.masked,
            "dtypes": dtypes,
            "fill_value": self.fill_value,
            "spending": self.spending,
            "shape": self.shape,
            "stack": is_stack and not self.unscale,
            "advice": ADVICE,
        }
        onto, options = self._lined_up(bands), in_batches(self.options)
        if onto is None:
            answers, errors = read_bands(bands, options, **how)
        else:
            answers, errors = read_onto_grids(onto, options, **how)
        warn_of_errors(errors, "read_window")
        name = inputs[0].name
        if self.form == "single":
            return self._column(answers[0], name)
        if self.form == "struct":
            return struct_series("pixels", {one.rows.column.name: self._column(one, "") for one in answers})
        assert self.shape is not None
        result = stacked_column(answers, "pixels", self.shape, masked=self.masked)
        return result if return_dtype is None else result.cast(return_dtype)

    def _lined_up(self, bands: list[BandRows]) -> list[AlignedBand] | None:
        """Say what is resampled; None when nothing is."""
        if self.shape is None and self.resolution is None:
            return None
        # A window in pixels means what each band makes of it, except in a stack.
        together = self.form == "stack" or self.where != "window"
        if not may_be_resampled(bands if together else bands[:1], self.resolution):
            return None
        onto = aligned_bands(
            bands,
            grid=self.grid if together else None,
            shape=self.shape,
            resolution=self.resolution,
            methods=methods_by_band(self.resampling, [band.column.name for band in bands]),
        )
        return None if self.shape is not None and are_answers(onto) else onto

    def _column(self, answer: BandAnswer, name: str) -> pl.Series:
        if self.shape is not None:
            return window_array_column(answer, name, self.shape, masked=self.masked)
        return window_struct_column(answer, name, masked=self.masked)

    def _targets_in(self, where: Sequence[pl.Series]) -> str | None:
        """Give the CRS of the coordinates; None where there are none."""
        if self.where in ("image", "window"):
            return None
        if self.where == "box":
            return known_crs(self.crs)
        return crs_of_geometry(where[0], self.crs, what="read_window")

    def _windows(
        self, where: Sequence[pl.Series], targets_in: str | None, n_rows: int
    ) -> Callable[[PixelGrids], Windows]:
        rows = np.arange(n_rows, dtype=np.int64)
        has_own_grid = self.resizes or self.resolution is not None
        if self.where == "image":
            return lambda grids: _own(windows_of_images(grids), has_own_grid)
        if self.where == "window":
            window = np.stack([_whole_numbers(one) for one in where], axis=1)
            is_null = np.logical_or.reduce([one.is_null().to_numpy() for one in where])
            has_size = self.shape is None or (self._sizes(window[~is_null]) == self.shape).all()
            window[is_null] = 0  # an empty window, which meets nothing
            return lambda grids: _own(written_windows(grids, window), self.resolution is not None or not has_size)
        if self.where == "box":
            from shapely import box, to_wkb

            areas = areas_of_geometry(pl.Series([to_wkb(box(*self.box))], dtype=pl.Binary), known_crs(targets_in))  # type: ignore[misc]
            rows = np.zeros_like(rows)
        else:
            geometry = where[0]
            crs = known_crs(targets_in)
            is_there = geometry.is_not_null().to_numpy()
            if self.shape is not None and are_points(wkb_array(geometry, crs)[is_there]).all():
                points, shape = points_of_geometry(geometry, crs), self.shape
                warn_if_impossible(points, what="read_window")
                # Unlike a sample, a window around a point outside of the image may still overlap it.
                return lambda grids: overlapping(windows_of_points(grids, points, rows, shape=shape))
            areas = areas_of_geometry(geometry, crs)
        warn_if_impossible(areas, what="read_window")
        if has_own_grid:
            return lambda grids: windows_on_grids(grids, areas, rows, shape=self.shape)
        return lambda grids: windows_of_areas(grids, areas, rows)

    def _sizes(self, window: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack([window[:, 1] - window[:, 0], window[:, 3] - window[:, 2]], axis=1)


def _own(windows: Windows, has_own_grid: bool) -> Windows:
    return with_own_grid(windows) if has_own_grid else windows


def read_window(
    bands: Sequence[pl.Expr],
    bounds: Any,
    *,
    window: Any,
    crs: Any,
    shape: Any,
    resolution: Any,
    resampling: Any,
    masked: bool,
    fill_value: float | None,
    unscale: bool,
    on_error: OnError | None,
    form: Literal["single", "struct", "stack"],
    grid: str = FINEST,
) -> pl.Expr:
    """Build the expression behind ``.raster.read_window`` and ``pr.read_window``."""
    what = "read_window"
    names = [band_name(band) for band in bands] if form != "single" else []
    check_unscale(what, unscale)
    check_fill(what, fill_value)
    check_resampling(what, resampling, names)
    check_grid(what, grid, names)
    shape = checked_shape(what, shape)
    resolution = checked_resolution(what, resolution, shape)
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
        if box is not None and crs is None:
            raise UsageError(f"{what}: {NO_CRS}")
        if box is not None:
            box = _eastward(box, known_crs(settled_crs(crs)))
        kind = "bounds" if box is None else "box"
        if box is None:
            where = [as_expr(bounds, f"{what}: bounds")]
    # A window of numbers has a known size: read together, bands come as arrays by themselves.
    size = shape if shape is not None or form == "single" or resolution is not None else numbers_shape
    if form == "stack" and size is None:
        raise UsageError(
            f"{what}: stack=True needs a known size: pass shape=(height, width)"
            + (" instead of resolution" if resolution is not None else " or window= of four numbers")
        )
    options = current_options(on_error=on_error)
    callback = _ReadWindow(
        n_bands=len(bands),
        where=kind,
        box=box,
        crs=settled_crs(crs),
        shape=size,
        resolution=resolution,
        resizes=shape is not None,
        resampling=resampling,
        grid=grid,
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


def _whole_numbers(series: pl.Series) -> NDArray[np.int64]:
    """Give pixels as int64, 0 where null."""
    if not series.dtype.is_integer():
        raise UsageError(
            f"read_window: window column {series.name!r} is {series.dtype}; expected whole numbers of pixels"
        )
    return series.cast(pl.Int64).fill_null(0).to_numpy().copy()
