"""Where do records lie, by their bbox column or by their grids, and which records may meet some boxes?

`bbox_meets` is the comparison of `geo.boxes` as a Polars filter, with which Parquet statistics can skip row groups.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.errors import FileFormatError
from polars_rasteret.geo.bounds_cache import cached_bounds
from polars_rasteret.geo.boxes import cut_boxes, widened
from polars_rasteret.grids.extents import bounds_in_own_crs, bounds_of_grids
from polars_rasteret.plan.pairs import boxes_near, covering_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.errors import RasteretError
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

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


def bbox_meets(boxes: NDArray[np.float64], *, share: float = 0.0, degrees: float = 0.0) -> pl.Expr:
    """Return a filter that is true where ``bbox`` touches any of the boxes, also across the antimeridian.

    Parameters
    ----------
    boxes
        Boxes of longitude and latitude, wrapped or unwrapped, shape (n, 4). Without boxes the filter is false.
    share, degrees
        Widening of each box before the comparison, as in `geo.boxes.widened`.
    """
    pieces, _ = cut_boxes(widened(boxes, share=share, degrees=degrees))
    if not len(pieces):
        return pl.lit(value=False)
    return reduce(or_, (_meets_piece(*piece) for piece in pieces.tolist()))


def _meets_piece(west: float, south: float, east: float, north: float) -> pl.Expr:
    xmin, ymin, xmax, ymax = (pl.col("bbox").struct.field(side) for side in ("xmin", "ymin", "xmax", "ymax"))
    # Lower bounds are said with is_between: a NaN is above every number, so Polars lets statistics rule out nothing for a
    # bare >= on floats.
    in_x = (xmin <= east) & xmax.is_between(west, math.inf)
    # A row across the antimeridian has its xmin in the east and its xmax in the west. Said this way (and not as xmin > xmax)
    # statistics can rule it out.
    if east >= 0:
        in_x |= xmin.is_between(0, east) & (xmax <= 0)
    if west <= 0:
        in_x |= xmax.is_between(west, 0) & xmin.is_between(0, math.inf)
    return in_x & (ymin <= north) & ymax.is_between(south, math.inf)


def has_no_box(lf: pl.LazyFrame) -> pl.Expr:
    """Return a filter that is true where ``bbox`` is null or is no valid box."""
    sides = [pl.col("bbox").struct.field(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    missing = reduce(or_, [side.is_null() for side in sides])
    # Statistics of Parquet leave NaN out and compare no columns: asked about these, a scan skips no row group. What this
    # package writes has none.
    if "Parquet SCAN" in lf.explain(optimized=False):
        return missing
    return missing | ~pl.all_horizontal([side.is_finite() for side in sides]) | (sides[1] > sides[3])


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
