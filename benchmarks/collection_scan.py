"""How long does it take to find about 100 records, with four bands, among 100,000?

The collection is synthetic: footprints scattered over the land latitudes, cloud cover drawn at random, and raster
values that are real ones of the corpus under other hrefs (so their tile tables repeat, which flatters the size of
the file but not the number of row groups). Each repetition is a fresh process: scan, spatial filter, cloud filter,
four raster columns, collect.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import shapely
from corpus import BANDS, SCENES, default_data_dir, ensure_corpus
from fresh_process import repeat, summary

N_RECORDS = 100_000
WIDTH_DEG, HEIGHT_DEG = 1.5, 1.0
BOX = (0.0, 42.0, 17.0, 54.0)
"""Holds about 540 footprints, of which about 100 are clear enough."""
CLOUD_LIMIT = 20


def records_to_sink(data_dir: Path, n_records: int) -> pl.DataFrame:
    """Make the records, in no spatial order."""
    import polars_rasteret as pr

    hrefs = pl.DataFrame(
        {
            "id": [scene.name for scene in SCENES],
            **{band: [str(data_dir / scene.path(band)) for scene in SCENES] for band in BANDS},
        }
    )
    real = pr.build_from_table(
        hrefs.rename({band: f"href_{band}" for band in BANDS}),
        bands={band: f"href_{band}" for band in BANDS},
        on_error="raise",
    )
    rasters = real.select(BANDS).collect()
    rng = np.random.default_rng(17)
    left, bottom = rng.uniform(-180, 178, n_records), rng.uniform(-55, 70, n_records)
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    number = pl.Series(np.arange(n_records))
    base = pl.DataFrame(
        {
            "id": [f"R{index:06d}" for index in range(n_records)],
            "datetime": [start + dt.timedelta(minutes=int(minute)) for minute in rng.integers(0, 2_600_000, n_records)],
            "geometry": shapely.to_wkb(shapely.box(left, bottom, left + WIDTH_DEG, bottom + HEIGHT_DEG)).tolist(),
            "bbox": pl.DataFrame(
                {"xmin": left, "ymin": bottom, "xmax": left + WIDTH_DEG, "ymax": bottom + HEIGHT_DEG}
            ).to_struct(),
            "eo:cloud_cover": rng.uniform(0, 100, n_records),
        },
        schema_overrides={"datetime": pl.Datetime("us", "UTC")},
    )
    raster_of = rng.integers(0, rasters.height, n_records)
    return base.with_columns(
        rasters[band]
        .gather(raster_of)
        .struct.unnest()
        .with_columns(href=pl.format("https://example.com/{}/{}.tif", number, pl.lit(band)))
        .to_struct(band)
        for band in BANDS
    )


def measure(path: Path) -> dict[str, float]:
    import polars_rasteret as pr

    started = time.perf_counter()
    found = (
        pr.scan_collection(path)
        .raster.intersects(BOX)
        .filter(pl.col("eo:cloud_cover") < CLOUD_LIMIT)
        .select("id", "datetime", *BANDS)
        .collect()
    )
    return {"query_s": time.perf_counter() - started, "records": found.height}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--records", type=int, default=N_RECORDS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--once", type=Path, metavar="COLLECTION", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once)))
        return
    import polars_rasteret as pr

    ensure_corpus(given.data)
    with tempfile.TemporaryDirectory(prefix="bench-collection-") as folder:
        path = Path(folder) / "records.parquet"
        frame = records_to_sink(given.data, given.records)
        started = time.perf_counter()
        pr.raster(frame.lazy()).sink_collection(path)
        sink_s = time.perf_counter() - started
        files = [path] if path.is_file() else list(path.rglob("*.parquet"))
        megabytes = sum(file.stat().st_size for file in files) / 1e6
        rows = repeat(given.rounds, __file__, str(path))
    print(
        "| records | bands | file MB | written in s | records found | query s, median (min-max) |\n"
        "|---:|---:|---:|---:|---:|---:|\n"
        f"| {given.records:,} | {len(BANDS)} | {megabytes:.1f} | {sink_s:.1f} | {rows[0]['records']} "
        f"| {summary(rows, 'query_s')} |"
    )


if __name__ == "__main__":
    main()
