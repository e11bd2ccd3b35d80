"""How do time and memory grow with points, records, dates, bands, zones and windows?

One factor at a time around a centre: 10,000 points on 100 places, one date, one band. Records are real ones of a small image of
one tile (64 x 64 pixels, uint16, DEFLATE) that lie side by side on a lattice in UTM, each under a name of its own. One file in
memory answers for all names: a million records need no disk, and no network hides what we do ourselves. Four requests at once, as
there is no latency.

Each measurement is a new process. The clock covers the query, not the making of the records. The exponent is that between two
neighbouring rows: the logarithm of the ratio of their seconds over that of the factor. It is taken of processor seconds, the
least of the rounds, because other work on the machine moves wall time more. Memory is the peak above what the process had after
its imports, the records and points themselves included.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from fresh_process import once

SIDE, PIXEL, LEFT, TOP, EPSG = 64, 10.0, 300_000.0, 5_000_000.0, 32632
CENTRE = {"points": 10_000, "places": 100, "dates": 1, "bands": 1, "zones": 0, "windows": 0, "any_order": 0}
STEPS = {
    "points": (10_000, 100_000, 1_000_000, 10_000_000),
    "places": (1_000, 10_000, 100_000, 1_000_000),
    "dates": (1, 10, 100, 1_000),
    "bands": (1, 4, 16, 64),
    "zones": (100, 1_000, 10_000, 100_000),
    "windows": (100, 1_000, 10_000, 100_000),
}
ANY_ORDER = {"points in any order": "points", "dates in any order": "dates"}
"""Factors that are asked with ``maintain_order=False``, which reads more than 8 million rows without decoding a tile twice."""
STEPS |= {name: STEPS[factor] for name, factor in ANY_ORDER.items()}
TITLES = {"places": "records (of one date)"}
AIM = 1.05


class OneFile:
    """A byte source in which one file has every name."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> memoryview:
        return self.data[byte_start:byte_stop]


def lattice_side(n_places: int) -> int:
    return math.ceil(math.sqrt(n_places))


def collection(n_places: int, n_dates: int, n_bands: int) -> Any:
    """Give the records: places along rows of a square, each on every date."""
    import polars as pl
    from pyproj import Transformer

    import polars_rasteret as pr
    from polars_rasteret.testing import make_cog

    pixels = np.random.default_rng(1).integers(1, 1000, (SIDE, SIDE)).astype(np.uint16)
    pr.configure_store("memory://growth/", store=OneFile(make_cog(pixels, epsg=EPSG, tile_size=SIDE)))
    real = pr.build_from_files(["memory://growth/0.tif"], bands=["b0"], datetime=["2024-01-01T00:00:00Z"]).collect()
    n, side = n_places * n_dates, lattice_side(n_places)
    place, date = np.repeat(np.arange(n_places), n_dates), np.tile(np.arange(n_dates), n_places)
    left, top = LEFT + place % side * SIDE * PIXEL, TOP - place // side * SIDE * PIXEL
    transform = np.tile([PIXEL, 0.0, 0.0, 0.0, -PIXEL, 0.0], (n, 1))
    transform[:, 2], transform[:, 5] = left, top
    to_lonlat = Transformer.from_crs(EPSG, 4326, always_xy=True)
    corners = [to_lonlat.transform(left + dx, top - dy) for dx in (0, SIDE * PIXEL) for dy in (0, SIDE * PIXEL)]
    lon, lat = (np.array([corner[axis] for corner in corners]) for axis in (0, 1))
    rasters = (
        real["b0"]
        .gather(np.zeros(n, np.int64))
        .struct.unnest()
        .with_columns(transform=pl.Series(transform, dtype=pl.Array(pl.Float64, 6)))
    )
    number = pl.int_range(n, eager=True)
    return pl.DataFrame(
        {
            "id": pl.select(pl.format("R{}", number)).to_series(),
            "datetime": pl.Series(
                np.datetime64("2024-01-01", "us") + date.astype("timedelta64[D]")
            ).dt.replace_time_zone("UTC"),
            "bbox": pl.DataFrame(
                {
                    "xmin": lon.min(0) - 1e-4,
                    "ymin": lat.min(0) - 1e-4,
                    "xmax": lon.max(0) + 1e-4,
                    "ymax": lat.max(0) + 1e-4,
                }
            ).to_struct(),
            **{
                f"b{band}": rasters.with_columns(href=pl.format(f"memory://growth/{{}}/{band}.tif", number)).to_struct()
                for band in range(n_bands)
            },
        }
    ).lazy()


def places_in(n: int, n_places: int, margin: float) -> tuple[Any, Any]:
    """Give x and y of random places on the rows of the lattice that are full, at least `margin` from its border."""
    side = lattice_side(n_places)
    width, height = side * SIDE * PIXEL, n_places // side * SIDE * PIXEL
    rng = np.random.default_rng(2)
    return LEFT + rng.uniform(margin, width - margin, n), TOP - rng.uniform(margin, height - margin, n)


def query(told: dict[str, int], records: Any) -> Any:
    """Give the query that is timed: zones or windows where there are some, else points."""
    import polars as pl
    import shapely

    scenes = records.raster
    if n := told["zones"]:
        x, y = places_in(n, told["places"], 50.0)
        zones = pl.DataFrame({"geometry": shapely.to_wkb(shapely.box(x - 42, y - 42, x + 42, y + 42))})
        return scenes.zonal_stats(zones, crs=EPSG)
    if n := told["windows"]:
        x, y = places_in(n, told["places"], 50.0)
        return scenes.read_windows(pl.DataFrame({"x": x, "y": y}), crs=EPSG, shape=(8, 8))
    x, y = places_in(told["points"], told["places"], 0.0)
    return scenes.sample_points(pl.DataFrame({"x": x, "y": y}), crs=EPSG, maintain_order=not told["any_order"])


def memory_mb(word: str) -> float:
    return int(Path("/proc/self/status").read_text().partition(f"{word}:")[2].split()[0]) / 1024


def measure(told: dict[str, int]) -> dict[str, Any]:
    import polars as pl  # noqa: F401 - before memory is looked at

    import polars_rasteret as pr

    pr.options(max_concurrency=4)
    query(
        {**CENTRE, **told, "points": 10, "zones": min(told["zones"], 10), "windows": min(told["windows"], 10)},
        collection(4, 1, 1),
    ).collect()
    before = memory_mb("VmRSS")
    asked = query(told, collection(told["places"], told["dates"], told["bands"]))
    made = memory_mb("VmHWM")
    cpu, wall = time.process_time(), time.perf_counter()
    with pr.profile() as profile:
        answer = asked.collect()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = memory_mb("VmHWM")
    tiles = int(profile.summary()["decoded_tiles"].item())
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_mb": peak,
        "above_mb": peak - before,
        "made_mb": made,
        "rows": answer.height,
        "tiles": tiles,
    }


def exponent(before: float, after: float, factor: float) -> float:
    return math.log(after / before) / math.log(factor)


def table(factor: str, rows: list[tuple[int, dict[str, Any]]]) -> list[str]:
    lines = []
    for at, (n, row) in enumerate(rows):
        told = ["", ""]
        if at:
            before_n, before = rows[at - 1]
            told = [f"{exponent(before[name], row[name], n / before_n):.2f}" for name in ("cpu_s", "above_mb")]
        lines.append(
            f"| {TITLES.get(factor, factor)} | {n:,} | {row['rows']:,} | {row['tiles']:,} | {row['wall_s']:.2f} "
            f"| {row['cpu_s']:.2f} | {told[0]} | {row['peak_mb']:,.0f} | {told[1]} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--steps", type=int, default=4, help="rows per factor, from the smallest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(json.loads(given.once))))
        return
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    measured: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(given.rounds):
        for factor in given.only:
            for n in STEPS[factor][: given.steps]:
                told = json.dumps({**CENTRE, ANY_ORDER.get(factor, factor): n, "any_order": int(factor in ANY_ORDER)})
                measured.setdefault((factor, n), []).append(once(__file__, told))
    print("| factor | number | rows | tiles decoded | s | processor s | exponent | peak MB | exponent |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    above = []
    for factor in given.only:
        found[factor] = [
            (n, {name: min(row[name] for row in measured[factor, n]) for name in measured[factor, n][0]})
            for n in STEPS[factor][: given.steps]
        ]
        print("\n".join(table(factor, found[factor])))
        for (n, row), (more, after) in zip(found[factor], found[factor][1:], strict=False):
            if (slope := exponent(row["cpu_s"], after["cpu_s"], more / n)) > AIM:
                above.append(f"{TITLES.get(factor, factor)}, {n:,} to {more:,}: {slope:.2f}")
    print(f"\nAbove {AIM}: {'; '.join(above) or 'none'}.")


if __name__ == "__main__":
    sys.exit(main())
