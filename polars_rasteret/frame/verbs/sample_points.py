"""How is ``.raster.sample_points`` asked?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import check_choice, checked_unscale
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.columns.long_layout import long_layout, long_records, long_targets
from polars_rasteret.frame.query.question import ask, raster_dtypes, whose_frame
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.pairing.words import DEFAULT_RECORD_COLUMNS
from polars_rasteret.pixels.points.point_product import PointProduct
from polars_rasteret.pixels.points.sampling import checked_sampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.pairing.words import Pairing


def sample_points(
    lf: pl.LazyFrame,
    points: Any,
    bands: str | Sequence[str] | None,
    pairing: Pairing,
    *,
    method: str,
    max_distance_pixels: int,
    joint: bool,
    return_neighbourhood: str,
    layout: str,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
) -> pl.LazyFrame:
    """Return the frame of ``.raster.sample_points``."""
    what = "sample_points"
    check_choice(what, "layout", layout, ("wide", "long"))
    if resampling != "nearest":
        raise UsageError(
            f"{what}: resampling={resampling!r}; points take bands of other grids by 'nearest', interpolation is method="
        )
    sampling = checked_sampling(
        what,
        method=method,
        max_distance_pixels=max_distance_pixels,
        joint=joint,
        return_neighbourhood=return_neighbourhood,
        grid=grid,
    )
    dtypes = raster_dtypes(what, lf, bands)
    product = PointProduct(bands=dtypes, unscale=checked_unscale(what, unscale, dtypes), sampling=sampling)
    if layout == "wide":
        return PairedSource(ask(what, lf, points, bands, product=product, pairing=pairing, grid=grid)).scan()
    if pairing.record_columns != DEFAULT_RECORD_COLUMNS:
        raise UsageError(f"{what}: layout='long' has record columns of its own; leave record_columns out")
    records, record_columns = long_records(lf, list(dtypes))
    words = replace(pairing, record_columns=record_columns)
    targets = long_targets(points, what=whose_frame(what))
    return long_layout(
        PairedSource(ask(what, records, targets, list(dtypes), product=product, pairing=words, grid=grid))
    )
