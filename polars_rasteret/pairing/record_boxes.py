"""Where do records lie: which boxes enclose their images, from a bbox column or from the grids themselves?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.errors import FileFormatError
from polars_rasteret.geo.bounds_cache import cached_bounds
from polars_rasteret.geo.boxes import cut_boxes, widened
from polars_rasteret.grids.extents import bounds_in_own_crs, bounds_of_grids
from polars_rasteret.pairing.bbox_filter import bbox_meets, has_no_box
from polars_rasteret.plan.pairs import boxes_near, covering_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.errors import RasteretError
    from polars_rasteret.pixels.raster_column import RasterColumn

# Footprints are made of straight pieces between points of the image edge; the true edge may bulge out by a sliver.
_PAD_SHARE = 1e-3
_PAD_DEGREES = 1e-6
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_EVERYWHERE = (-1e30, -1e30, 1e30, 1e30)
"""Box of a damaged record without a known place. It meets every target, so that the record's fault is reported."""


def bbox_near(lf: pl.LazyFrame, bounds: NDArray[np.float64]) -> pl.Expr:
    """Return a filter that keeps the records whose ``bbox`` comes near the bounds, and those without a box."""
    # A record without a box may still have an image: its place is then looked up in the image's own grid.
    return bbox_meets(covering_boxes(bounds), share=_PAD_SHARE, degrees=_PAD_SHARE) | has_no_box(lf)


def near_records(
    sides: NDArray[np.float64], bands: Sequence[pl.Series], bounds: NDArray[np.float64], *, native: bool
) -> NDArray[np.bool_]:
    """Return which records to keep: all but those without a box whose grids meet no target. Tiles are not unpacked."""
    kept = _has_box(sides)
    todo = np.flatnonzero(~kept)
    if not len(todo):
        return kept
    meets = np.zeros(len(todo), np.bool_)
    for band in bands:
        rasters = band if len(todo) == len(band) else band.gather(todo)
        boxes = bounds_of_grids(rasters, native=native)
        # A raster without a place may have a fault, which is reported when the raster is read.
        meets |= rasters.is_not_null().to_numpy() & np.isnan(boxes[:, 0])
        boxes, owner = _padded(boxes), np.arange(len(boxes))
        if not native:
            boxes, owner = cut_boxes(boxes)
        meets[owner[boxes_near(bounds, boxes)]] = True
    kept[todo] = meets
    return kept


def bbox_faults(bbox: pl.Series, sides: NDArray[np.float64]) -> dict[int, RasteretError]:
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


def boxes_of_bbox(
    sides: NDArray[np.float64], columns: Sequence[RasterColumn]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the boxes of records and the record of each box; records without a box get one from their pixel grids."""
    has_box = _has_box(sides)
    boxes, owner = cut_boxes(_padded(np.where(has_box[:, None], sides, np.nan)))
    if has_box.all():
        return boxes, owner
    of_rasters, of_record = boxes_of_rasters(columns, native=False)
    missing = ~has_box[of_record]
    return np.concatenate([boxes, of_rasters[missing]]), np.concatenate([owner, of_record[missing]])


def bbox_sides(bbox: pl.Series) -> NDArray[np.float64]:
    """Return the sides of boxes, NaN where they are null; shape (n, 4)."""
    fields = bbox.struct.unnest()  # a field alone is asked of a query, at a hundred times the price
    return np.stack([fields[name].cast(pl.Float64).to_numpy() for name in _SIDES], axis=1)


def _has_box(bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(bounds).all(axis=1) & (bounds[:, 1] <= bounds[:, 3]))


def boxes_of_rasters(columns: Sequence[RasterColumn], *, native: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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
