"""Which records cover which rows of the caller's frame, and which rows does no record cover?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.areas import Areas
from polars_rasteret.grids.windows import SharedWindows
from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.plan.pairs import distinct_pairs, pairs_of_boxes, pairs_of_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.points import Points
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.product import Product
    from polars_rasteret.plan.pairs import Pairs


def candidate_pairs(
    targets: Points | Areas, boxes: tuple[NDArray[np.float64], NDArray[np.int64]] | None, records: Records
) -> Pairs:
    """Return the pairs of targets and records whose boxes they touch: ``(target, record)``, sorted.

    Parameters
    ----------
    targets
        Points or areas.
    boxes
        Boxes of the targets in longitude and latitude, and the target of each box, as `geo.boxes.cut_boxes` returns them. None:
        targets and boxes of the records are in native coordinates.
    records
        Records with boxes in the same coordinates.
    """
    n_targets = len(targets)
    if isinstance(targets, Areas):
        areas, owner = (targets.bounds, np.arange(n_targets)) if boxes is None else boxes
        target, box = pairs_of_boxes(areas, records.boxes)
    else:
        bounds, owner = (None, np.arange(n_targets)) if boxes is None else boxes
        x, y = (targets.x, targets.y) if bounds is None else (bounds[:, 0], bounds[:, 1])
        target, box = pairs_of_points(x, y, records.boxes)
    if len(owner) == n_targets and len(records.boxes) == len(records) and _is_sequence(records.box_owner):
        return target, box  # nothing was cut: no pair comes twice
    return distinct_pairs(owner[target], records.box_owner[box])


def _is_sequence(owner: NDArray[np.int64]) -> bool:
    return bool((owner == np.arange(len(owner))).all())


def covering_rows(
    targets: Points | Areas,
    pairs: Pairs,
    records: Records,
    product: Product,
) -> PairedRows:
    """Return the pairs in which the target meets the image of at least one band."""
    target, record = pairs
    shared = SharedWindows(partial(product.windows, targets=targets, target=target))
    rows = PairedRows(target=target, record=record, windows={}, records=records)
    is_met = np.zeros(len(target), np.bool_)
    windows = {}
    if len(records):
        for band, column in records.rasters.items():
            reference_id = rows.reference_id(column)
            windows[band] = shared.of(column.grids_of(reference_id))
            if band in product.bands:
                is_met |= (reference_id >= 0) & windows[band].is_met
                if column.unplaced:  # its box is all that is known of its place
                    is_met |= column.is_unplaced(reference_id)
    rows = PairedRows(target=target, record=record, windows=windows, records=records)
    return rows if is_met.all() else rows.taken(np.flatnonzero(is_met))


def with_unmatched(rows: PairedRows, of_targets: range) -> PairedRows:
    """Return the rows with one row added for each target without a record; `rows` are sorted by target."""
    has_record = np.zeros(len(of_targets), np.bool_)
    has_record[rows.target - of_targets.start] = True
    alone = np.flatnonzero(~has_record) + of_targets.start
    if not len(alone):
        return rows
    if not len(rows):
        nothing = np.full(len(alone), -1, np.int64)
        return PairedRows(target=alone, record=nothing, windows={}, records=rows.records)
    # Rows without a record take the place of their target; any window will do, as nothing is read there.
    order = np.argsort(np.concatenate([rows.target, alone]), kind="stable")
    at = np.where(order < len(rows), order, -1)
    filled = rows.taken(np.maximum(at, 0))
    return PairedRows(
        target=np.concatenate([rows.target, alone])[order],
        record=np.where(at >= 0, filled.record, -1),
        windows=filled.windows,
        records=rows.records,
    )
