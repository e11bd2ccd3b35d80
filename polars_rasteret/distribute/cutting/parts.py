"""What is one part of a query: which rows of the caller, which records, at which cost?

Parts are small: they name ranges of rows, and hold no row. How a query is cut into parts must not be put here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.plan.time_match import Intervals


class Period(NamedTuple):
    """Times of the records of a part, in microseconds since 1970; both ends are included."""

    first: int
    last: int
    has_unknown: bool
    """Whether records without a time are among them."""

    def holds(self, times: Intervals, record: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which records, by index, have a time in the period; -1 is no record."""
        start, is_known = times.start[record], times.is_known[record]
        return (record >= 0) & np.where(is_known, (start >= self.first) & (start <= self.last), self.has_unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the caller's rows, and the records of some time, that one worker reads together."""

    number: int
    """Number of the part, from 0, in the order in which parts should be started."""
    targets: tuple[int, int]
    """Half-open range of rows of the cut query's targets."""
    period: Period | None
    """None: records of any time may answer."""
    rows: int
    """Pairs that are read; rows of the caller, where `match` chooses one record for each."""
    records: int
    """Records that may answer."""
    tiles: int
    bytes: int
    requests: int
    usd: float
    """Dollars, of files whose price is known."""
