"""Which records match a row by time, and in which order of preference?

All times are microseconds since 1970; intervals are closed. A record has the interval in which it was acquired, a row the instant
or day that the caller named.
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
    """One closed interval per record or row; int64 microseconds since 1970, shape (n,)."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    is_known: NDArray[np.bool_]
    """False where a time is null; `start` and `stop` mean nothing there."""

    def __len__(self) -> int:
        return len(self.start)

    def taken(self, index: NDArray[np.int64]) -> Intervals:
        """Return the intervals at some positions."""
        return Intervals(start=self.start[index], stop=self.stop[index], is_known=self.is_known[index])


def gaps(one: Intervals, other: Intervals) -> NDArray[np.int64]:
    """Return the microseconds between two intervals, 0 where they overlap; arbitrary where an interval is not known."""
    apart: NDArray[np.int64] = np.maximum(one.start - other.stop, other.start - one.stop)
    return np.maximum(apart, 0)


def within(at: Intervals, reach: Intervals, records: Intervals) -> NDArray[np.bool_]:
    """Return which records lie within a tolerance: they touch `reach`, which is `at` widened by the tolerance on both sides."""
    return at.is_known & records.is_known & (records.start <= reach.stop) & (records.stop >= reach.start)


def ranked_pairs(
    match: Match, target: NDArray[np.int64], at: Intervals | None, records: Intervals, precedence: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the pairs of rows and records that match by time, in the order of preference of each row.

    Parameters
    ----------
    match
        ``"latest"``: records that start no later than `at` ends, by greatest start, then greatest end. ``"earliest"``: records
        that end no earlier than `at` starts, by smallest start, then smallest end. ``"nearest"``: by the gap to `at`, then
        start, then end.
    target
        Row of each pair.
    at
        Interval that the caller named, for each pair; a pair without one does not match. None: the caller named no time. Only
        then do records without time match, after all others.
    records
        Interval of each pair's record.
    precedence
        Order of each pair's record where times are equal; the smaller comes first.

    Returns
    -------
    ndarray of int64
        Indices of the pairs that match, by row, then preference.
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
