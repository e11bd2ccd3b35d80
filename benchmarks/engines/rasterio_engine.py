"""rasterio (GDAL), configured as well as we know: threads, one open dataset per file and thread, block-aligned reads.

The GDAL settings are the ones its documentation recommends for COGs over HTTP. Points become reads of runs of
neighbouring blocks, so that GDAL joins their ranges into one request; `DatasetReader.sample` is several times
slower.
"""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.windows import Window
from workloads import Points, Windows, Workload, warmup_for

from engines.interface import Context, Run
from engines.pixel_positions import TileHits, project, tile_hits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

GDAL_SETTINGS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "CPL_VSIL_CURL_CACHE_SIZE": 200_000_000,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_CACHEMAX": 512,
    "VSI_CACHE": True,
    "VSI_CACHE_SIZE": 5_000_000,
}


def prepare(base_url: str, context: Context) -> None:
    """GDAL reads headers when it opens a file; there is nothing to prepare."""


def run(workload: Workload, base_url: str, context: Context) -> Run:
    settings = {**GDAL_SETTINGS, **{name: value for name, value in context.options.items() if name.isupper()}}
    if isinstance(workload, Windows) and len(workload.record) == 1:
        # With fewer files than cores would like, GDAL's own decode threads pay; elsewhere ours keep the cores busy.
        settings.setdefault("GDAL_NUM_THREADS", "ALL_CPUS")
    with (
        rasterio.Env(**settings),
        ThreadPoolExecutor(context.number("threads", 32)) as pool,
    ):
        if context.warm:
            _read(warmup_for(workload), base_url, context, settings, pool)
            gc.collect()
        started = time.perf_counter()
        answer = _read(workload, base_url, context, settings, pool)
        return Run(wall_s=time.perf_counter() - started, answer=answer)


def _read(
    workload: Workload, base_url: str, context: Context, settings: dict[str, Any], pool: ThreadPoolExecutor
) -> NDArray[np.uint16]:
    answer = np.zeros(workload.answer_shape, np.uint16)
    plan = _plan_points if isinstance(workload, Points) else _plan_windows

    def work(task: Callable[[], None]) -> None:
        with rasterio.Env(**settings):
            task()

    list(pool.map(work, plan(workload, f"/vsicurl/{base_url}", answer, context)))  # type: ignore[arg-type]
    return answer


def _plan_points(
    workload: Points, prefix: str, answer: NDArray[np.uint16], context: Context
) -> Iterator[Callable[[], None]]:
    """One task per file and share of its block rows."""
    xy = project(workload)
    n_shares = context.number("shares", 1)
    blocks_per_read = context.number("blocks_per_read", 11)

    def task(path: str, band: int, share: int) -> None:
        with rasterio.open(path) as dataset:
            x, y = xy[dataset.crs.to_epsg()]
            hits = tile_hits(x, y, transform=dataset.transform, shape=dataset.shape, tile_shape=dataset.block_shapes[0])
            for number, run_of_tiles in enumerate(_runs(hits, blocks_per_read)):
                if number % n_shares == share:
                    _read_run(dataset, run_of_tiles, answer[:, band])

    for record in workload.records:
        for band, name in enumerate(workload.bands):
            for share in range(n_shares):
                path = f"{prefix}/{record.path(name)}"
                yield lambda path=path, band=band, share=share: task(path, band, share)


def _runs(hits: Iterator[TileHits], longest: int) -> Iterator[list[TileHits]]:
    """Join tiles that lie side by side, up to `longest` of them."""
    for _, in_row in groupby(hits, lambda one: one.tile_row):
        current: list[TileHits] = []
        for one in in_row:
            if current and (one.tile_col != current[-1].tile_col + 1 or len(current) == longest):
                yield current
                current = []
            current.append(one)
        yield current


def _read_run(dataset: rasterio.DatasetReader, tiles: list[TileHits], answer: NDArray[np.uint16]) -> None:
    height, width = dataset.block_shapes[0]
    top, left = tiles[0].tile_row * height, tiles[0].tile_col * width
    right = min(dataset.width, (tiles[-1].tile_col + 1) * width)
    window = Window(left, top, right - left, min(height, dataset.height - top))
    pixels = dataset.read(1, window=window)
    for one in tiles:
        answer[one.point] = pixels[one.row, one.col + one.tile_col * width - left]


def _plan_windows(
    workload: Windows, prefix: str, answer: NDArray[np.uint16], context: Context
) -> Iterator[Callable[[], None]]:
    """One task per file and share of its windows, which come in the order of its tiles."""
    n_shares = context.number("shares", 1)

    def task(path: str, band: int, windows: NDArray[np.intp]) -> None:
        with rasterio.open(path) as dataset:
            for number in windows:
                corner = int(workload.col_start[number]), int(workload.row_start[number])
                dataset.read(1, window=Window(*corner, workload.width, workload.height), out=answer[number, band])

    for record in np.unique(workload.record):
        windows = np.flatnonzero(workload.record == record)
        tile = workload.records[record].tile
        windows = windows[np.lexsort((workload.col_start[windows] // tile, workload.row_start[windows] // tile))]
        for band, name in enumerate(workload.bands):
            path = f"{prefix}/{workload.records[record].path(name)}"
            for share in np.array_split(windows, min(n_shares, len(windows))):
                yield lambda path=path, band=band, share=share: task(path, band, share)
