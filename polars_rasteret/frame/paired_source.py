"""How does a verb answer Polars: columns, predicate and limit in, frames out?

An IO source must apply predicate and limit itself. Parts of the predicate act as early as they can without changing the answer:
on the caller's frame, in the collection scan, on pairs before any request, and last on pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polars_rasteret.engine import Bill, check_budget, ledger_of
from polars_rasteret.engine.at_exit import guarded
from polars_rasteret.frame.predicates import SplitPredicate, conjunction, root_names, split_predicate
from polars_rasteret.frame.question import READ_ERROR
from polars_rasteret.frame.records import Records, collect_records
from polars_rasteret.frame.targets import lonlat_bounds, targets_of
from polars_rasteret.frame.units import PairedRows, units
from polars_rasteret.frame.watched import Watched
from polars_rasteret.frame.windows import SharedWindows
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.moved import Areas
from polars_rasteret.plan.pairs import covering_boxes, distinct_pairs, pairs_of_boxes, pairs_of_points, target_runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.frame.question import Question, Settled
    from polars_rasteret.geo.moved import Points

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
            schema=question.schema,
            validate_schema=True,
            is_pure=True,
            explain_name=f"RASTER {question.verb}",
            explain_detail=f"BANDS: {', '.join(question.bands or ['all'])}; UNMATCHED: {question.unmatched}",
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
        keeps_unmatched = self.question.unmatched == "null"
        split = split_predicate(
            predicate,
            target_columns=set(settled.targets),
            record_columns={name: settled.record_schema[column] for name, column in settled.records.items()},
            may_choose_records=True,
            unmatched_rows=keeps_unmatched,
        )
        if n_rows is not None:
            # Polars limits first and filters what is left: no part may act before the limit.
            split = replace(split, targets=(), records=(), pairs=(*split.targets, *split.records, *split.pairs))
        is_empty = True
        for frame in _Answer(self.question, settled, split, wanted).frames(n_rows):
            is_empty = False
            yield frame
        if is_empty:
            yield pl.DataFrame(schema={name: settled.schema[name] for name in wanted})


class _Answer:
    """One run of a source."""

    def __init__(self, question: Question, settled: Settled, split: SplitPredicate, wanted: list[str]) -> None:
        self.question, self.settled, self.split, self.wanted = question, settled, split, wanted
        self.left_bytes = question.options.budget_bytes
        """What may still be fetched; None: anything."""
        self.needed = {*wanted, *root_names(split.pairs), *root_names(split.pixels), *root_names(split.records)}

    def frames(self, n_rows: int | None) -> Iterator[pl.DataFrame]:
        question, settled = self.question, self.settled
        # Every row of the caller gives a row at least where unmatched ones stay, so a limit on rows is one on targets too.
        target_frame = self._collected_targets(n_rows if question.unmatched == "null" else None)
        targets = targets_of(
            target_frame,
            settled.where,
            as_points=settled.reader.as_points,
            resampled_areas_hint=settled.reader.areas_hint,
        )
        bounds = None if targets.crs == NATIVE else lonlat_bounds(targets)
        records = collect_records(
            question.records,
            settled.record_schema,
            outputs={name: column for name, column in settled.records.items() if name in self.needed},
            bands=settled.bands,
            predicates=self.split.records,
            bounds=None if bounds is None else covering_boxes(bounds),
            target_crs=targets.crs,
        )
        if question.options.dry_run is not None:
            ledger_of(question.options.dry_run).name_records(records.files())
        target, record = _candidates(targets, bounds, records)
        keys = _KeyColumns(target_frame, records)
        runs = self._runs(targets, (target, record), records, keys, n_rows)
        if question.options.budget_bytes is not None and not self.split.pixels:
            runs = self._billed(list(runs))
        for rows in runs:
            yield from self._read(rows, keys)

    def _runs(
        self,
        targets: Points | Areas,
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        records: Records,
        keys: _KeyColumns,
        n_rows: int | None,
    ) -> Iterator[PairedRows]:
        """Give the rows of the answer before reading, in order, a bounded number of pairs at a time."""
        target, record = pairs
        max_pairs = _MAX_PAIRS if n_rows is None else max(4 * n_rows, 1024)
        for run, of_targets in target_runs(target, len(targets), max_pairs):
            rows = self._paired(targets, target[run], record[run], of_targets, records)
            if n_rows is not None:
                rows = rows.taken(slice(0, n_rows))
                n_rows -= len(rows)
            yield self._chosen(rows, keys)
            if n_rows is not None and n_rows <= 0:
                return

    def _billed(self, runs: list[PairedRows]) -> Iterator[PairedRows]:
        """Refuse the whole answer before its first request, if it exceeds the budget."""
        options, reader = self.question.options, self.settled.reader
        bills = [reader.bill(rows, self._values(), options) for rows in runs]
        whole = Bill(
            tiles=sum(one.tiles for one in bills),
            requests=sum(one.requests for one in bills),
            bytes=sum(one.bytes for one in bills),
        )
        assert self.left_bytes is not None
        check_budget(whole, self.left_bytes)
        self.left_bytes = None
        return iter(runs)

    def _collected_targets(self, n_targets: int | None) -> pl.DataFrame:
        settled = self.settled
        lf = self.question.targets
        if (condition := conjunction(self.split.targets)) is not None:
            lf = lf.filter(condition)
        names = [name for name in settled.targets if name in self.needed or name in settled.where.names]
        lf = lf.select(cs.by_name(*names))  # a name may look like a pattern
        return (lf if n_targets is None else lf.head(n_targets)).collect()

    def _paired(
        self,
        targets: Points | Areas,
        target: NDArray[np.int64],
        record: NDArray[np.int64],
        of_targets: range,
        records: Records,
    ) -> PairedRows:
        """Keep the candidates whose image meets the target in one of the bands asked for; add rows without a record."""
        reader = self.settled.reader
        shared = SharedWindows(lambda column, reference_id: reader.windows(column, reference_id, targets, target))
        rows = PairedRows(target=target, record=record, windows={}, records=records)
        is_met = np.zeros(len(target), np.bool_)
        windows = {}
        if len(records):
            for band, column in records.rasters.items():
                reference_id = rows.reference_id(column)
                windows[band] = shared.of(column, reference_id)
                is_met |= (reference_id >= 0) & windows[band].is_met
        rows = PairedRows(target=target, record=record, windows=windows, records=records)
        rows = rows if is_met.all() else rows.taken(np.flatnonzero(is_met))
        if self.question.unmatched == "drop":
            return rows
        has_record = np.zeros(len(of_targets), np.bool_)
        has_record[rows.target - of_targets.start] = True
        alone = np.flatnonzero(~has_record) + of_targets.start
        if not len(alone):
            return rows
        # Rows without a record take the place of their target; any window will do, as nothing is read there.
        order = np.argsort(np.concatenate([rows.target, alone]), kind="stable")
        at = np.where(order < len(rows), order, -1)
        if not len(rows):
            return PairedRows(target=alone, record=np.full(len(alone), -1, np.int64), windows={}, records=records)
        filled = rows.taken(np.maximum(at, 0))
        return PairedRows(
            target=np.concatenate([rows.target, alone])[order],
            record=np.where(at >= 0, filled.record, -1),
            windows=filled.windows,
            records=records,
        )

    def _chosen(self, rows: PairedRows, keys: _KeyColumns) -> PairedRows:
        """Apply the parts of the predicate that name no pixels."""
        parts = self.split.pairs
        if self.question.unmatched == "null":
            parts += self.split.records  # rows without a record were made after the scan was filtered
        condition = conjunction(parts)
        if condition is None or not len(rows):
            return rows
        frame = keys.frame(rows, root_names(parts))
        kept = frame.lazy().select(condition.alias("kept")).collect()["kept"].fill_null(value=False).to_numpy()
        return rows.taken(np.flatnonzero(kept))

    def _values(self) -> set[str]:
        """Name what is to be read, as the reader calls it."""
        return {natural for name, natural in self.settled.values.items() if name in self.needed}

    def _read(self, rows: PairedRows, keys: _KeyColumns) -> Iterator[pl.DataFrame]:
        settled, options = self.settled, replace(self.question.options, budget_bytes=None)
        values = self._values()
        names = {name for name in self.needed if name not in settled.values}
        row_bytes = settled.reader.row_bytes(rows, values) + keys.row_bytes(names)
        ramps_up = settled.reader.needs_pixels(
            {settled.values[name] for name in root_names(self.split.pixels) if name in settled.values}
        )
        for unit in units(row_bytes, max_bytes=options.max_answer_bytes, ramps_up=ramps_up):
            part = rows.taken(unit)
            if self.left_bytes is not None:  # a pixel predicate decides how far the read goes: pay unit by unit
                bill = settled.reader.bill(part, values, options)
                check_budget(bill, self.left_bytes)
                self.left_bytes -= bill.bytes
            columns, errors = settled.reader.read(part, values, options) if values else ({}, {})
            if READ_ERROR in values:
                columns[READ_ERROR] = _error_column(errors, len(part))
            frame = keys.frame(part, names).with_columns(
                [columns[natural].alias(name) for name, natural in settled.values.items() if name in self.needed]
            )
            if (condition := conjunction(self.split.pixels)) is not None:
                frame = frame.lazy().filter(condition).collect()
            yield frame[self.wanted]


class _KeyColumns:
    """The caller's and the records' columns, gathered by row."""

    def __init__(self, targets: pl.DataFrame, records: Records) -> None:
        self._targets, self._records = targets, records.columns

    def frame(self, rows: PairedRows, names: AbstractSet[str]) -> pl.DataFrame:
        """Give the named columns of the rows; record columns are null where there is no record."""
        columns: dict[str, pl.Series] = {}
        target, record = pl.Series(rows.target), pl.Series(rows.record)
        if len(rows) and int(rows.record.min()) < 0:
            record = record.set(record < 0, None)
        is_whole = len(rows) == self._targets.height and bool((rows.target == np.arange(len(rows))).all())
        for name in self._targets.columns:
            if name in names:
                columns[name] = self._targets[name] if is_whole else _gathered(self._targets[name], target)
        for name in self._records.columns:
            if name in names and name not in columns:
                columns[name] = _gathered(self._records[name], record)
        if not columns:  # a frame without columns has no height
            return pl.DataFrame({"\0row": target})
        return pl.DataFrame(columns)

    def row_bytes(self, names: AbstractSet[str]) -> int:
        """Estimate the size of the named columns of one row."""
        size = 8
        for frame in (self._targets, self._records):
            chosen = [name for name in frame.columns if name in names]
            if chosen and frame.height:
                size += int(frame[chosen].estimated_size()) // frame.height
        return size


def _gathered(series: pl.Series, index: pl.Series) -> pl.Series:
    if not len(series):
        return pl.Series([None], dtype=series.dtype).new_from_index(0, len(index))
    # Gathering goes through a column name, and a name may look like a pattern.
    return series.alias("").gather(index)


def _error_column(errors: dict[int, str], n_rows: int) -> pl.Series:
    reasons: list[str | None] = [None] * n_rows
    for row, reason in errors.items():
        reasons[row] = reason
    return pl.Series(READ_ERROR, reasons, dtype=pl.String)


def _candidates(
    targets: Points | Areas, bounds: NDArray[np.float64] | None, records: Records
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair targets with records whose boxes they touch."""
    if isinstance(targets, Areas):
        areas = targets.bounds if bounds is None else bounds
        target, box = pairs_of_boxes(areas, records.boxes)
    else:
        x, y = (targets.x, targets.y) if bounds is None else (bounds[:, 0], bounds[:, 1])
        target, box = pairs_of_points(x, y, records.boxes)
    record = records.box_owner[box] if len(box) else box
    if len(records.box_owner) == len(records) and bool((records.box_owner == np.arange(len(records))).all()):
        return target, record
    return distinct_pairs(target, record)
