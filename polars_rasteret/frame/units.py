"""How is the work of a verb cut, so that an answer of any size needs bounded memory?

A unit is a run of output rows, in order, whose answer fits the allowance. Units start small only when a predicate that needs
pixels was delivered (Polars may then stop early); otherwise a unit is as large as allowed, because a tile that two units need is
decoded twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from polars_rasteret.frame.reading import BandRows
from polars_rasteret.frame.windows import no_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.engine import Bill, Spending
    from polars_rasteret.frame.records import Records
    from polars_rasteret.frame.references import RasterColumn
    from polars_rasteret.frame.validity import Judge
    from polars_rasteret.frame.windows import Windows
    from polars_rasteret.geo.moved import Areas, Points
    from polars_rasteret.options import ReadOptions

_WIDE_ROW_BYTES = 4096
"""From here on a row holds windows rather than values."""
_UNITS_AT_ONCE = 4
_PIECE_BYTES = 16_000_000

_FRAMES_AHEAD = 4
"""More than the frames that Polars' streaming engine takes from a source before it looks at the first of them."""

RAMP_START_ROWS = 16
RAMP_FACTOR = 4
TOO_LARGE = "raise pr.options(max_answer_bytes=...), or ask for smaller windows"
"""What to do when a unit exceeds the allowance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRows:
    """Output rows before reading: which target and which record each stands for, and where its pixels are."""

    target: NDArray[np.int64]
    record: NDArray[np.int64]
    """-1 for a row that no record answers."""
    windows: Mapping[str, Windows]
    """By band; bands on the same grid share one object."""
    records: Records

    def __len__(self) -> int:
        return len(self.target)

    def taken(self, index: NDArray[np.int64] | slice) -> PairedRows:
        """Give some of the rows."""
        at = np.arange(len(self), dtype=np.int64)[index] if isinstance(index, slice) else index
        if len(at) == len(self) and (not len(at) or (at[0] == 0 and np.array_equal(at, np.arange(len(at))))):
            return self
        known: dict[int, Windows] = {}
        windows = {}
        for band, one in self.windows.items():
            windows[band] = known.setdefault(id(one), one.taken(at) if id(one) not in known else one)
        return PairedRows(target=self.target[at], record=self.record[at], windows=windows, records=self.records)

    def reference_id(self, column: RasterColumn) -> NDArray[np.int64]:
        """Give the reference of each row in one raster column; -1 without record or raster."""
        if not len(self.records):
            return np.full(len(self), -1, np.int64)
        return np.where(self.record >= 0, column.reference_id[self.record], -1)


def band_rows(rows: PairedRows, bands: list[str], unscale: AbstractSet[str]) -> list[BandRows]:
    """Say what each band is asked; a row without a record asks nothing."""
    asked = []
    for band in bands:
        column, records = rows.records.rasters[band], rows.records
        windows = rows.windows.get(band) or no_windows(len(rows))  # none where no row has a record
        reference_id, faults = column.readable(rows.reference_id(column), windows)
        if records.faults:
            is_faulty = np.isin(rows.record, list(records.faults)) & (reference_id >= 0)
            faults |= {
                row: records.faults[int(rows.record[row])]
                for row in np.flatnonzero(is_faulty & windows.is_met).tolist()
            }
            reference_id = np.where(is_faulty, -1, reference_id)
        asked.append(
            BandRows(
                column=column,
                reference_id=reference_id,
                row=np.maximum(rows.record, 0),
                windows=windows,
                unscale=band in unscale,
                faults={row: records.told(int(rows.record[row]), fault) for row, fault in faults.items()},
            )
        )
    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """What a reader gave for some rows."""

    columns: dict[str, pl.Series]
    errors: dict[int, str]
    """Reasons of failed rows (``on_error="null"``)."""
    counts: NDArray[np.bool_] | None = None
    """Rows whose record has a pixel that is not null; None where nobody asked."""


class Reader(Protocol):
    """What a verb does with paired rows."""

    @property
    def as_points(self) -> bool | None:
        """Whether every target must be a point; None: they are taken as points where all of them are."""
        ...

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns it gives, with their dtypes, in order."""
        ...

    def windows(
        self, column: RasterColumn, reference_id: NDArray[np.int64], targets: Points | Areas, target: NDArray[np.int64]
    ) -> Windows:
        """Give the window each row asks of a band."""
        ...

    def row_bytes(self, rows: PairedRows, wanted: AbstractSet[str], judging: Sequence[str] = ()) -> NDArray[np.int64]:
        """Give the size of each row's answer, and of what is in hand for it: `judging` bands say what is valid."""
        ...

    @property
    def costs_vary(self) -> bool:
        """Whether what is read depends on the pixels themselves, so that `bill` is a part of it."""
        ...

    def read(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judge: Judge | None,
        spending: Spending | None,
        must_count: bool,
    ) -> ReadAnswer:
        """Give the wanted columns of the rows; with `must_count` also which of them count as answered."""
        ...

    def bill(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judging: Sequence[str] = (),
    ) -> Bill:
        """Give what `read` would surely fetch with an empty cache, whatever the pixels are.

        Parameters
        ----------
        judging
            Bands that say what is valid.
        """
        ...

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether these columns cost requests."""
        ...


def unit_bytes(row_bytes: NDArray[np.int64], max_answer_bytes: int) -> int:
    """Give the allowance of one unit.

    Polars reads on while a sink writes, so several units are in memory at once. Wide rows that need more than one unit get
    smaller ones, then: they have few tiles in common. Narrow rows have many, and take little memory.

    Examples
    --------
    >>> import numpy as np
    >>> unit_bytes(np.full(1000, 500_000), 512_000_000), unit_bytes(np.full(2000, 500_000), 512_000_000)
    (512000000, 128000000)
    """
    whole = int(row_bytes.sum())
    if whole <= max_answer_bytes or whole < _WIDE_ROW_BYTES * len(row_bytes):
        return max_answer_bytes
    return max(max_answer_bytes // _UNITS_AT_ONCE, 1)


def pieces(frame: pl.DataFrame, row_bytes: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    """Cut the frame of a unit of wide rows: Polars holds a number of frames before a sink, whatever their size."""
    n_rows = frame.height
    if not n_rows or int(row_bytes.sum()) < _WIDE_ROW_BYTES * len(row_bytes):
        yield frame
        return
    step = max(1, int(_PIECE_BYTES // max(1.0, float(row_bytes.mean()))))
    for start in range(0, n_rows, step):
        yield frame.slice(start, step)


def with_turns(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Give frames so that the streaming engine can end the read after each of them.

    It asks for some frames ahead. Where it may have its rows early, what it asks for ahead is empty, not a unit.

    Examples
    --------
    >>> import polars as pl
    >>> [frame.height for frame in with_turns(iter([pl.DataFrame({"a": [1, 2]})]))]
    [2, 0, 0, 0, 0]
    """
    for frame in frames:
        yield frame
        nothing = frame.clear()
        del frame  # it is not held while the next unit is read
        for _ in range(_FRAMES_AHEAD):
            yield nothing


def units(row_bytes: NDArray[np.int64], *, max_bytes: int, ramps_up: bool) -> Iterator[slice]:
    """Cut rows into units.

    Parameters
    ----------
    row_bytes
        Size of each row of the answer.
    max_bytes
        Of one unit; a single larger row is a unit of its own.
    ramps_up
        Whether units start small and grow.

    Yields
    ------
    slice
        Consecutive, covering every row once.

    Examples
    --------
    >>> import numpy as np
    >>> [(one.start, one.stop) for one in units(np.array([4, 4, 4, 4, 4]), max_bytes=8, ramps_up=False)]
    [(0, 2), (2, 4), (4, 5)]
    """
    end = np.cumsum(row_bytes)
    n_rows, start, limit = len(row_bytes), 0, RAMP_START_ROWS
    while start < n_rows:
        before = int(end[start - 1]) if start else 0
        stop = max(int(np.searchsorted(end, before + max_bytes, side="right")), start + 1)
        if ramps_up:
            stop = min(stop, start + limit)
            limit *= RAMP_FACTOR
        yield slice(start, stop)
        start = stop
