"""Small GeoTIFFs for tests of builds, written by rasterio."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine


def write_scene(
    path: Path,
    *,
    dtype: str = "uint16",
    count: int = 1,
    size: tuple[int, int] = (64, 48),
    crs: str | None = "EPSG:32632",
    origin: tuple[float, float] = (500_000.0, 5_400_000.0),
    pixel: float = 10.0,
    descriptions: tuple[str, ...] | None = None,
    tags: dict[str, str] | None = None,
    scales: tuple[float, ...] | None = None,
    offsets: tuple[float, ...] | None = None,
) -> Path:
    """Write a tiled GeoTIFF whose pixels count up from 0; `size` is (width, height)."""
    width, height = size
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(pixel, 0, origin[0], 0, -pixel, origin[1]) if crs else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=count,
            dtype=dtype,
            crs=crs,
            transform=transform,
            tiled=True,
            blockxsize=16,
            blockysize=16,
            compress="deflate",
        ) as file:
            for band in range(1, count + 1):
                file.write((np.arange(width * height).reshape(height, width) % 100).astype(dtype), band)
                if descriptions:
                    file.set_band_description(band, descriptions[band - 1])
            if tags:
                file.update_tags(**tags)
            if scales:
                file.scales = scales
            if offsets:
                file.offsets = offsets
    return path
