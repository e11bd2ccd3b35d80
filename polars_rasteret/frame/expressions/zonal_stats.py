"""How is the expression ``zonal_stats`` written?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import as_expr, check_choice
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.expressions.elementwise import check_unscale, mapped, normalized_crs
from polars_rasteret.frame.expressions.places import GeometryColumn
from polars_rasteret.frame.expressions.product_callback import product_callback
from polars_rasteret.geo.coverage.zone_runs import COVERAGES
from polars_rasteret.pixels.zones.zonal_product import ZonalProduct
from polars_rasteret.pixels.zones.zone_statistics import checked_statistics
from polars_rasteret.schema import raster_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.options import OnError
    from polars_rasteret.pixels.zones.zone_statistics import Statistic


def zonal_stats(
    band: pl.Expr, geometry: Any, stats: Any, *, crs: Any, coverage: str, unscale: bool, on_error: OnError | None
) -> pl.Expr:
    """Return the expression of ``.raster.zonal_stats``."""
    what = "zonal_stats"
    check_choice(what, "coverage", coverage, COVERAGES)
    check_unscale(what, unscale)
    _refuse_formula(what, band)
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


def _refuse_formula(what: str, band: pl.Expr) -> None:
    """Raise `UsageError` for an expression that computes numbers: it would see references, not pixels."""
    roots = dict.fromkeys(band.meta.root_names())
    made = _made_of(band, dict.fromkeys(roots, raster_dtype(pl.Float32())))
    # Arithmetic on references has no dtype, on numbers it has. `with_metadata` takes numbers, and its dtype is its input's.
    if made is None and "python_udf" not in str(band):
        made = _made_of(band, dict.fromkeys(roots, pl.Float32()))
    if made is None or not made.is_numeric():
        return
    raise UsageError(
        f"{what}: {str(band)[:200]} computes numbers; the expression is for one raster column. For statistics of a formula in "
        'each pixel use the verb: scenes.raster.zonal_stats(zones, {"name": formula}, ...). For arithmetic on statistics compute '
        "with the fields of the Struct that the expression gives"
    )


def _made_of(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> pl.DataType | None:
    """Return the dtype of an expression over columns of some dtypes; None where Polars does not compute it."""
    try:
        made = pl.LazyFrame(schema=columns).select(expression).collect_schema().dtypes()
    except pl.exceptions.PolarsError:
        return None
    return made[0] if len(made) == 1 else None


def _dtype(statistic: Statistic, pixel: Any) -> Any:
    """Return the dtype of a statistic of pixels whose dtype is known later."""
    if statistic.is_a_value:
        return pixel
    if statistic.name == "fractions":
        return pl.struct_with_fields({"value": pixel, "fraction": pl.Float64()}).wrap_in_list()
    return statistic.dtype(pl.Float64()).to_dtype_expr()
