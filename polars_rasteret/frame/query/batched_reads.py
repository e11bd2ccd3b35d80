"""How are paired rows read into frames, batch by batch, so that memory stays bounded?

A frame holds what the product reads for its rows, beside the caller's and the records' columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine import Spending
from polars_rasteret.frame.columns.read_error import READ_ERROR, error_column
from polars_rasteret.frame.query.batches import pieces
from polars_rasteret.pixels.product import LEAST_ENTRY_BYTES, Answer, ManyRows, Product, ReadCall
from polars_rasteret.pixels.readable_bands import readable_bands
from polars_rasteret.plan.batches import WIDE_ROW_BYTES, batch_bytes, batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.frame.query.pushdown import Pushdown
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.pairing.paired_rows import KeyColumns, PairedRows
    from polars_rasteret.pixels.product import Bands

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
        """Return what the product gives for the rows; nothing is read where no value of it is used."""
        if not must_count and not self.pushed.values:
            return Answer(columns={})
        bands, valid = self._bands(rows, every=must_count), self.keys.valid_mask(rows, self.resolved.valid)
        return self.product.read(bands, self.pushed.outputs, self.call, valid_mask=valid, must_count=must_count)

    def parts(self, rows: PairedRows) -> Iterator[Answer]:
        """Yield what a product of many rows gives for the rows, some entries at a time."""
        product: ManyRows = self.product  # type: ignore[assignment]  # by its `many_rows`
        bands, valid = self._bands(rows, every=False), self.keys.valid_mask(rows, self.resolved.valid)
        yield from product.parts(bands, self.pushed.outputs, self.call, valid_mask=valid)

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

    def _bands(self, rows: PairedRows, *, every: bool) -> Bands:
        every = every or self.resolved.valid is not None
        return readable_bands(rows.bands(), self.product, self.pushed.outputs, self.call, every=every)

    def _key_names(self) -> set[str]:
        return {name for name in self.pushed.needed if name not in self.resolved.values}


def row_reader(question: Question, resolved: Resolved, pushed: Pushdown, keys: KeyColumns) -> RowReader:
    """Return the reader of one run.

    Parameters
    ----------
    question, resolved, pushed
        What is asked.
    keys
        The columns of the caller's rows and of the records that may answer.
    """
    return RowReader(
        product=question.product,
        resolved=resolved,
        pushed=pushed,
        keys=keys,
        call=ReadCall(
            options=pushed.options,
            advice=TOO_LARGE,
            spending=Spending.of(question.options),
        ),
    )


def read_all(rows: PairedRows, reader: RowReader, max_answer_bytes: int) -> Iterator[pl.DataFrame]:
    """Yield the answers of every row."""
    pushed = reader.pushed
    read_bytes = reader.row_bytes(rows, pushed.outputs)
    row_bytes = read_bytes + reader.key_bytes()
    if int(read_bytes.sum()) < WIDE_ROW_BYTES * len(read_bytes):
        # Narrow values share tiles, which each batch reads again: columns of the caller must not make more batches.
        for batch in batches_of(read_bytes, max_bytes=max_answer_bytes, ramps_up=pushed.ramps_up):
            yield from _read_narrow(rows.taken(batch), reader, row_bytes[batch], max_answer_bytes)
        return
    allowed = batch_bytes(row_bytes, max_answer_bytes)
    is_cut = allowed < max_answer_bytes
    for batch in batches_of(row_bytes, max_bytes=allowed, ramps_up=pushed.ramps_up):
        # Nothing here holds the frame of a batch while the next one is read.
        if is_cut:
            yield from pieces(_read_batch(rows.taken(batch), reader), row_bytes[batch])
        else:
            yield _read_batch(rows.taken(batch), reader)


def _read_narrow(
    rows: PairedRows, reader: RowReader, row_bytes: NDArray[np.int64], max_answer_bytes: int
) -> Iterator[pl.DataFrame]:
    """Read all rows together, and yield frames of bounded bytes."""
    answer = reader.read(rows)
    for part in batches_of(row_bytes, max_bytes=max_answer_bytes, ramps_up=False):
        columns = {name: column[part] for name, column in answer.columns.items()}
        errors = {row - part.start: reason for row, reason in answer.errors.items() if part.start <= row < part.stop}
        frame = reader.frame(rows.repeated(np.arange(part.start, part.stop)), columns, errors)
        yield reader.filtered(frame)


def _read_batch(rows: PairedRows, reader: RowReader) -> pl.DataFrame:
    answer = reader.read(rows)
    return reader.filtered(reader.frame(rows, answer.columns, answer.errors))


def read_many(
    rows: PairedRows, reader: RowReader, max_answer_bytes: int, n_rows: int | None
) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yield the answers of every row where a row becomes many, and how many there were before the predicate.

    Parameters
    ----------
    rows, reader
        Of the query.
    max_answer_bytes
        Bytes of a batch.
    n_rows
        The limit that is left: batches are as small as it allows. Where Polars may stop early, the first batch is one row.
    """
    row_bytes = reader.row_bytes(rows, reader.pushed.outputs)
    ramp = batches_of(row_bytes, max_bytes=max_answer_bytes, ramps_up=reader.pushed.ramps_up, first_rows=1)
    start = 0
    while start < len(rows):
        if n_rows is None:
            batch = next(ramp)
        else:
            allowed = min(max_answer_bytes, n_rows * LEAST_ENTRY_BYTES)
            first = next(batches_of(row_bytes[start:], max_bytes=allowed, ramps_up=False))
            batch = slice(start, start + first.stop)
        start = batch.stop
        some = rows.taken(batch)
        for answer in reader.parts(some):
            assert answer.row is not None
            frame = reader.frame(some.repeated(answer.row), answer.columns, answer.errors)
            if n_rows is not None:
                frame = frame.head(n_rows)
                n_rows -= frame.height
            yield reader.filtered(frame), frame.height
            if n_rows is not None and n_rows <= 0:
                return
