"""How is one record chosen per row without reading more records than needed?

Each round reads, for every open row, the next record in the row's order of preference. The first record with a valid pixel closes
the row. A row whose records are all read stays without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.pixels.reading import add_reason
from polars_rasteret.pixels.series import gathered, row_index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.pixels.product import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Chosen record and pixels of each target: one row per target, or several where a row of the answer has several entries."""

    rows: PairedRows
    columns: dict[str, pl.Series]
    errors: dict[int, str]
    """Reasons by row, also of records that were skipped because they could not be read."""


class Rounds:
    """Rounds of some targets. While rows are open, the caller reads `next_rows` and passes the answer to `close`.

    Parameters
    ----------
    candidates
        Candidate rows, sorted by target, then preference.
    targets
        Targets that get a row, ascending.
    outputs
        Columns of the answers that are kept, with their dtypes.
    """

    def __init__(self, candidates: PairedRows, targets: NDArray[np.int64], outputs: Mapping[str, pl.DataType]) -> None:
        self._candidates, self._targets, self._outputs = candidates, targets, outputs
        self._next = np.searchsorted(candidates.target, targets, side="left")
        self._stop = np.searchsorted(candidates.target, targets, side="right")
        self._open = np.flatnonzero(self._next < self._stop)
        self._record = np.full(len(targets), -1, np.int64)
        self._place = np.full(len(targets), -1, np.int64)
        """Index of each target's row among the rows of `_parts`; -1 for an open row."""
        self._parts: list[dict[str, pl.Series]] = []
        self._entries: list[NDArray[np.int64]] = []
        """Place of the target of each entry of `_parts`, where answers have any number of entries."""
        self._n_found = 0
        self._errors: dict[int, str] = {}
        self.number = 0
        """Number of rounds that were read."""
        self.share_left = 1.0
        """Share of the rows of the last round whose record did not count."""

    @property
    def are_open(self) -> bool:
        """Whether any row may still get a record."""
        return len(self._open) > 0

    def next_rows(self, n_later: int = 0) -> PairedRows:
        """Return the next candidate of each open row, or the candidate `n_later` rounds after it, of rows that have one."""
        at = self._next[self._open] + n_later
        return self._candidates.taken(at[at < self._stop[self._open]] if n_later else at)

    def close(self, rows: PairedRows, answer: Answer) -> None:
        """Close the rows of `next_rows` whose answer counts: it has a valid pixel."""
        assert answer.counts is not None
        self.number += 1
        self.share_left = 1.0 - float(answer.counts.mean())
        for entry, reason in answer.errors.items():
            row = entry if answer.row is None else int(answer.row[entry])
            add_reason(self._errors, int(self._open[row]), reason)
        closed = np.flatnonzero(answer.counts)
        self._record[self._open[closed]] = rows.record[closed]
        self._place[self._open[closed]] = self._n_found + np.arange(len(closed))
        self._n_found += len(closed)
        if answer.row is None:
            index = pl.Series(closed)
        else:
            entries = np.flatnonzero(answer.counts[answer.row])
            self._entries.append(self._open[answer.row[entries]])
            index = pl.Series(entries)
        self._parts.append({name: gathered(answer.columns[name], index) for name in self._outputs})
        self._next[self._open] += 1
        self._open = self._open[~answer.counts]
        self._open = self._open[self._next[self._open] < self._stop[self._open]]

    def chosen(self) -> Chosen:
        """Return the rows of each target; one without a record where no record counted."""
        target, place = np.arange(len(self._targets)), self._place
        if self._entries:
            found_of = np.concatenate(self._entries)
            without = np.flatnonzero(self._record < 0)
            target = np.concatenate([found_of, without])
            order = np.argsort(target, kind="stable")
            place = np.concatenate([np.arange(len(found_of)), np.full(len(without), -1)])[order]
            target = target[order]
        at = row_index(place)
        columns = {}
        for name, dtype in self._outputs.items():
            found = pl.concat([part[name] for part in self._parts]) if self._parts else pl.Series([], dtype=dtype)
            columns[name] = gathered(found, at).alias(name)
        records = self._candidates.records
        rows = PairedRows(target=self._targets[target], record=self._record[target], windows={}, records=records)
        errors = self._errors
        if self._entries:
            is_told = np.isin(target, list(errors))
            errors = {at: errors[int(target[at])] for at in np.flatnonzero(is_told).tolist()}
        return Chosen(rows=rows, columns=columns, errors=errors)
