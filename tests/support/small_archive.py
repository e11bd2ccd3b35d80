"""A small archive, and what its pixels are."""

from __future__ import annotations

import numpy as np
import polars as pl
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr

BANDS = ("red", "nir")
N_SCENES = 4
SIZE, TILE = 512, 64
LEFT, TOP, STEP = 600_000.0, 5_000_000.0, 10.0


class Archive:
    """`N_SCENES` records over the same place, two bands each, a file per band; every tile is a request of its own."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        self.pixels = rng.integers(1, 60_000, (N_SCENES, len(BANDS), SIZE, SIZE)).astype(np.uint16)
        self.pixels[:, :, 100:130, 200:260] = 0  # nodata
        self.files: dict[str, bytes] = {}
        for scene in range(N_SCENES):
            for at, band in enumerate(BANDS):
                with MemoryFile() as memory:
                    with memory.open(
                        driver="GTiff",
                        width=SIZE,
                        height=SIZE,
                        count=1,
                        dtype="uint16",
                        nodata=0,
                        crs="EPSG:32632",
                        transform=Affine(STEP, 0, LEFT, 0, -STEP, TOP),
                        tiled=True,
                        blockxsize=TILE,
                        blockysize=TILE,
                        compress="deflate",
                    ) as sink:
                        sink.write(self.pixels[scene, at], 1)
                    self.files[f"{scene}/{band}.tif"] = bytes(memory.read())

    def records(self, prefix: str) -> pl.LazyFrame:
        table = pl.DataFrame(
            {
                "id": [f"scene-{scene}" for scene in range(N_SCENES)],
                **{band: [f"{prefix}{scene}/{band}.tif" for scene in range(N_SCENES)] for band in BANDS},
            }
        )
        return pr.build_from_table(table, bands={band: band for band in BANDS})

    def points(self, n: int) -> pl.DataFrame:
        rng = np.random.default_rng(n)
        row, col = rng.integers(0, SIZE, (2, n))
        return pl.DataFrame(
            {"row": row, "col": col, "x": LEFT + STEP * (col + 0.5), "y": TOP - STEP * (row + 0.5)},
            schema={"row": pl.Int64, "col": pl.Int64, "x": pl.Float64, "y": pl.Float64},
        )

    def sampled(self, points: pl.DataFrame) -> pl.DataFrame:
        """The values of every point in every scene, in the order of a verb's answer."""
        row, col = points["row"].to_numpy(), points["col"].to_numpy()
        columns = {
            "row": np.repeat(row, N_SCENES),
            "col": np.repeat(col, N_SCENES),
            "record_id": [f"scene-{scene}" for scene in range(N_SCENES)] * points.height,
        }
        for at, band in enumerate(BANDS):
            values = pl.Series(self.pixels[:, at, row, col].T.reshape(-1))
            columns[band] = values.set(values == 0, None)
        return pl.DataFrame(columns)

    def window(self, scene: int, band: int, row: int, col: int, size: int) -> np.ndarray:
        """The window around a pixel, 0 outside of the image."""
        padded = np.zeros((SIZE + 2 * size, SIZE + 2 * size), np.uint16)
        padded[size : size + SIZE, size : size + SIZE] = self.pixels[scene, band]
        first = (row - size // 2 + size, col - size // 2 + size)
        return padded[first[0] : first[0] + size, first[1] : first[1] + size]
