"""Which ranges of the caller's rows, and of time, become parts?

Rows are ordered by block, a tile, and cut between blocks into runs of about equal bytes: along a curve where a row touches one
tile, else into compact runs. Where these are fewer than wanted, each is cut by the times of its records, as far as the query
allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.distribute.cutting.compact_runs import compact_runs
from polars_rasteret.distribute.cutting.parts import Period
from polars_rasteret.distribute.cutting.tile_order import block_bytes, blocks_of_targets, equal_runs, touched_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.distribute.cutting.tile_order import TilesOfPairs
    from polars_rasteret.plan.time_match import Intervals

    Ints = NDArray[np.int64]

_LEAST_BYTES = 8_000_000
"""Bytes below which rows are not cut only to keep workers busy."""
_PARTS_PER_WORKER = 20
_FOREVER = 2**62
_LEAST_SIDE = 16
"""Tiles along each side of a part of areas, about: narrower ones would share too many tiles with their neighbours. Half as many
where a part cannot be one of several times of its rows."""
_ROWS_AT_ONCE = 1_000_000
"""Rows of a part that reads nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many parts are wanted."""

    part_bytes: int
    workers: int
    min_parts: int | None

    def of(self, n_bytes: float) -> int:
        """Return the number of parts for some bytes."""
        if self.min_parts is not None:
            return max(self.min_parts, -(-int(n_bytes) // self.part_bytes))
        busy = min(_PARTS_PER_WORKER * self.workers, int(n_bytes) // _LEAST_BYTES)
        return max(-(-int(n_bytes) // self.part_bytes), busy, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A range of the ordered rows, and the time of the records that answer them; None: any time."""

    start: int
    stop: int
    period: Period | None = None


def spans_of(
    tiles: TilesOfPairs, is_matched: NDArray[np.bool_], wanted: Wanted, *, are_areas: bool, times: Intervals | None
) -> tuple[Ints, list[Span]]:
    """Return the order of the caller's rows, and the spans of parts in it.

    Parameters
    ----------
    tiles
        What pairs touch.
    is_matched
        Whether each row has a record; rows without one come last.
    wanted
        Parts that are wanted.
    are_areas
        Whether rows touch more than one tile.
    times
        Times of the records, where different times of a row may be in different parts; else None.
    """
    n_rows = len(is_matched)
    touched = touched_tiles(tiles)
    n_parts = wanted.of(float(touched.tile_bytes.sum()))
    block, blocks = blocks_of_targets(tiles, n_rows)
    n_times = _n_times(tiles, times, block)
    if wanted.min_parts is not None and len(blocks) * n_times < n_parts:  # a block for each row
        placed = np.flatnonzero(block >= 0)
        placed = placed[np.argsort(block[placed], kind="stable")]
        blocks = blocks.taken(block[placed])
        block[placed] = np.arange(len(placed))
    weight = block_bytes(touched, block, len(blocks))
    if are_areas:
        side = _LEAST_SIDE if times is not None else _LEAST_SIDE // 2
        n_runs = max(min(n_parts, blocks.n_squares(side)), 1)
        if wanted.min_parts is not None:
            n_runs = max(n_runs, -(-n_parts // n_times))
        run = compact_runs(blocks.lattice, blocks.row, blocks.col, weight, n_runs)
    else:
        run = np.repeat(np.arange(min(n_parts, len(blocks))), np.diff(equal_runs(weight, n_parts)))
    n_runs = int(run.max(initial=-1)) + 1
    run_of_row = np.append(run, n_runs)[block]  # the last entry, which -1 picks, stands for no block
    order = np.lexsort((block, run_of_row, ~is_matched))
    n_placed, n_matched = int((block >= 0).sum()), int(is_matched.sum())
    borders = np.searchsorted(run_of_row[order[:n_placed]], np.arange(n_runs + 1)).tolist()
    periods = _periods(tiles, times, run_of_row, n_runs, -(-n_parts // max(n_runs, 1)))
    spans = [
        Span(start=start, stop=stop, period=period)
        for (start, stop), some in zip(pairwise(borders), periods, strict=True)
        for period in some
    ]
    # Rows of records without a raster follow, then rows without a record.
    for begin, end in ((n_placed, n_matched), (n_matched, n_rows)):
        spans += [Span(start=start, stop=min(start + _ROWS_AT_ONCE, end)) for start in range(begin, end, _ROWS_AT_ONCE)]
    return order, spans or [Span(start=0, stop=0)]


def _n_times(tiles: TilesOfPairs, times: Intervals | None, block: Ints) -> int:
    """Return at how many times a block has records, as a mean; 1 where rows must stay together."""
    if times is None:
        return 1
    known = np.flatnonzero(times.is_known[tiles.record])
    instants, at = np.unique(times.start[tiles.record[known]], return_inverse=True)
    found = np.unique(block[tiles.target[known]] * len(instants) + at)
    return max(len(found) // max(int(block.max(initial=0)) + 1, 1), 1)


def _periods(
    tiles: TilesOfPairs, times: Intervals | None, run_of_row: Ints, n_runs: int, n_periods: int
) -> list[Sequence[Period | None]]:
    """Return periods of about equal bytes for each run; those of a run hold all of its records."""
    if times is None or n_periods < 2 or not n_runs:
        return [[None]] * n_runs
    pairs = np.flatnonzero(times.is_known[tiles.record])
    run = run_of_row[tiles.target[pairs]]
    pairs = pairs[np.argsort(run, kind="stable")]
    n_bytes = (tiles.row_stop - tiles.row_start) * (tiles.col_stop - tiles.col_start) * tiles.tile_bytes
    borders = np.cumsum(np.bincount(run, minlength=n_runs))[:-1]
    return [_of_run(times.start[tiles.record[some]], n_bytes[some], n_periods) for some in np.split(pairs, borders)]


def _of_run(start: Ints, n_bytes: Ints, n_periods: int) -> Sequence[Period | None]:
    instants, at = np.unique(start, return_inverse=True)
    if len(instants) < 2:
        return [None]
    borders = equal_runs(np.bincount(at, weights=n_bytes), n_periods)
    first = [-_FOREVER, *instants[borders[1:-1]].tolist()]  # without gaps: records without a raster have times, too
    last = [*(instants[borders[1:-1]] - 1).tolist(), _FOREVER]
    return [
        Period(start, stop, has_unknown=number == len(first) - 1)
        for number, (start, stop) in enumerate(zip(first, last, strict=True))
    ]
