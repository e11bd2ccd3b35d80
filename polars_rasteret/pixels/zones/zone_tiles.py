"""In which tiles of a file do the pixels of zones lie?

A tile that many zones share is read once, so zones are cut at tile borders. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.scanlines import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.runs import Runs

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCells:
    """The pixels of one tile that zones cover, sorted by zone."""

    row_start: int
    col_start: int
    height: int
    width: int
    """The box that holds these pixels, on the grid of the image."""
    zone: Ints
    """Zones in the tile, ascending."""
    start: Ints
    """First cell of each zone."""
    index: NDArray[np.int32]
    """Pixel of each cell, row by row in the box."""
    weight: Floats
    """Weight of each cell."""

    def pieces(self, n_cells: int) -> Iterator[tuple[slice, TileCells]]:
        """Yield the cells some at a time, with the zones, of those of the tile, that have them."""
        for first in range(0, len(self.index), n_cells):
            stop = min(first + n_cells, len(self.index))
            zones = slice(*np.searchsorted(self.start, [first, stop]).tolist())
            if zones.start == len(self.start) or self.start[zones.start] > first:
                zones = slice(zones.start - 1, zones.stop)
            start = np.maximum(self.start[zones] - first, 0)
            index, weight = self.index[first:stop], self.weight[first:stop]
            yield zones, replace(self, zone=self.zone[zones], start=start, index=index, weight=weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTiles:
    """Runs of zones on one grid, cut at tile borders, sorted by tile, zone and row."""

    zone: Ints
    row: Ints
    col_start: Ints
    col_stop: Ints
    weight: Floats
    first: Ints
    """First run of each tile, and one more entry: how many runs there are."""

    @classmethod
    def of(cls, runs: Runs, tile_height: int, tile_width: int) -> ZoneTiles:
        """Return the runs cut at the borders of tiles of one size."""
        run, tile_col = spread(runs.col_start // tile_width, (runs.col_stop - 1) // tile_width + 1)
        tile_row = runs.row[run] // tile_height
        order = np.lexsort((runs.zone[run], tile_col, tile_row))
        run, tile_row, tile_col = run[order], tile_row[order], tile_col[order]
        is_new = np.ones(len(run), np.bool_)
        is_new[1:] = (np.diff(tile_row) != 0) | (np.diff(tile_col) != 0)
        return cls(
            zone=runs.zone[run],
            row=runs.row[run],
            col_start=np.maximum(runs.col_start[run], tile_col * tile_width),
            col_stop=np.minimum(runs.col_stop[run], (tile_col + 1) * tile_width),
            weight=runs.weight[run],
            first=np.append(np.flatnonzero(is_new), len(run)),
        )

    def __len__(self) -> int:
        return len(self.first) - 1

    def strips(self, tile_height: int) -> Iterator[ZoneTiles]:
        """Yield the tiles of one row of tiles after another, from the top."""
        tile_row = self.row[self.first[:-1]] // tile_height
        starts = np.flatnonzero(np.diff(tile_row, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(self)], strict=True):
            yield replace(self, first=self.first[start : stop + 1])

    def cells(self, tile: int) -> TileCells:
        """Return the pixels of one tile."""
        some = slice(int(self.first[tile]), int(self.first[tile + 1]))
        zone, row, col_start, col_stop = self.zone[some], self.row[some], self.col_start[some], self.col_stop[some]
        row_start, first_col = int(row.min()), int(col_start.min())
        width = int(col_stop.max()) - first_col
        first_run = np.flatnonzero(np.diff(zone, prepend=-1))
        n_cells = col_stop - col_start
        first_cell = np.cumsum(n_cells) - n_cells
        # A tile has fewer than 2**31 pixels. Counted up in place: a large tile would take eight times the memory otherwise.
        index = np.repeat(((row - row_start) * width + col_start - first_col - first_cell).astype(np.int32), n_cells)
        index += np.arange(len(index), dtype=np.int32)
        return TileCells(
            row_start=row_start,
            col_start=first_col,
            height=int(row.max()) + 1 - row_start,
            width=width,
            zone=zone[first_run],
            start=first_cell[first_run],
            index=index,
            weight=np.repeat(self.weight[some], n_cells),
        )
