"""What do planned reads cost together, and is that certain?

Reads of one source follow each other, so what each still has to fetch is known. Where Polars decides which rows are read
together, or several reads share a file, the tiles are certain, but not which of them share a request, and with it the bytes
between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

LATENCY_S = 0.08
"""Of one request to a store; for files on this machine `LOCAL_LATENCY_S`."""
BYTES_PER_S = 60e6
"""Of all requests together; for files on this machine `LOCAL_BYTES_PER_S`."""
LOCAL_LATENCY_S = 0.0002
LOCAL_BYTES_PER_S = 1e9
REQUEST_S = 0.0002
"""Of work here for one request, whatever the store does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """What one host is asked for, and how fast it answers."""

    requests: int
    bytes: int
    latency_s: float
    bytes_per_s: float
    """Of all requests together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedRead:
    """The distinct tiles of one read, sorted by file and byte."""

    run: int
    """Reads with the same number follow each other."""
    in_batches: bool
    """Whether Polars decides which rows are read together."""
    group: Callable[[Ints, Ints, Ints], Ints]
    """Cuts tiles into requests, as the fetch does."""
    max_gap_bytes: int
    file: Ints
    byte_start: Ints
    byte_stop: Ints
    decoded_bytes: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileCosts:
    """Costs per file, int64, shape (n_files,)."""

    tiles: Ints
    requests: Ints
    bytes: Ints
    decoded_bytes: Ints
    rounds: int
    """Calls that fetch; each waits for its own requests."""
    is_exact: bool
    """False: tiles and bytes are not less than what is fetched, and may be more."""


def file_costs(calls: Sequence[PlannedRead], n_files: int, *, cache_bytes: int, is_upper: bool = False) -> FileCosts:
    """Add up what calls fetch from a cold cache.

    Parameters
    ----------
    calls
        In the order in which they were planned.
    n_files
        Files are numbered from 0.
    cache_bytes
        Of the tiles that are kept between calls.
    is_upper
        Whether some of the tiles may not be fetched, which leaves gaps elsewhere.
    """
    is_first = _first_wanted(calls)
    bills = _added_up(calls, is_first, n_files)
    repeats = not all(first.all() for first in is_first)
    if repeats and int(bills.bytes.sum()) > cache_bytes:  # what one call leaves in the cache may be gone for the next
        bills = _added_up(calls, [np.ones_like(first) for first in is_first], n_files)
        return _widened(calls, bills, np.ones(n_files, np.bool_), is_kept=False)
    undecided = np.ones(n_files, np.bool_) if is_upper else _undecided(calls, n_files)
    return _widened(calls, bills, undecided, is_kept=True)


def expected_seconds(hosts: Sequence[HostLoad], *, rounds: int, decoding_s: float, at_once: int) -> float:
    """Guess the time of reads: waiting, transfer and decoding. They overlap, but compete for cores, so none is left out.

    Parameters
    ----------
    hosts
        What each host is asked for.
    rounds
        Reads that follow each other; each waits for one answer at least.
    decoding_s
        On all cores.
    at_once
        Requests that fly at the same time.

    Examples
    --------
    >>> far = HostLoad(requests=64, bytes=120_000_000, latency_s=0.08, bytes_per_s=60e6)
    >>> expected_seconds([far], rounds=1, decoding_s=0.0, at_once=32)
    2.16
    """
    waiting = max(
        sum(one.requests * one.latency_s for one in hosts) / at_once,
        sum(one.requests for one in hosts) * REQUEST_S,
        rounds * max((one.latency_s for one in hosts), default=0.0),
    )
    return waiting + sum(one.bytes / one.bytes_per_s for one in hosts) + decoding_s


def _first_wanted(calls: Sequence[PlannedRead]) -> list[Bools]:
    """Say of each tile of each call whether no call before wanted it."""
    if not calls:
        return []
    file, start, stop = (
        np.concatenate([getattr(one, name) for one in calls]) for name in ("file", "byte_start", "byte_stop")
    )
    order = np.lexsort((stop, start, file))  # stable: the calls of a tile stay in order
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (np.diff(file[order]) != 0) | (np.diff(start[order]) != 0) | (np.diff(stop[order]) != 0)
    is_first = np.empty(len(order), np.bool_)
    is_first[order] = is_new
    return np.split(is_first, np.cumsum([len(one.file) for one in calls])[:-1])


def _added_up(calls: Sequence[PlannedRead], fetched: Sequence[Bools], n_files: int) -> FileCosts:
    tiles, requests, n_bytes, decoded = (np.zeros(n_files, np.int64) for _ in range(4))
    rounds = 0
    for call, is_fetched in zip(calls, fetched, strict=True):
        file, start, stop = (column[is_fetched] for column in (call.file, call.byte_start, call.byte_stop))
        if not len(file):
            continue
        rounds += 1
        first = np.flatnonzero(np.diff(call.group(file, start, stop), prepend=-1))
        np.add.at(tiles, file, 1)
        np.add.at(decoded, file, call.decoded_bytes[is_fetched])
        np.add.at(requests, file[first], 1)
        np.add.at(n_bytes, file[first], np.maximum.reduceat(stop, first) - start[first])
    return FileCosts(tiles=tiles, requests=requests, bytes=n_bytes, decoded_bytes=decoded, rounds=rounds, is_exact=True)


def _undecided(calls: Sequence[PlannedRead], n_files: int) -> Bools:
    """Say which files are read in batches that Polars makes, or by several reads that may run at the same time."""
    reader = np.full(n_files, -1, np.int64)
    undecided = np.zeros(n_files, np.bool_)
    for call in calls:
        files = np.unique(call.file)
        undecided[files] |= call.in_batches | ((reader[files] >= 0) & (reader[files] != call.run))
        reader[files] = call.run
    return undecided


def _widened(calls: Sequence[PlannedRead], bills: FileCosts, undecided: Bools, *, is_kept: bool) -> FileCosts:
    """Raise the bytes of undecided files to the most that any cut into requests can move."""
    if not undecided.any():
        return bills
    file, start, stop = (
        np.concatenate([getattr(one, name) for one in calls]) for name in ("file", "byte_start", "byte_stop")
    )
    max_gap_bytes = max(one.max_gap_bytes for one in calls)
    order = np.lexsort((stop, start, file))
    file, start, stop = file[order], start[order], stop[order]
    n_bytes, is_exact = bills.bytes.copy(), is_kept
    borders = [0, *(np.flatnonzero(np.diff(file)) + 1).tolist(), len(file)]
    for low, high in pairwise(borders):
        if low == high or not undecided[file[low]]:
            continue
        spans = np.stack([start[low:high], stop[low:high]], axis=1)
        spans, count = np.unique(spans, axis=0, return_counts=True)
        wasted = _wasted(spans[:, 0], spans[:, 1], max_gap_bytes)
        times = np.ones_like(count) if is_kept else count
        if wasted.any() or (spans[1:, 0] < spans[:-1, 1]).any():
            is_exact = False
        n_bytes[file[low]] = int(((spans[:, 1] - spans[:, 0] + wasted) * times).sum())
    return replace(bills, bytes=n_bytes, is_exact=is_exact)


def _wasted(start: Ints, stop: Ints, max_gap_bytes: int) -> Ints:
    """Give, for each tile of one file, the most bytes that may be fetched between it and a later one in the same request."""
    last = np.searchsorted(start, stop + max_gap_bytes, side="right") - 1
    is_later = last > np.arange(len(start))
    return np.where(is_later, np.maximum(start[last] - stop, 0), 0)
