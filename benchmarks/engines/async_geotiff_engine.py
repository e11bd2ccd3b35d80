"""async-geotiff (Rust: async-tiff and object_store), configured as well as we know.

Its own HTTP store, each file opened once, all files at once, a bound on reads in flight, points grouped by tile and
tiles fetched in small groups.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import numpy as np
from async_geotiff import GeoTIFF, Window
from async_tiff.store import HTTPStore
from workloads import Points, Windows, Workload, warmup_for

from engines.interface import Context, Run
from engines.pixel_positions import TileHits, project, tile_hits

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prepare(base_url: str, context: Context) -> None:
    """Headers are read when a file is opened; there is nothing to prepare."""


def run(workload: Workload, base_url: str, context: Context) -> Run:
    return asyncio.run(_run(workload, base_url, context))


async def _run(workload: Workload, base_url: str, context: Context) -> Run:
    store = HTTPStore.from_url(base_url, client_options={"allow_http": True})
    if context.warm:
        await _Reader(store, context).read(warmup_for(workload))
        gc.collect()
    started = time.perf_counter()
    answer = await _Reader(store, context).read(workload)
    return Run(wall_s=time.perf_counter() - started, answer=answer)


class _Reader:
    """The files opened within one read."""

    def __init__(self, store: HTTPStore, context: Context) -> None:
        self.store = store
        self.in_flight = asyncio.Semaphore(context.number("concurrency", 32))
        self.tiles_per_fetch = context.number("tiles_per_fetch", 8)
        self.opened: dict[str, asyncio.Task[GeoTIFF]] = {}

    async def read(self, workload: Workload) -> NDArray[np.uint16]:
        answer = np.zeros(workload.answer_shape, np.uint16)
        await (self._points if isinstance(workload, Points) else self._windows)(workload, answer)  # type: ignore[operator]
        return answer

    async def _open(self, path: str) -> GeoTIFF:
        if path not in self.opened:
            self.opened[path] = asyncio.ensure_future(GeoTIFF.open(path, store=self.store))
        return await self.opened[path]

    async def _points(self, workload: Points, answer: NDArray[np.uint16]) -> None:
        xy = project(workload)

        async def group(file: GeoTIFF, tiles: list[TileHits], band: int) -> None:
            wanted = {(one.tile_col, one.tile_row): one for one in tiles}
            async with self.in_flight:
                for tile in await file.fetch_tiles(list(wanted)):
                    hits = wanted[tile.x, tile.y]
                    answer[hits.point, band] = tile.array.data[0][hits.row, hits.col]

        async def one_file(path: str, band: int) -> None:
            file = await self._open(path)
            x, y = xy[file.crs.to_epsg()]
            tiles = list(
                tile_hits(
                    x,
                    y,
                    transform=tuple(file.transform),
                    shape=(file.height, file.width),
                    tile_shape=(file.tile_height, file.tile_width),
                )
            )
            step = self.tiles_per_fetch
            await asyncio.gather(
                *[group(file, tiles[start : start + step], band) for start in range(0, len(tiles), step)]
            )

        await asyncio.gather(
            *[
                one_file(record.path(name), band)
                for record in workload.records
                for band, name in enumerate(workload.bands)
            ]
        )

    async def _windows(self, workload: Windows, answer: NDArray[np.uint16]) -> None:
        async def one_window(number: int, band: int) -> None:
            file = await self._open(workload.records[workload.record[number]].path(workload.bands[band]))
            window = Window(
                col_off=int(workload.col_start[number]),
                row_off=int(workload.row_start[number]),
                width=workload.width,
                height=workload.height,
            )
            async with self.in_flight:
                answer[number, band] = (await file.read(window=window)).data[0]

        await asyncio.gather(
            *[one_window(number, band) for number in range(len(workload.record)) for band in range(len(workload.bands))]
        )
