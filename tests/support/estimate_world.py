"""A few files whose tiles lie in different ways, and points over them.

``flat``: tiles without gaps, each larger than a gap that is read over. ``cog``: as GDAL writes COGs, 8 bytes between tiles, with
overviews. ``r`` and ``g``: small tiles, both bands in each. ``qa``: like ``flat``, says which pixels
are clear. ``m``: with a mask.
"""

from __future__ import annotations

import datetime as dt
import warnings
from functools import cache

import numpy as np
import polars as pl
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile
from rasterio.transform import Affine

SIZE, TILE, EPSG = 512, 128, 32632
N_TILES = (SIZE // TILE) ** 2
RECORDS = ("a", "b", "c")
BANDS = {"flat": ("flat", 0), "cog": ("cog", 0), "r": ("rg", 0), "g": ("rg", 1), "qa": ("qa", 0), "m": ("m", 0)}


def _tiff(pixels, *, driver="GTiff", mask=None, **profile):
    with warnings.catch_warnings(), MemoryFile() as memory, rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore")
        with memory.open(
            driver="GTiff",
            width=SIZE,
            height=SIZE,
            count=len(pixels),
            dtype=pixels.dtype.name,
            crs=f"EPSG:{EPSG}",
            transform=Affine(10, 0, 500_000, 0, -10, 5_000_000),
            nodata=0 if mask is None else None,
            tiled=True,
            blockxsize=TILE,
            blockysize=TILE,
            **profile,
        ) as file:
            file.write(pixels)
            if mask is not None:
                file.write_mask(mask)
        if driver == "COG":
            with memory.open() as file, MemoryFile() as other:
                rasterio.shutil.copy(file, other.name, driver="COG", blocksize=TILE, compress="deflate")
                return bytes(other.getbuffer())
        return bytes(memory.getbuffer())


@cache
def files():
    """Give the content of each file by its name."""
    found = {}
    for seed, record in enumerate(RECORDS):
        rng = np.random.default_rng(seed)
        noise = rng.integers(1, 60_000, (1, SIZE, SIZE)).astype("uint16")
        noise[:, 100:140, 100:140] = 0
        steps = np.kron(rng.integers(1, 9, (2, 32, 32)), np.ones((16, 16))).astype("uint8")
        clear = np.kron(rng.integers(0, 2, (1, 16, 16)), np.ones((32, 32))).astype("uint16") + 1
        found[f"{record}-flat.tif"] = _tiff(noise)
        found[f"{record}-cog.tif"] = _tiff(noise, driver="COG")
        found[f"{record}-rg.tif"] = _tiff(steps, compress="deflate", interleave="pixel")
        found[f"{record}-m.tif"] = _tiff(noise, mask=clear[0] == 2, compress="deflate")
        found[f"{record}-qa.tif"] = _tiff(clear)
    return found


def table(prefix):
    """Give the table of a collection whose files lie under `prefix`."""
    days = [dt.datetime(2024, 5, 1 + 7 * at, 10, tzinfo=dt.UTC) for at in range(len(RECORDS))]
    hrefs = {kind: [f"{prefix}{record}-{kind}.tif" for record in RECORDS] for kind in ("flat", "cog", "rg", "qa", "m")}
    return pl.DataFrame({"id": RECORDS, "datetime": days, **hrefs})


def points(pixels):
    """Give a frame of points at the middle of pixels (row, col)."""
    return pl.DataFrame(
        {
            "plot": range(len(pixels)),
            "x": [500_005.0 + 10 * col for _, col in pixels],
            "y": [4_999_995.0 - 10 * row for row, _ in pixels],
        }
    )


SCATTERED = points([(int(row), int(col)) for row, col in np.random.default_rng(5).integers(0, SIZE, (60, 2))])
"""In most tiles."""
EVERYWHERE = points([(row, col) for row in range(64, SIZE, TILE) for col in range(64, SIZE, TILE)])
"""One in each tile."""
