"""How soon is a cube in memory, from us, odc-stac, rioxarray and lazycogs?

Twelve dates of one footprint of the corpus. Each way is a fresh process. Before the clock it reads a small cube of another file,
so imports and threads are there, and for us the headers are read, as an index is. The clock has the making of the lazy cube, and
its pixels. Every way must give the same pixels. lazycogs needs an interpreter with Python 3.12 (``--lazycogs``), which then runs
this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from corpus import DATES, NODATA, RESOLUTION, WARMUP, default_data_dir, ensure_corpus
from fresh_process import once
from servers import latency_proxy, static_server

BANDS = ("B04", "B08")
SHAPES: dict[str, dict[str, Any]] = {
    "12 dates, 2 bands, 300 x 300": {"scenes": DATES, "first": 2000, "pixels": 300, "median": False},
    "one date, 2 bands, whole scene": {"scenes": DATES[:1], "first": 0, "pixels": 5490, "median": False},
    "median of a month, 2 bands, 1024 x 1024": {
        "scenes": DATES, "first": 1500, "pixels": 1024, "median": True,
    },
}  # fmt: skip
WARM: dict[str, Any] = {"scenes": (WARMUP,), "first": 0, "pixels": 256, "median": True}
WAYS = ("ours", "odc-stac", "rioxarray", "lazycogs")
GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "CPL_VSIL_CURL_CACHE_SIZE": 200_000_000,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "VSI_CACHE": True,
}
THREADS = 32
"""Of each peer that waits in threads: more than the cores, because they wait for answers."""


def box(shape: dict[str, Any]) -> tuple[float, float, float, float]:
    one, first = shape["scenes"][0], shape["first"]
    west, north = one.left + first * RESOLUTION, one.top - first * RESOLUTION
    edge = shape["pixels"] * RESOLUTION
    return west, north - edge, west + edge, north


def items(url: str, shape: dict[str, Any]) -> list[dict[str, Any]]:
    """Give STAC items with all that saves a reader the headers."""
    minx, miny, maxx, maxy = 7.0, 46.0, 10.0, 55.0  # around the footprints
    ring = [[minx, miny], [maxx, miny], [maxx, maxy], [minx, maxy], [minx, miny]]
    return [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
            "id": one.name,
            "collection": "dates",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bbox": [minx, miny, maxx, maxy],
            "properties": {"datetime": one.datetime.isoformat().replace("+00:00", "Z"), "proj:epsg": one.epsg},
            "links": [],
            "assets": {
                band: {
                    "href": f"{url}/{one.path(band)}",
                    "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                    "roles": ["data"],
                    "proj:shape": [one.size, one.size],
                    "proj:transform": [RESOLUTION, 0, one.left, 0, -RESOLUTION, one.top],
                }
                for band in BANDS
            },
        }
        for one in shape["scenes"]
    ]


def ours(url: str, shape: dict[str, Any]) -> Any:
    import polars as pl

    import polars_rasteret as pr

    dates = shape["scenes"]
    table = pl.DataFrame(
        {
            "id": [one.name for one in dates],
            "datetime": [one.datetime for one in dates],
            **{band: [f"{url}/{one.path(band)}" for one in dates] for band in BANDS},
        }
    )
    scenes = pr.build_from_table(table, bands={band: band for band in BANDS}, on_error="raise").collect().lazy()
    words = {"group_by": "month", "mosaic": "median"} if shape["median"] else {}

    def read() -> Any:
        cube = scenes.raster.to_xarray(box(shape), list(BANDS), crs=DATES[0].epsg, **words).load()
        return [cube[band].values for band in BANDS]

    return read


def odc(url: str, shape: dict[str, Any]) -> Any:
    import odc.stac
    import pystac

    made = [pystac.Item.from_dict(one) for one in items(url, shape)]
    odc.stac.configure_rio(**GDAL)
    minx, miny, maxx, maxy = box(shape)

    def read() -> Any:
        # `pool` is odc-stac's own fast path without dask; "time" keeps one layer per date.
        cube = odc.stac.load(
            made, bands=list(BANDS), crs=f"EPSG:{DATES[0].epsg}", resolution=RESOLUTION, x=(minx, maxx), y=(miny, maxy),
            dtype="uint16", nodata=NODATA, groupby="time", pool=THREADS,
        )  # fmt: skip
        return [reduced(cube[band].values, shape) for band in BANDS]

    return read


def rio(url: str, shape: dict[str, Any]) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    import rasterio
    import rioxarray

    first, pixels = shape["first"], shape["pixels"]

    def one(href: str) -> Any:
        with rasterio.Env(**GDAL, GDAL_NUM_THREADS="ALL_CPUS" if len(shape["scenes"]) == 1 else "1"):
            array = rioxarray.open_rasterio(href)
            return array.isel(x=slice(first, first + pixels), y=slice(first, first + pixels)).load().values[0]

    def read() -> Any:
        hrefs = [f"{url}/{date.path(band)}" for band in BANDS for date in shape["scenes"]]
        with ThreadPoolExecutor(THREADS) as pool:
            layers = list(pool.map(one, hrefs))
        n = len(shape["scenes"])
        return [reduced(np.stack(layers[at * n : (at + 1) * n]), shape) for at in range(len(BANDS))]

    return read


def lazycogs(url: str, shape: dict[str, Any]) -> Any:
    import asyncio

    import lazycogs as lc
    import rustac

    folder = tempfile.mkdtemp(prefix="bench-cubes-")
    index = f"{folder}/items.parquet"

    async def write() -> None:
        await rustac.write(index, items(url, shape))

    asyncio.run(write())

    def read() -> Any:
        cube = lc.open(
            index, bbox=box(shape), crs=f"EPSG:{DATES[0].epsg}", resolution=RESOLUTION, bands=list(BANDS),
            dtype="uint16", nodata=NODATA,
        ).load()  # fmt: skip
        return [reduced(cube.sel(band=band).values, shape) for band in BANDS]

    return read


def reduced(layers: Any, shape: dict[str, Any]) -> Any:
    """Give the median over time of what is no nodata, where it is asked for."""
    if not shape["median"]:
        return layers
    if (layers != NODATA).all():
        return np.median(layers, axis=0, keepdims=True)
    return np.nanmedian(np.where(layers == NODATA, np.nan, layers.astype(np.float32)), axis=0, keepdims=True)


def measure(way: str, name: str, url: str) -> dict[str, Any]:
    made = {"ours": ours, "odc-stac": odc, "rioxarray": rio, "lazycogs": lazycogs}[way]
    made(url, WARM)()
    read = made(url, SHAPES[name])
    started = time.perf_counter()
    layers = read()
    seconds = time.perf_counter() - started
    digest = hashlib.sha256()
    for one in layers:
        digest.update(np.ascontiguousarray(one, np.float64))
    return {"s": seconds, "pixels": digest.hexdigest()}


def one_run(way: str, name: str, url: str, lazycogs_python: str | None) -> dict[str, Any]:
    if way != "lazycogs":
        return once(__file__, way, name, url)
    command = [str(lazycogs_python), __file__, "--once", way, name, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {"error": done.stderr.strip().splitlines()[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Cubes in memory, beside odc-stac, rioxarray and lazycogs.")
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lazycogs", metavar="PYTHON", help="interpreter with lazycogs, numpy, rustac and duckdb")
    parser.add_argument("--only", default="; ".join(WAYS), help="some ways, with semicolons between them")
    parser.add_argument("--once", nargs=3, metavar=("WAY", "SHAPE", "URL"))
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(*arguments.once)))
        return
    ensure_corpus(arguments.data)
    ways = [one for one in WAYS if one in arguments.only.split("; ") and (one != "lazycogs" or arguments.lazycogs)]
    print("| shape | way | s, median (min-max) | ours / it |\n|---|---|---:|---:|")
    with static_server(arguments.data) as server, latency_proxy(server) as slow:
        for name in SHAPES:
            # Every way once per round, so that what else the machine does meets all of them.
            rounds = [
                {way: one_run(way, name, slow, arguments.lazycogs) for way in ways} for _ in range(arguments.rounds)
            ]
            answers = {one["pixels"] for row in rounds for one in row.values() if "pixels" in one}
            if len(answers) != 1:
                raise SystemExit(f"{name}: the ways do not give the same pixels: {rounds}")
            for way in ways:
                report(name, way, [row[way] for row in rounds], [row[ways[0]] for row in rounds])


def report(name: str, way: str, its: list[dict[str, Any]], ours_in_round: list[dict[str, Any]]) -> None:
    if error := next((one["error"] for one in its if "error" in one), None):
        print(f"| {name} | {way} | {error} | |", flush=True)
        return
    seconds = [one["s"] for one in its]
    ratio = statistics.median(ours["s"] / one["s"] for ours, one in zip(ours_in_round, its, strict=True))
    told = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
    print(f"| {name} | {way} | {told} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
