"""How long does one question take that needs one part of a collection of many, behind latency?

The collection lies in a bucket of a server on this machine that answers after 30 ms and notes what it is asked. Its parts are
strips of longitude, one day each. Each repetition is a fresh process that opens the collection and asks for one place, or one
day, once with the manifest of the collection and once without.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fresh_process import repeat, summary

LATENCY_S = 0.03
RECORDS_PER_PART = 50
QUESTIONS = ("place", "day")
FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def write(n_parts: int, folder: Path, files: dict[str, bytes], options: dict[str, str]) -> None:
    """Put the parts into the bucket; the last one comes by an append, which makes the manifest."""
    import polars as pl

    import polars_rasteret as pr

    scene = pr.testing.example_scenes().collect().drop("geometry", "bbox").head(1)
    number = pl.int_range(n_parts * RECORDS_PER_PART, eager=True).alias("number")
    part = number // RECORDS_PER_PART
    west = -179 + 350 * part / n_parts
    scenes = number.to_frame().join(scene, how="cross")
    scenes = scenes.with_columns(
        part=part,
        id=pl.format("s{}", "number"),
        datetime=pl.lit(FIRST) + pl.duration(days=part),
        bbox=pl.struct(xmin=west, ymin=pl.lit(40.0), xmax=west + 350 / n_parts / 2, ymax=pl.lit(41.0)),
        geometry=pl.lit(b"\x01\x01\x00\x00\x00" + bytes(16)),
    )
    scenes.head(-RECORDS_PER_PART).lazy().raster.sink_collection(folder, partition_by="part")
    for one in folder.rglob("part-*.parquet"):
        files[f"bucket/c/{one.name}"] = one.read_bytes()
    rest = scenes.tail(RECORDS_PER_PART).drop("part")
    rest.lazy().raster.sink_collection("s3://bucket/c", mode="append", storage_options=options)


def measure(question: str, n_parts: int, options: dict[str, str]) -> dict[str, Any]:
    import polars as pl

    import polars_rasteret as pr

    started = time.perf_counter()
    scan = pr.scan_collection("s3://bucket/c", storage_options=options)
    opened = time.perf_counter()
    number = n_parts // 3
    if question == "day":
        found = scan.filter(pl.col("datetime") == FIRST + dt.timedelta(days=number))
    else:
        xmin = pl.col("bbox").struct.field("xmin")
        west = -179 + 350 * number / n_parts
        found = scan.filter(xmin.is_between(west - 1e-6, west + 1e-6))
    height = found.select("id", "red").collect().height
    return {"open": opened - started, "ask": time.perf_counter() - opened, "found": height}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, nargs="*", default=[50, 500])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--once", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        question, n_parts, options = given.once
        print(json.dumps(measure(question, int(n_parts), json.loads(options))))
        return
    from tests.support.object_server import ObjectServer

    print(
        f"One part of many in a bucket, {LATENCY_S * 1000:.0f} ms for each answer, {given.rounds} rounds: seconds in fresh "
        "processes, median (min-max), and requests of a round.\n"
    )
    print(
        "| parts | manifest | question | open | ask | listings | manifest | parts |\n|---:|---|---|---:|---:|---:|---:|---:|"
    )
    for n_parts in given.parts:
        with ObjectServer() as server, tempfile.TemporaryDirectory(prefix="bench-parts-") as folder:
            write(n_parts, Path(folder) / "c", server.files, server.options)  # type: ignore[arg-type]
            server.latency_s = LATENCY_S
            for has_manifest in (True, False):
                if not has_manifest:
                    del server.files["bucket/c/_parts.parquet"]
                for question in QUESTIONS:
                    server.clear()
                    rows = repeat(given.rounds, __file__, question, str(n_parts), json.dumps(server.options))
                    if {row["found"] for row in rows} != {RECORDS_PER_PART}:
                        raise SystemExit(f"{question} of {n_parts} parts found {[row['found'] for row in rows]}")
                    asked = Counter(seen.path.rpartition("/")[2].partition("-")[0] for seen in server.requests)
                    counts = [asked[name] / given.rounds for name in ("bucket", "_parts.parquet", "part")]
                    times = [summary(rows, name) for name in ("open", "ask")]
                    cells = [
                        n_parts,
                        "yes" if has_manifest else "no",
                        question,
                        *times,
                        *(f"{one:g}" for one in counts),
                    ]
                    print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
