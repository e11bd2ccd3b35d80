"""Which target, which record and which windows does each row of an answer have, and which columns of both come with the row?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.grids.windows import no_windows, taken_windows
from polars_rasteret.pixels.reading import BandRows
from polars_rasteret.pixels.series import gathered, row_index
from polars_rasteret.pixels.valid_mask import CONTEXT, ValidMask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn
    from polars_rasteret.pixels.valid_mask import ValidExpr


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRows:
    """Rows of an answer before reading: target, record and windows of each row."""

    target: NDArray[np.int64]
    record: NDArray[np.int64]
    """Index of the record of each row; -1 for a row without a record."""
    windows: Mapping[str, Windows]
    """Windows of the rows by band; bands on the same grid share one object."""
    records: Records

    def __len__(self) -> int:
        return len(self.target)

    def taken(self, index: NDArray[np.int64] | slice) -> PairedRows:
        """Return some of the rows."""
        at = np.arange(len(self), dtype=np.int64)[index] if isinstance(index, slice) else index
        if len(at) == len(self) and (not len(at) or (at[0] == 0 and np.array_equal(at, np.arange(len(at))))):
            return self
        windows = dict(zip(self.windows, taken_windows(list(self.windows.values()), at), strict=True))
        return PairedRows(target=self.target[at], record=self.record[at], windows=windows, records=self.records)

    def repeated(self, at: NDArray[np.int64]) -> PairedRows:
        """Return target and record of some rows, in any order and any number; without windows, for nothing more is read."""
        return PairedRows(target=self.target[at], record=self.record[at], windows={}, records=self.records)

    def reference_id(self, column: RasterColumn) -> NDArray[np.int64]:
        """Return the index of each row's reference in one raster column; -1 without a record or a raster."""
        if not len(self.records):
            return np.full(len(self), -1, np.int64)
        return np.where(self.record >= 0, column.reference_id[self.record], -1)

    def bands(self) -> dict[str, BandRows]:
        """Return the windows of each band by its name; in a row without a record nothing is read."""
        records, asked = self.records, {}
        for band, column in records.rasters.items():
            reference_id = self.reference_id(column)
            windows = self.windows.get(band) or no_windows(
                column.grids_of(reference_id)
            )  # none where no row has a record
            reference_id, faults = column.readable(reference_id, windows)
            if records.faults:
                is_faulty = np.isin(self.record, list(records.faults)) & (reference_id >= 0)
                faults |= {
                    row: records.faults[int(self.record[row])]
                    for row in np.flatnonzero(is_faulty & windows.is_met).tolist()
                }
                reference_id = np.where(is_faulty, -1, reference_id)
            asked[band] = BandRows(
                column=column,
                reference_id=reference_id,
                row=self.record,
                windows=windows,
                faults={row: records.told(int(self.record[row]), fault) for row, fault in faults.items()},
            )
        return asked


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

    def valid_mask(self, rows: PairedRows, valid: ValidExpr | None) -> ValidMask | None:
        """Return a ``valid=`` expression with the columns that it names beside its bands; None without an expression."""
        if valid is None:
            return None
        named = {CONTEXT + column: name for name, column in valid.records.items()}
        return ValidMask(valid, self.frame(rows, {*valid.targets, *named}).rename(named, strict=False))

    def row_bytes(self, names: AbstractSet[str]) -> int:
        """Return an estimate of the bytes of the named columns in one row."""
        size = 8
        for frame in (self._targets, self._records):
            chosen = [name for name in frame.columns if name in names]
            if chosen and frame.height:
                size += int(frame[chosen].estimated_size()) // frame.height
        return size
