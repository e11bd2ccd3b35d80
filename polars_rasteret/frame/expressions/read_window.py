"""How do the arguments of the expression ``read_window`` become a Polars expression?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.asked_place import asked_place
from polars_rasteret.frame.expressions.dtypes import band_name, form_dtype, window_dtype
from polars_rasteret.frame.expressions.elementwise import check_unscale, mapped
from polars_rasteret.frame.expressions.product_callback import product_callback
from polars_rasteret.grids.choosing import FINEST, check_grid
from polars_rasteret.pixels.windows.window_options import checked_window_options
from polars_rasteret.pixels.windows.window_product import WindowProduct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.columns.forms import Form
    from polars_rasteret.options import OnError


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
    form: Form,
    grid: str = FINEST,
) -> pl.Expr:
    """Return the expression of ``.raster.read_window`` and ``pr.read_window``."""
    what = "read_window"
    names = [band_name(band) for band in bands] if form != "single" else []
    check_unscale(what, unscale)
    check_grid(what, grid, names)
    options = checked_window_options(
        what,
        shape=shape,
        resolution=resolution,
        grid=grid,
        resampling=resampling,
        fill_value=fill_value,
        bands=names,
    )
    asked = asked_place(what, bounds, window, crs, options)
    # A window of numbers has a known size: read together, bands come as arrays by themselves.
    size = options.shape if options.has_grid or form == "single" else asked.window_shape
    if form == "stack" and size is None:
        raise UsageError(
            f"{what}: stack=True needs a known size: pass shape=(height, width)"
            + (" instead of resolution" if options.resolution is not None else " or window= of four numbers")
        )
    # A window in pixels means what each band makes of it, except in a stack.
    shares_grid = window is None or form == "stack"
    callback = product_callback(
        what=what,
        product=WindowProduct(
            window=replace(options, shape=size, grid=grid if shares_grid else None),
            stack=form == "stack",
            masked=masked,
            clips_points=False,
        ),
        place=asked.place(size),
        n_bands=len(bands),
        crs=asked.crs,
        unscale=unscale,
        form=form,
        on_error=on_error,
    )
    dtype = form_dtype(
        bands, form, lambda pixel: window_dtype(pl.Float32().to_dtype_expr() if unscale else pixel, size)
    )
    return mapped([*bands, *asked.columns], callback, dtype, form)
