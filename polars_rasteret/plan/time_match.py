"""In which order may records answer a row, by time?

All times are microseconds since 1970, intervals are closed. A record stands for the interval in which it was taken, a row for the
instant or day that the caller named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Match = Literal["all", "latest", "earliest", "nearest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """One interval per record or row; int64, shape (n,)."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    is_known: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)

    def taken(self, index: NDArray[np.int64]) -> Intervals:
        """Give some of them."""
        return Intervals(start=self.start[index], stop=self.stop[index], is_known=self.is_known[index])


def gaps(one: Intervals, other: Intervals) -> NDArray[np.int64]:
    """Give the time between intervals, 0 where they overlap; what it is for unknown ones does not matter."""
    apart: NDArray[np.int64] = np.maximum(one.start - other.stop, other.start - one.stop)
    return np.maximum(apart, 0)


def within(at: Intervals, reach: Intervals, records: Intervals) -> NDArray[np.bool_]:
    """Say which records lie within a tolerance: they touch `reach`, which is `at` widened by it on both sides."""
    return at.is_known & records.is_known & (records.start <= reach.stop) & (records.stop >= reach.start)


def ranked_pairs(
    match: Match, target: NDArray[np.int64], at: Intervals | None, records: Intervals, precedence: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Order the records that may answer each row, the best first.

    Parameters
    ----------
    match
        ``"latest"``: by greatest start, then end, of the records that start no later than `at` ends. ``"earliest"``: by
        smallest start, then end, of those that end no earlier than `at` starts. ``"nearest"``: by the gap to `at`, then start,
        then end.
    target
        Row of each pair.
    at
        What the caller named, for each pair. A pair without it has no answer. None: nothing was named; records without time
        come last then, and never otherwise.
    records
        Of each pair.
    precedence
        Of each pair's record where times say nothing more; the smaller comes first.

    Returns
    -------
    ndarray of int64
        Pairs that may answer, by row, then preference.
    """
    allowed = np.ones(len(target), np.bool_) if at is None else at.is_known & records.is_known
    if at is not None and match == "latest":
        allowed &= records.start <= at.stop
    if at is not None and match == "earliest":
        allowed &= records.stop >= at.start
    kept = np.flatnonzero(allowed)
    start, stop, rows = records.start[kept], records.stop[kept], target[kept]
    if match == "latest":
        keys = (-stop, -start)
    elif match == "nearest":
        assert at is not None
        keys = (stop, start, gaps(at.taken(kept), records.taken(kept)))  # type: ignore[assignment]  # one key more
    else:
        keys = (stop, start)
    known = records.is_known[kept]
    keys = tuple(np.where(known, key, 0) for key in keys)  # type: ignore[assignment]
    return kept[np.lexsort((precedence[kept], *keys, ~known, rows))]
