"""Which records of a collection are candidates, and where and when were they acquired?

Filters and the targets' bounding box become filters of the collection's scan. Columns are renamed to the names in the answer
before the predicate from Polars is applied, so the predicate needs no rewriting. Raster columns are read for candidates only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars.selectors as cs

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.pairing.record_boxes import (
    bbox_faults,
    bbox_near,
    bbox_sides,
    boxes_of_bbox,
    boxes_of_rasters,
    near_records,
)
from polars_rasteret.pairing.times import may_lie_in, record_intervals, record_times
from polars_rasteret.pixels.rasters.raster_column import RasterColumn, raster_columns_of
from polars_rasteret.pixels.rasters.raster_faults import check_fields
from polars_rasteret.schema import is_nearly_raster_dtype, raster_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.errors import RasteretError
    from polars_rasteret.plan.time_match import Intervals

_RASTER = "\0raster "
_BBOX = "\0bbox"
_DATETIME, _START, _END = "\0datetime", "\0start", "\0end"
_ID = "\0id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Candidate records, in the order of their rows in the answer: by time, then id, then order in the collection."""

    n_records: int
    found_crs: frozenset[str | None]
    """CRSs of the rasters of these records, and of records too far from any target to be candidates."""
    ids: pl.Series
    """Ids of the records; null where a record has none."""
    columns: pl.DataFrame
    """Record columns under their output names; a frame without columns has no height."""
    rasters: Mapping[str, RasterColumn]
    boxes: NDArray[np.float64]
    """Boxes that enclose the images, in the coordinates in which targets are compared; shape (m, 4)."""
    box_owner: NDArray[np.int64]
    """Index of the record of each box (a record across the antimeridian has two boxes)."""
    times: Intervals
    """Time of each record."""
    precedence: NDArray[np.int64]
    """Order of records with equal times: by id (nulls last), then by order in the collection."""
    faults: Mapping[int, RasteretError]
    """Faults of records that must not be read, beside faults of their raster values; by index of the record."""

    def __len__(self) -> int:
        return self.n_records

    def told(self, record: int, fault: RasteretError) -> RasteretError:
        """Return a fault with a message that names the record."""
        return type(fault)(f"{fault} (record {self.ids[record]!r})")

    def files(self) -> Iterator[tuple[str | None, list[str]]]:
        """Yield the id of each record, and the hrefs of its bands."""
        for record, name in enumerate(self.ids):
            at = [(one, int(one.reference_id[record])) for one in self.rasters.values()]
            yield name, [one.references[reference].href for one, reference in at if reference >= 0]


def checked_raster_columns(schema: Mapping[str, pl.DataType], bands: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of raster columns: the bands given, in their order, else all raster columns.

    Raises
    ------
    UsageError
        When a name is not a raster column, or the schema has no raster column.
    """
    known = raster_columns(schema)
    for name, dtype in schema.items():
        if name in (bands or known) or (bands is None and is_nearly_raster_dtype(dtype)):
            check_fields(name, dtype)
    if not known:
        raise UsageError(
            f"the frame has no raster columns (columns: {', '.join(schema)}); expected a collection, for instance from "
            "pr.scan_collection or pr.build_from_files"
        )
    if bands is None:
        return tuple(known)
    if unknown := [name for name in bands if name not in known]:
        raise UsageError(f"{', '.join(unknown)}: no such band; the raster columns are {', '.join(known)}")
    return tuple(bands)


def collect_records(
    lf: pl.LazyFrame,
    schema: Mapping[str, pl.DataType],
    *,
    outputs: Mapping[str, str],
    bands: Sequence[str],
    predicates: Sequence[pl.Expr],
    bounds: NDArray[np.float64],
    period: tuple[int | None, int | None],
    target_crs: str,
) -> Records:
    """Return the records that may meet a target.

    Parameters
    ----------
    lf, schema
        The collection and its schema.
    outputs
        Record columns of the answer: name in the answer to the column.
    bands
        Raster columns whose images may meet a target.
    predicates
        Predicates on names in the answer; each becomes a filter of the scan.
    bounds
        Bounds of the targets, shape (k, 4): pieces as `geo.boxes.cut_boxes` returns them. With a `target_crs` of ``"native"``,
        bounds in native coordinates.
    period
        Time in which records may match, microseconds since 1970; None is open.
    target_crs
        CRS of the targets; with ``"native"`` boxes are in each record's own CRS.
    """
    has_bbox = _has_bbox(schema, target_crs)
    lf = records_near(lf, schema, bounds=bounds, period=period, target_crs=target_crs)
    datetime, start, end = record_times(schema)
    hidden = {
        _DATETIME: datetime,
        _START: start,
        _END: end,
        _ID: pl.col("id") if "id" in schema else pl.lit(None, pl.String),
        **({_BBOX: pl.col("bbox")} if has_bbox else {}),
        **{_RASTER + band: pl.col(band) for band in bands},
    }
    plan = lf.select(
        *[cs.by_name(column).alias(name) for name, column in outputs.items()],  # a name may look like a pattern
        *[expr.alias(name) for name, expr in hidden.items()],
    )
    if predicates:
        plan = plan.filter(*predicates)
    frame = plan.collect()
    found_crs = [crs for band in bands for crs in frame[_RASTER + band].struct.unnest()["crs"].unique().to_list()]
    sides = bbox_sides(frame[_BBOX]) if has_bbox else np.full((frame.height, 4), np.nan)
    is_near = near_records(sides, [frame[_RASTER + band] for band in bands], bounds, native=target_crs == NATIVE)
    if not is_near.all():
        frame, sides = frame.filter(pl.Series(is_near)), sides[is_near]
    times = record_intervals(frame[_DATETIME], frame[_START], frame[_END])
    precedence = id_ranks(frame[_ID])
    order = np.lexsort((precedence, times.stop, times.start, ~times.is_known))
    if (np.diff(order) < 0).any():
        frame, sides, times, precedence = frame[order], sides[order], times.taken(order), precedence[order]
    columns = raster_columns_of((frame[_RASTER + band].alias(band) for band in bands), targets_in=target_crs)
    rasters = dict(zip(bands, columns, strict=True))
    faults: dict[int, RasteretError] = {}
    if has_bbox:
        boxes, owner = boxes_of_bbox(sides, list(rasters.values()))
        faults = bbox_faults(frame[_BBOX], sides)
    else:
        boxes, owner = boxes_of_rasters(list(rasters.values()), native=target_crs == NATIVE)
    return Records(
        n_records=frame.height,
        found_crs=frozenset(found_crs),
        ids=frame[_ID].cast(pl.String),
        columns=frame[list(outputs)] if outputs else pl.DataFrame(),
        rasters=rasters,
        boxes=boxes,
        box_owner=owner,
        times=times,
        precedence=precedence,
        faults=faults,
    )


def records_near(
    lf: pl.LazyFrame,
    schema: Mapping[str, pl.DataType],
    *,
    bounds: NDArray[np.float64],
    period: tuple[int | None, int | None],
    target_crs: str,
) -> pl.LazyFrame:
    """Return the collection with the filters that its columns allow; records that meet no target may be left.

    Parameters are those of `collect_records`.
    """
    if _has_bbox(schema, target_crs):
        lf = lf.filter(bbox_near(lf, bounds))
    in_time = may_lie_in(schema, *period)
    return lf if in_time is None else lf.filter(in_time)


def _has_bbox(schema: Mapping[str, pl.DataType], target_crs: str) -> bool:
    return "bbox" in schema and isinstance(schema["bbox"], pl.Struct) and target_crs != NATIVE


def id_ranks(ids: pl.Series) -> NDArray[np.int64]:
    """Return the rank of each record by id, nulls last; records of equal ids keep their order."""
    ranks = np.empty(len(ids), np.int64)
    if len(ids):
        order = ids.alias("id").to_frame().select(pl.arg_sort_by("id", nulls_last=True, maintain_order=True))
        ranks[order.to_series().to_numpy()] = np.arange(len(ids))
    return ranks
