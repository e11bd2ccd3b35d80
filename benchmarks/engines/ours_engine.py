"""polars_rasteret without its Polars faces: the same collection, the same pixels, one call of the engine.

Records and pixels are known to it, so nothing is paired; what `ours` takes longer is the share of the Polars face.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from workloads import Points, Workload, warmup_for

import polars_rasteret as pr
from engines.interface import Context, Run
from engines.ours import collection_path, prepare, profile_notes
from polars_rasteret.engine import WindowRead, read_windows
from polars_rasteret.options import current_options
from polars_rasteret.pixels.rasters.raster_column import raster_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["prepare", "run"]


def run(workload: Workload, base_url: str, context: Context) -> Run:
    if context.warm:
        _read(warmup_for(workload), context)
        gc.collect()
    with pr.profile() as profile:
        started = time.perf_counter()
        answer = _read(workload, context)
        ended = time.perf_counter()
    return Run(wall_s=ended - started, answer=answer, notes=profile_notes(profile), ended=ended)


def window_reads(workload: Workload, context: Context) -> list[WindowRead]:
    """Give what the engine is asked for: one read per band."""
    names = [record.name for record in workload.records]
    wanted = [names[record] for record in np.unique(workload.record)]
    records = (
        pr.scan_collection(collection_path(context, workload.records[0].folder))
        .filter(pl.col("id").is_in(wanted))
        .select("id", *workload.bands)
        .collect()
    )
    row_of = {name: row for row, name in enumerate(records["id"])}
    record_row = np.array([row_of.get(name, -1) for name in names])[workload.record]
    if isinstance(workload, Points):
        row_start, col_start, shape, fill = workload.row, workload.col, (1, 1), 0
    else:
        row_start, col_start, shape, fill = (
            workload.row_start,
            workload.col_start,
            (workload.height, workload.width),
            None,
        )
    height, width = (np.full(len(record_row), edge) for edge in shape)
    reads = []
    for band in workload.bands:
        column = raster_column(records[band])
        reads.append(
            WindowRead(
                label=band,
                references=column.references,
                reference_id=column.reference_id[record_row],
                row_start=row_start,
                col_start=col_start,
                height=height,
                width=width,
                dtype=column.dtype,
                fill=fill,
                want_valid=False,
            )
        )
    return reads


def _read(workload: Workload, context: Context) -> NDArray[Any]:
    reads = window_reads(workload, context)
    answers = read_windows(reads, current_options())
    height, width = (int(edge[0]) for edge in (reads[0].height, reads[0].width))
    pixels = np.stack([answer.values.reshape(-1, height, width) for answer in answers], axis=1)
    return pixels.reshape(workload.answer_shape)
