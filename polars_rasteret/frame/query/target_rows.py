"""Which rows of the caller are paired with records, and where and when are they?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars.selectors as cs

from polars_rasteret.geo.boxes import cut_boxes
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.hilbert_curve import curve_order
from polars_rasteret.pairing.impossible_places import own_bounds, refuse_impossible
from polars_rasteret.pairing.targets import Targets, lonlat_bounds, targets_of
from polars_rasteret.pairing.times import AT, at_intervals, widened

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.plan.time_match import Intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRows:
    """The caller's rows with their places and moments."""

    frame: pl.DataFrame
    targets: Targets
    boxes: tuple[NDArray[np.float64], NDArray[np.int64]] | None
    """Boxes of the targets in longitude and latitude and the target of each; None where these are in coordinates of records."""
    at: Intervals | None
    """Moments of ``at=``."""
    reach: Intervals | None
    """These, widened by ``tolerance=``."""

    @property
    def bounds(self) -> NDArray[np.float64]:
        """Where records may meet the targets, shape (n, 4)."""
        return own_bounds(self.targets) if self.boxes is None else self.boxes[0]


def collect_targets(question: Question, resolved: Resolved, pushed: Pushdown) -> pl.DataFrame:
    """Return the caller's rows that are asked about, with the columns that are needed."""
    lf = question.targets
    if resolved.at is not None:
        lf = lf.with_columns(resolved.at)  # before any filter: it may be no elementwise expression
    if (condition := pushed.on_targets) is not None:
        lf = lf.filter(condition)
    of_valid = () if resolved.valid is None else resolved.valid.targets
    used = {*pushed.needed, *resolved.where.names, *of_valid}
    names = [name for name in resolved.target_schema if name in used] + ([] if resolved.at is None else [AT])
    lf = lf.select(cs.by_name(*names))  # a name may look like a pattern
    # Every row of the caller gives a row at least where unmatched ones stay, so a limit on rows is one on targets too.
    n_targets = pushed.n_rows if question.pairing.unmatched == "null" else None
    return (lf if n_targets is None else lf.head(n_targets)).collect()


def located(question: Question, resolved: Resolved, pushed: Pushdown, frame: pl.DataFrame) -> TargetRows:
    """Return the caller's rows with their places and moments, along a curve through the plane where their order is free.

    Raises
    ------
    UsageError
        When no row has a possible place.
    """
    as_points = question.product.as_points
    targets = targets_of(frame, resolved.where, as_points=as_points, what=question.whose)
    if not question.pairing.maintain_order and len(frame) > 1:
        # Rows are read in runs and batches: where neighbours stand together, each of these reads tiles of its own.
        frame = frame[curve_order(own_bounds(targets))]
        targets = targets_of(frame, resolved.where, as_points=as_points, what=question.whose)
    bounds = None if targets.crs == NATIVE else lonlat_bounds(targets)
    if bounds is not None and not question.is_part:

        def every() -> Targets:
            whole = question.targets.select(cs.by_name(*resolved.where.names)).collect()
            return targets_of(whole, resolved.where, as_points=as_points, what=question.verb)

        is_whole = pushed.n_rows is None and not pushed.split.targets
        refuse_impossible(targets, bounds, every=None if is_whole else every, what=question.verb)
    at = None if resolved.at is None else at_intervals(frame[AT])
    tolerance = question.pairing.tolerance
    return TargetRows(
        frame=frame,
        targets=targets,
        boxes=None if bounds is None else cut_boxes(bounds),
        at=at,
        reach=None if at is None or tolerance is None else widened(at, str(tolerance)),
    )
