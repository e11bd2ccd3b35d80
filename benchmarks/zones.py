"""How soon are statistics of zones there, from us, from exactextract on rasterio, and from rasterstats?

Twelve dates and two bands of one footprint of the corpus, behind 20-40 ms of latency. Each way is a fresh process. Before the
clock it asks a few zones of another file, so imports and threads are there, and for us the headers are read, as an index is.
exactextract reads files in 16 threads, zone by zone or tile by tile. Every way must give the same counts and means, to the
accuracy that exactextract has. rasterstats, which counts centres of pixels, is asked for one date, and its time is multiplied.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from corpus import DATES, RESOLUTION, SIZE, WARMUP, default_data_dir, ensure_corpus
from cubes import GDAL
from fresh_process import once
from servers import latency_proxy, static_server

BANDS = ("B04", "B08")
STATS = ("count", "mean", "std", "min", "max")
CASES = ("100 zones", "1,000 zones", "20,000 zones", "one zone of most of a scene")
WAYS = ("ours", "exactextract, by zone", "exactextract, by tile", "rasterstats")
LEFT_OUT = {("20,000 zones", "exactextract, by zone"), ("20,000 zones", "rasterstats"), (CASES[3], "rasterstats")}
"""Ways that take many minutes."""
THREADS = 16
TILE_CELLS = 600_000
"""``max_cells_in_memory`` by tile: a little more than a tile has."""


def zones(case: str) -> Any:
    """Give zones of about 400 pixels each, anywhere in the scene, or one with 20,000 vertices."""
    one = DATES[0]
    if case == CASES[3]:
        angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
        reach = SIZE * RESOLUTION * 0.46 * (1 + 0.05 * np.sin(40 * angle))
        middle = one.left + SIZE * RESOLUTION / 2, one.top - SIZE * RESOLUTION / 2
        ring = np.stack([middle[0] + reach * np.cos(angle), middle[1] + reach * np.sin(angle)], axis=1)
        return np.array([shapely.polygons(ring)], object)
    n = int(case.partition(" ")[0].replace(",", ""))
    rng = np.random.default_rng(1)
    radius, corners = np.sqrt(400 / np.pi) * RESOLUTION, 14
    places = rng.uniform(600, SIZE * RESOLUTION - 600, (n, 2)) * [1, -1] + [one.left, one.top]
    angle = (np.arange(corners) + rng.uniform(0.1, 0.9, (n, corners))) * 2 * np.pi / corners
    reach = radius * rng.uniform(0.7, 1.3, (n, corners))
    return shapely.polygons(places[:, None] + np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=2))


def ours(url: str, scenes: Any, outlines: Any) -> Any:
    import polars as pl

    import polars_rasteret as pr

    table = pl.DataFrame(
        {
            "id": [one.name for one in scenes],
            "datetime": [one.datetime for one in scenes],
            **{band: [f"{url}/{one.path(band)}" for one in scenes] for band in BANDS},
        }
    )
    collection = pr.build_from_table(table, bands={band: band for band in BANDS}, on_error="raise").collect().lazy()
    asked = pl.DataFrame({"zone": range(len(outlines)), "geometry": shapely.to_wkb(outlines)})

    def read() -> Any:
        found = collection.raster.zonal_stats(asked, list(BANDS), STATS, crs=DATES[0].epsg, record_columns=["id"])
        found = found.select(pl.exclude("geometry")).sort("record_id", "zone").collect()
        return [found.select(f"{band}_count", f"{band}_mean").to_numpy() for band in BANDS]

    return read


def exactextract(url: str, scenes: Any, outlines: Any, strategy: str) -> Any:
    import rasterio
    from exactextract import exact_extract
    from exactextract.raster import RasterioRasterSource

    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(one), "properties": {}} for one in outlines]
    cells = TILE_CELLS if strategy == "raster-sequential" else 30_000_000

    def one(href: str) -> Any:
        with rasterio.Env(**GDAL, GDAL_CACHEMAX=1024), rasterio.open(f"/vsicurl/{href}") as file:
            found = exact_extract(
                RasterioRasterSource(file), features, ["count", "mean", "stdev", "min", "max"],
                strategy=strategy, max_cells_in_memory=cells,
            )  # fmt: skip
        return [(row["properties"]["count"], row["properties"]["mean"]) for row in found]

    def read() -> Any:
        hrefs = [f"{url}/{scene.path(band)}" for band in BANDS for scene in scenes]
        with ThreadPoolExecutor(THREADS) as pool:
            found = np.array(list(pool.map(one, hrefs)), np.float64)
        return found.reshape(len(BANDS), -1, 2)

    return read


def rasterstats(url: str, scenes: Any, outlines: Any) -> Any:
    import rasterio
    from rasterstats import zonal_stats

    def read() -> Any:
        with rasterio.Env(**GDAL):
            for band in BANDS:
                zonal_stats(list(outlines), f"/vsicurl/{url}/{scenes[0].path(band)}", stats=list(STATS))

    return read


def measure(way: str, case: str, url: str) -> dict[str, Any]:
    def made(scenes: Any, outlines: Any) -> Any:
        if way == "ours":
            return ours(url, scenes, outlines)
        if way == "rasterstats":
            return rasterstats(url, scenes, outlines)
        strategy = "feature-sequential" if way.endswith("zone") else "raster-sequential"
        return exactextract(url, scenes, outlines, strategy)

    middles = np.arange(1, 5)[:, None] * [2_000, -2_000] + [WARMUP.left, WARMUP.top]
    some = shapely.buffer(shapely.points(middles), 250)
    made((WARMUP,), some)()
    read = made(DATES, zones(case))
    started = time.perf_counter()
    found = read()
    seconds = time.perf_counter() - started
    if way == "rasterstats":
        return {"s": seconds * len(DATES)}
    counts, means = (np.nan_to_num(np.concatenate([np.asarray(one)[:, at] for one in found])) for at in (0, 1))
    return {"s": seconds, "count": float(counts.sum()), "mean": float(means.sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description="Zonal statistics, beside exactextract and rasterstats.")
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="; ".join(CASES), help="some cases, with semicolons between them")
    parser.add_argument("--once", nargs=3, metavar=("WAY", "CASE", "URL"))
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(measure(*arguments.once)))
        return
    ensure_corpus(arguments.data)
    print("| zones | way | s, median (min-max) | it / ours |\n|---|---|---:|---:|")
    with static_server(arguments.data) as server, latency_proxy(server) as slow:
        for case in arguments.cases.split("; "):
            ways = [way for way in WAYS if (case, way) not in LEFT_OUT]
            # Every way once per round, so that what else the machine does meets all of them.
            rounds = [{way: once(__file__, way, case, slow) for way in ways} for _ in range(arguments.rounds)]
            check_answers(case, rounds)
            for way in ways:
                seconds = [one[way]["s"] for one in rounds]
                ratio = statistics.median(one[way]["s"] / one["ours"]["s"] for one in rounds)
                told = f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
                print(f"| {case} | {way} | {told} | {ratio:.1f} |", flush=True)


def check_answers(case: str, rounds: list[dict[str, Any]]) -> None:
    """End the run where counts or means differ by more than fractions of single precision do."""
    answers = [one for row in rounds for one in row.values() if "count" in one]
    for one in answers:
        for name in ("count", "mean"):
            if not np.isclose(one[name], answers[0][name], rtol=1e-6):
                raise SystemExit(f"{case}: the ways do not give the same {name}: {answers}")


if __name__ == "__main__":
    sys.exit(main())
