"""What does a second worker gain, what does a part cost, and is any tile fetched twice?

10,000 points over 12 scenes of 4 bands (1.8 GB), in parts of 100 MB, by one and by two workers of `pr.ProcessEngine`, each pinned
to a core of its own, behind 20-40 ms of latency. Workers are started and have read one part before the clock. The server and the
link run on the same machine, so their processor time is told: a machine of two cores gives two workers less than two cores.

The fixed cost of a part is what 100 parts of one small query take longer than 10, per part, by one worker without latency. Bytes
are those of the server's log; duplication is these over the bytes of the query in one piece, by `pr.estimate`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus import BANDS, SCENES, default_data_dir, ensure_corpus
from servers import latency_proxy, static_server
from workloads import workload

PART_BYTES = 100_000_000
CORES = "POLARS_RASTERET_BENCH_CORES"
"""Environment variable with the folder in which workers take a core each."""


def pin() -> None:
    """Pin this worker to the first core that no other worker of the engine has."""
    for core in sorted(os.sched_getaffinity(0)):
        try:
            os.close(os.open(Path(os.environ[CORES]) / str(core), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        return
    raise SystemExit("more workers than cores")


def descendants(pid: int) -> list[int]:
    found = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return found + [further for child in found for further in descendants(child)]


def cpu_s(pids: list[int]) -> float:
    """Give the processor seconds of processes until now."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def query(index: Path, name: str, *, n_points: int | None = None, bands: list[str] | None = None) -> Any:
    import polars as pl

    import polars_rasteret as pr

    asked = workload(name)
    points = pl.DataFrame({"lon": asked.lon, "lat": asked.lat})
    if n_points is not None:
        points = points.filter(pl.Series(asked.record == 0)).head(n_points)
    return pr.scan_collection(index).raster.sample_points(points, bands, x="lon", y="lat", crs=4326)


def build(url: str, index: Path) -> None:
    from engines.ours import record_frame

    import polars_rasteret as pr

    bands = {band: f"href_{band}" for band in BANDS}
    frame = record_frame(SCENES, url)
    pr.build_from_table(frame, bands=bands, into=index, on_error="raise")


def timed(
    asked: Any, n_workers: int, folder: Path, *, part_bytes: int = PART_BYTES, min_parts: int | None = None
) -> float:
    """Give the seconds of a run by workers that are there already."""
    import polars_rasteret as pr

    with tempfile.TemporaryDirectory(dir=folder) as cores, tempfile.TemporaryDirectory(dir=folder) as out:
        os.environ[CORES] = cores
        with pr.ProcessEngine(
            workers=n_workers, setup="workers:pin", part_bytes=part_bytes, min_parts=min_parts
        ) as engine:
            pr.run(asked["first"], into=f"{out}/first", engine=engine)
            asked["server"].new_requests()
            servers = cpu_s(asked["pids"])
            started = time.perf_counter()
            scan = pr.run(asked["query"], into=f"{out}/all", engine=engine)
            seconds = time.perf_counter() - started
            asked["server_cpu_s"] = cpu_s(asked["pids"]) - servers
            asked["rows"] = scan.select("record_id").collect().height
            asked["parts"] = len(list(Path(f"{out}/all").glob("*.parquet")))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", type=int, help="the same parts for any number of workers (default: 20 for each)")
    given = parser.parse_args()
    import polars_rasteret as pr

    ensure_corpus(given.data)
    with (
        static_server(given.data) as server,
        latency_proxy(server) as slow,
        tempfile.TemporaryDirectory(prefix="bench-workers-") as name,
    ):
        folder, pids = Path(name), descendants(os.getpid())
        for link, url in {"direct": server.url, "latency": slow}.items():
            build(url, folder / link)
        first = query(folder / "latency", "sparse", n_points=20)
        asked = {"query": query(folder / "latency", "points"), "first": first, "server": server, "pids": pids}
        bill = pr.estimate(asked["query"])
        seconds: dict[int, list[float]] = {1: [], 2: []}
        told = {}
        for number in range(given.rounds):
            for n_workers in (1, 2) if number % 2 else (2, 1):
                seconds[n_workers].append(timed(asked, n_workers, folder, min_parts=given.parts))
                n_bytes = sum(one.n_bytes for one in server.new_requests())
                told[n_workers] = (asked["parts"], n_bytes, asked["server_cpu_s"])
        print(
            "| workers | parts | s | server and link, processor s | MB served | duplication | bytes of a part, most / mean |"
        )
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for n_workers, (parts, n_bytes, server_cpu_s) in told.items():
            planned = pr.plan_parts(asked["query"], part_bytes=PART_BYTES, workers=n_workers, min_parts=given.parts)[
                "bytes"
            ]
            most = planned.max() / planned.mean()
            print(
                f"| {n_workers} | {parts} | {statistics.median(seconds[n_workers]):.2f} | {server_cpu_s:.2f} "
                f"| {n_bytes / 1e6:,.0f} "
                f"| {n_bytes / bill.bytes:.3f} | {most:.2f} |"
            )
        gain = statistics.median(one / two for one, two in zip(seconds[1], seconds[2], strict=True))
        print(f"\nFrom one to two workers: {gain:.2f} times (aim 1.5), median of {given.rounds} rounds.")
        small = query(folder / "direct", "points", n_points=800, bands=["B04"])
        small_asked = {
            "query": small,
            "first": query(folder / "direct", "sparse", n_points=20),
            "server": server,
            "pids": pids,
        }
        fixed = []
        for _ in range(given.rounds):
            runs = {}
            for n_parts in (10, 100):
                runs[n_parts] = (timed(small_asked, 1, folder, min_parts=n_parts), small_asked["parts"])
            (few_s, few), (many_s, many) = runs[10], runs[100]
            fixed.append((many_s - few_s) / (many - few))
        print(f"Fixed cost of a part: {1000 * statistics.median(fixed):.0f} ms (aim 50), from {few} and {many} parts.")


if __name__ == "__main__":
    sys.exit(main())
