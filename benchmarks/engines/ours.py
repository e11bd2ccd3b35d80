"""polars_rasteret through its Polars faces, as a user would write it.

The collection is built before the clock; the clock covers scanning it, pairing, reading and bringing the answer
into the canonical layout. Points and many windows go through the LazyFrame verbs, which find the record of each
coordinate; one box of known records goes through the expression.
"""

from __future__ import annotations

import gc
import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from corpus import BANDS, DATES, SCENES, WARMUP, Scene
from workloads import Points, Windows, Workload, warmup_for

import polars_rasteret as pr
from engines.interface import Context, Run

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INDEXED = {"scenes": SCENES, "dates": DATES, "warmup": (WARMUP,)}


def prepare(base_url: str, context: Context) -> None:
    shutil.rmtree(context.index_dir, ignore_errors=True)
    context.index_dir.mkdir(parents=True)
    for folder, records in INDEXED.items():
        pr.build_from_table(
            record_frame(records, base_url),
            bands={band: f"href_{band}" for band in BANDS},
            into=collection_path(context, folder),
            on_error="raise",
        )


def collection_path(context: Context, folder: str) -> Path:
    return context.index_dir / f"{folder}.parquet"


def record_frame(records: tuple[Scene, ...], base_url: str) -> pl.DataFrame:
    """Give the table of hrefs a user would have: one row per record, footprints in longitude and latitude."""
    import shapely
    from pyproj import Transformer

    footprints = []
    for record in records:
        to_lonlat = Transformer.from_crs(record.epsg, 4326, always_xy=True)
        outline = shapely.segmentize(shapely.box(*record.bounds), 5000)
        footprints.append(
            shapely.transform(outline, lambda xy, to=to_lonlat: np.column_stack(to.transform(xy[:, 0], xy[:, 1])))
        )
    return pl.DataFrame(
        {
            "id": [record.name for record in records],
            "datetime": [record.datetime for record in records],
            "geometry": [shapely.to_wkb(one) for one in footprints],
            **{f"href_{band}": [f"{base_url}/{record.path(band)}" for record in records] for band in BANDS},
        }
    )


def run(workload: Workload, base_url: str, context: Context) -> Run:
    if context.warm:
        _read(warmup_for(workload), context)
        gc.collect()
    with pr.profile() as profile:
        started, cpu = time.perf_counter(), time.process_time()
        answer = _read(workload, context)
        ended, cpu = time.perf_counter(), time.process_time() - cpu
    notes = {**profile_notes(profile), "cpu_s": cpu}
    return Run(wall_s=ended - started, answer=answer, notes=notes, ended=ended)


def profile_notes(profile: Any) -> dict[str, float]:
    summary = profile.summary().row(0, named=True)
    return {name: float(value) for name, value in summary.items() if value is not None}


def _read(workload: Workload, context: Context) -> NDArray[Any]:
    scenes = pr.scan_collection(collection_path(context, workload.records[0].folder))
    bands = list(workload.bands)
    if isinstance(workload, Points):
        return _points(scenes, workload, bands)
    if len(workload.record) > 1 and not workload.is_one_box:
        return _windows(scenes, workload, bands)
    return _one_box(scenes, workload, bands)


def _points(scenes: pl.LazyFrame, workload: Points, bands: list[str]) -> NDArray[Any]:
    points = pl.DataFrame({"lon": workload.lon, "lat": workload.lat})
    pixels = scenes.raster.sample_points(points, bands, x="lon", y="lat", crs=4326).select(bands).collect()
    return pixels.fill_null(0).to_numpy()


def _windows(scenes: pl.LazyFrame, workload: Windows, bands: list[str]) -> NDArray[Any]:
    centres = pl.DataFrame({"lon": workload.lon, "lat": workload.lat})
    chips = scenes.raster.read_windows(
        centres, bands, x="lon", y="lat", crs=4326, shape=(workload.height, workload.width), stack=True
    )
    return chips.select("pixels").collect()["pixels"].to_numpy()


def _one_box(scenes: pl.LazyFrame, workload: Windows, bands: list[str]) -> NDArray[Any]:
    row, col = int(workload.row_start[0]), int(workload.col_start[0])
    names = [workload.records[record].name for record in workload.record]
    chips = (
        scenes.filter(pl.col("id").is_in(names))
        .sort("datetime")
        .select(pr.read_window(bands, window=(row, row + workload.height, col, col + workload.width), stack=True))
    )
    return chips.collect()["pixels"].to_numpy()
