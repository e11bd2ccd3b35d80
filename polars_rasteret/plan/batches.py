"""How are the rows of an answer cut into batches, so that an answer of any size needs bounded memory?

A batch is a run of output rows, in order, whose answer takes at most the bytes allowed. Batches start small only when a
predicate needs pixels, because Polars may then stop early. Otherwise a batch is as large as allowed: a tile that two batches
need is decoded twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WIDE_ROW_BYTES = 4096
"""Bytes from which on a row is taken to hold windows rather than single values."""
_BATCHES_AT_ONCE = 4
"""Batches of wide rows that may be in memory at the same time."""

RAMP_START_ROWS = 16
"""Rows of the first batch when batches start small."""
RAMP_FACTOR = 4
"""Growth from one batch to the next."""


def batch_bytes(row_bytes: NDArray[np.int64], max_answer_bytes: int) -> int:
    """Return the bytes allowed for one batch.

    Polars reads on while a sink writes, so several batches are in memory at once. Wide rows that need more than one batch get
    smaller batches: such rows share few tiles. Narrow rows share many tiles and take little memory.

    Examples
    --------
    >>> import numpy as np
    >>> batch_bytes(np.full(1000, 500_000), 512_000_000), batch_bytes(np.full(2000, 500_000), 512_000_000)
    (512000000, 128000000)
    """
    whole = int(row_bytes.sum())
    if whole <= max_answer_bytes or whole < WIDE_ROW_BYTES * len(row_bytes):
        return max_answer_bytes
    return max(max_answer_bytes // _BATCHES_AT_ONCE, 1)


def batches_of(
    row_bytes: NDArray[np.int64], *, max_bytes: int, ramps_up: bool, first_rows: int = RAMP_START_ROWS
) -> Iterator[slice]:
    """Yield the batches that rows are cut into.

    Parameters
    ----------
    row_bytes
        Bytes of each row of the answer.
    max_bytes
        Bytes of one batch at most; a single larger row is a batch of its own.
    ramps_up
        Whether batches start small and grow.
    first_rows
        Rows of the first batch when batches start small.

    Yields
    ------
    slice
        Rows of one batch. Batches are consecutive and cover every row once.

    Examples
    --------
    >>> import numpy as np
    >>> [(one.start, one.stop) for one in batches_of(np.array([4, 4, 4, 4, 4]), max_bytes=8, ramps_up=False)]
    [(0, 2), (2, 4), (4, 5)]
    """
    end = np.cumsum(row_bytes)
    n_rows, start, limit = len(row_bytes), 0, first_rows
    while start < n_rows:
        before = int(end[start - 1]) if start else 0
        stop = max(int(np.searchsorted(end, before + max_bytes, side="right")), start + 1)
        if ramps_up:
            stop = min(stop, start + limit)
            limit *= RAMP_FACTOR
        yield slice(start, stop)
        start = stop
