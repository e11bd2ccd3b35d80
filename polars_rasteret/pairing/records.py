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

from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.geo.bounds_cache import cached_bounds
from polars_rasteret.geo.boxes import cut_boxes, widened
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.grids.extents import bounds_in_own_crs, bounds_of_grids
from polars_rasteret.pairing.bbox_filter import bbox_meets, has_no_box
from polars_rasteret.pairing.times import may_lie_in, record_intervals, record_times
from polars_rasteret.pixels.raster_column import RasterColumn, raster_columns_of
from polars_rasteret.pixels.raster_faults import check_fields
from polars_rasteret.plan.pairs import boxes_near, covering_boxes
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

# Footprints are made of straight pieces between points of the image edge; the true edge may bulge out by a sliver.
_PAD_SHARE = 1e-3
_PAD_DEGREES = 1e-6
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_EVERYWHERE = (-1e30, -1e30, 1e30, 1e30)
"""Box of a damaged record without a known place. It meets every target, so that the record's fault is reported."""


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
    has_bbox = "bbox" in schema and isinstance(schema["bbox"], pl.Struct) and target_crs != NATIVE
    if has_bbox:
        # A record without a box may still have an image: its place is then looked up in the image's own grid.
        covering = covering_boxes(bounds)
        lf = lf.filter(bbox_meets(covering, share=_PAD_SHARE, degrees=_PAD_SHARE) | has_no_box(lf))
    if (in_time := may_lie_in(schema, *period)) is not None:
        lf = lf.filter(in_time)
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
    sides = _sides(frame[_BBOX]) if has_bbox else np.full((frame.height, 4), np.nan)
    is_near = _may_meet(frame, sides, bands, bounds, native=target_crs == NATIVE)
    if not is_near.all():
        frame, sides = frame.filter(pl.Series(is_near)), sides[is_near]
    times = record_intervals(frame[_DATETIME], frame[_START], frame[_END])
    precedence = _ranks(frame[_ID])
    order = np.lexsort((precedence, times.stop, times.start, ~times.is_known))
    if (np.diff(order) < 0).any():
        frame, sides, times, precedence = frame[order], sides[order], times.taken(order), precedence[order]
    columns = raster_columns_of((frame[_RASTER + band].alias(band) for band in bands), targets_in=target_crs)
    rasters = dict(zip(bands, columns, strict=True))
    faults: dict[int, RasteretError] = {}
    if has_bbox:
        boxes, owner = _boxes_of_bbox(sides, list(rasters.values()))
        faults = _bbox_faults(frame[_BBOX], sides)
    else:
        boxes, owner = _boxes_of_rasters(list(rasters.values()), native=target_crs == NATIVE)
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


def _may_meet(
    frame: pl.DataFrame, sides: NDArray[np.float64], bands: Sequence[str], bounds: NDArray[np.float64], *, native: bool
) -> NDArray[np.bool_]:
    """Return which records to keep: all but those without a box whose grids meet no target. Tiles are not unpacked."""
    kept = _has_box(sides)
    todo = np.flatnonzero(~kept)
    if not len(todo):
        return kept
    meets = np.zeros(len(todo), np.bool_)
    for band in bands:
        rasters = frame[_RASTER + band] if len(todo) == frame.height else frame[_RASTER + band].gather(todo)
        boxes = bounds_of_grids(rasters, native=native)
        # A raster without a place may have a fault, which is reported when the raster is read.
        meets |= rasters.is_not_null().to_numpy() & np.isnan(boxes[:, 0])
        boxes, owner = _padded(boxes), np.arange(len(boxes))
        if not native:
            boxes, owner = cut_boxes(boxes)
        meets[owner[boxes_near(bounds, boxes)]] = True
    kept[todo] = meets
    return kept


def _ranks(ids: pl.Series) -> NDArray[np.int64]:
    """Return the rank of each record by id, nulls last; records of equal ids keep their order."""
    ranks = np.empty(len(ids), np.int64)
    if len(ids):
        order = ids.alias("id").to_frame().select(pl.arg_sort_by("id", nulls_last=True, maintain_order=True))
        ranks[order.to_series().to_numpy()] = np.arange(len(ids))
    return ranks


def _bbox_faults(bbox: pl.Series, sides: NDArray[np.float64]) -> dict[int, RasteretError]:
    """Return the faults of records whose box is invalid: neither null nor four finite numbers with ymin <= ymax."""
    has_box = _has_box(sides)
    if has_box.all():
        return {}
    fields = bbox.struct.unnest()
    has_null = np.logical_or.reduce([fields[name].is_null().to_numpy() for name in _SIDES])
    return {
        record: FileFormatError(
            f"column 'bbox': {', '.join(f'{name}={side}' for name, side in zip(_SIDES, sides[record].tolist(), strict=True))}; "
            "expected four finite numbers with ymin <= ymax, or null for the place of the image itself"
        )
        for record in np.flatnonzero(~has_box & ~has_null).tolist()
    }


def _boxes_of_bbox(
    sides: NDArray[np.float64], columns: Sequence[RasterColumn]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the boxes of records and the record of each box; records without a box get one from their pixel grids."""
    has_box = _has_box(sides)
    boxes, owner = cut_boxes(_padded(np.where(has_box[:, None], sides, np.nan)))
    if has_box.all():
        return boxes, owner
    of_rasters, of_record = _boxes_of_rasters(columns, native=False)
    missing = ~has_box[of_record]
    return np.concatenate([boxes, of_rasters[missing]]), np.concatenate([owner, of_record[missing]])


def _sides(bbox: pl.Series) -> NDArray[np.float64]:
    """Return the sides of boxes, NaN where they are null; shape (n, 4)."""
    fields = bbox.struct.unnest()  # a field alone is asked of a query, at a hundred times the price
    return np.stack([fields[name].cast(pl.Float64).to_numpy() for name in _SIDES], axis=1)


def _has_box(bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] <= bounds[:, 3]))


def _boxes_of_rasters(
    columns: Sequence[RasterColumn], *, native: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return boxes computed from pixel grids, one per record and band, and the record of each box."""
    boxes, owner = [np.zeros((0, 4))], [np.zeros(0, np.int64)]
    for column in columns:
        present = np.flatnonzero(column.reference_id >= 0)
        if not len(present):
            continue
        grids = column.grids
        if native:
            of_reference = bounds_in_own_crs(grids.transform, grids.width, grids.height)
        else:
            of_reference = cached_bounds(grids.crs.tolist(), grids.transform, grids.width, grids.height)
        damaged = [one for one in column.unplaced if isinstance(column.faults[one], FileFormatError)]
        of_reference[damaged] = _EVERYWHERE
        boxes.append(of_reference[column.reference_id[present]])
        owner.append(present)
    all_boxes, all_owners = np.concatenate(boxes), np.concatenate(owner).astype(np.int64)
    all_boxes = _padded(all_boxes)
    if native:
        return all_boxes, all_owners
    all_boxes, at = cut_boxes(all_boxes)
    return all_boxes, all_owners[at]


def _padded(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return widened(boxes, share=_PAD_SHARE, degrees=_PAD_DEGREES)
