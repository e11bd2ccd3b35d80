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
    index: Ints
    """Pixel of each cell, row by row in the box."""
    weight: Floats
    """Weight of each cell."""


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
        run, col = spread(col_start, col_stop)
        first_run = np.flatnonzero(np.diff(zone, prepend=-1))
        n_cells = col_stop - col_start
        return TileCells(
            row_start=row_start,
            col_start=first_col,
            height=int(row.max()) + 1 - row_start,
            width=width,
            zone=zone[first_run],
            start=(np.cumsum(n_cells) - n_cells)[first_run],
            index=(row[run] - row_start) * width + col - first_col,
            weight=self.weight[some][run],
        )
