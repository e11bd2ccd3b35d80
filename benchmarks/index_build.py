"""How fast are headers indexed, with how many requests, and how small are they then?

Files of several kinds (see `KINDS`) and of the corpus are served under many names (``/copy-7/...``), so that any number of
distinct files can be indexed; `build_from_files` gets the URLs. Each repetition is a fresh process after one warm-up file, which
counts among the requests. They come from the server's log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from corpus import BANDS, DATES, SCENES, default_data_dir, ensure_corpus
from fresh_process import once
from servers import LoggedRequest, latency_proxy, static_server

TILED = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
KINDS: dict[str, dict[str, Any]] = {
    "COG": {"driver": "COG", "blocksize": 256, "compress": "deflate"},
    "tiled": TILED,
    "tiled, directory last": TILED,
    "striped": {"driver": "GTiff", "compress": "deflate"},
    "BigTIFF": TILED | {"BIGTIFF": "YES"},
    "BigTIFF, 16,384 tiles": TILED | {"BIGTIFF": "YES", "blockxsize": 16, "blockysize": 16},
}
"""How rasterio writes each kind, beside the 5490 x 5490 COGs of the corpus."""
SIZE = 2048
UNPACKS = 200


def write_kind(path: Path, kind: str) -> None:
    import rasterio
    from rasterio.shutil import copy
    from rasterio.transform import Affine

    options = dict(KINDS[kind])
    driver = options.pop("driver")
    pixels = np.random.default_rng(3).integers(0, 100, (SIZE, SIZE), dtype="uint16")
    profile = {"width": SIZE, "height": SIZE, "count": 1, "dtype": "uint16", "crs": "EPSG:32632", "nodata": 0}
    profile["transform"] = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    if driver == "COG":
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", **profile) as file:
                file.write(pixels, 1)
            with memory.open() as file:
                copy(file, path, driver="COG", **options)
        return
    with rasterio.open(path, "w", driver=driver, **profile, **options) as file:
        file.write(pixels, 1)
    if "last" in kind:
        # What is added to the directory after the pixels moves it to the end of the file.
        with rasterio.open(path, "r+") as file:
            file.update_tags(LONG="x" * 2_000)


def names_of(kind: str) -> list[str]:
    if kind == "corpus":
        return [scene.path(band) for scene in (*SCENES, *DATES) for band in BANDS]
    return [f"{list(KINDS).index(kind)}.tif"]


def measure(base_url: str, kind: str, n_files: int) -> dict[str, float]:
    import polars_rasteret as pr
    from polars_rasteret.tiff.tile_table import unpack

    names = names_of(kind)
    pr.build_from_files([f"{base_url}/copy-99999/{names[0]}"], on_error="raise").collect()
    wanted = [f"{base_url}/copy-{number // len(names)}/{names[number % len(names)]}" for number in range(n_files)]
    started = time.perf_counter()
    records = pr.build_from_files(wanted, on_error="raise").collect()
    wall_s = time.perf_counter() - started
    if records.height != n_files:
        raise SystemExit(f"{n_files} files gave {records.height} records")
    bands = [name for name in records.columns if name.startswith("b") and name[1:].isdecimal()]
    tiles = [packed for band in bands for packed in records[band].struct.field("tiles") if packed is not None]
    started = time.perf_counter()
    for number in range(UNPACKS):
        unpack(tiles[number % len(tiles)])
    unpack_s = (time.perf_counter() - started) / UNPACKS
    with tempfile.TemporaryDirectory() as folder:
        # Copies of one file would share their bytes on disk.
        distinct = records.head(len(names))
        pr.raster(distinct).sink_collection(f"{folder}/c.parquet")
        disk_bytes = Path(f"{folder}/c.parquet").stat().st_size / distinct.height
    n_tile_bytes = statistics.mean(map(len, tiles))
    return {"wall_s": wall_s, "unpack_ms": unpack_s * 1e3, "tile_bytes": n_tile_bytes, "disk_bytes": disk_bytes}


def kind_of(request: LoggedRequest) -> str:
    """Name what a request was for: the file's start, a later part of the header, or something else."""
    if request.status >= 400:
        return f"status {request.status}"
    if request.method != "GET":
        return request.method
    if request.byte_range in ("", "-"):
        return "GET whole file"
    return "GET start" if request.byte_range.startswith("0-") else "GET further part"


def report(kind: str, server: Any, links: dict[str, str], n_files: int, rounds: int) -> None:
    n_asked = n_files + 1
    for link, base_url in links.items():
        rows = []
        for _ in range(rounds):
            server.new_requests()
            rows.append(once(__file__, base_url, "--kind", kind, "--files", str(n_files)))
            requests = server.new_requests()
        walls = [row["wall_s"] for row in rows]
        wall_s = statistics.median(walls)
        kinds = Counter(kind_of(one) for one in requests)
        told = ", ".join(f"{name} {count / n_asked:.2f}" for name, count in kinds.most_common())
        kilobytes = sum(one.n_bytes for one in requests) / n_asked / 1e3
        on_disk = f"{rows[0]['disk_bytes']:.0f}" if kind == "corpus" else ""
        print(
            f"| {kind} | {link} | {wall_s:.2f} ({min(walls):.2f}-{max(walls):.2f}) | {n_files / wall_s:.0f} "
            f"| {len(requests) / n_asked:.2f} | {told} | {kilobytes:.1f} | {rows[0]['tile_bytes']:.0f} | {on_disk} "
            f"| {statistics.median(row['unpack_ms'] for row in rows):.3f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", default="corpus", help=argparse.SUPPRESS)
    parser.add_argument("--once", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once, given.kind, given.files)))
        return
    ensure_corpus(given.data)
    print(
        f"{given.files} files of each kind; latency: 20-40 ms before every answer; bytes of a band: its packed tile table, "
        "and its record's share of the Parquet file where all files differ\n\n"
        "| kind | link | median s (min-max) | files/s | requests per file | by purpose | kB per file | bytes per band | "
        "on disk | ms to unpack |\n|---|---|---:|---:|---:|---|---:|---:|---:|---:|"
    )
    with tempfile.TemporaryDirectory(prefix="bench-index-") as folder:
        for number, kind in enumerate(KINDS):
            write_kind(Path(folder) / f"{number}.tif", kind)
        Path(folder).chmod(0o755)
        for root, kinds in ((given.data, ["corpus"]), (Path(folder), list(KINDS))):
            with contextlib.ExitStack() as stack:
                server = stack.enter_context(static_server(root))
                links = {"direct": server.url, "latency": stack.enter_context(latency_proxy(server))}
                for kind in kinds:
                    report(kind, server, links, given.files, given.rounds)


if __name__ == "__main__":
    main()
