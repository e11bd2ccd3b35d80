"""How long do questions to a large collection take?

The collection is synthetic: footprints scattered over the land latitudes, times and cloud cover drawn at random, and raster
values that are real ones of the corpus under other hrefs, with tile tables of a hundred files of other sizes and ETags per scene,
drawn at random (so that hardly any repeats within a row group). It is written in parts, as a build writes them, but each part is
scattered over the whole Earth, which is the worst order that files can come in; then its parts are joined by `pr.compact`. Each
repetition is a fresh process that asks each question once.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import shapely
from corpus import BANDS, SCENES, default_data_dir, ensure_corpus
from fresh_process import repeat, summary

N_RECORDS = 1_000_000
N_VARIANTS = 100
RECORDS_PER_PART = 2_000
WIDTH_DEG, HEIGHT_DEG = 1.5, 1.0
BOX = (0.0, 42.0, 17.0, 54.0)
CLOUD_LIMIT = 20
PERIOD = "2021-01/2021-06"
QUESTIONS = ("open", "box, cloud and date", "box and cloud", "pair 1000 points", "len", "bands", "crs", "describe")


def real_rasters(data_dir: Path) -> pl.DataFrame:
    """Give the raster columns of the corpus, and of files like them."""
    import polars_rasteret as pr

    hrefs = pl.DataFrame(
        {
            "id": [scene.name for scene in SCENES],
            **{f"href_{band}": [str(data_dir / scene.path(band)) for scene in SCENES] for band in BANDS},
        }
    )
    real = pr.build_from_table(hrefs, bands={band: f"href_{band}" for band in BANDS}, on_error="raise")
    return pl.concat([_other_files(real.select(BANDS).collect(), number) for number in range(N_VARIANTS)])


def _other_files(rasters: pl.DataFrame, number: int) -> pl.DataFrame:
    """Give rasters like these whose tiles lie elsewhere."""
    from polars_rasteret.tiff.tile_table import pack, unpack

    def moved(packed: bytes) -> bytes:
        tiles = unpack(packed)
        images = tuple(
            dataclasses.replace(one, byte_start=one.byte_start + number, byte_count=np.roll(one.byte_count, number))
            for one in tiles.images
        )
        etag = secrets.token_hex(16)
        return pack(dataclasses.replace(tiles, images=images, file_size=10**9 + number, etag=etag))

    return rasters.with_columns(
        pl.col(band).struct.with_fields(
            tiles=pl.Series([moved(one) for one in rasters[band].struct.field("tiles")], dtype=pl.Binary)
        )
        for band in BANDS
    )


def records(rasters: pl.DataFrame, first: int, n_records: int) -> pl.DataFrame:
    """Make the records from number `first` on, in no spatial order."""
    rng = np.random.default_rng(first)
    left, bottom = rng.uniform(-180, 178, n_records), rng.uniform(-55, 70, n_records)
    start = np.datetime64("2020-01-01", "us")
    number = pl.Series(np.arange(first, first + n_records))
    minutes = rng.integers(0, 2_600_000, n_records).astype("timedelta64[m]")
    base = pl.DataFrame(
        {
            "id": pl.select(pl.format("R{}", number)).to_series(),
            "datetime": pl.Series(start + minutes).dt.replace_time_zone("UTC"),
            "geometry": shapely.to_wkb(shapely.box(left, bottom, left + WIDTH_DEG, bottom + HEIGHT_DEG)).tolist(),
            "bbox": pl.DataFrame(
                {"xmin": left, "ymin": bottom, "xmax": left + WIDTH_DEG, "ymax": bottom + HEIGHT_DEG}
            ).to_struct(),
            "proj:code": pl.repeat("EPSG:32632", n_records, eager=True),
            "eo:cloud_cover": rng.uniform(0, 100, n_records),
        }
    )
    raster_of = rng.integers(0, rasters.height, n_records)
    return base.with_columns(
        rasters[band]
        .gather(raster_of)
        .struct.unnest()
        .with_columns(
            href=pl.format("https://example.com/{}/{}.tif", number, pl.lit(band)),
        )
        .to_struct(band)
        for band in BANDS
    )


def measure(path: Path) -> dict[str, Any]:
    import polars_rasteret as pr

    rng = np.random.default_rng(5)
    points = pl.DataFrame({"lon": rng.uniform(5, 6, 1000), "lat": rng.uniform(45, 46, 1000)})
    answers: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        answer = question()
        answers[name] = time.perf_counter() - started
        return answer

    scan = ask("open", lambda: pr.scan_collection(path))
    clear = scan.raster.intersects(BOX).filter(pl.col("eo:cloud_cover") < CLOUD_LIMIT)
    dated = clear.raster.subset(datetime=PERIOD)
    found = ask("box, cloud and date", lambda: dated.select("id", "datetime", *BANDS).collect())
    ask("box and cloud", lambda: clear.select("id", "datetime", *BANDS).collect())
    pairs = ask(
        "pair 1000 points",
        lambda: (
            scan.raster.pair(points, crs=4326).filter(pl.col("datetime").dt.date() == dt.date(2021, 5, 1)).collect()
        ),
    )
    n_records = ask("len", lambda: scan.select(pl.len()).collect().item())
    ask("bands", scan.raster.bands)
    ask("crs", scan.raster.crs)
    ask("describe", scan.raster.describe)
    answers["records"], answers["found"], answers["pairs"] = n_records, found.height, pairs.height
    answers["peak_mb"] = peak_mb()
    return answers


def peak_mb() -> float:
    """Give the peak memory of this process; not ru_maxrss, which starts with what the parent process had."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def report(layout: str, path: Path, rounds: int) -> None:
    rows = repeat(rounds, __file__, str(path))
    files = list(path.rglob("*.parquet"))
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    told = " | ".join(summary(rows, question) for question in QUESTIONS)
    peak = max(row["peak_mb"] for row in rows)
    print(f"| {layout} | {len(files)} | {megabytes:.0f} | {rows[0]['found']} | {told} | {peak:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--records", type=int, default=N_RECORDS)
    parser.add_argument("--per-part", type=int, default=RECORDS_PER_PART)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once", type=Path, metavar="COLLECTION", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once)))
        return
    import polars_rasteret as pr

    ensure_corpus(given.data)
    rasters = real_rasters(given.data)
    with tempfile.TemporaryDirectory(prefix="bench-collection-") as folder:
        path = Path(folder) / "records"
        started = time.perf_counter()
        for first in range(0, given.records, given.per_part):
            some = records(rasters, first, min(given.per_part, given.records - first))
            pr.raster(some).sink_collection(path, mode="append")
        sink_s = time.perf_counter() - started
        print(
            f"{given.records:,} records of {len(BANDS)} bands, made and written in {sink_s:.0f} s; seconds, median "
            "(min-max):\n"
        )
        print(
            f"| layout | parts | MB | found | {' | '.join(QUESTIONS)} | peak MB |\n|---|{'---:|' * (len(QUESTIONS) + 4)}"
        )
        report("as built", path, given.rounds)
        started = time.perf_counter()
        pr.compact(path)
        compact_s = time.perf_counter() - started
        report("compacted", path, given.rounds)
        print(f"\n`pr.compact` took {compact_s:.0f} s; peak of the writing process {peak_mb():.0f} MB.")


if __name__ == "__main__":
    main()
