"""How do the arguments of the expression ``read_window`` become a Polars expression?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import as_expr, check_fill, checked_resolution, checked_shape, is_number
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
)
from polars_rasteret.frame.expressions.places import Box, GeometryColumn, PixelWindows, Place, WholeImages
from polars_rasteret.frame.expressions.product_callback import ProductCallback
from polars_rasteret.geo.antimeridian import eastward_boxes
from polars_rasteret.grids.choosing import FINEST, check_grid
from polars_rasteret.options import OnError, current_options
from polars_rasteret.pixels.resampling import check_resampling
from polars_rasteret.pixels.series import window_struct_fields
from polars_rasteret.pixels.window_product import WindowProduct
from polars_rasteret.pixels.window_reads import WindowOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.columns.forms import Form


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
    check_fill(what, fill_value)
    check_resampling(what, resampling, names)
    check_grid(what, grid, names)
    shape = checked_shape(what, shape)
    resolution = checked_resolution(what, resolution, shape)
    if bounds is not None and window is not None:
        raise UsageError(f"{what}: both bounds and window are given; pass one of them")
    passed_crs = normalized_crs(crs)
    where: list[pl.Expr] = []
    numbers_shape, sides = None, None
    if window is not None:
        where, numbers_shape = _window_expressions(window)
    elif bounds is not None:
        sides = _four_numbers(bounds)
        if sides is None:
            where = [as_expr(bounds, f"{what}: bounds")]
        elif crs is None:
            raise UsageError(f"{what}: {NO_CRS}")
    # A window of numbers has a known size: read together, bands come as arrays by themselves.
    size = shape if shape is not None or form == "single" or resolution is not None else numbers_shape
    if form == "stack" and size is None:
        raise UsageError(
            f"{what}: stack=True needs a known size: pass shape=(height, width)"
            + (" instead of resolution" if resolution is not None else " or window= of four numbers")
        )
    options = current_options(on_error=on_error)
    place: Place
    if window is not None:
        place = PixelWindows(shape=size, has_own_grid=resolution is not None)
    elif bounds is None:
        place = WholeImages(has_own_grid=shape is not None or resolution is not None)
    elif sides is None:
        place = GeometryColumn(crs=passed_crs)
    else:
        place = Box(sides=_eastward(sides, known_crs(passed_crs)), crs=known_crs(passed_crs))
    # A window in pixels means what each band makes of it, except in a stack.
    shares_grid = window is None or form == "stack"
    callback = ProductCallback(
        what=what,
        product=WindowProduct(
            window=WindowOptions(
                shape=size,
                resolution=resolution,
                grid=grid if shares_grid else None,
                resampling=resampling,
                fill_value=fill_value,
            ),
            stack=form == "stack",
            masked=masked,
            clips_points=False,
        ),
        place=place,
        n_bands=len(bands),
        crs=passed_crs,
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
