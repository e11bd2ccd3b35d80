"""Which records of the collection may answer the caller's rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.engine import dry_run_log
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.pairing.impossible_places import refuse_unplaced, warn_if_swapped
from polars_rasteret.pairing.records import Records, collect_records, records_near
from polars_rasteret.pairing.stated_crs import refuse_other_native

if TYPE_CHECKING:
    import polars as pl

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.frame.query.target_rows import TargetRows
    from polars_rasteret.plan.time_match import Intervals, Match


def candidate_records(question: Question, resolved: Resolved, pushed: Pushdown, rows: TargetRows) -> Records:
    """Return the records that may answer; in a dry run, take note of them. Warn where coordinates seem to be swapped.

    Raises
    ------
    UsageError
        When no record can be placed, or ``crs="native"`` contradicts what the caller's geometries state.
    """
    match, targets = question.pairing.match, rows.targets
    records = collect_records(
        question.records,
        resolved.record_schema,
        outputs=resolved.record_outputs(pushed.needed),
        bands=resolved.loaded,
        predicates=pushed.split.records,
        bounds=rows.bounds,
        period=_period(match, rows.at, rows.reach),
        target_crs=targets.crs,
    )
    if len(targets) and not question.is_part:
        refuse_unplaced(
            question.records, records.rasters.values(), records.rasters, crs=targets.crs, what=question.verb
        )
        if not len(records):
            warn_if_swapped(question.records, targets, what=question.verb)
    geometry = resolved.where.geometry
    if targets.crs == NATIVE and geometry is not None and not question.is_part:
        refuse_other_native(rows.frame[geometry], records.found_crs, what=question.whose)
    if (run := question.options.dry_run) is not None:
        dry_run_log(run).name_records(records.files(), are_chosen=match != "all")
    return records


def scan_near(question: Question, resolved: Resolved, rows: TargetRows) -> pl.LazyFrame:
    """Return the part of the collection that `candidate_records` would look at, with all columns."""
    return records_near(
        question.records,
        resolved.record_schema,
        bounds=rows.bounds,
        period=_period(question.pairing.match, rows.at, rows.reach),
        target_crs=rows.targets.crs,
    )


def _period(match: Match, at: Intervals | None, reach: Intervals | None) -> tuple[int | None, int | None]:
    """Return the time in which every record that may answer lies; None is open."""
    if at is None or not at.is_known.any():
        return None, None
    known = at.is_known
    first = None if reach is None else int(reach.start[known].min())
    last = None if reach is None else int(reach.stop[known].max())
    if match == "latest":
        last = int(at.stop[known].max())
    if match == "earliest":
        first = int(at.start[known].min())
    return first, last
