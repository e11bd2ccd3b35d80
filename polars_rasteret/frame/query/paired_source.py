"""How does a verb answer Polars: columns, predicate and limit in, frames out?

An IO source must apply predicate and limit itself. Parts of the predicate act as early as they can without changing the answer:
on the caller's frame, in the collection scan, on pairs before any request, and last on pixels.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polars_rasteret.engine import NO_COST, Spending, check_budget, dry_run_log, open_dry_run_log
from polars_rasteret.engine.interruption import guarded
from polars_rasteret.frame.query.batches import pieces, with_turns
from polars_rasteret.frame.query.predicates import SplitPredicate, conjunction, root_names, split_predicate
from polars_rasteret.frame.query.question import READ_ERROR, schema_here
from polars_rasteret.frame.query.watched import Watched
from polars_rasteret.geo.boxes import cut_boxes
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.options import DryRun
from polars_rasteret.pairing.impossible_places import own_bounds, refuse_impossible, refuse_unplaced
from polars_rasteret.pairing.key_columns import KeyColumns
from polars_rasteret.pairing.pairs import candidate_pairs, covering_rows, with_unmatched
from polars_rasteret.pairing.records import collect_records
from polars_rasteret.pairing.rounds import choose_by_reading
from polars_rasteret.pairing.stated_crs import refuse_other_native
from polars_rasteret.pairing.targets import lonlat_bounds, targets_of
from polars_rasteret.pairing.times import AT, at_intervals, widened
from polars_rasteret.pixels.valid_mask import CONTEXT, Judge
from polars_rasteret.plan.batches import batch_bytes, batches_of
from polars_rasteret.plan.pairs import target_runs
from polars_rasteret.plan.time_match import Intervals, ranked_pairs, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.engine import Cost
    from polars_rasteret.frame.query.question import Question, Settled
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.reader import ReadAnswer
    from polars_rasteret.pairing.records import Records

_MAX_PAIRS = 2**23
"""Candidate pairs looked at together: bounds the memory of pairing, and keeps a million points in one piece."""


class PairedSource(Watched):
    """The IO source of a verb that pairs records with a table."""

    def __init__(self, question: Question) -> None:
        self.question = question

    def scan(self) -> pl.LazyFrame:
        """Give the LazyFrame whose root is this source."""
        question = self.question
        return register_io_source(
            self,
            schema=partial(schema_here, question.settled.schema),
            validate_schema=True,
            is_pure=True,
            explain_name=f"RASTER {question.verb}",
            explain_detail=(
                f"BANDS: {', '.join(question.bands or ['all'])}; MATCH: {question.match}; UNMATCHED: {question.unmatched}"
            ),
        )

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the answer in units; their size follows from the bytes of the answer, not from a batch size."""
        return guarded(self._frames(with_columns, predicate, n_rows))

    def _frames(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        settled = self.question.settled
        wanted = list(settled.schema) if with_columns is None else with_columns
        split = split_predicate(
            predicate,
            target_columns=set(settled.targets),
            record_columns={name: settled.record_schema[column] for name, column in settled.records.items()},
            may_choose_records=self.question.match == "all",
            unmatched_rows=self.question.unmatched == "null",
        )
        if n_rows is not None:
            # Polars limits first and filters what is left: no part may act before the limit.
            late = (*split.targets, *split.records, *split.pairs)
            is_chosen = self.question.match != "all"
            split = replace(
                split,
                targets=(),
                records=(),
                pairs=() if is_chosen else late,
                pixels=(*late, *split.pixels) if is_chosen else split.pixels,
            )
        is_empty = True
        answer = _Answer(self.question, settled, split, wanted)
        frames = answer.frames(n_rows)
        for frame in with_turns(frames) if answer.ramps_up() else frames:
            is_empty = False
            yield frame
        if is_empty:
            yield pl.DataFrame(schema={name: settled.schema[name] for name in wanted})


class _Answer:
    """One run of a source."""

    def __init__(self, question: Question, settled: Settled, split: SplitPredicate, wanted: list[str]) -> None:
        self.question, self.settled, self.split, self.wanted = question, settled, split, wanted
        self.keys: KeyColumns
        self.options = question.options.without_budget().begun()
        self.spending: Spending | None = None
        """What the reads may fetch together."""
        self.needed = {*wanted, *root_names(split.pairs), *root_names(split.pixels), *root_names(split.records)}

    def frames(self, n_rows: int | None) -> Iterator[pl.DataFrame]:
        question, settled = self.question, self.settled
        # Every row of the caller gives a row at least where unmatched ones stay, so a limit on rows is one on targets too.
        target_frame = self._collected_targets(n_rows if question.unmatched == "null" else None)
        if self._needs_no_record():
            yield target_frame.lazy().filter(*self.split.pixels).select(cs.by_name(*self.wanted)).collect()
            return
        targets = targets_of(
            target_frame,
            settled.where,
            as_points=settled.reader.as_points,
            what=question.whose,
        )
        bounds = None if targets.crs == NATIVE else lonlat_bounds(targets)
        if bounds is not None:
            every = None if n_rows is None and not self.split.targets else question.every_target
            refuse_impossible(targets, bounds, every=every, what=question.verb)
        boxes = None if bounds is None else cut_boxes(bounds)
        at = None if settled.at is None else at_intervals(target_frame[AT])
        reach = None if at is None or question.tolerance is None else widened(at, question.tolerance)
        records = collect_records(
            question.records,
            settled.record_schema,
            outputs=self._record_outputs(),
            bands=settled.loaded,
            predicates=self.split.records,
            bounds=own_bounds(targets) if boxes is None else boxes[0],
            period=_period(question.match, at, reach),
            target_crs=targets.crs,
        )
        if len(targets):
            refuse_unplaced(
                question.records, records.rasters.values(), records.rasters, crs=targets.crs, what=question.verb
            )
        if targets.crs == NATIVE and settled.where.geometry is not None:
            refuse_other_native(
                target_frame[settled.where.geometry],
                records.found_crs,
                what=question.whose,
            )
        if (run := question.options.dry_run) is not None:
            dry_run_log(run).name_records(records.files(), are_chosen=question.match != "all")
        pairs = candidate_pairs(targets, boxes, records)
        self.keys = KeyColumns(target_frame, records)
        runs = self._runs(targets, pairs, records, (at, reach), n_rows)
        if question.options.has_budget:
            runs = self._within_budget(runs)
        for rows, of_targets in runs:
            if question.match == "all":
                yield from self._read_all(rows)
                continue
            for frame, n_answered in self._read_chosen(rows, of_targets, n_rows):
                n_rows = None if n_rows is None else n_rows - n_answered
                yield frame
            if n_rows is not None and n_rows <= 0:
                return

    def _needs_no_record(self) -> bool:
        """Say whether rows are the caller's own: one each, and no column depends on a record."""
        question = self.question
        one_each = question.match != "all" and question.unmatched == "null"
        return one_each and self.needed <= set(self.settled.targets)

    def _record_outputs(self) -> dict[str, str]:
        outputs = {name: column for name, column in self.settled.records.items() if name in self.needed}
        if self.settled.validity is not None:
            outputs.update({CONTEXT + column: column for column in self.settled.validity.records.values()})
        return outputs

    def _collected_targets(self, n_targets: int | None) -> pl.DataFrame:
        settled = self.settled
        lf = self.question.targets
        if settled.at is not None:
            lf = lf.with_columns(settled.at)  # before any filter: it may be no elementwise expression
        if (condition := conjunction(self.split.targets)) is not None:
            lf = lf.filter(condition)
        of_validity = () if settled.validity is None else settled.validity.targets
        used = {*self.needed, *settled.where.names, *of_validity}
        names = [name for name in settled.target_schema if name in used] + ([] if settled.at is None else [AT])
        lf = lf.select(cs.by_name(*names))  # a name may look like a pattern
        return (lf if n_targets is None else lf.head(n_targets)).collect()

    def _runs(
        self,
        targets: Points | Areas,
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        records: Records,
        moments: tuple[Intervals | None, Intervals | None],
        n_rows: int | None,
    ) -> Iterator[tuple[PairedRows, range]]:
        """Give the rows before reading, a bounded number of pairs at a time.

        With ``match="all"`` these are the rows of the answer, in order; else they are all that may answer each target, the best
        first.
        """
        question = self.question
        target, record = pairs
        at, reach = moments
        max_pairs = _MAX_PAIRS if n_rows is None else max(4 * n_rows, 1024)
        for run, of_targets in target_runs(target, len(targets), max_pairs):
            in_run, of_record = target[run], record[run]
            if reach is not None and at is not None:
                near = within(at.taken(in_run), reach.taken(in_run), records.times.taken(of_record))
                in_run, of_record = in_run[near], of_record[near]
            rows = covering_rows(targets, (in_run, of_record), records, self.settled.reader.windows, self.settled.bands)
            if question.match != "all":
                order = ranked_pairs(
                    question.match,
                    rows.target,
                    None if at is None else at.taken(rows.target),
                    records.times.taken(rows.record),
                    records.precedence[rows.record],
                )
                yield rows.taken(order), of_targets
                continue
            if question.unmatched == "null":
                rows = with_unmatched(rows, of_targets)
            if n_rows is not None:
                rows = rows.taken(slice(0, n_rows))
                n_rows -= len(rows)
            yield self._kept(rows), of_targets
            if n_rows is not None and n_rows <= 0:
                return

    def _kept(self, rows: PairedRows) -> PairedRows:
        """Apply the parts of the predicate that name no pixels."""
        parts = self.split.pairs
        if self.question.unmatched == "null":
            parts += self.split.records  # rows without a record were made after the scan was filtered
        condition = conjunction(parts)
        if condition is None or not len(rows):
            return rows
        frame = self.keys.frame(rows, root_names(parts))
        kept = frame.lazy().select(condition.alias("kept")).collect()["kept"].fill_null(value=False).to_numpy()
        return rows.taken(np.flatnonzero(kept))

    def _within_budget(self, given: Iterator[tuple[PairedRows, range]]) -> Iterator[tuple[PairedRows, range]]:
        """Refuse the answer before its first request if what it surely costs exceeds the budget; watch what is spent."""
        question, reader, validity = self.question, self.settled.reader, self.settled.validity
        self.spending = Spending.of(question.options)
        assert self.spending is not None
        is_unread = question.match == "all" and not self._values()
        if is_unread or self.split.pixels:  # how far the read goes depends on the pixels
            return given
        runs = list(given)
        if question.match == "all" and validity is None and not reader.costs_vary:
            check_budget(self._exact_cost(runs), self.spending.budget)
            return iter(runs)
        certain = NO_COST
        for rows, _ in runs:
            sure = rows if question.match == "all" else rows.taken(np.unique(rows.target, return_index=True)[1])
            certain += reader.cost(sure, self._values(), question.options, judging=self._judging())
        check_budget(certain, self.spending.budget)
        return iter(runs)

    def _exact_cost(self, runs: list[tuple[PairedRows, range]]) -> Cost:
        """Add up what the units of the answer will fetch, by planning them as they will be read."""
        assert self.spending is not None
        with open_dry_run_log() as (name, log):
            options, self.options = self.options, replace(self.options, dry_run=DryRun(log=name, read=0))
            for rows, _ in runs:
                for _ in self._read_all(rows):
                    pass
            self.options = options
            return log.cost(self.spending.budget)

    def _values(self) -> set[str]:
        """Name what is to be read, as the reader calls it."""
        return {natural for name, natural in self.settled.values.items() if name in self.needed}

    def ramps_up(self) -> bool:
        """Say whether a predicate that needs pixels may let Polars stop early."""
        settled, names = self.settled, root_names(self.split.pixels)
        if self.question.match != "all" and not names.isdisjoint(settled.records):
            return True
        return settled.reader.needs_pixels({settled.values[name] for name in names if name in settled.values})

    def _read_all(self, rows: PairedRows) -> Iterator[pl.DataFrame]:
        """Read every row, unit by unit."""
        values = self._values()
        row_bytes = self.settled.reader.row_bytes(rows, values, self._judging()) + self._key_bytes()
        allowed = batch_bytes(row_bytes, self.question.options.max_answer_bytes)
        is_cut = allowed < self.question.options.max_answer_bytes
        for unit in batches_of(row_bytes, max_bytes=allowed, ramps_up=self.ramps_up()):
            # Nothing here holds the frame of a unit while the next one is read.
            if is_cut:
                yield from pieces(self._read_unit(rows.taken(unit)), row_bytes[unit])
            else:
                yield self._read_unit(rows.taken(unit))

    def _read_unit(self, rows: PairedRows) -> pl.DataFrame:
        answer = self._read(rows, must_count=False) if self._values() else None
        columns, errors = ({}, {}) if answer is None else (answer.columns, answer.errors)
        return self._filtered(self._frame(rows, columns, errors))

    def _read_chosen(
        self, rows: PairedRows, of_targets: range, n_rows: int | None
    ) -> Iterator[tuple[pl.DataFrame, int]]:
        """Read the records that may answer until each target has one; tell how many rows there were before the predicate."""
        question, reader = self.question, self.settled.reader
        values = self._values()
        dtypes = {name: reader.outputs[name] for name in reader.outputs if name in values and name != READ_ERROR}
        target_bytes = np.full(len(of_targets), self._key_bytes(), np.int64)
        row_bytes = reader.row_bytes(
            rows, {*values, *reader.outputs}, self._judging()
        )  # all bands say whether a row counts
        np.maximum.at(target_bytes, rows.target - of_targets.start, row_bytes)
        ramps_up = self.ramps_up() or n_rows is not None
        for unit in batches_of(target_bytes, max_bytes=question.options.max_answer_bytes, ramps_up=ramps_up):
            targets = np.arange(of_targets[unit.start], of_targets[unit.stop - 1] + 1, dtype=np.int64)
            first, stop = np.searchsorted(rows.target, [targets[0], targets[-1] + 1])
            part = rows.taken(slice(int(first), int(stop)))
            chosen = choose_by_reading(part, targets, lambda some: self._read(some, must_count=True), dtypes)
            frame = self._frame(chosen.rows, chosen.columns, chosen.errors)
            if question.unmatched == "drop":
                frame = frame.filter(pl.Series(chosen.rows.record >= 0))
            if n_rows is not None:
                frame = frame.head(n_rows)
                n_rows -= frame.height
            yield self._filtered(frame), frame.height
            if n_rows is not None and n_rows <= 0:
                return

    def _judging(self) -> tuple[str, ...]:
        """Name the bands that say what is valid."""
        return () if self.settled.validity is None else self.settled.validity.bands

    def _key_bytes(self) -> int:
        return self.keys.row_bytes({name for name in self.needed if name not in self.settled.values})

    def _read(self, rows: PairedRows, *, must_count: bool) -> ReadAnswer:
        validity = self.settled.validity
        return self.settled.reader.read(
            rows,
            self._values(),
            self.options,
            judge=None if validity is None else Judge(validity, self.keys.context(rows, validity)),
            spending=self.spending,
            must_count=must_count,
        )

    def _frame(self, rows: PairedRows, columns: dict[str, pl.Series], errors: dict[int, str]) -> pl.DataFrame:
        settled = self.settled
        natural_names = {natural: name for name, natural in settled.values.items() if name in self.needed}
        frame = self.keys.frame(rows, {name for name in self.needed if name not in settled.values})
        if READ_ERROR in natural_names:
            columns = {**columns, READ_ERROR: _error_column(errors, len(rows))}
        return frame.with_columns([columns[natural].alias(name) for natural, name in natural_names.items()])

    def _filtered(self, frame: pl.DataFrame) -> pl.DataFrame:
        if (condition := conjunction(self.split.pixels)) is not None:
            frame = frame.lazy().filter(condition).collect()
        return frame[self.wanted]


def _error_column(errors: dict[int, str], n_rows: int) -> pl.Series:
    reasons: list[str | None] = [None] * n_rows
    for row, reason in errors.items():
        reasons[row] = reason
    return pl.Series(READ_ERROR, reasons, dtype=pl.String)


def _period(match: str, at: Intervals | None, reach: Intervals | None) -> tuple[int | None, int | None]:
    """Give the time in which every record that may answer lies; None is open."""
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
