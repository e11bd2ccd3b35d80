"""Which weights of zones on a pixel grid did this process compute before?

The weights of zones depend on their outlines, the grid and the rule alone. So bands, dates and records on one grid share them,
and so do later queries about the same zones. Runs are packed, and all that is kept is bounded in bytes. How weights are found is
in `zone_runs`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

MAX_BYTES = 64_000_000
"""Bytes of weights kept per process. The least recently used leave first; weights that take more are not kept."""
_ENTRY_BYTES = 1_000
"""Of an entry beside its arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackedRuns:
    """Runs in 18 bytes each, or 20 where a run is longer than 65,535 pixels, and 8 bytes per zone."""

    n_runs: Ints
    """Of each zone."""
    row: NDArray[np.int32]
    col_start: NDArray[np.int32]
    n_cols: NDArray[np.uint16 | np.uint32]
    weight: Floats

    @classmethod
    def of(cls, runs: Runs, n_zones: int) -> _PackedRuns:
        n_cols = runs.col_stop - runs.col_start
        is_short = int(n_cols.max(initial=0)) <= np.iinfo(np.uint16).max
        return cls(
            n_runs=np.bincount(runs.zone, minlength=n_zones),
            row=runs.row.astype(np.int32),
            col_start=runs.col_start.astype(np.int32),
            n_cols=n_cols.astype(np.uint16 if is_short else np.uint32),
            weight=runs.weight,
        )

    @property
    def n_bytes(self) -> int:
        return sum(one.nbytes for one in (self.n_runs, self.row, self.col_start, self.n_cols, self.weight))

    def runs(self) -> Runs:
        col_start = self.col_start.astype(np.int64)
        return Runs(
            zone=np.repeat(np.arange(len(self.n_runs)), self.n_runs),
            row=self.row.astype(np.int64),
            col_start=col_start,
            col_stop=col_start + self.n_cols,
            weight=self.weight,
        )


_kept: OrderedDict[Hashable, tuple[_PackedRuns | Floats, int]] = OrderedDict()
_lock = threading.Lock()
_n_bytes = 0


def kept_runs(key: Hashable, n_zones: int, make: Callable[[], Runs]) -> Runs:
    """Return the runs that `make` returns, computed once while they are kept; weights are read-only.

    Parameters
    ----------
    key
        What the runs follow from: outlines, grid and rule.
    n_zones
        Zones that the runs number.
    make
        Function that computes the runs; called without a lock, so maybe on two threads at once.

    Examples
    --------
    >>> column = np.array([3])
    >>> made = Runs(zone=column - 3, row=column, col_start=column, col_stop=column + 4, weight=np.array([0.5]))
    >>> [kept_runs("key of this example", 1, lambda: made).col_stop.tolist() for _ in range(2)]
    [[7], [7]]
    """
    if isinstance(found := _found(key), _PackedRuns):
        return found.runs()
    runs = make()
    runs.weight.flags.writeable = False
    if _ENTRY_BYTES + 8 * n_zones + 18 * len(runs) <= MAX_BYTES and _fits_int32(runs):
        packed = _PackedRuns.of(runs, n_zones)
        _keep(key, packed, packed.n_bytes)
    return runs


def kept_totals(key: Hashable, make: Callable[[], Floats]) -> Floats:
    """Return the number of pixels per zone that `make` returns, computed once while it is kept; read-only."""
    if isinstance(found := _found(key), np.ndarray):
        return found
    totals = make()
    totals.flags.writeable = False
    _keep(key, totals, totals.nbytes)
    return totals


def clear_weights() -> None:
    """Forget all weights; for benchmarks and tests."""
    global _n_bytes  # noqa: PLW0603
    with _lock:
        _kept.clear()
        _n_bytes = 0


def kept_bytes() -> int:
    """Return the bytes of all weights that are kept."""
    return _n_bytes


def _fits_int32(runs: Runs) -> bool:
    return max(int(runs.row.max(initial=0)), int(runs.col_stop.max(initial=0))) <= np.iinfo(np.int32).max


def _found(key: Hashable) -> _PackedRuns | Floats | None:
    with _lock:
        known = _kept.get(key)
        if known is None:
            return None
        _kept.move_to_end(key)
        return known[0]


def _keep(key: Hashable, weights: _PackedRuns | Floats, n_bytes: int) -> None:
    global _n_bytes  # noqa: PLW0603 - one cache per process
    n_bytes += _ENTRY_BYTES
    if n_bytes > MAX_BYTES:
        return
    with _lock:
        if key in _kept:
            return
        while _n_bytes + n_bytes > MAX_BYTES:
            _n_bytes -= _kept.popitem(last=False)[1][1]
        _kept[key] = weights, n_bytes
        _n_bytes += n_bytes


def _renew_lock() -> None:
    """Make a new lock in a forked child, where a thread that is gone may hold the old one."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
