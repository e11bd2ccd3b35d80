"""Collections made of numbers: no file stands behind their rasters."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from polars_rasteret.schema import TIME, raster_dtype


def raster_column(
    name: str,
    origins: list[tuple[float, float] | None],
    *,
    dtype: pl.DataType | None = None,
    crs: str | None = "EPSG:4326",
    pixel: float = 0.1,
    size: int = 10,
) -> pl.Series:
    """A raster column of north-up square images at upper left corners `origins`; None is a null raster."""
    pixels = pl.UInt8() if dtype is None else dtype
    rows: list[dict[str, Any] | None] = [
        None
        if origin is None
        else {
            "href": f"https://example.com/{name}/{number}.tif",
            "band_index": 0,
            "crs": crs,
            "transform": [pixel, 0.0, origin[0], 0.0, -pixel, origin[1]],
            "width": size,
            "height": size,
            "nodata": None,
            "scale": None,
            "offset": None,
            "tiles": bytes([0, number % 256]) * 8,
        }
        for number, origin in enumerate(origins)
    ]
    return pl.Series(name, rows, dtype=raster_dtype(pixels))


def grid_of_scenes(n_lon: int = 36, n_lat: int = 16, **columns: Any) -> pl.DataFrame:
    """One scene of 1 x 1 degree every 10 degrees, in random order, with time and cloud cover."""
    lon, lat = np.meshgrid(np.linspace(-180, 170, n_lon), np.linspace(-70, 80, n_lat))
    order = np.random.default_rng(1).permutation(lon.size)
    lon, lat = lon.ravel()[order], lat.ravel()[order]
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "id": [f"s{number:04d}" for number in range(lon.size)],
            "datetime": pl.Series([start + dt.timedelta(days=number) for number in range(lon.size)], dtype=TIME),
            "eo:cloud_cover": np.arange(lon.size) % 100 * 1.0,
            **columns,
            "red": raster_column("red", list(zip(lon.tolist(), lat.tolist(), strict=True))),
        }
    )
