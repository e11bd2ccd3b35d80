"""How fast are headers indexed, and with how many requests?

The corpus is served under many names (``/copy-7/...``), so that any number of distinct files can be indexed;
`build_from_files` gets the URLs. Each repetition is a fresh process after one warm-up file. Requests come from the
server's log.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections import Counter
from pathlib import Path

from corpus import BANDS, DATES, SCENES, WARMUP, default_data_dir, ensure_corpus
from fresh_process import once
from servers import LoggedRequest, latency_proxy, static_server


def urls(base_url: str, n_files: int) -> list[str]:
    """Give `n_files` distinct URLs of full-size files."""
    paths = [scene.path(band) for scene in (*SCENES, *DATES) for band in BANDS]
    return [f"{base_url}/copy-{number // len(paths)}/{paths[number % len(paths)]}" for number in range(n_files)]


def measure(base_url: str, n_files: int) -> dict[str, float]:
    import polars_rasteret as pr

    pr.build_from_files([f"{base_url}/{WARMUP.path('B04')}"], on_error="raise").collect()
    wanted = urls(base_url, n_files)
    started = time.perf_counter()
    records = pr.build_from_files(wanted, on_error="raise").collect()
    wall_s = time.perf_counter() - started
    if records.height != n_files:
        raise SystemExit(f"{n_files} files gave {records.height} records")
    return {"wall_s": wall_s}


def kind_of(request: LoggedRequest) -> str:
    """Name what a request was for: the file's start, a later part of the header, or something else."""
    if request.status >= 400:
        return f"status {request.status}"
    if request.method != "GET":
        return request.method
    if request.byte_range in ("", "-"):
        return "GET whole file"
    return "GET start" if request.byte_range.startswith("0-") else "GET further part"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once, given.files)))
        return
    ensure_corpus(given.data)
    print(
        "| link | files | median s (min-max) | files/s | requests per file, by kind | kB per file |\n"
        "|---|---:|---:|---:|---|---:|"
    )
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(static_server(given.data))
        for link, base_url in (("direct", server.url), ("latency", stack.enter_context(latency_proxy(server)))):
            walls = []
            for _ in range(given.rounds):
                server.new_requests()
                walls.append(once(__file__, base_url, "--files", str(given.files))["wall_s"])
                requests = server.new_requests()
            wall_s = statistics.median(walls)
            kinds = Counter(kind_of(one) for one in requests)
            told = ", ".join(f"{kind} {count / given.files:.2f}" for kind, count in kinds.most_common())
            kilobytes = sum(one.n_bytes for one in requests) / given.files / 1e3
            print(
                f"| {link} | {given.files} | {wall_s:.2f} ({min(walls):.2f}-{max(walls):.2f}) | {given.files / wall_s:.0f} "
                f"| {told} | {kilobytes:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
