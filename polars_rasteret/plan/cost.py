"""What do planned reads cost together, in tiles, requests, bytes and seconds, and how certain is that?

Reads of one source run one after the other, so the tiles that each read finds in the cache are known. Other reads run in an
unknown order: Polars decides which rows are read together, or several reads share a file. Their tiles are certain. But which
tiles share a request is not, and neither are the unwanted bytes between two tiles of a request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.tiff.header import FIRST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

LATENCY_S = 0.08
"""Seconds until a store answers one request; for files on this machine `LOCAL_LATENCY_S`."""
BYTES_PER_S = 60e6
"""Bytes per second of all requests together; for files on this machine `LOCAL_BYTES_PER_S`."""
LOCAL_LATENCY_S = 0.0002
LOCAL_BYTES_PER_S = 1e9
HEADER_BYTES = FIRST_BYTES
"""Bytes of the first request for a header."""
REQUEST_S = 0.0002
"""Seconds of work on this machine for one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """Requests and bytes that one host is asked for, and the speed of the host."""

    requests: int
    bytes: int
    latency_s: float
    bytes_per_s: float
    """Bytes per second of all requests together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedRead:
    """Distinct tiles of one read, sorted by file and byte; columns of int64, shape (n_tiles,)."""

    run: int
    """Reads with the same number run one after the other."""
    in_batches: bool
    """Whether Polars decides which rows are read together."""
    group: Callable[[Ints, Ints, Ints], Ints]
    """Function of file, byte_start and byte_stop that returns the request of each tile, as the fetch does."""
    max_gap_bytes: int
    """Unwanted bytes that a request may hold between two tiles."""
    file: Ints
    """Number of each tile's file, from 0."""
    byte_start: Ints
    byte_stop: Ints
    decoded_bytes: Ints
    """Bytes of each tile once decompressed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileCosts:
    """Costs of some reads per file; columns of int64, shape (n_files,)."""

    tiles: Ints
    requests: Ints
    bytes: Ints
    decoded_bytes: Ints
    rounds: int
    """Reads that fetch anything; each waits for its own requests."""
    is_exact: bool
    """Whether tiles and bytes are exact. If not, both are upper bounds."""


def file_costs(reads: Sequence[PlannedRead], n_files: int, *, cache_bytes: int, is_upper: bool = False) -> FileCosts:
    """Return what reads cost together, per file, with an empty cache at the beginning.

    Parameters
    ----------
    reads
        Reads in the order in which they were planned.
    n_files
        Number of files; `PlannedRead.file` counts them from 0.
    cache_bytes
        Size of the cache that keeps tiles between reads.
    is_upper
        Whether some of the tiles may not be fetched. Requests may then have other gaps.
    """
    is_first = _first_wanted(reads)
    costs = _added_up(reads, is_first, n_files)
    repeats = not all(first.all() for first in is_first)
    if repeats and int(costs.bytes.sum()) > cache_bytes:  # a read may find the tiles of earlier ones evicted
        costs = _added_up(reads, [np.ones_like(first) for first in is_first], n_files)
        return _widened(reads, costs, np.ones(n_files, np.bool_), is_kept=False)
    undecided = np.ones(n_files, np.bool_) if is_upper else _undecided(reads, n_files)
    return _widened(reads, costs, undecided, is_kept=True)


def expected_seconds(hosts: Sequence[HostLoad], *, rounds: int, decoding_s: float, at_once: int) -> float:
    """Return a guess of the seconds that reads take: waiting, transfer and decoding.

    The three overlap, but they compete for cores, so they are added up.

    Parameters
    ----------
    hosts
        Requests and bytes of each host.
    rounds
        Reads that run one after the other; each waits for one answer at least.
    decoding_s
        Seconds of decoding on all cores.
    at_once
        Requests in flight at the same time.

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


def _first_wanted(reads: Sequence[PlannedRead]) -> list[Bools]:
    """Return, for each tile of each read, whether no earlier read wanted the tile."""
    if not reads:
        return []
    file, start, stop = (
        np.concatenate([getattr(one, name) for one in reads]) for name in ("file", "byte_start", "byte_stop")
    )
    is_first = first_of_equal(file, start, stop)
    return np.split(is_first, np.cumsum([len(one.file) for one in reads])[:-1])


def first_of_equal(file: Ints, start: Ints, stop: Ints) -> Bools:
    """Return, for each tile, whether no earlier one has the same bytes of the same file."""
    order = np.lexsort((stop, start, file))  # stable: equal tiles stay in order
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (np.diff(file[order]) != 0) | (np.diff(start[order]) != 0) | (np.diff(stop[order]) != 0)
    is_first = np.empty(len(order), np.bool_)
    is_first[order] = is_new
    return is_first


def _added_up(reads: Sequence[PlannedRead], fetched: Sequence[Bools], n_files: int) -> FileCosts:
    tiles, requests, n_bytes, decoded = (np.zeros(n_files, np.int64) for _ in range(4))
    rounds = 0
    for read, is_fetched in zip(reads, fetched, strict=True):
        file, start, stop = (column[is_fetched] for column in (read.file, read.byte_start, read.byte_stop))
        if not len(file):
            continue
        rounds += 1
        first = np.flatnonzero(np.diff(read.group(file, start, stop), prepend=-1))
        np.add.at(tiles, file, 1)
        np.add.at(decoded, file, read.decoded_bytes[is_fetched])
        np.add.at(requests, file[first], 1)
        np.add.at(n_bytes, file[first], np.maximum.reduceat(stop, first) - start[first])
    return FileCosts(tiles=tiles, requests=requests, bytes=n_bytes, decoded_bytes=decoded, rounds=rounds, is_exact=True)


def _undecided(reads: Sequence[PlannedRead], n_files: int) -> Bools:
    """Return which files are read in batches that Polars cuts, or by several reads that may run at the same time."""
    reader = np.full(n_files, -1, np.int64)
    undecided = np.zeros(n_files, np.bool_)
    for read in reads:
        files = np.unique(read.file)
        undecided[files] |= read.in_batches | ((reader[files] >= 0) & (reader[files] != read.run))
        reader[files] = read.run
    return undecided


def _widened(reads: Sequence[PlannedRead], costs: FileCosts, undecided: Bools, *, is_kept: bool) -> FileCosts:
    """Return the costs with the bytes of undecided files raised to the most that any grouping into requests can move."""
    if not undecided.any():
        return costs
    file, start, stop = (
        np.concatenate([getattr(one, name) for one in reads]) for name in ("file", "byte_start", "byte_stop")
    )
    max_gap_bytes = max(one.max_gap_bytes for one in reads)
    order = np.lexsort((stop, start, file))
    file, start, stop = file[order], start[order], stop[order]
    n_bytes, is_exact = costs.bytes.copy(), is_kept
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
    return replace(costs, bytes=n_bytes, is_exact=is_exact)


def _wasted(start: Ints, stop: Ints, max_gap_bytes: int) -> Ints:
    """Return, for each tile of one file, the most unwanted bytes between the tile and a later tile of the same request."""
    last = np.searchsorted(start, stop + max_gap_bytes, side="right") - 1
    is_later = last > np.arange(len(start))
    return np.where(is_later, np.maximum(start[last] - stop, 0), 0)
