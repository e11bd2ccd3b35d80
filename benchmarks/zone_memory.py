"""How much memory do statistics of very large and of very many zones take, and is a tile read once?

``whole``: one zone over most of a scene of 10980 x 10980 pixels, on twelve dates in two bands, without a cache and with 32 MB in
flight. ``many``: 100,000 zones over the same scenes, in one query. Each is a process of its own; its peak counts from its start,
imports included. Times stand here to be looked at: `zones.py` compares them with those of peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import shapely

CRS, LEFT, TOP, RESOLUTION = 32632, 399_960.0, 5_300_040.0, 10.0
BANDS, N_DATES = ("B04", "B08"), 12
SIZE, TILE = 10_980, 1024
KINDS = ("whole", "many")


def write_scene(folder: Path, size: int) -> None:
    """Write a file per band, in the layout of Sentinel-2: nodata 0 along one edge, relief and noise elsewhere."""
    import rasterio
    from corpus import smooth_field
    from rasterio.transform import from_origin

    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": "uint16", "nodata": 0, "tiled": True,
        "blockxsize": TILE, "blockysize": TILE, "compress": "deflate", "predictor": 2, "zlevel": 1,
        "crs": f"EPSG:{CRS}", "transform": from_origin(LEFT, TOP, RESOLUTION, RESOLUTION),
    }  # fmt: skip
    for number, band in enumerate(BANDS):
        path = folder / f"{band}.tif"
        if path.exists():
            continue
        unfinished = path.with_suffix(".part")
        with rasterio.open(unfinished, "w", **profile) as file:
            for row in range(0, size, TILE):
                strip = np.concatenate(
                    [smooth_field(100 * number + row + col, TILE, noise=30) for col in range(0, size, TILE)], axis=1
                )
                strip = np.clip(strip, 1, 12_000).astype(np.uint16)[: size - row, :size]
                strip[:, :200] = 0
                file.write(strip, 1, window=((row, row + len(strip)), (0, size)))
        unfinished.rename(path)


def big_zone(size: int) -> shapely.Geometry:
    """Return a zone with 20,000 vertices that covers three quarters of a scene and touches nearly every tile."""
    angle = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    reach = size * RESOLUTION * (0.48 + 0.02 * np.sin(40 * angle))
    middle = LEFT + size * RESOLUTION / 2, TOP - size * RESOLUTION / 2
    return shapely.Polygon(np.stack([middle[0] + reach * np.cos(angle), middle[1] + reach * np.sin(angle)], axis=1))


def many_zones(n_zones: int, size: int) -> list[shapely.Geometry]:
    """Return polygons of about 100 pixels anywhere in a scene; some reach beyond it, many overlap."""
    rng = np.random.default_rng(1)
    middle = np.stack(
        [LEFT + rng.uniform(0, size, n_zones) * RESOLUTION, TOP - rng.uniform(0, size, n_zones) * RESOLUTION], 1
    )
    angle = (np.arange(12) + rng.uniform(0.1, 0.9, (n_zones, 12))) * np.pi / 6
    reach = np.sqrt(100 / np.pi) * RESOLUTION * rng.uniform(0.7, 1.3, (n_zones, 12))
    corners = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=2) + middle[:, None]
    return list(shapely.polygons(corners))


def _child(kind: str, base_url: str, index: Path, size: int, n_zones: int) -> None:
    import polars_rasteret as pr

    zones = [big_zone(size)] if kind == "whole" else many_zones(n_zones, size)
    frame = pl.DataFrame({"zone": range(len(zones)), "geometry": shapely.to_wkb(zones)})
    scenes = pr.scan_collection(index)
    before = _peak_mb()
    with pr.options(cache_bytes=0, max_bytes_in_flight=32_000_000), pr.profile() as profile:
        started = time.perf_counter()
        found = scenes.raster.zonal_stats(frame, list(BANDS), ["count", "mean", "std", "min", "max"], crs=CRS).collect()
        seconds = time.perf_counter() - started
    told = profile.summary().row(0, named=True)
    print(
        json.dumps(
            {
                "rows": len(found),
                "count": found["B04_count"].sum(),
                "seconds": seconds,
                "peak_mb": _peak_mb(),
                "peak_before_mb": before,
                "decoded_tiles": told["decoded_tiles"],
            }
        )
    )


def _peak_mb() -> float:
    """Return the peak of this process alone: `ru_maxrss` begins with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    from servers import static_server

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="folder of the scene (0.4 GB), written once; default: a temporary one"
    )
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--zones", type=int, default=100_000)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        kind, url, index = given.child
        _child(kind, url, Path(index), given.size, given.zones)
        return
    with tempfile.TemporaryDirectory(prefix="bench-zones-") as scratch:
        folder = given.data or Path(scratch) / "scene"
        folder.mkdir(parents=True, exist_ok=True)
        write_scene(folder, given.size)
        with static_server(folder) as server:
            index = Path(scratch) / "index.parquet"
            _build(index, server.url)
            for kind in given.kinds.split(","):
                server.new_requests()
                command = [sys.executable, __file__, "--child", kind, server.url, str(index)]
                command += ["--size", str(given.size), "--zones", str(given.zones)]
                told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                asked = Counter((one.path, one.byte_range) for one in server.new_requests())
                told |= {"requests": asked.total(), "asked_twice": asked.total() - len(asked)}
                print(kind, json.dumps(told), flush=True)


def _build(index: Path, url: str) -> None:
    import polars_rasteret as pr

    days = pl.datetime_range(
        pl.datetime(2024, 1, 1, time_zone="UTC"), pl.datetime(2024, 1, N_DATES, time_zone="UTC"), "1d", eager=True
    )
    table = pl.DataFrame(
        {
            "id": [f"T{number:02}" for number in range(N_DATES)],
            "datetime": days,
            **{f"href_{band}": [f"{url}/copy-{number}/{band}.tif" for number in range(N_DATES)] for band in BANDS},
        }
    )
    pr.build_from_table(table, bands={band: f"href_{band}" for band in BANDS}, into=index, on_error="raise")


if __name__ == "__main__":
    main()
