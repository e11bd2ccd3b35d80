"""Which values do the caller's columns and the record columns have in the rows of an answer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.pixels.series import gathered, row_index
from polars_rasteret.pixels.valid_mask import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.valid_mask import ValidExpr


class KeyColumns:
    """Columns of the caller's frame and of the records, gathered for the rows of an answer."""

    def __init__(self, targets: pl.DataFrame, records: Records) -> None:
        self._targets, self._records = targets, records.columns

    def frame(self, rows: PairedRows, names: AbstractSet[str]) -> pl.DataFrame:
        """Return the named columns of the rows; record columns are null where there is no record."""
        columns: dict[str, pl.Series] = {}
        target, record = pl.Series(rows.target), row_index(rows.record)
        is_whole = len(rows) == self._targets.height and bool((rows.target == np.arange(len(rows))).all())
        for name in self._targets.columns:
            if name in names:
                columns[name] = self._targets[name] if is_whole else gathered(self._targets[name], target)
        for name in self._records.columns:
            if name in names and name not in columns:
                columns[name] = gathered(self._records[name], record)
        if not columns:  # a frame without columns has no height
            return pl.DataFrame({"\0row": target})
        return pl.DataFrame(columns)

    def context(self, rows: PairedRows, valid: ValidExpr) -> pl.DataFrame:
        """Return the columns that a ``valid=`` expression names, beside its bands."""
        named = {CONTEXT + column: name for name, column in valid.records.items()}
        return self.frame(rows, {*valid.targets, *named}).rename(named, strict=False)

    def row_bytes(self, names: AbstractSet[str]) -> int:
        """Return an estimate of the bytes of the named columns in one row."""
        size = 8
        for frame in (self._targets, self._records):
            chosen = [name for name in frame.columns if name in names]
            if chosen and frame.height:
                size += int(frame[chosen].estimated_size()) // frame.height
        return size
