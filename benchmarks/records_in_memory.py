"""How long do questions to records in memory take that have no ``bbox`` and no ``geometry``?

Where a record lies is then told by its raster alone. The first question computes that, later ones should not: neither of an equal
copy nor after another filter. Grids are scattered over the UTM zones; one file is real, and the point asked for lies in it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import polars_rasteret as pr
from polars_rasteret.testing import make_cog

GRID = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
POINTS = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})
BOX = (300_010.0, 4_999_900.0, 300_100.0, 4_999_990.0)


def records(folder: Path, n_records: int) -> pl.DataFrame:
    path = folder / "real.tif"
    path.write_bytes(make_cog(np.full((1, 64, 64), 7, "uint8"), transform=GRID))
    real = pr.build_from_files([str(path)], bands=["red"]).collect()
    rng = np.random.default_rng(0)
    transform = np.tile(GRID, (n_records, 1))
    transform[1:, 2] = rng.integers(20_000, 80_000, n_records - 1) * 10
    transform[1:, 5] = rng.integers(0, 900_000, n_records - 1) * 10
    zones = np.concatenate([[32], rng.integers(1, 61, n_records - 1)])
    red = (
        real["red"]
        .gather(np.zeros(n_records, np.int64))
        .struct.unnest()
        .with_columns(
            crs=pl.Series([f"EPSG:326{zone:02}" for zone in zones]),
            transform=pl.Series(transform, dtype=pl.Array(pl.Float64, 6)),
            href=pl.Series([str(path)] + [f"https://example.com/{number}.tif" for number in range(1, n_records)]),
        )
    )
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "id": [f"R{number}" for number in range(n_records)],
            "datetime": pl.datetime_range(start, start + dt.timedelta(minutes=n_records - 1), "1m", eager=True),
            "red": red.to_struct("red"),
            "eo:cloud_cover": np.concatenate([[0.0], rng.uniform(0, 100, n_records - 1)]),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-records-") as folder:
        frame = records(Path(folder), given.records)
        sides = dict(zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True))
        areas = pl.DataFrame({"geometry": [sides]})

        def one_point(lf: pl.LazyFrame, engine: Any) -> None:
            answer = pr.raster(lf).sample_points(POINTS, crs=32632).collect(engine=engine)
            assert 7 in answer["red"].to_list()

        def one_box(lf: pl.LazyFrame, engine: Any) -> None:
            # The other records have no file: a window of one of them would be an error.
            assert pr.raster(lf).read_windows(areas, crs=32632).collect(engine=engine).height == 1

        def one_pair(lf: pl.LazyFrame, engine: Any) -> None:
            assert pr.raster(lf).pair(POINTS, crs=32632).collect(engine=engine).height

        def meets(lf: pl.LazyFrame, engine: Any) -> None:
            assert pr.raster(lf).intersects(BOX, crs=32632).collect(engine=engine).height

        questions: dict[str, Callable[[pl.LazyFrame, Any], None]] = {
            "sample_points": one_point,
            "read_windows": one_box,
            "pair": one_pair,
            "intersects": meets,
        }
        print(f"{given.records:,} records in memory without bbox; seconds, median of {given.rounds} (max)\n")
        started = time.perf_counter()
        one_point(frame.lazy(), "streaming")
        print(f"the first question: {time.perf_counter() - started:.2f}\n")
        print("| question | engine | again | equal copy | new filter |\n|---|---|---:|---:|---:|")
        for name, ask in questions.items():
            for engine in ("streaming", "in-memory"):
                told = []
                for way in ("again", "copy", "filter"):
                    seconds = []
                    for number in range(given.rounds):
                        lf = {
                            "again": frame.lazy,
                            "copy": lambda: pl.DataFrame(frame.to_dict(as_series=True)).clone().lazy(),
                            "filter": lambda n=number: frame.lazy().filter(pl.col("eo:cloud_cover") < 90 - n),
                        }[way]()
                        started = time.perf_counter()
                        ask(lf, engine)
                        seconds.append(time.perf_counter() - started)
                    told.append(f"{np.median(seconds):.3f} ({max(seconds):.3f})")
                print(f"| {name} | {engine} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
