"""Small scenes, zones over them, and statistics of these zones by shapely and NumPy, cell by cell.

Nothing here calls the package to learn a value.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyproj
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource, RecordingSource

WEST, NORTH, PIXEL = 500_000.0, 5_000_000.0, 10.0
NODATA = 255
_numbers = itertools.count()


@dataclass(frozen=True)
class Image:
    """One band of one scene."""

    pixels: np.ndarray
    valid: np.ndarray
    transform: Affine

    def cells(self) -> np.ndarray:
        """Return the outline of each pixel, shape (height, width)."""
        row, col = np.indices(self.pixels.shape)
        a, c, e, f = self.transform.a, self.transform.c, self.transform.e, self.transform.f
        corners = [(c + a * (col + across), f + e * (row + down)) for across, down in ((0, 0), (1, 0), (1, 1), (0, 1))]
        return shapely.polygons(np.stack([np.stack(one, axis=-1) for one in corners], axis=2))

    def weights(self, zone: shapely.Geometry, coverage: str) -> np.ndarray:
        """Return the share of each pixel that a zone covers."""
        if coverage == "exact":
            return shapely.area(shapely.intersection(self.cells(), zone)) / abs(self.transform.determinant)
        return rasterize(
            [zone], self.pixels.shape, transform=self.transform, all_touched=coverage == "all_touched"
        ).astype(float)


def statistics(values: np.ndarray, weights: np.ndarray) -> dict[str, object]:
    """Return statistics of valid pixels and their weights."""
    is_in = weights > 1e-12
    x, w = values[is_in].astype(float), weights[is_in]
    if not len(x):
        nothing = dict.fromkeys(("mean", "var", "std", "min", "max", "majority", "minority", "median"))
        return {"count": 0.0, "sum": 0.0, "variety": 0, "fractions": [], **nothing}
    mean = np.average(x, weights=w)
    told: dict[float, float] = {}
    for one, weight in zip(x.tolist(), w.tolist(), strict=True):
        told[one] = told.get(one, 0.0) + weight
    tie = 1e-12 * w.sum()
    return {
        "count": w.sum(),
        "sum": (w * x).sum(),
        "mean": mean,
        "var": np.average((x - mean) ** 2, weights=w),
        "std": np.sqrt(np.average((x - mean) ** 2, weights=w)),
        "min": x.min(),
        "max": x.max(),
        "variety": len(told),
        "majority": max(one for one in told if told[one] >= max(told.values()) - tie),
        "minority": min(one for one in told if told[one] <= min(told.values()) + tie),
        "fractions": [(one, told[one] / w.sum()) for one in sorted(told)],
        "median": weighted_quantile(x, w, 0.5),
    }


def weighted_quantile(x: np.ndarray, w: np.ndarray, q: float) -> float:
    """Return the value at ``q (n - 1) W`` between pixels at ``k w_k + (n - 1) (weight before)``."""
    order = np.lexsort((w, x))
    x, w = x[order], w[order]
    at = np.arange(len(x)) * w + (len(x) - 1) * (np.cumsum(w) - w)
    return float(np.interp(q * (len(x) - 1) * w.sum(), at, x))


class ZoneWorld:
    """Scenes in a store of their own; two bands of 10 m share a file, a third of 20 m has its own."""

    bands = ("red", "nir", "clear")

    def __init__(self, *, n_scenes: int = 2, tile: int = 32, size: int = 96, dtype: str = "uint8", crs: int = 32632):
        self.prefix = f"memory://zones-{next(_numbers)}/"
        self.files: dict[str, bytes] = {}
        self.source = RecordingSource(MemorySource(self.files))
        pr.configure_store(self.prefix, store=self.source)
        self.crs = crs
        self.images: dict[tuple[str, str], Image] = {}
        rng = np.random.default_rng(7)
        rows = []
        for number in range(n_scenes):
            fine = Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH)
            pixels = rng.integers(0, 9, (2, size, size)).astype(dtype)
            pixels[:, rng.random((size, size)) < 0.1] = NODATA
            pixels[1, : size // 8] = NODATA
            fine_href = self._put(f"{number}-fine.tif", pixels, fine, tile)
            coarse = Affine(2 * PIXEL, 0, WEST, 0, -2 * PIXEL, NORTH)
            clear = rng.integers(0, 3, (1, size // 2, size // 2)).astype("uint8")
            clear_href = self._put(f"{number}-clear.tif", clear, coarse, 16)
            for at, band in enumerate(("red", "nir")):
                self.images[f"scene-{number}", band] = Image(pixels[at], pixels[at] != NODATA, fine)
            self.images[f"scene-{number}", "clear"] = Image(clear[0], np.ones(clear[0].shape, bool), coarse)
            rows.append({"id": f"scene-{number}", "fine": fine_href, "clear": clear_href, "day": number + 1})
        table = pl.DataFrame(rows).with_columns(datetime=pl.datetime(2024, 6, "day", time_zone="UTC"))
        self.scenes = pr.build_from_table(
            table.drop("day"), bands={"red": ("fine", 0), "nir": ("fine", 1), "clear": ("clear", 0)}
        )
        self.source.requests.clear()

    def _put(self, name: str, pixels: np.ndarray, transform: Affine, tile: int) -> str:
        profile = {
            "driver": "GTiff", "width": pixels.shape[2], "height": pixels.shape[1], "count": pixels.shape[0],
            "dtype": pixels.dtype, "crs": rasterio.CRS.from_epsg(self.crs), "transform": transform, "nodata": NODATA,
            "tiled": True, "blockxsize": tile, "blockysize": tile, "compress": "deflate",
        }  # fmt: skip
        with MemoryFile() as memory:
            with memory.open(**profile) as file:
                file.write(pixels)
            self.files[self.prefix + name] = memory.read()
        return self.prefix + name

    def expected(
        self, scene: str, band: str, zone: shapely.Geometry, coverage: str = "exact", valid: np.ndarray | None = None
    ) -> dict[str, object]:
        """Return the statistics of one zone in one band."""
        image = self.images[scene, band]
        is_valid = image.valid if valid is None else image.valid & valid
        return statistics(image.pixels[is_valid], image.weights(zone, coverage)[is_valid])


def zones(n: int, seed: int, size: float = 960.0) -> list[shapely.Geometry]:
    """Return polygons in, over and beside a square of scenes: triangles, boxes on pixel borders, holes, several parts."""
    rng = np.random.default_rng(seed)
    result: list[shapely.Geometry] = []
    while len(result) < n:
        x, y = rng.uniform(-200, size + 200), rng.uniform(-200, size + 200)
        reach = rng.choice([8.0, 60.0, 400.0])
        kind = len(result) % 4
        if kind == 0:
            zone = shapely.MultiPoint(rng.uniform(-reach, reach, (5, 2)) + np.array([x, y])).convex_hull
        elif kind == 1:
            left, top = round(x / 10) * 10, round(y / 10) * 10
            zone = shapely.box(left, top - 10 * rng.integers(1, 9), left + 5 * rng.integers(1, 9), top)
        elif kind == 2:
            zone = shapely.Point(x, y).buffer(reach).difference(shapely.Point(x + reach / 4, y).buffer(reach / 3))
        else:
            zone = shapely.union_all([shapely.box(x, y, x + reach, y + 7), shapely.box(x + 5, y - 40, x + 9, y - 20)])
        result.append(shapely.transform(zone, lambda xy: xy * np.array([1, -1]) + np.array([WEST, NORTH])))
    return result


def to_lonlat(zone: shapely.Geometry, crs: int) -> shapely.Geometry:
    """Return a zone whose edges have many vertices in longitude and latitude."""
    moved = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    return shapely.transform(shapely.segmentize(zone, 5.0), lambda xy: np.stack(moved.transform(*xy.T), axis=1))
