"""Which blocks of tiles are read together, so that each run of blocks is compact and runs have about equal bytes?

A run is halved across its longer side until there are as many as wanted. Compact runs share few tiles with their neighbours,
which matters where rows touch several tiles. Nothing is known here of rows, products or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


def compact_runs(lattice: Ints, row: Ints, col: Ints, weight: NDArray[Any], n_runs: int) -> Ints:
    """Return the run of each block, dense from 0.

    Parameters
    ----------
    lattice, row, col
        Place of each block; distances count within one lattice.
    weight
        Bytes of each block.
    n_runs
        Number of runs; there are as many as blocks, where these are fewer.

    Examples
    --------
    >>> import numpy as np
    >>> row, col = np.divmod(np.arange(8), 4)
    >>> compact_runs(np.zeros(8, np.int64), row, col, np.ones(8), 2).tolist()
    [0, 0, 1, 1, 0, 0, 1, 1]
    """
    run = np.zeros(len(row), np.int64)
    n_found = 0
    pending = [(np.arange(len(row)), min(n_runs, len(row)))]
    while pending:
        some, n = pending.pop()
        if n <= 1:
            run[some] = n_found
            n_found += 1
            continue
        sides = (row[some], col[some]) if np.ptp(row[some]) > np.ptp(col[some]) else (col[some], row[some])
        some = some[np.lexsort((*reversed(sides), lattice[some]))]
        before = n // 2
        middle = np.cumsum(weight[some]) - weight[some] / 2
        at = int(np.searchsorted(middle, weight[some].sum() * before / n))
        at = min(max(at, before), len(some) - (n - before))
        pending += [(some[at:], n - before), (some[:at], before)]
    return run
