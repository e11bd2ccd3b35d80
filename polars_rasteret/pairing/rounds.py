"""How is one record chosen per row, and no record read in vain?

Each wave reads, for every row that is still open, the next record in its order of preference. A row is closed by the first record
that counts; rows whose records are used up stay without one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.pixels.neighbourhoods import add_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from polars_rasteret.pairing.reader import ReadAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One row per target."""

    rows: PairedRows
    columns: dict[str, pl.Series]
    errors: dict[int, str]
    """Reasons by row, also of records that were passed over because they could not be read."""


def choose_by_reading(
    candidates: PairedRows,
    targets: NDArray[np.int64],
    read: Callable[[PairedRows], ReadAnswer],
    dtypes: Mapping[str, pl.DataType],
) -> Chosen:
    """Read records until each row has one that counts.

    Parameters
    ----------
    candidates
        By target, then preference.
    targets
        Every target that is to have a row, ascending.
    read
        Reads some candidates and says which count.
    dtypes
        Columns that `read` gives.
    """
    first = np.searchsorted(candidates.target, targets, side="left")
    stop = np.searchsorted(candidates.target, targets, side="right")
    cursor = first.copy()
    record = np.full(len(targets), -1, np.int64)
    place = np.full(len(targets), -1, np.int64)
    errors: dict[int, str] = {}
    parts: list[dict[str, pl.Series]] = []
    n_found = 0
    is_open = np.flatnonzero(cursor < stop)
    while len(is_open):
        rows = candidates.taken(cursor[is_open])
        answer = read(rows)
        assert answer.counts is not None
        for row, reason in answer.errors.items():
            add_reason(errors, int(is_open[row]), reason)
        closed = np.flatnonzero(answer.counts)
        record[is_open[closed]] = rows.record[closed]
        place[is_open[closed]] = n_found + np.arange(len(closed))
        n_found += len(closed)
        index = pl.Series(closed)
        parts.append({name: answer.columns[name].alias("").gather(index) for name in dtypes})
        cursor[is_open] += 1
        is_open = is_open[~answer.counts]
        is_open = is_open[cursor[is_open] < stop[is_open]]
    result = PairedRows(target=targets, record=record, windows={}, records=candidates.records)
    at = pl.Series(place)
    if (place < 0).any():
        at = at.set(at < 0, None)
    columns = {}
    for name, dtype in dtypes.items():
        found = pl.concat([part[name] for part in parts]) if parts else pl.Series(name, [], dtype=dtype)
        if not len(found):
            columns[name] = pl.Series(name, [None], dtype=dtype).new_from_index(0, len(targets))
        else:
            columns[name] = found.gather(at).alias(name)
    return Chosen(rows=result, columns=columns, errors=errors)
