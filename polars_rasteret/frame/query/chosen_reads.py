"""How is one record per target chosen and read, round by round, in batches of bounded memory?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.frame.query.rounds_ahead import RoundsAhead
from polars_rasteret.pairing.rounds import Rounds
from polars_rasteret.plan.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.pairing.paired_rows import PairedRows


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
        ahead = RoundsAhead(rounds, reader)
        try:
            while rounds.are_open:
                ahead.fetch()
                some = rounds.next_rows()
                rounds.close(some, reader.read(some, must_count=True))
        finally:
            ahead.abandon()
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
