"""Which bands are read together for points, on which grid and in which rows?

Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.neighbours import KERNEL_SIZE, kernel_start
from polars_rasteret.grids.choosing import grid_bands
from polars_rasteret.grids.pixel_grid import first_on_same_grid
from polars_rasteret.pixels.points.neighbourhoods import PatchPositions, PatchRead
from polars_rasteret.pixels.reading import BandRows, n_rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import WindowRead
    from polars_rasteret.pixels.points.sampling import Sampling

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointGroup:
    """Bands read on one grid, in rows where a band is on that grid either in all rows or in none."""

    positions: PatchPositions
    names: tuple[str, ...]
    own: frozenset[str]
    """Bands that are on that grid."""


class PointGroups:
    """One batch of rows, cut into groups.

    Parameters
    ----------
    bands
        Bands of the question and of a ``valid=`` expression by name, with the same rows.
    sampling
        Method and search for the values of points.
    is_joint
        Whether all bands are read on the grid of one band, as a valid mask needs it. If not, each band is read on its own grid.

    Attributes
    ----------
    is_read
        Rows whose point meets the image, by band.
    """

    def __init__(self, bands: Mapping[str, BandRows], sampling: Sampling, *, is_joint: bool = False) -> None:
        self.bands, self.sampling, self.is_joint = bands, sampling, is_joint
        self.is_read = {name: band.is_read for name, band in bands.items()}
        self._grid_of = dict(zip(bands, first_on_same_grid([band.grids for band in bands.values()]), strict=True))

    def groups(self, names: Sequence[str], rows: Ints) -> Iterator[PointGroup]:
        """Yield groups of bands; each group is read on one grid, the bands' own or the shared one."""
        some: NDArray[np.bool_] = np.logical_or.reduce([self.is_read[name] for name in names])
        rows = rows[some[rows]]
        if not self.is_joint:
            for labels, alike in _alike([self._grid_of[name][rows] for name in names]):
                for one in dict.fromkeys(label for label in labels if label >= 0):
                    members = tuple(name for name, label in zip(names, labels, strict=True) if label == one)
                    positions = self._positions(self.bands[members[0]], rows[alike])
                    yield PointGroup(positions=positions, names=members, own=frozenset(members))
            return
        known = list(self.bands)  # whatever is selected: the grid must not depend on it
        grids = [band.column.grids.taken(band.reference_id[rows]) for band in self.bands.values()]
        chosen = grid_bands(grids, known, self.sampling.grid)
        for (one, *labels), alike in _alike([chosen, *(self._grid_of[name][rows] for name in known)]):
            if one >= 0:
                own = frozenset(name for name, label in zip(known, labels, strict=True) if label == labels[one])
                positions = self._positions(self.bands[known[one]], rows[alike])
                yield PointGroup(positions=positions, names=tuple(names), own=own)

    def reads(self, names: Sequence[str]) -> list[WindowRead]:
        """Return the reads of some bands at all points, without neighbourhoods."""
        return [
            PatchRead(
                band=self.bands[name],
                positions=group.positions,
                size=KERNEL_SIZE[self.sampling.method],
                is_on_grid=name in group.own,
                is_wanted=self.is_read[name],
            ).window_read()
            for group in self.groups(names, np.arange(n_rows_of(self.bands), dtype=np.int64))
            for name in group.names
        ]

    def meet(self, one: str, other: str) -> bool:
        """Return whether two bands lie on the same grid in any row."""
        grids, others = self._grid_of[one], self._grid_of[other]
        return bool(((grids == others) & (grids >= 0)).any())

    def _positions(self, grid: BandRows, rows: Ints) -> PatchPositions:
        windows = grid.windows
        if self.sampling.method == "nearest":
            return PatchPositions(
                grid=grid, rows=rows, row_start=windows.row_start[rows], col_start=windows.col_start[rows]
            )
        assert windows.at_row is not None
        assert windows.at_col is not None
        return PatchPositions(
            grid=grid,
            rows=rows,
            row_start=kernel_start(windows.at_row[rows], self.sampling.method),
            col_start=kernel_start(windows.at_col[rows], self.sampling.method),
        )


def _alike(columns: Sequence[Ints]) -> Iterator[tuple[list[int], Ints]]:
    """Yield groups of rows with equal numbers in all columns: the numbers, and the rows."""
    code = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        low = int(column.min(initial=0))
        code = code * (int(column.max(initial=0)) - low + 1) + (column - low)
        if code.max(initial=0) > 0:
            code = np.unique(code, return_inverse=True)[1].astype(np.int64)
    for one in range(int(code.max(initial=-1)) + 1):
        rows = np.flatnonzero(code == one)
        yield [int(column[rows[0]]) for column in columns], rows
