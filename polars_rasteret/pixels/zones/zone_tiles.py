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
    SmallInts = NDArray[np.int32 | np.int64]
    """There may be millions of runs, so they take no more than they must."""
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneCells:
    """Pixels that zones cover in a tile, or in a part of one, sorted by zone."""

    start: Ints
    """First cell of each zone."""
    index: Ints | slice
    """Pixel of each cell, row by row in the box of the tile; a slice where the pixels follow each other."""
    weight: Floats | None
    """Weight of each cell; None: all are 1."""
    n_cells: int

    def pixels(self) -> Ints:
        """Return the pixel of each cell."""
        return np.arange(self.index.start, self.index.stop) if isinstance(self.index, slice) else self.index

    def weights(self) -> Floats:
        """Return the weight of each cell."""
        return np.ones(self.n_cells) if self.weight is None else self.weight


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCells:
    """The runs of pixels of one tile that zones cover, sorted by zone. Their cells are spread when they are needed."""

    row_start: int
    col_start: int
    height: int
    width: int
    """The box that holds these pixels, on the grid of the image."""
    zone: Ints
    """Zones in the tile, ascending."""
    first_run: Ints
    """First run of each zone."""
    first: Ints
    """First pixel of each run, row by row in the box."""
    stop: Ints
    """One more than the last pixel of each run."""
    weight: Floats
    """Weight of the pixels of each run."""

    def cells(self, runs: slice = slice(None)) -> ZoneCells:
        """Return the pixels of some runs; every zone has a run among them."""
        first, stop, weight = self.first[runs], self.stop[runs], self.weight[runs]
        n_cells = stop - first
        before = np.cumsum(n_cells) - n_cells
        index: Ints | slice
        if len(first) and (first[1:] == stop[:-1]).all():
            index = slice(int(first[0]), int(stop[-1]))
        else:
            index = np.repeat(first - before, n_cells)
            index += np.arange(len(index))
        first_run = np.maximum(self.first_run - (runs.start or 0), 0)
        return ZoneCells(
            start=before[first_run],
            index=index,
            weight=None if (weight == 1).all() else np.repeat(weight, n_cells),
            n_cells=int(n_cells.sum()),
        )

    def pieces(self, n_cells: int) -> Iterator[tuple[slice, ZoneCells]]:
        """Yield the cells of some runs at a time, at most `n_cells` or one run, with the zones that have them."""
        after = np.cumsum(self.stop - self.first)
        run = 0
        while run < len(after):
            done = int(after[run - 1]) if run else 0
            end = max(int(np.searchsorted(after, done + n_cells, side="right")), run + 1)
            zones = slice(
                int(np.searchsorted(self.first_run, run, side="right")) - 1, int(np.searchsorted(self.first_run, end))
            )
            some = replace(self, zone=self.zone[zones], first_run=self.first_run[zones])
            yield zones, some.cells(slice(run, end))
            run = end

    def in_rows(self, rows: range) -> ZoneCells:
        """Return the pixels of a single zone in some rows of the grid."""
        assert len(self.zone) == 1
        ends = (np.array([rows.start, rows.stop]) - self.row_start) * self.width
        runs = slice(*np.searchsorted(self.first, ends).tolist())
        if runs.start == runs.stop:
            none = np.zeros(0, np.int64)
            return ZoneCells(start=np.zeros(1, np.int64), index=none, weight=None, n_cells=0)
        return self.cells(runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTiles:
    """Runs of zones on one grid, cut at tile borders, sorted by tile, zone and row."""

    zone: SmallInts
    row: SmallInts
    col_start: SmallInts
    col_stop: SmallInts
    weight: Floats
    first: Ints
    """First run of each tile, and one more entry: how many runs there are."""

    @classmethod
    def of(cls, runs: Runs, tile_height: int, tile_width: int) -> ZoneTiles:
        """Return the runs cut at the borders of tiles of one size."""
        run, tile_col = spread(runs.col_start // tile_width, (runs.col_stop - 1) // tile_width + 1)
        tile_row = runs.row[run] // tile_height
        n_across = int(tile_col.max(initial=0)) + 1
        tile = tile_row * n_across + tile_col
        if int(tile.max(initial=0)) <= np.iinfo(np.uint16).max:
            tile = tile.astype(np.uint16)  # sorted by its digits, which is several times as fast
        order = np.argsort(tile, kind="stable")  # runs of a tile stay in order of zone and row
        run, tile, tile_col = run[order], tile[order], tile_col[order]
        is_new = np.ones(len(run), np.bool_)
        is_new[1:] = tile[1:] != tile[:-1]
        most = max(int(one.max(initial=0)) for one in (runs.zone, runs.row, runs.col_stop))
        dtype = np.int32 if most <= np.iinfo(np.int32).max else np.int64
        return cls(
            zone=runs.zone[run].astype(dtype),
            row=runs.row[run].astype(dtype),
            col_start=np.maximum(runs.col_start[run], tile_col * tile_width).astype(dtype),
            col_stop=np.minimum(runs.col_stop[run], (tile_col + 1) * tile_width).astype(dtype),
            weight=runs.weight[run],
            first=np.append(np.flatnonzero(is_new), len(run)),
        )

    def __len__(self) -> int:
        return len(self.first) - 1

    def strips(self, tile_height: int) -> Iterator[ZoneTiles]:
        """Yield the tiles of one row of tiles after another, from the top."""
        tile_row = self.row[self.first[:-1]] // tile_height
        starts = np.flatnonzero(np.diff(tile_row, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(self)][: len(starts)], strict=True):
            yield replace(self, first=self.first[start : stop + 1])

    def cells(self, tile: int) -> TileCells:
        """Return the pixels of one tile."""
        some = slice(int(self.first[tile]), int(self.first[tile + 1]))
        zone, row, col_start, col_stop = (
            one[some].astype(np.int64) for one in (self.zone, self.row, self.col_start, self.col_stop)
        )
        row_start, first_col = int(row.min()), int(col_start.min())
        width = int(col_stop.max()) - first_col
        first_run = np.flatnonzero(np.diff(zone, prepend=-1))
        base = (row - row_start) * width - first_col
        return TileCells(
            row_start=row_start,
            col_start=first_col,
            height=int(row.max()) + 1 - row_start,
            width=width,
            zone=zone[first_run],
            first_run=first_run,
            first=base + col_start,
            stop=base + col_stop,
            weight=self.weight[some],
        )
