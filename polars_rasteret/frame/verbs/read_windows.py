"""How is ``.raster.read_windows`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import (
    check_choice,
    check_fill,
    checked_resolution,
    checked_shape,
    checked_unscale,
)
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.question import ask, raster_dtypes
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.pixels.resampling import check_resampling
from polars_rasteret.pixels.window_product import WindowProduct
from polars_rasteret.pixels.window_reads import WindowOptions

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
    check_choice(what, "coverage", coverage, (None, "center", "all_touched"))
    check_fill(what, fill_value)
    size = checked_shape(what, shape)
    pixel_size = checked_resolution(what, resolution, size)
    instead = " instead of resolution" if pixel_size is not None else ""
    for word, is_given in (("stack=True", stack), ("masked='column'", masked == "column")):
        if is_given and size is None:
            raise UsageError(f"{what}: {word} needs a known size: pass shape=(height, width){instead}")
    dtypes = raster_dtypes(what, lf, bands)
    check_resampling(what, resampling, list(dtypes))
    product = WindowProduct(
        bands=dtypes,
        unscale=checked_unscale(what, unscale, dtypes),
        window=WindowOptions(
            shape=size,
            resolution=pixel_size,
            grid=grid,
            resampling=resampling,
            coverage=coverage,
            fill_value=fill_value,
        ),
        stack=stack,
        masked=masked,
        min_valid_fraction=pairing.min_valid_fraction,
    )
    return PairedSource(ask(what, lf, aois, bands, product=product, pairing=pairing, grid=grid)).scan()
