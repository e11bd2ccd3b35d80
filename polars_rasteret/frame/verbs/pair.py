"""How is ``.raster.pair`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.frame.query.question import ask, raster_dtypes
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.pixels.rasters.references import RasterReferences

if TYPE_CHECKING:
    import polars as pl

    from polars_rasteret.pairing.words import Pairing


def pair(lf: pl.LazyFrame, targets: Any, pairing: Pairing) -> pl.LazyFrame:
    """Return the frame of ``.raster.pair``."""
    product = RasterReferences(bands=raster_dtypes("pair", lf, None))
    return PairedSource(ask("pair", lf, targets, None, product=product, pairing=pairing)).scan()
