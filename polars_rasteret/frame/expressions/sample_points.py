"""How do the arguments of the expression ``sample_points`` become a Polars expression?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.dtypes import form_dtype, raster_selector
from polars_rasteret.frame.expressions.elementwise import NO_CRS, check_unscale, known_crs, mapped, normalized_crs
from polars_rasteret.frame.expressions.places import CoordinateColumns, GeometryColumn
from polars_rasteret.frame.expressions.product_callback import product_callback
from polars_rasteret.pixels.points.point_product import PointProduct
from polars_rasteret.pixels.points.sampling import checked_sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.columns.forms import Form
    from polars_rasteret.options import OnError


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
    form: Form,
) -> pl.Expr:
    """Return the expression of ``.raster.sample_points`` and ``pr.sample_points``."""
    what = "sample_points"
    sampling = checked_sampling(what, method=method, max_distance_pixels=max_distance_pixels, joint=joint)
    check_unscale(what, unscale)
    if y is not None and crs is None:
        raise UsageError(f"{what}: {NO_CRS}")
    where = [as_expr(x, f"{what}: x")] if y is None else [as_expr(x, f"{what}: x"), as_expr(y, f"{what}: y")]
    if y is None and is_number(x):
        raise UsageError(f"{what}: x={x!r} without y; pass both coordinates, or a geometry column as x")
    passed_crs = normalized_crs(crs)
    callback = product_callback(
        what=what,
        product=PointProduct(sampling=sampling),
        place=GeometryColumn(crs=passed_crs) if y is None else CoordinateColumns(crs=known_crs(passed_crs)),
        n_bands=None if bands is None else len(bands),
        crs=passed_crs,
        unscale=unscale,
        form=form,
        on_error=on_error,
    )
    is_float = unscale or method != "nearest"
    dtype: Any
    if bands is None:
        pixels = raster_selector().as_expr().struct.field("nodata").name.keep()
        pixels = pixels.cast(pl.Float64) if is_float else pixels
        dtype = pl.dtype_of(pl.struct(pixels) if form == "struct" else pl.concat_arr(pixels))
        return mapped([pl.struct(raster_selector()), *where], callback, dtype, form)
    dtype = form_dtype(bands, form, lambda pixel: pl.Float64().to_dtype_expr() if is_float else pixel)
    return mapped([*bands, *where], callback, dtype, form)
