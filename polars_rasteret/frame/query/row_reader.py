"""How do paired rows become a frame: what the product reads for them, beside the caller's and the records' columns?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polars_rasteret.engine import Spending
from polars_rasteret.frame.columns.read_error import READ_ERROR, error_column
from polars_rasteret.pairing.key_columns import KeyColumns
from polars_rasteret.pixels.valid_mask import ValidMask

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.records import Records
from polars_rasteret.pixels.product import Answer, Product, ReadCall

TOO_LARGE = "raise pr.options(max_answer_bytes=...), or ask for smaller windows"
"""Next step for the message when a batch exceeds ``max_answer_bytes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Reads rows of one run of a query."""

    product: Product
    resolved: Resolved
    pushed: Pushdown
    keys: KeyColumns
    call: ReadCall

    def read(self, rows: PairedRows, *, must_count: bool = False) -> Answer:
        """Return what the product gives for the rows."""
        valid = self.resolved.valid
        return self.product.read(
            rows.bands(),
            self.pushed.outputs,
            self.call,
            valid_mask=None if valid is None else ValidMask(valid, self.keys.context(rows, valid)),
            must_count=must_count,
        )

    def row_bytes(self, rows: PairedRows, outputs: frozenset[str]) -> NDArray[np.int64]:
        """Return the bytes of each row where some outputs of the product are read."""
        return self.product.row_bytes(rows.bands(), outputs, self.resolved.mask_bands)

    def key_bytes(self) -> int:
        """Return the bytes of the caller's and the record's columns of one row."""
        return self.keys.row_bytes(self._key_names())

    def frame(self, rows: PairedRows, columns: Mapping[str, pl.Series], errors: Mapping[int, str]) -> pl.DataFrame:
        """Return the frame of rows that were read; it holds what the predicate on pixels needs, too."""
        named = {name: natural for name, natural in self.resolved.values.items() if name in self.pushed.needed}
        frame = self.keys.frame(rows, self._key_names())
        if READ_ERROR in named.values():
            columns = {**columns, READ_ERROR: error_column(errors, len(rows))}
        return frame.with_columns([columns[natural].alias(name) for name, natural in named.items()])

    def filtered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that pass the predicate on pixels, with the columns that Polars wants."""
        if (condition := self.pushed.on_pixels) is not None:
            frame = frame.lazy().filter(condition).collect()
        return frame[self.pushed.wanted]

    def _key_names(self) -> set[str]:
        return {name for name in self.pushed.needed if name not in self.resolved.values}


def row_reader(
    question: Question, resolved: Resolved, pushed: Pushdown, targets: pl.DataFrame, records: Records
) -> RowReader:
    """Return the reader of one run.

    Parameters
    ----------
    question, resolved, pushed
        What is asked.
    targets, records
        The caller's rows and the records that may answer.
    """
    return RowReader(
        product=question.product,
        resolved=resolved,
        pushed=pushed,
        keys=KeyColumns(targets, records),
        call=ReadCall(
            options=pushed.options,
            advice=TOO_LARGE,
            spending=Spending.of(question.options),
        ),
    )
