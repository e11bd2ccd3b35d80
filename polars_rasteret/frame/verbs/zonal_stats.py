"""How is ``.raster.zonal_stats`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import check_choice
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.formula_bands import asked_bands
from polars_rasteret.frame.query.question import ask
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.geo.coverage.zone_runs import COVERAGES
from polars_rasteret.pixels.windows.resampling import check_resampling
from polars_rasteret.pixels.zones.zonal_product import ZonalProduct
from polars_rasteret.pixels.zones.zone_statistics import checked_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.pairing.words import Pairing


def zonal_stats(
    lf: pl.LazyFrame,
    zones: Any,
    bands: Any,
    stats: Any,
    pairing: Pairing,
    *,
    coverage: str,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
    approx: int | None,
) -> pl.LazyFrame:
    """Return the frame of ``.raster.zonal_stats``."""
    what = "zonal_stats"
    check_choice(what, "coverage", coverage, COVERAGES)
    if approx is not None and (isinstance(approx, bool) or not isinstance(approx, int) or approx < 1):
        raise UsageError(
            f"{what}: approx={approx!r}; expected None, or the least number of pixels of a zone on an overview, such as 1000"
        )
    statistics = checked_statistics(what, stats)
    asked = asked_bands(what, lf, bands, unscale)
    check_resampling(what, resampling, list(asked.dtypes))
    product = ZonalProduct(
        bands=asked.dtypes,
        unscale=asked.unscale,
        formulas=asked.formulas,
        statistics=statistics,
        coverage=coverage,
        grid=grid,
        resampling=resampling,
        min_valid_fraction=pairing.min_valid_fraction,
        approx=approx,
    )
    return PairedSource(ask(what, lf, zones, asked.names, product=product, pairing=pairing, grid=grid)).scan()
