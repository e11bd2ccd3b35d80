"""How near is ``pr.estimate(query).seconds`` to the time the query takes, once a host was read?

Queries of many shapes over one loopback server, direct and behind 30 ms of latency (20 to 40 ms, uniform). A process reads a few
points first, then asks for each estimate, runs the query three times with a cold cache, and tells the estimate over the median.
Not nginx: on loopback its small answers wait 40 ms for an acknowledgement in some runs and not in others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fresh_process import once
from index_build import SIZE, write_kind
from servers import latency_proxy, static_server

N_FILES, REPEATS = 6, 3
LEFT, TOP, PIXEL = 500_000.0, 5_000_000.0, 10.0


def queries(records: Any) -> dict[str, Any]:
    import polars as pl

    import polars_rasteret as pr

    def points(n: int) -> pl.DataFrame:
        row, col = np.random.default_rng(n).integers(0, SIZE, (2, n))
        return pl.DataFrame({"x": LEFT + PIXEL * (col + 0.5), "y": TOP - PIXEL * (row + 0.5)})

    def window(size: int) -> pl.Expr:
        return pl.col("b1").raster.read_window(window=(0, size, 0, size), shape=(size, size))

    scenes = pr.raster(records)
    pairs = scenes.pair(points(300), crs="native").collect().lazy()
    read = pl.col("b1").raster.sample_points("x", "y", crs="native")
    return {
        "1 point, 1 file": pr.raster(records.head(1)).sample_points(points(1), crs="native"),
        "1 point": scenes.sample_points(points(1), crs="native"),
        "30 points": scenes.sample_points(points(30), crs="native"),
        "3,000 points": scenes.sample_points(points(3_000), crs="native"),
        "3,000 points, 1 file": pr.raster(records.head(1)).sample_points(points(3_000), crs="native"),
        "points by an expression": pairs.with_columns(v=read),
        "near pixels of 100 points": scenes.sample_points(points(100), crs="native", max_distance_pixels=2),
        "windows of 300 pixels": pr.raster(records).with_columns(v=window(300)).select("id", "v"),
        "whole images": pr.raster(records).with_columns(v=window(SIZE)).select("id", "v"),
    }


def measure(base_url: str) -> dict[str, list[float]]:
    import polars_rasteret as pr
    from polars_rasteret.fetch.scheduling.scheduler import clear_cache

    hrefs = [f"{base_url}/copy-{number}/0.tif" for number in range(N_FILES)]
    records = pr.build_from_files(hrefs, on_error="raise").collect().lazy()
    asked = queries(records)
    asked["30 points"].collect()
    told: dict[str, list[float]] = {}
    for name, query in asked.items():
        guess = pr.estimate(query).seconds
        seconds = []
        for _ in range(REPEATS):
            clear_cache()
            started = time.perf_counter()
            query.collect()
            seconds.append(time.perf_counter() - started)
        told[name] = [guess, statistics.median(seconds)]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once)))
        return
    print("| link | query | estimate s | measured s | estimate / measured (min-max) |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="bench-estimate-") as folder:
        write_kind(Path(folder) / "0.tif", "COG")
        Path(folder).chmod(0o755)
        with static_server(Path(folder), use_nginx=False) as server, latency_proxy(server) as slow:
            for link, url in (("direct", server.url), ("30 ms", slow)):
                rounds = [once(__file__, url) for _ in range(given.rounds)]
                for name in rounds[0]:
                    rows = [one[name] for one in rounds]
                    guess, seconds = (statistics.median(column) for column in zip(*rows, strict=True))
                    ratios = [one / other for one, other in rows]
                    print(
                        f"| {link} | {name} | {guess:.4f} | {seconds:.4f} "
                        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
