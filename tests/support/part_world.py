"""Which small world are queries in parts asked of?

Eight GeoTIFFs of 16 x 16 tiles on disk, where other processes find them: four dates of two images side by side, half of their
pixels nodata; points and boxes in them, at their border and outside.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import rasterio
import shapely
from rasterio.transform import Affine

import polars_rasteret as pr

if TYPE_CHECKING:
    from pathlib import Path

CRS = 32632
_EAST, _NORTH, _SIDE = 500_000, 5_000_000, 256
_DATES, _IMAGES = 4, 2


@dataclass(frozen=True)
class PartWorld:
    """Scenes, and rows to ask about."""

    folder: Path
    scenes: pl.LazyFrame
    points: pl.DataFrame
    """``pid``, ``x``, ``y``."""
    boxes: pl.DataFrame
    """``pid``, ``geometry``."""


def part_world(folder: Path, *, n_rows: int = 240) -> PartWorld:
    """Write the files into a folder, and return the world."""
    rng = np.random.default_rng(12)
    files = []
    for date in range(_DATES):
        for image in range(_IMAGES):
            path = folder / f"s{date}_{image}.tif"
            pixels = rng.integers(0, 4000, (2, _SIDE, _SIDE)).astype("uint16")
            pixels[pixels < 1600] = 0
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                width=_SIDE,
                height=_SIDE,
                count=2,
                dtype="uint16",
                crs=f"EPSG:{CRS}",
                transform=Affine(10, 0, _EAST + 10 * _SIDE * image, 0, -10, _NORTH),
                tiled=True,
                blockxsize=16,
                blockysize=16,
                compress="deflate",
                interleave="band",
                nodata=0,
            ) as dataset:
                dataset.write(pixels)
            files.append(str(path))
    scenes = pr.build_from_files(
        files,
        bands={"red": 0, "nir": 1},
        datetime=[dt.datetime(2024, 1, 1 + at // _IMAGES, tzinfo=dt.UTC) for at in range(len(files))],
        into=folder / "scenes",
    )
    x = rng.uniform(_EAST - 60, _EAST + 10 * _SIDE * _IMAGES + 60, n_rows)
    y = rng.uniform(_NORTH - 10 * _SIDE - 30, _NORTH + 30, n_rows)
    points = pl.DataFrame({"pid": np.arange(n_rows), "x": x, "y": y})
    outlines = shapely.to_wkb(shapely.box(x, y - 70, x + 110, y))
    return PartWorld(folder, scenes, points, pl.DataFrame({"pid": points["pid"], "geometry": outlines.tolist()}))
