"""What do questions about time cost: the newest clear pixel over 30 cloudy dates, the nearest date of 10,000 observations?

Each measurement is a process of its own, rounds are interleaved. rasterio does the same by hand, the way a careful user would:
dates in order, only the points that are still open, a file's points sorted by block. ``all`` reads every date and chooses in
Polars. Tiles fetched stand beside the fewest that can answer: those of the mask on every date looked at, and of the band where it
is clear.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Scene, default_data_dir, reflectance, smooth_field, write_cog
from servers import latency_proxy, static_server

N_DATES, SIZE, TILE, N_POINTS = 30, 2048, 256, 10_000
CLOUD_SHARE = 0.6
CLEAR, CLOUD = 4, 9
FIRST = dt.datetime(2024, 6, 1, 10, 30, tzinfo=dt.UTC)
LEFT, TOP, PIXEL = 399_960.0, 5_300_040.0, 20.0
QUESTIONS = ("latest clear", "nearest in time")
ENGINES = ("ours", "rasterio", "all")


def moment(number: int) -> dt.datetime:
    return FIRST + dt.timedelta(days=2 * number)


def path_of(number: int, band: str) -> str:
    return f"clouds/D{number:02d}/{band}.tif"


def _scene(number: int) -> Scene:
    return Scene(
        name=f"D{number:02d}", folder="clouds", epsg=32632, left=LEFT, top=TOP, tile=TILE, seed=31_000 + number, size=SIZE,
        datetime=moment(number),
    )  # fmt: skip


def _write(data: Path, number: int) -> None:
    band, mask = data / path_of(number, "B04"), data / path_of(number, "SCL")
    band.parent.mkdir(parents=True, exist_ok=True)
    if not band.exists():
        write_cog(band, reflectance(31_000 + number, SIZE, noise=30), _scene(number))
    if not mask.exists():
        height = smooth_field(77_000 + number, SIZE, noise=0)
        is_cloud = height > np.quantile(height, 1 - CLOUD_SHARE)
        write_cog(mask, np.where(is_cloud, CLOUD, CLEAR).astype(np.uint8), _scene(number))


def observations() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    x = LEFT + rng.uniform(0, SIZE * PIXEL, N_POINTS)
    y = TOP - rng.uniform(0, SIZE * PIXEL, N_POINTS)
    seconds = rng.integers(0, 2 * N_DATES * 86_400, N_POINTS)
    return {"x": x, "y": y, "row": ((TOP - y) // PIXEL).astype(int), "col": ((x - LEFT) // PIXEL).astype(int),
            "at": [FIRST + dt.timedelta(seconds=int(one)) for one in seconds]}  # fmt: skip


def fewest_tiles(data: Path) -> dict[str, int]:
    """Count the tiles without which the questions cannot be answered."""
    import rasterio

    seen = observations()
    tile = (seen["row"] // TILE) * (SIZE // TILE) + seen["col"] // TILE
    is_open = np.ones(N_POINTS, np.bool_)
    latest = 0
    for number in reversed(range(N_DATES)):
        if not is_open.any():
            break
        with rasterio.open(data / path_of(number, "SCL")) as dataset:
            is_clear = dataset.read(1)[seen["row"], seen["col"]] == CLEAR
        latest += len(np.unique(tile[is_open])) + len(np.unique(tile[is_open & is_clear]))
        is_open &= ~is_clear
    nearest = nearest_dates(seen)
    return {
        "latest clear": latest,
        "nearest in time": sum(len(np.unique(tile[nearest == one])) for one in range(N_DATES)),
    }


def nearest_dates(seen: dict[str, Any]) -> Any:
    at = np.array([one.timestamp() for one in seen["at"]])
    times = np.array([moment(number).timestamp() for number in range(N_DATES)])
    return np.abs(at[:, None] - times[None, :]).argmin(axis=1)  # the first of equals is the earlier


def ask_polars(question: str, index: Path, *, everything: bool) -> tuple[float, Any, int]:
    import polars as pl

    import polars_rasteret as pr

    seen = observations()
    points = pl.DataFrame({"n": np.arange(N_POINTS), "x": seen["x"], "y": seen["y"], "at": seen["at"]})
    scenes = pr.scan_collection(index).filter(pl.col("id").is_not_null())
    is_clear = pl.col("SCL") == CLEAR
    pr.scan_collection(index).head(1).raster.sample_points(points.head(1), ["SCL"], crs=32632).collect()
    bands = ["B04", "SCL"] if everything and question == "latest clear" else ["B04"]
    words: dict[str, Any] = {"match": "nearest", "at": "at"}
    if question == "latest clear":
        words = {"match": "latest", "valid": is_clear}
    started = time.perf_counter()
    with pr.profile() as p:
        query = scenes.raster.sample_points(points, bands, crs=32632, unmatched="drop", **({} if everything else words))
        if everything and question == "latest clear":
            query = query.filter(is_clear).sort("datetime", descending=True).group_by("n", maintain_order=True).first()
        elif everything:
            gap = (pl.col("datetime") - pl.col("at")).abs()
            query = query.sort(gap, "datetime").group_by("n", maintain_order=True).first()
        answer = query.select("n", "B04").collect()
    wall = time.perf_counter() - started
    values = np.zeros(N_POINTS, np.uint16)
    values[answer["n"].to_numpy()] = answer["B04"].to_numpy()
    return wall, values, int(p.summary()["tiles"].item())


def ask_rasterio(question: str, url: str) -> tuple[float, Any]:
    import rasterio
    from engines.rasterio_engine import GDAL_SETTINGS
    from rasterio.windows import Window

    seen = observations()
    values = np.zeros(N_POINTS, np.uint16)

    def sample(number: int, band: str, index: Any, pool: ThreadPoolExecutor) -> Any:
        found = np.zeros(len(index), np.uint16)
        block = (seen["row"][index] // TILE) * (SIZE // TILE) + seen["col"][index] // TILE
        blocks = np.unique(block)

        def task(part: Any) -> None:
            with rasterio.Env(**GDAL_SETTINGS), rasterio.open(f"/vsicurl/{url}/{path_of(number, band)}") as dataset:
                for one in part:
                    row, col = divmod(int(one), SIZE // TILE)
                    pixels = dataset.read(1, window=Window(col * TILE, row * TILE, TILE, TILE))
                    at = np.flatnonzero(block == one)
                    found[at] = pixels[seen["row"][index[at]] % TILE, seen["col"][index[at]] % TILE]

        list(pool.map(task, np.array_split(blocks, max(1, min(8, len(blocks))))))
        return found

    with ThreadPoolExecutor(32) as pool, rasterio.Env(**GDAL_SETTINGS):
        sample(0, "SCL", np.array([0]), pool)
        started = time.perf_counter()
        if question == "latest clear":
            index = np.arange(N_POINTS)
            for number in reversed(range(N_DATES)):
                if not len(index):
                    break
                is_clear = sample(number, "SCL", index, pool) == CLEAR
                values[index[is_clear]] = sample(number, "B04", index[is_clear], pool)
                index = index[~is_clear]
        else:
            nearest = nearest_dates(seen)
            with ThreadPoolExecutor(8) as dates:

                def one_date(number: int) -> None:
                    index = np.flatnonzero(nearest == number)
                    values[index] = sample(number, "B04", index, pool)

                list(dates.map(one_date, range(N_DATES)))
        wall = time.perf_counter() - started
    return wall, values


def build_index(url: str, index: Path) -> None:
    import polars as pl

    import polars_rasteret as pr

    table = pl.DataFrame(
        {
            "id": [f"D{number:02d}" for number in range(N_DATES)],
            "datetime": [moment(number) for number in range(N_DATES)],
            **{band: [f"{url}/{path_of(number, band)}" for number in range(N_DATES)] for band in ("B04", "SCL")},
        }
    )
    scenes = pr.build_from_table(table, bands={"B04": "B04", "SCL": "SCL"}, geometry=None)
    scenes.raster.sink_collection(index, mode="overwrite")


def child(given: argparse.Namespace) -> None:
    engine, question, url, index = given.child
    tiles = None
    if engine == "rasterio":
        wall, values = ask_rasterio(question, url)
    else:
        wall, values, tiles = ask_polars(question, Path(index), everything=engine == "all")
    digest = hashlib.blake2b(values.tobytes(), digest_size=8).hexdigest()
    print(json.dumps({"wall_s": wall, "tiles": tiles, "digest": digest}))


def compare(given: argparse.Namespace) -> int:
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_write, [given.data] * N_DATES, range(N_DATES)))
    fewest = fewest_tiles(given.data)
    walls: dict[tuple[str, str, str], list[float]] = {}
    costs: dict[tuple[str, str, str], str] = {}
    digests: dict[str, set[str]] = {}
    with static_server(given.data) as server, latency_proxy(server) as slow, tempfile.TemporaryDirectory() as folder:
        links = {"direct": server.url, "latency": slow}
        for link, url in links.items():
            build_index(url, Path(folder) / link)
        for number in range(given.rounds):
            for link, url in links.items():
                for question in QUESTIONS:
                    for engine in ENGINES[number % 3 :] + ENGINES[: number % 3]:
                        server.new_requests()
                        command = [sys.executable, __file__, "--child", engine, question, url, str(Path(folder) / link)]
                        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
                        result = json.loads(done.stdout.splitlines()[-1])
                        asked = server.new_requests()
                        key = (question, link, engine)
                        walls.setdefault(key, []).append(result["wall_s"])
                        megabytes = sum(one.n_bytes for one in asked) / 1e6
                        costs[key] = f"{result['tiles'] or '-'} | {len(asked)} | {megabytes:.1f}"
                        digests.setdefault(question, set()).add(result["digest"])
    print("| question | link | engine | wall s | ours / it | tiles | requests | MB |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for (question, link, engine), times in walls.items():
        ratio = statistics.median(a / b for a, b in zip(walls[question, link, "ours"], times, strict=True))
        cost = costs[question, link, engine]
        print(f"| {question} | {link} | {engine} | {statistics.median(times):.3f} | {ratio:.2f} | {cost} |")
    print(f"\nFewest tiles that can answer: {fewest}")
    problems = [question for question, found in digests.items() if len(found) > 1]
    print(f"DIFFERENT PIXELS: {problems}" if problems else "All engines gave identical pixels in every run.")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given)
        return 0
    return compare(given)


if __name__ == "__main__":
    sys.exit(main())
