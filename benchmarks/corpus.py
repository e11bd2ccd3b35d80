"""Which files do the benchmarks read, and how are they made?

Everything is deterministic: a file's pixels depend on its seed alone. The tables `SCENES` and `DATES` are the only
description of the corpus; workloads and engines take grids, names and dates from them, so this module imports
nothing heavy until it writes. No timing and no reading belong here.

Layout below the data folder::

    scenes/S00..S11/{B02,B03,B04,B08}.tif   5490 x 5490 uint16 COG, DEFLATE + predictor 2, nodata 0, overviews
    dates/T00..T11/{B02,B03,B04,B08}.tif    the same kind, twelve dates of one footprint, 512 px tiles
    codecs/*.tif                            ZSTD, LZW, float32 predictor 3, 64-band planar int8 (south-up)
    warmup/W00/{B02,B03,B04,B08}.tif        small files for the request every engine makes before its clock starts
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BANDS = ("B02", "B03", "B04", "B08")
SIZE = 5490
RESOLUTION = 20.0
NODATA = 0
WARMUP_SIZE = 1024
CODEC_SIZE = 2048
DATA_VARIABLE = "POLARS_RASTERET_BENCH_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One record: four band files on one grid."""

    name: str
    folder: str
    epsg: int
    left: float
    """x of the left edge, metres."""
    top: float
    """y of the upper edge, metres."""
    tile: int
    """Tile edge, pixels."""
    seed: int
    has_wedge: bool = False
    """A wedge of nodata along the left edge."""
    size: int = SIZE
    datetime: dt.datetime

    def path(self, band: str) -> str:
        """Give the path of one band below the data folder (and below the server's root)."""
        return f"{self.folder}/{self.name}/{band}.tif"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """minx, miny, maxx, maxy in the scene's CRS."""
        edge = self.size * RESOLUTION
        return (self.left, self.top - edge, self.left + edge, self.top)


def _scene(number: int) -> Scene:
    column, row = number % 6 % 3, number % 6 // 3
    edge = SIZE * RESOLUTION
    return Scene(
        name=f"S{number:02d}",
        folder="scenes",
        epsg=32632 if number < 6 else 32633,
        left=399_960.0 + column * edge,
        top=5_500_020.0 - row * edge,
        tile=512 if number % 2 == 0 else 1024,
        seed=number * 10,
        has_wedge=number % 4 == 3,
        datetime=dt.datetime(2024, 6, 1 + number, 10, 30, tzinfo=dt.UTC),
    )


def _date(number: int) -> Scene:
    return Scene(
        name=f"T{number:02d}",
        folder="dates",
        epsg=32632,
        left=399_960.0,
        top=5_300_040.0,
        tile=512,
        seed=7000 + number * 10,
        datetime=dt.datetime(2024, 6, 1 + 2 * number, 10, 30, tzinfo=dt.UTC),
    )


SCENES = tuple(_scene(number) for number in range(12))
DATES = tuple(_date(number) for number in range(12))
WARMUP = Scene(
    name="W00",
    folder="warmup",
    epsg=32632,
    left=399_960.0,
    top=6_000_000.0,
    tile=512,
    seed=9000,
    size=WARMUP_SIZE,
    datetime=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
)
CODECS = ("zstd.tif", "lzw.tif", "float32_predictor3.tif", "embeddings_int8.tif")


def default_data_dir() -> Path:
    """Give the data folder: the environment variable, else ``data`` beside this file."""
    return Path(os.environ.get(DATA_VARIABLE) or Path(__file__).parent / "data")


def relative_paths() -> Iterator[str]:
    """Name every file of the corpus."""
    for scene in (WARMUP, *SCENES, *DATES):
        for band in BANDS:
            yield scene.path(band)
    for name in CODECS:
        yield f"codecs/{name}"


def smooth_field(seed: int, size: int, *, noise: float, base: float = 1200.0) -> NDArray[np.float32]:
    """Make a smooth multi-scale relief with sensor noise, shape (size, size); as uint16 it deflates to about 0.62."""
    rng = np.random.default_rng(seed)
    field = np.full((size, size), base, np.float32)
    for cells, amplitude in ((12, 700), (60, 350), (300, 160)):
        knots = rng.standard_normal((cells + 2, cells + 2), dtype=np.float32) * amplitude
        position = np.linspace(0, cells, size, dtype=np.float32)
        cell = position.astype(int)
        weight = position - cell
        rows = knots[cell] * (1 - weight)[:, None] + knots[cell + 1] * weight[:, None]
        field += rows[:, cell] * (1 - weight) + rows[:, cell + 1] * weight
    return field + rng.standard_normal((size, size), dtype=np.float32) * noise


def reflectance(seed: int, size: int, *, noise: float) -> NDArray[np.uint16]:
    """Make digital numbers 1..12000; 0 is left for nodata."""
    return np.clip(smooth_field(seed, size, noise=noise), 1, 12_000).astype(np.uint16)


def write_cog(path: Path, pixels: NDArray[Any], scene_like: Scene, **options: Any) -> None:
    """Write one band on the grid of a scene, with overviews."""
    import rasterio
    from rasterio.io import MemoryFile
    from rasterio.shutil import copy
    from rasterio.transform import from_origin

    profile = {
        "driver": "GTiff",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": 1,
        "dtype": pixels.dtype,
        "crs": f"EPSG:{scene_like.epsg}",
        "transform": from_origin(scene_like.left, scene_like.top, RESOLUTION, RESOLUTION),
        "nodata": NODATA,
    }
    with rasterio.Env(GDAL_NUM_THREADS=1), MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels, 1)
        with memory.open() as source:
            copy(
                source,
                path,
                driver="COG",
                **{
                    "blocksize": scene_like.tile,
                    "compress": "DEFLATE",
                    "predictor": "YES",
                    "overviews": "AUTO",
                    "overview_resampling": "average",
                    "num_threads": "1",
                    **options,
                },
            )


def _write_band(path: Path, scene: Scene, band: str) -> None:
    number = BANDS.index(band)
    pixels = reflectance(scene.seed + number, scene.size, noise=26 + 8 * number)
    if scene.has_wedge:
        row, column = np.ogrid[: scene.size, : scene.size]
        pixels[column + 0.3 * row < 0.35 * scene.size] = NODATA
    write_cog(path, pixels, scene)


def _write_embeddings(path: Path) -> None:
    """Write 64 bands of int8, planar separate, ZSTD, south-up: the layout of the AlphaEarth embeddings."""
    import rasterio
    from rasterio.transform import Affine

    rng = np.random.default_rng(5)
    parts = np.stack([smooth_field(200 + k, CODEC_SIZE, noise=120, base=0) for k in range(8)])
    profile = {
        "driver": "GTiff",
        "height": CODEC_SIZE,
        "width": CODEC_SIZE,
        "count": 64,
        "dtype": "int8",
        "nodata": -128,
        "crs": "EPSG:32632",
        "transform": Affine(10, 0, 500_000, 0, 10, 4_979_520),  # e > 0: row 0 is the southern edge
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "interleave": "band",
        "compress": "zstd",
    }
    with rasterio.open(path, "w", **profile) as target:
        for band in range(64):
            mixed = np.tensordot(rng.standard_normal(8, dtype=np.float32), parts, 1)
            pixels = np.clip(mixed / 60, -127, 127).astype(np.int8)
            pixels[:100, :100] = -128
            target.write(pixels, band + 1)


def _write(relative: str, path: Path) -> None:
    folder, *_, name = relative.split("/")
    if folder != "codecs":
        (scene,) = (one for one in (WARMUP, *SCENES, *DATES) if relative.startswith(f"{one.folder}/{one.name}/"))
        _write_band(path, scene, name.removesuffix(".tif"))
    elif name == "embeddings_int8.tif":
        _write_embeddings(path)
    else:
        pixels = reflectance(99, CODEC_SIZE, noise=70)
        if name == "float32_predictor3.tif":
            write_cog(path, pixels.astype(np.float32) / 10_000, WARMUP)
        else:
            write_cog(path, pixels, WARMUP, compress=name.removesuffix(".tif").upper())


def _make(data_dir: Path, relative: str) -> tuple[str, int, float]:
    started = time.perf_counter()
    path = data_dir / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.part")
    try:
        _write(relative, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return relative, path.stat().st_size, time.perf_counter() - started


def missing_files(data_dir: Path) -> list[str]:
    """Name the files of the corpus that are not there yet."""
    return [relative for relative in relative_paths() if not (data_dir / relative).exists()]


def ensure_corpus(data_dir: Path, *, n_processes: int = 2) -> None:
    """Write whatever is missing; a file appears under its name only when it is complete, so a killed run resumes."""
    missing = missing_files(data_dir)
    if not missing:
        return
    print(f"writing {len(missing)} files of the corpus to {data_dir}", flush=True)
    from concurrent.futures import ProcessPoolExecutor, as_completed

    with ProcessPoolExecutor(n_processes) as pool:
        jobs = [pool.submit(_make, data_dir, relative) for relative in missing]
        for number, job in enumerate(as_completed(jobs), 1):
            relative, n_bytes, seconds = job.result()
            print(f"[{number}/{len(jobs)}] {relative}: {n_bytes / 1e6:.1f} MB in {seconds:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the benchmark corpus (about 5 GB); resumes what is missing.")
    parser.add_argument("--data", type=Path, default=default_data_dir(), help=f"folder (default: ${DATA_VARIABLE})")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    ensure_corpus(arguments.data, n_processes=arguments.processes)


if __name__ == "__main__":
    main()
