"""How are rows read batch by batch, so that memory stays bounded?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.frame.query.batches import pieces
from polars_rasteret.pairing.rounds import Rounds
from polars_rasteret.plan.batches import batch_bytes, batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.row_reader import RowReader
    from polars_rasteret.pairing.paired_rows import PairedRows


def read_all(rows: PairedRows, reader: RowReader, max_answer_bytes: int) -> Iterator[pl.DataFrame]:
    """Yield the answers of every row."""
    pushed = reader.pushed
    row_bytes = reader.row_bytes(rows, pushed.outputs) + reader.key_bytes()
    allowed = batch_bytes(row_bytes, max_answer_bytes)
    is_cut = allowed < max_answer_bytes
    for batch in batches_of(row_bytes, max_bytes=allowed, ramps_up=pushed.ramps_up):
        # Nothing here holds the frame of a batch while the next one is read.
        if is_cut:
            yield from pieces(_read_batch(rows.taken(batch), reader), row_bytes[batch])
        else:
            yield _read_batch(rows.taken(batch), reader)


def _read_batch(rows: PairedRows, reader: RowReader) -> pl.DataFrame:
    if not reader.pushed.values:
        return reader.filtered(reader.frame(rows, {}, {}))
    answer = reader.read(rows)
    return reader.filtered(reader.frame(rows, answer.columns, answer.errors))


def read_chosen(
    rows: PairedRows, of_targets: range, reader: RowReader, question: Question, n_rows: int | None
) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yield the answers of one chosen record per target, and how many rows there were before the predicate.

    Parameters
    ----------
    rows
        All that may answer, by target, the best first.
    of_targets
        Targets that are to have a row.
    reader, question
        Of the query.
    n_rows
        The limit that is left.
    """
    pushed, product = reader.pushed, reader.product
    outputs = {name: dtype for name, dtype in product.outputs.items() if name in pushed.values}
    target_bytes = np.full(len(of_targets), reader.key_bytes(), np.int64)
    # All bands say whether a row counts.
    row_bytes = reader.row_bytes(rows, frozenset(product.outputs))
    np.maximum.at(target_bytes, rows.target - of_targets.start, row_bytes)
    ramps_up = pushed.ramps_up or n_rows is not None
    for batch in batches_of(target_bytes, max_bytes=question.options.max_answer_bytes, ramps_up=ramps_up):
        targets = np.arange(of_targets[batch.start], of_targets[batch.stop - 1] + 1, dtype=np.int64)
        first, stop = np.searchsorted(rows.target, [targets[0], targets[-1] + 1])
        rounds = Rounds(rows.taken(slice(int(first), int(stop))), targets, outputs)
        while rounds.are_open:
            some = rounds.next_rows()
            rounds.close(some, reader.read(some, must_count=True))
        chosen = rounds.chosen()
        frame = reader.frame(chosen.rows, chosen.columns, chosen.errors)
        if question.pairing.unmatched == "drop":
            frame = frame.filter(chosen.rows.record >= 0)
        if n_rows is not None:
            frame = frame.head(n_rows)
            n_rows -= frame.height
        yield reader.filtered(frame), frame.height
        if n_rows is not None and n_rows <= 0:
            return
