"""Which ranges of the caller's rows, and of time, become parts?

Rows are ordered by block, a few tiles next to each other, and cut between blocks into runs of about equal bytes. Where there are
fewer blocks than parts are wanted, each run is cut by the times of its records, as far as the query allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.distribute.parts import Period
from polars_rasteret.distribute.tile_order import block_bytes, blocks_of_targets, equal_runs, touched_tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.distribute.tile_order import TilesOfPairs
    from polars_rasteret.plan.time_match import Intervals

    Ints = NDArray[np.int64]

_LEAST_BYTES = 8_000_000
"""Bytes below which rows are not cut only to keep workers busy."""
_PARTS_PER_WORKER = 20
_BLOCK_TILES = 16
"""Tiles along each side of a block of areas: narrower ones would share too many tiles with their neighbours."""
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
    everything = float(touched.tile_bytes.sum())
    n_parts = wanted.of(everything)
    instants = _instants(tiles, times)
    block = _blocks(tiles, n_rows, n_parts, len(instants), are_areas=are_areas, must_cut=wanted.min_parts is not None)
    n_blocks = int(block.max(initial=-1)) + 1
    order = np.lexsort((np.where(block >= 0, block, n_blocks), ~is_matched))
    n_placed, n_matched = int((block >= 0).sum()), int(is_matched.sum())
    spans: list[Span] = []
    if n_blocks:
        borders = equal_runs(block_bytes(touched, block, n_blocks), n_parts)
        first = np.searchsorted(block[order[:n_placed]], borders).tolist()
        periods = _periods(tiles, times, instants, -(-n_parts // (len(borders) - 1)))
        spans += [Span(start=start, stop=stop, period=period) for start, stop in pairwise(first) for period in periods]
    for begin, end in (
        (n_placed, n_matched),
        (n_matched, n_rows),
    ):  # rows of faulty records, then rows without a record
        spans += [Span(start=start, stop=min(start + _ROWS_AT_ONCE, end)) for start in range(begin, end, _ROWS_AT_ONCE)]
    return order, spans or [Span(start=0, stop=0)]


def _blocks(
    tiles: TilesOfPairs, n_rows: int, n_parts: int, n_instants: int, *, are_areas: bool, must_cut: bool
) -> Ints:
    """Return the block of each row, of the largest size that gives enough parts; -1 for a row that touches no tile."""
    size = _BLOCK_TILES if are_areas else 1
    while True:
        block = blocks_of_targets(tiles, n_rows, size)
        if int(block.max(initial=-1) + 1) * max(n_instants, 1) >= n_parts or size == 1:
            break
        size //= 2
    if must_cut and int(block.max(initial=-1) + 1) * max(n_instants, 1) < n_parts:
        placed = np.flatnonzero(block >= 0)
        block[placed[np.argsort(block[placed], kind="stable")]] = np.arange(len(placed))  # a block for each row
    return block


def _instants(tiles: TilesOfPairs, times: Intervals | None) -> Ints:
    """Return the distinct times at which records begin, sorted; none where rows must stay together."""
    if times is None:
        return np.zeros(0, np.int64)
    used = np.unique(tiles.record)
    return np.unique(times.start[used[times.is_known[used]]])


def _periods(tiles: TilesOfPairs, times: Intervals | None, instants: Ints, n_periods: int) -> list[Period | None]:
    """Return periods of about equal bytes that hold every record."""
    if times is None or len(instants) < 2 or n_periods < 2:
        return [None]
    known = times.is_known[tiles.record]
    n_bytes = ((tiles.row_stop - tiles.row_start) * (tiles.col_stop - tiles.col_start) * tiles.tile_bytes)[known]
    at = np.searchsorted(instants, times.start[tiles.record[known]])
    borders = equal_runs(np.bincount(at, weights=n_bytes, minlength=len(instants)), n_periods).tolist()
    last = len(borders) - 2
    return [
        Period(int(instants[first]), int(instants[stop - 1]), has_unknown=number == last)
        for number, (first, stop) in enumerate(pairwise(borders))
    ]
