"""How do the arguments of the expression ``sample_points`` become a Polars expression?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import as_expr, is_number
from polars_rasteret.engine import Spending
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import (
    NO_CRS,
    as_dtype_expr,
    band_name,
    check_unscale,
    common_dtype,
    known_crs,
    mapped,
    normalized_crs,
    pixel_dtype_of,
    raster_selector,
)
from polars_rasteret.frame.expressions.places import CoordinateColumns, GeometryColumn
from polars_rasteret.frame.expressions.product_callback import ProductCallback
from polars_rasteret.options import OnError, current_options
from polars_rasteret.pixels.point_product import PointProduct
from polars_rasteret.pixels.sampling import checked_sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.columns.forms import Form


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
    options = current_options(on_error=on_error)
    passed_crs = normalized_crs(crs)
    callback = ProductCallback(
        what=what,
        product=PointProduct(sampling=sampling),
        place=GeometryColumn(crs=passed_crs) if y is None else CoordinateColumns(crs=known_crs(passed_crs)),
        n_bands=None if bands is None else len(bands),
        crs=passed_crs,
        unscale=unscale,
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
