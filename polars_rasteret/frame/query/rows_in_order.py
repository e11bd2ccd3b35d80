"""How do rows that were read record by record come back in the caller's order?

Their values are kept, a few bytes for each row, until all records are read.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.pairing.paired_rows import PairedRows
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.series import gathered
from polars_rasteret.plan.batches import batches_of
from polars_rasteret.plan.tiles import radix_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.frame.query.batched_reads import RowReader

    Ints = NDArray[np.int64]


def read_in_order(
    runs: Iterator[tuple[PairedRows, range]], reader: RowReader, max_answer_bytes: int
) -> Iterator[pl.DataFrame]:
    """Yield the answers of `record_runs`, in the order of the caller's rows, then of the records."""
    for _, of_these in groupby(runs, key=lambda run: run[1]):
        targets, found, values, errors, n_rows = [], [], [], {}, 0
        for rows, _ in of_these:
            answer = reader.read(rows)
            errors.update({n_rows + row: reason for row, reason in answer.errors.items()})
            targets.append(rows.target)
            found.append(rows.record)
            values.append(answer.columns)
            n_rows += len(rows)
            records = rows.records
        target = np.concatenate(targets)
        # Runs are in the order of the records, and the order is stable: records of a target stay in theirs.
        order = radix_order(target)
        whole = PairedRows(target=target[order], record=np.concatenate(found)[order], windows={}, records=records)
        columns = {name: pl.concat([one[name] for one in values]) for name in values[0]}
        del targets, found, target, values
        yield from _frames(whole, Answer(columns=columns, errors=errors), order, reader, max_answer_bytes)


def _frames(
    rows: PairedRows, answer: Answer, order: Ints, reader: RowReader, max_answer_bytes: int
) -> Iterator[pl.DataFrame]:
    """Yield the rows as frames of bounded bytes; row ``i`` has the values at ``order[i]`` of the answer."""
    reasons: dict[int, str] = {}
    if answer.errors:
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        reasons = {int(place[row]): reason for row, reason in answer.errors.items()}
    row_bytes = reader.row_bytes(rows.taken(slice(0, 1)), reader.pushed.outputs) + reader.key_bytes()
    for part in batches_of(np.broadcast_to(row_bytes, len(rows)), max_bytes=max_answer_bytes, ramps_up=False):
        index = pl.Series(order[part])
        columns = {name: gathered(column, index) for name, column in answer.columns.items()}
        errors = {row - part.start: reason for row, reason in reasons.items() if part.start <= row < part.stop}
        yield reader.filtered(reader.frame(rows.repeated(np.arange(part.start, part.stop)), columns, errors))
