"""Which tiles share a request?

The cost model has two numbers. The gap is the unwanted bytes that are cheaper to download than another round trip. The cap on
the size of a request keeps large reads parallel. Nothing is fetched here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


_ROUND_SLACK = 1.5
"""Factor on the size of requests that should fit into one round, because tiles do not fill requests evenly."""


def request_cap(n_bytes: int, *, max_request_bytes: int, at_once: int) -> int:
    """Return the bytes up to which a request may grow, for a read of `n_bytes`.

    A read that fits into one round of requests takes one round trip, so its requests may be large. A longer read keeps the
    connections busy anyway; small requests then arrive sooner, and their memory is reused. (Measured: 4 MiB requests cost three
    times the page faults of 1 MiB ones, a tenth of the time of a read of 1.8 GB.)

    Parameters
    ----------
    n_bytes
        Bytes of all tiles.
    max_request_bytes
        Largest cap; the smallest is a quarter of it.
    at_once
        Requests in flight at the same time.

    Examples
    --------
    >>> request_cap(10**9, max_request_bytes=4 << 20, at_once=32) == 1 << 20
    True
    """
    smallest = max(1, max_request_bytes // 4)
    if n_bytes > at_once * max_request_bytes:
        return smallest
    return min(max(int(_ROUND_SLACK * n_bytes / at_once), smallest), max_request_bytes)


def request_ids(
    file_id: Ints, byte_start: Ints, byte_stop: Ints, *, max_gap_bytes: int, max_request_bytes: int
) -> Ints:
    """Return the request of each tile; near neighbours in one file share a request.

    Parameters
    ----------
    file_id, byte_start, byte_stop
        One entry per distinct tile, sorted by ``file_id, byte_start``; half-open ranges. They may overlap (two tiles may
        share their bytes).
    max_gap_bytes
        Unwanted bytes between two tiles that are cheaper to download than another round trip.
    max_request_bytes
        A request does not grow beyond this by joining tiles; one larger tile is still one request.

    Returns
    -------
    ndarray of int64, shape (n_tiles,)
        Number of each tile's request, dense from 0, never decreasing.
    """
    n_tiles = len(file_id)
    if not n_tiles:
        return np.empty(0, np.int64)
    starts = np.empty(n_tiles, np.bool_)
    starts[0] = True
    # Ranges may nest, so a gap is measured from the furthest byte so far of the same file.
    same_file = file_id[1:] == file_id[:-1]
    reached = _running_maximum(file_id, byte_stop)
    starts[1:] = ~same_file | (byte_start[1:] - reached[:-1] > max_gap_bytes)

    # Each run of near neighbours is filled greedily up to the cap: one search per request, not one step per tile.
    run_start = np.flatnonzero(starts)
    run_stop = np.append(run_start[1:], n_tiles)
    too_large = reached[run_stop - 1] - byte_start[run_start] > max_request_bytes
    for first, stop in zip(run_start[too_large].tolist(), run_stop[too_large].tolist(), strict=True):
        head = first
        while True:
            limit = byte_start[head] + max_request_bytes
            head = max(head + 1, head + int(np.searchsorted(reached[head:stop], limit, side="right")))
            if head >= stop:
                break
            starts[head] = True
    return np.cumsum(starts) - 1


def _running_maximum(file_id: Ints, byte_stop: Ints) -> Ints:
    """Return the greatest `byte_stop` so far within the same file."""
    if (byte_stop[1:] >= byte_stop[:-1])[file_id[1:] == file_id[:-1]].all():
        return byte_stop
    reached = byte_stop.copy()
    borders = np.flatnonzero(file_id[1:] != file_id[:-1]) + 1
    for part in np.split(reached, borders):
        np.maximum.accumulate(part, out=part)
    return reached
