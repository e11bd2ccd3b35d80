"""rasteret (Python 3.12 and later), configured as well as we know.

Its collection, with headers, is built before the clock. One call with 10,000 points ends its process (an Arrow
expression nested too deep), so points go in chunks, sorted by longitude so that chunks share few tiles. Windows are
asked as boxes, a quarter pixel smaller than the pixels wanted, in one call per CRS; the answer names no records, so
their order is taken from the collection.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import rasteret
import shapely
from corpus import BANDS, DATES, RESOLUTION, SCENES, WARMUP, Scene
from rasteret.fetch import cog
from workloads import Points, Windows, Workload, warmup_for

from engines.interface import Context, Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Its automatic HTTP store refuses plain http, which is all a loopback server speaks.
cog._OBSTORE_CLIENT_OPTIONS.setdefault("allow_http", "true")  # noqa: SLF001

INDEXED = {"scenes": SCENES, "dates": DATES, "warmup": (WARMUP,)}


def _collection_dir(context: Context, folder: str) -> str:
    return str(context.index_dir / f"{folder}_records")


def prepare(base_url: str, context: Context) -> None:
    for folder, records in INDEXED.items():
        rasteret.build_from_table(
            _record_table(records, base_url),
            name=folder,
            workspace_dir=_collection_dir(context, folder),
            enrich_cog=True,
            force=True,
        )


def _record_table(records: tuple[Scene, ...], base_url: str) -> pa.Table:
    from pyproj import Transformer

    footprints = []
    for record in records:
        to_lonlat = Transformer.from_crs(record.epsg, 4326, always_xy=True)
        outline = shapely.segmentize(shapely.box(*record.bounds), 5000)
        footprints.append(
            shapely.transform(outline, lambda xy, to=to_lonlat: np.column_stack(to.transform(xy[:, 0], xy[:, 1])))
        )
    names = ("xmin", "ymin", "xmax", "ymax")
    return pa.table(
        {
            "id": [record.name for record in records],
            "datetime": pa.array([record.datetime for record in records], pa.timestamp("us", tz="UTC")),
            "geometry": pa.array(shapely.to_wkb(footprints), pa.binary()),
            "assets": pa.array(
                [{band: {"href": f"{base_url}/{record.path(band)}"} for band in BANDS} for record in records]
            ),
            "proj:epsg": pa.array([record.epsg for record in records], pa.int32()),
            "bbox": pa.array([dict(zip(names, outline.bounds, strict=True)) for outline in footprints]),
        }
    )


def run(workload: Workload, base_url: str, context: Context) -> Run:
    if context.warm:
        _read(warmup_for(workload), context)
        gc.collect()
    started = time.perf_counter()
    answer = _read(workload, context)
    return Run(wall_s=time.perf_counter() - started, answer=answer)


def _read(workload: Workload, context: Context) -> NDArray[np.uint16]:
    collection = rasteret.load(_collection_dir(context, workload.records[0].folder))
    concurrency = context.number("concurrency", 50)
    if isinstance(workload, Points):
        return _points(collection, workload, concurrency, context.number("chunk", 2500))
    return _windows(collection, workload, concurrency)


def _points(collection: rasteret.Collection, workload: Points, concurrency: int, chunk: int) -> NDArray[np.uint16]:
    answer = np.zeros(workload.answer_shape, np.uint16)
    bands = list(workload.bands)
    by_longitude = np.argsort(workload.lon)
    for start in range(0, len(by_longitude), chunk):
        part = by_longitude[start : start + chunk]
        table = collection.sample_points(
            pa.table({"x": workload.lon[part], "y": workload.lat[part]}),
            bands,
            x_column="x",
            y_column="y",
            geometry_crs=4326,
            max_concurrent=concurrency,
        )
        band = np.searchsorted(bands, table["band"].to_numpy(zero_copy_only=False).astype(str))
        answer[part[table["point_index"].to_numpy()], band] = table["value"].to_numpy()
    return answer


def _windows(collection: rasteret.Collection, workload: Windows, concurrency: int) -> NDArray[np.uint16]:
    answer = np.zeros(workload.answer_shape, np.uint16)
    ids = collection.dataset.to_table(columns=["id"])["id"].to_pylist()
    place = np.array([ids.index(record.name) for record in workload.records])
    for number, boxes, epsg in _questions(workload, place):
        pixels = collection.get_numpy(
            boxes if len(boxes) > 1 else boxes[0],
            list(workload.bands),
            geometry_crs=epsg,
            max_concurrent=concurrency,
        )
        answer[number] = pixels.reshape(len(number), *workload.answer_shape[1:])
    return answer


def _questions(
    workload: Windows, place: NDArray[np.intp]
) -> list[tuple[NDArray[np.intp], list[shapely.Geometry], int]]:
    """Give windows, boxes and CRS of each call; answers come by the record's place in the collection, then by box."""
    if workload.is_one_box and len(workload.record) > 1:
        return [(np.argsort(place), [_box(workload, 0)], workload.records[0].epsg)]
    epsg = np.array([record.epsg for record in workload.records])[workload.record]
    calls = []
    for code in np.unique(epsg):
        number = np.flatnonzero(epsg == code)
        number = number[np.argsort(place[workload.record[number]], kind="stable")]
        calls.append((number, [_box(workload, one) for one in number], int(code)))
    return calls


def _box(workload: Windows, number: int) -> shapely.Geometry:
    record = workload.records[workload.record[number]]
    left = record.left + float(workload.col_start[number]) * RESOLUTION
    top = record.top - float(workload.row_start[number]) * RESOLUTION
    inset = RESOLUTION / 4
    return shapely.box(
        left + inset,
        top - workload.height * RESOLUTION + inset,
        left + workload.width * RESOLUTION - inset,
        top - inset,
    )
