"""How are the rows of an answer cut into batches, so that an answer of any size needs bounded memory?

A batch is a run of output rows, in order, whose answer fits the allowance. Batches start small only when a predicate that needs
pixels was delivered (Polars may then stop early). Otherwise a batch is as large as allowed, because a tile that two batches need
is decoded twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WIDE_ROW_BYTES = 4096
"""From here on a row holds windows rather than values."""
_BATCHES_AT_ONCE = 4

RAMP_START_ROWS = 16
RAMP_FACTOR = 4


def batch_bytes(row_bytes: NDArray[np.int64], max_answer_bytes: int) -> int:
    """Give the allowance of one unit.

    Polars reads on while a sink writes, so several units are in memory at once. Wide rows that need more than one unit get
    smaller ones, then: they have few tiles in common. Narrow rows have many, and take little memory.

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


def batches_of(row_bytes: NDArray[np.int64], *, max_bytes: int, ramps_up: bool) -> Iterator[slice]:
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
    >>> [(one.start, one.stop) for one in batches_of(np.array([4, 4, 4, 4, 4]), max_bytes=8, ramps_up=False)]
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
