"""What does the second run of a script cost, when the first one has kept its tiles on disk?

200 windows of 256 x 256 pixels over one band of twelve dates. Each run is a new process behind a link of 20-40 ms. The clock
has the reads, not imports and headers. GDAL keeps blocks in memory only, so its second process pays again; fsspec keeps blocks of
files on disk (``blockcache``), under rasterio's ``opener=``. Every way must give the same pixels.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from corpus import DATES, default_data_dir, ensure_corpus
from cubes import GDAL
from fresh_process import once
from servers import StaticServer, latency_proxy, static_server

BAND = "B04"
SIDE = 256
WAYS = ("ours, nothing on disk", "ours", "rasterio", "rasterio on fsspec")
THREADS = 16


def windows() -> list[tuple[int, int, int]]:
    """Give date, first row and first column of each window."""
    rng = np.random.default_rng(5)
    most = DATES[0].size - SIDE
    return [(n % len(DATES), int(rng.integers(most)), int(rng.integers(most))) for n in range(200)]


def ours(url: str, cache: str | None) -> Any:
    import polars as pl

    import polars_rasteret as pr

    if cache:
        pr.options(cache_dir=cache)
    table = pl.DataFrame({"id": [one.name for one in DATES], "href": [f"{url}/{one.path(BAND)}" for one in DATES]})
    scenes = pr.build_from_table(table, bands={"red": "href"}, on_error="raise").collect()
    asked = pl.DataFrame(windows(), schema=["date", "row", "col"], orient="row")
    ids = [DATES[date].name for date in asked["date"]]
    rows = asked.with_columns(id=pl.Series(ids)).join(scenes, on="id", how="left", maintain_order="left")
    window = pl.col("row"), pl.col("row") + SIDE, pl.col("col"), pl.col("col") + SIDE

    def read() -> Any:
        pixels = pl.col("red").raster.read_window(window=window, shape=(SIDE, SIDE))
        return rows.select(pixels).to_series().to_numpy()

    return read


def rio(url: str, cache: str | None) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    import rasterio
    from rasterio.windows import Window

    words: dict[str, Any] = {}
    if cache:
        import fsspec

        files = fsspec.filesystem("blockcache", target_protocol="http", cache_storage=cache, block_size=2**18)
        words = {"opener": files.open}

    def of_date(date: int) -> list[tuple[int, Any]]:
        with rasterio.Env(**GDAL), rasterio.open(f"{url}/{DATES[date].path(BAND)}", **words) as file:
            return [
                (at, file.read(1, window=Window(col, row, SIDE, SIDE)))
                for at, (of, row, col) in enumerate(windows())
                if of == date
            ]

    def read() -> Any:
        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(pair for pairs in pool.map(of_date, range(len(DATES))) for pair in pairs)
        return np.stack([found[at] for at in range(len(found))])

    return read


def measure(way: str, url: str, cache: str) -> dict[str, Any]:
    folder = cache if way in {"ours", "rasterio on fsspec"} else None
    read = (ours if way.startswith("ours") else rio)(url, folder)
    started = time.perf_counter()
    pixels = read()
    seconds = time.perf_counter() - started
    return {"s": seconds, "pixels": hashlib.sha256(np.ascontiguousarray(pixels, np.uint16)).hexdigest()}


def one_round(way: str, url: str, server: StaticServer) -> list[dict[str, Any]]:
    cache = tempfile.mkdtemp(prefix="bench-second-run-")
    runs = []
    try:
        for _ in range(2):
            server.new_requests()
            run = once(__file__, way, url, cache)
            runs.append({**run, "requests": len(server.new_requests())})
        runs[0]["mb"] = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file()) / 1e6
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description="The second run of a script, beside GDAL's and fsspec's caches.")
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", nargs=3, metavar=("WAY", "URL", "CACHE"))
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(*arguments.once)))
        return
    ensure_corpus(arguments.data)
    with static_server(arguments.data) as server, latency_proxy(server) as slow:
        rounds = [{way: one_round(way, slow, server) for way in WAYS} for _ in range(arguments.rounds)]
    answers = {run["pixels"] for row in rounds for runs in row.values() for run in runs}
    if len(answers) != 1:
        raise SystemExit("the ways do not give the same pixels")
    print("| way | first run s | second run s | requests, first and second | MB on disk |\n|---|---:|---:|---:|---:|")
    for way in WAYS:
        first, second = ([row[way][at] for row in rounds] for at in (0, 1))
        told = [f"{statistics.median(run['s'] for run in runs):.2f}" for runs in (first, second)]
        asked = f"{first[0]['requests']}, {second[0]['requests']}"
        print(f"| {way} | {told[0]} | {told[1]} | {asked} | {first[0]['mb']:.0f} |")


if __name__ == "__main__":
    sys.exit(main())
