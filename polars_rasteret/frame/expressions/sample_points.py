"""How does an expression sample points for its rows?

One callback answers one Polars batch; callables are picklable and carry options only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.engine import Spending
from polars_rasteret.engine.interruption import running
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.columns.answers import point_column, sampled_columns
from polars_rasteret.frame.expressions.elementwise import (
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
    raster_selector,
    read_columns,
    same_length,
    settled_crs,
)
from polars_rasteret.frame.query.watched import Watched
from polars_rasteret.grids.windows import SharedWindows, windows_of_points
from polars_rasteret.options import OnError, ReadOptions, current_options
from polars_rasteret.pairing.impossible_places import warn_if_impossible
from polars_rasteret.pairing.stated_crs import crs_of_geometry
from polars_rasteret.pairing.targets import points_of_columns, points_of_geometry
from polars_rasteret.pixels.points import PointSampler
from polars_rasteret.pixels.raster_column import raster_columns_of
from polars_rasteret.pixels.reading import stack_dtype, warn_of_errors
from polars_rasteret.pixels.sampling import Sampling, checked_sampling
from polars_rasteret.pixels.series import array_series, struct_series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.points import Points
    from polars_rasteret.pixels.raster_column import RasterColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class _SamplePoints(Watched):
    """Callback: raster columns, then x and y (or a point geometry), to values."""

    n_bands: int | None
    """None: the first series is a Struct of all raster columns."""
    has_xy: bool
    crs: str | None
    unscale: bool
    sampling: Sampling
    form: Literal["single", "struct", "stack"]
    options: ReadOptions
    spending: Spending | None

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:
        if return_dtype is not None and any(len(one) == 0 for one in series):
            return pl.Series(series[0].name, [], dtype=return_dtype)  # Polars asks so, too, before the first rows
        with running():
            return self._answer(series, return_dtype)

    def _answer(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None) -> pl.Series:
        if self.n_bands is None:
            bands = series[0].struct.unnest().get_columns()
            return replace(self, n_bands=len(bands))([*bands, *series[1:]], return_dtype)
        inputs = same_length(series)
        if self.has_xy:
            points = points_of_columns(inputs[self.n_bands], inputs[self.n_bands + 1], known_crs(self.crs))
        else:
            geometry = inputs[self.n_bands]
            points = points_of_geometry(geometry, crs_of_geometry(geometry, self.crs, what="sample_points"))
        columns = raster_columns_of(inputs[: self.n_bands], targets_in=points.crs)
        if not self.has_xy:
            check_native(inputs[self.n_bands], self.crs, columns, what="sample_points")
        warn_if_impossible(points, what="sample_points")
        rows = np.arange(len(inputs[0]), dtype=np.int64)
        values, errors = self._values(columns, points, rows)
        warn_of_errors(errors, "sample_points")
        name = inputs[0].name
        if self.form == "single":
            return values[0].alias(name)
        if self.form == "struct":
            return struct_series("pixels", {one.name: one for one in values})
        is_float = self.unscale or self.sampling.method != "nearest"
        dtype = np.dtype(np.float64) if is_float else stack_dtype(columns)
        is_valid = np.stack([one.is_not_null().to_numpy() for one in values], axis=1)
        table = np.stack([one.fill_null(0).to_numpy().astype(dtype) for one in values], axis=1)
        no_raster = np.logical_and.reduce([column.reference_id < 0 for column in columns])
        result = array_series(
            "pixels", table.reshape(-1), (len(values),), is_valid=is_valid.reshape(-1), is_null=no_raster
        )
        return result if return_dtype is None else result.cast(return_dtype)

    def _values(
        self, columns: Sequence[RasterColumn], points: Points, rows: NDArray[np.int64]
    ) -> tuple[list[pl.Series], dict[int, str]]:
        sampling = self.sampling
        shared = SharedWindows(lambda grids: windows_of_points(grids, points, rows, exactly=not sampling.is_plain))
        if sampling.is_plain:
            answers, errors = read_columns(
                columns, shared, self.options, unscale=self.unscale, want_valid=True, spending=self.spending
            )
            return [point_column(answer, answer.rows.column.name) for answer in answers], errors
        bands = {one.column.name: one for one in asked_rows(columns, shared, unscale=self.unscale)}
        sampler = PointSampler(bands, sampling, in_batches(self.options), spending=self.spending)
        answer = sampler.sample(list(bands), list(bands))
        values = [sampled_columns(bands[name], answer.bands[name], sampling)[name] for name in bands]
        return values, answer.errors


def sample_points(
    bands: Sequence[pl.Expr] | None,
    x: Any,
    y: Any,
    *,
    crs: Any,
    method: str,
    max_distance_pixels: int,
    joint: bool,
    unscale: bool,
    on_error: OnError | None,
    form: Literal["single", "struct", "stack"],
) -> pl.Expr:
    """Build the expression behind ``.raster.sample_points`` and ``pr.sample_points``."""
    what = "sample_points"
    sampling = checked_sampling(what, method=method, max_distance_pixels=max_distance_pixels, joint=joint)
    check_unscale(what, unscale)
    if y is not None and crs is None:
        raise UsageError(f"{what}: {NO_CRS}")
    where = [as_expr(x, f"{what}: x")] if y is None else [as_expr(x, f"{what}: x"), as_expr(y, f"{what}: y")]
    if y is None and is_number(x):
        raise UsageError(f"{what}: x={x!r} without y; pass both coordinates, or a geometry column as x")
    options = current_options(on_error=on_error)
    callback = _SamplePoints(
        n_bands=None if bands is None else len(bands),
        has_xy=y is not None,
        crs=settled_crs(crs),
        unscale=unscale,
        sampling=sampling,
        form=form,
        options=options,
        spending=Spending.of(options),
    )
    is_float = unscale or method != "nearest"
    dtype: Any
    if bands is None:
        pixels = raster_selector().as_expr().struct.field("nodata").name.keep()
        pixels = pixels.cast(pl.Float64) if is_float else pixels
        dtype = pl.dtype_of(pl.struct(pixels) if form == "struct" else pl.concat_arr(pixels))
        return mapped([pl.struct(raster_selector()), *where], callback, dtype, form)
    if form == "single":
        dtype = pl.Float64() if is_float else pl.self_dtype().struct["nodata"]
    elif form == "struct":
        dtype = pl.struct_with_fields(
            {band_name(band): pl.Float64() if is_float else pixel_dtype_of(band) for band in bands}
        )
    else:
        dtype = as_dtype_expr(pl.Float64()) if is_float else common_dtype(bands)
        dtype = dtype.wrap_in_array(width=len(bands))
    return mapped([*bands, *where], callback, dtype, form)
