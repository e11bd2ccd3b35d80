"""How is the expression ``zonal_stats`` written?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import as_expr, check_choice
from polars_rasteret.frame.expressions.elementwise import check_unscale, mapped, normalized_crs
from polars_rasteret.frame.expressions.places import GeometryColumn
from polars_rasteret.frame.expressions.product_callback import product_callback
from polars_rasteret.geo.zone_runs import COVERAGES
from polars_rasteret.pixels.zones.zonal_product import ZonalProduct
from polars_rasteret.pixels.zones.zone_statistics import checked_statistics

if TYPE_CHECKING:
    from polars_rasteret.options import OnError
    from polars_rasteret.pixels.zones.zone_statistics import Statistic


def zonal_stats(
    band: pl.Expr, geometry: Any, stats: Any, *, crs: Any, coverage: str, unscale: bool, on_error: OnError | None
) -> pl.Expr:
    """Return the expression of ``.raster.zonal_stats``."""
    what = "zonal_stats"
    check_choice(what, "coverage", coverage, COVERAGES)
    check_unscale(what, unscale)
    statistics = checked_statistics(what, stats)
    passed_crs = normalized_crs(crs)
    callback = product_callback(
        what=what,
        product=ZonalProduct(statistics=statistics, coverage=coverage),
        place=GeometryColumn(crs=passed_crs),
        n_bands=1,
        crs=passed_crs,
        unscale=unscale,
        form="fields",
        on_error=on_error,
    )
    pixel: Any = pl.Float64().to_dtype_expr() if unscale else pl.self_dtype().struct["nodata"]
    dtype = pl.struct_with_fields({one.suffix: _dtype(one, pixel) for one in statistics})
    return mapped([band, as_expr(geometry, f"{what}: geometry")], callback, dtype, "single")


def _dtype(statistic: Statistic, pixel: Any) -> Any:
    """Return the dtype of a statistic of pixels whose dtype is known later."""
    if statistic.is_a_value:
        return pixel
    if statistic.name == "fractions":
        return pl.struct_with_fields({"value": pixel, "fraction": pl.Float64()}).wrap_in_list()
    return statistic.dtype(pl.Float64()).to_dtype_expr()
