"""What does ``.raster`` offer on expressions, LazyFrames and DataFrames?

Importing this package registers the namespaces. Only `polars_rasteret` itself imports this package.
"""

from __future__ import annotations

from polars_rasteret.namespaces.frames import raster
from polars_rasteret.namespaces.functions import (
    bits,
    clear_sky,
    normalized_difference,
    read_window,
    sample_points,
    solar_day,
    weighted_mean,
)

__all__ = [
    "bits",
    "clear_sky",
    "normalized_difference",
    "raster",
    "read_window",
    "sample_points",
    "solar_day",
    "weighted_mean",
]
