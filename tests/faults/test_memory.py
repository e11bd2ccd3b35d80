"""Does memory stay bounded when the answer is far larger than it? The files are those of the benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("POLARS_RASTERET_BENCH_DATA") or ROOT / "benchmarks" / "data")
GB = 10**9

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "scenes" / "S11" / "B08.tif").exists(),
        reason=f"the benchmark's files are not in {DATA}; python benchmarks/corpus.py writes them",
    ),
]

BEGIN = """
import json, resource, sys, time
import numpy as np
import polars as pl
import polars_rasteret as pr
import rasterio

data, scratch = sys.argv[1:3]
BANDS = ["B02", "B03", "B04", "B08"]
SIZE, STEP = 5490, 20.0

def table(n):
    return pl.DataFrame({"id": [f"S{k:02d}" for k in range(n)]}).with_columns(
        pl.format(data + "/scenes/{}/" + band + ".tif", "id").alias(band) for band in BANDS)

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def tell(**told):
    print(json.dumps({"peak": peak_bytes(), "elapsed_s": round(time.monotonic() - started, 1), **told}))

before = peak_bytes()
started = time.monotonic()
"""

WINDOWS = """
n, size = 20_000, 256
records = pr.build_from_table(table(6), bands={band: band for band in BANDS})
corners = records.select(pl.col("B02").struct.field("transform")).collect().to_series().to_list()
per_scene = -(-n // 6)
side = int(np.ceil(per_scene ** 0.5))
at = np.linspace(300, SIZE - 300, side).astype(int)
rows = []
for scene, transform in enumerate(corners):
    for k in range(per_scene):
        row, col = int(at[k // side]), int(at[k % side])
        rows.append((scene, row, col, transform[2] + STEP * (col + 0.5), transform[5] - STEP * (row + 0.5)))
aois = pl.DataFrame(rows[:n], schema=["scene", "row", "col", "x", "y"], orient="row")
path = scratch + "/windows.parquet"
records.raster.read_windows(aois, BANDS, x="x", y="y", crs=32632, shape=(size, size)).sink_parquet(
    path, row_group_size=64, compression="uncompressed")
peak = peak_bytes()
written = pl.scan_parquet(path)
height = written.select(pl.len()).collect().item()
wrong = 0
for k in range(0, n, 1999):
    got = written.slice(k, 1).collect()
    scene, row, col = got.row(0)[:3]
    for band in BANDS:
        with rasterio.open(f"{data}/scenes/S{scene:02d}/{band}.tif") as source:
            truth = source.read(1, window=((row - size // 2, row + size // 2), (col - size // 2, col + size // 2)))
        wrong += not np.array_equal(got[band].to_numpy()[0], truth)
tell(height=height, wrong=wrong, peak=peak, before=before)
"""

POINTS = """
n, n_records = 1_000_000, 100
bands = BANDS[:2]

class Aliases:
    # alias://<number>/<scene>/<band>.tif is the scene's file
    def get(self, href, byte_start, byte_stop, *, etag):
        _, scene, name = href.removeprefix("alias://").split("/")
        with open(f"{data}/scenes/{scene}/{name}", "rb") as file:
            file.seek(byte_start)
            return file.read(byte_stop - byte_start)

pr.configure_store("alias://", store=Aliases())
pr.options(cache_bytes=0)
scenes = pr.build_from_table(table(12).select("id", *bands), bands={band: band for band in bands}).collect()
copies = []
for number in range(n_records):
    one = scenes.slice(number % 12, 1)
    transform = one[bands[0]].struct.field("transform")[0].to_list()
    # Each copy lies elsewhere, so that a point has one record.
    transform[2], transform[5] = 200_000.0 * number, 0.0
    moved = pl.Series([transform], dtype=pl.Array(pl.Float64, 6))
    def copied(band):
        said = {"href": pl.lit(f"alias://{number}/{one['id'][0]}/{band}.tif"), "transform": pl.lit(moved).first()}
        names = [field.name for field in one.schema[band].fields]
        return pl.struct(**{name: said.get(name, pl.col(band).struct.field(name)) for name in names}).alias(band)
    copies.append(one.select(pl.format("{}-{}", pl.lit(number), "id").alias("id"), *map(copied, bands)))
records = pl.concat(copies).cast({band: scenes.schema[band] for band in bands}).lazy()
rng = np.random.default_rng(3)
record, row, col = rng.integers(0, n_records, n), rng.integers(0, SIZE, n), rng.integers(0, SIZE, n)
points = pl.DataFrame({"at": np.arange(n), "x": 200_000.0 * record + STEP * (col + 0.5), "y": -STEP * (row + 0.5)})
got = records.raster.sample_points(points, bands, crs="native", record_columns=["id"]).collect()
peak = peak_bytes()
assert got.height == n and got["at"].to_numpy().tolist() == list(range(n))
wrong = 0
for band in bands:
    values = got[band].fill_null(0).to_numpy()
    for scene in (0, 3, 7):
        with rasterio.open(f"{data}/scenes/S{scene:02d}/{band}.tif") as source:
            pixels = source.read(1)
        mine = record % 12 == scene
        wrong += int((values[mine] != pixels[row[mine], col[mine]]).sum())
tell(height=got.height, wrong=wrong, peak=peak, before=before)
"""


def run(program: str, scratch: Path, *, timeout_s: float) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program, str(DATA), str(scratch)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return json.loads(done.stdout)


def test_ten_gigabytes_of_windows_go_to_parquet_in_bounded_memory(tmp_path):
    told = run(WINDOWS, tmp_path, timeout_s=1800)
    (tmp_path / "windows.parquet").unlink()
    assert (told["height"], told["wrong"]) == (20_000, 0)
    assert told["peak"] < 1.5 * GB


def test_a_million_points_over_a_hundred_records_stay_in_bounded_memory(tmp_path):
    told = run(POINTS, tmp_path, timeout_s=1800)
    assert (told["height"], told["wrong"]) == (1_000_000, 0)
    assert told["peak"] < 2 * GB
