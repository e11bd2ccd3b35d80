"""How is ``.raster.read_windows`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import check_choice, checked_unscale
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.question import ask, raster_dtypes
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.pixels.windows.window_options import checked_window_options
from polars_rasteret.pixels.windows.window_product import WindowProduct

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.pairing.words import Pairing


def read_windows(
    lf: pl.LazyFrame,
    aois: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    shape: Any,
    resolution: Any,
    coverage: str | None,
    masked: bool | str,
    fill_value: float | None,
    stack: bool,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> pl.LazyFrame:
    """Return the frame of ``.raster.read_windows``."""
    what = "read_windows"
    check_choice(what, "masked", masked, (False, True, "column"))
    dtypes = raster_dtypes(what, lf, bands)
    window = checked_window_options(
        what,
        shape=shape,
        resolution=resolution,
        grid=grid,
        resampling=resampling,
        fill_value=fill_value,
        coverage=coverage,
        bands=list(dtypes),
    )
    instead = " instead of resolution" if window.resolution is not None else ""
    for word, is_given in (("stack=True", stack), ("masked='column'", masked == "column")):
        if is_given and window.shape is None:
            raise UsageError(f"{what}: {word} needs a known size: pass shape=(height, width){instead}")
    product = WindowProduct(
        bands=dtypes,
        unscale=checked_unscale(what, unscale, dtypes),
        window=window,
        stack=stack,
        masked=masked,
        min_valid_fraction=pairing.min_valid_fraction,
    )
    return PairedSource(ask(what, lf, aois, bands, product=product, pairing=pairing, grid=grid)).scan()
