"""How is ``.raster.pixels`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import check_choice
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.formula_bands import asked_bands
from polars_rasteret.frame.query.question import ask
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.geo.coverage.zone_runs import COVERAGES
from polars_rasteret.pixels.windows.resampling import check_resampling
from polars_rasteret.pixels.zones.pixel_product import PLACES, PixelProduct

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.pairing.words import Pairing


def pixels(
    lf: pl.LazyFrame,
    zones: Any,
    bands: Any,
    pairing: Pairing,
    *,
    coverage: str,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> pl.LazyFrame:
    """Return the frame of ``.raster.pixels``."""
    what = "pixels"
    check_choice(what, "coverage", coverage, COVERAGES)
    asked = asked_bands(what, lf, bands, unscale)
    check_resampling(what, resampling, list(asked.dtypes))
    if taken := [name for name in (asked.formulas or asked.dtypes) if name in PLACES]:
        raise UsageError(
            f"{what}: {', '.join(taken)} names a column of its own; give the band another name, such as "
            f'bands={{"band_{taken[0]}": ...}}'
        )
    product = PixelProduct(
        bands=asked.dtypes,
        unscale=asked.unscale,
        formulas=asked.formulas,
        coverage=coverage,
        grid=grid,
        resampling=resampling,
        min_valid_fraction=pairing.min_valid_fraction,
        keeps_empty=pairing.unmatched == "null",
    )
    return PairedSource(ask(what, lf, zones, asked.names, product=product, pairing=pairing, grid=grid)).scan()
