"""In which form do pixels of many zones, and how much of them is covered, stand in memory?

As runs of columns: a zone of a million pixels takes two or three runs per row. Nothing here knows how runs are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.scanlines import Scanlines, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Runs of pixels of equal weight, sorted by zone, row and column; runs of one zone never overlap.

    All columns have shape ``(n_runs,)``. Rows and columns of pixels are those of the grid of the zone.
    """

    zone: Ints
    row: Ints
    col_start: Ints
    col_stop: Ints
    """One more than the last column."""
    weight: Floats
    """Share of each pixel that the zone covers, above 0 and at most 1."""

    def __len__(self) -> int:
        return len(self.zone)

    @classmethod
    def joined(cls, batches: Sequence[Runs]) -> Runs:
        """Return the runs of several batches of zones, one batch after another."""
        if len(batches) == 1:
            return batches[0]
        return cls(
            zone=np.concatenate([np.zeros(0, np.int64), *(one.zone for one in batches)]),
            row=np.concatenate([np.zeros(0, np.int64), *(one.row for one in batches)]),
            col_start=np.concatenate([np.zeros(0, np.int64), *(one.col_start for one in batches)]),
            col_stop=np.concatenate([np.zeros(0, np.int64), *(one.col_stop for one in batches)]),
            weight=np.concatenate([np.zeros(0), *(one.weight for one in batches)]),
        )

    def cells(self) -> tuple[Ints, Ints, Ints, Floats]:
        """Return the zone, row, column and weight of every pixel, in the order of the runs."""
        run, col = spread(self.col_start, self.col_stop)
        return self.zone[run], self.row[run], col, self.weight[run]

    def masks(self, height: Ints, width: Ints) -> NDArray[np.bool_]:
        """Return which pixels of the grid of each zone are covered, row by row, zone after zone.

        Parameters
        ----------
        height, width
            Size of the grid of each zone.

        Returns
        -------
        ndarray of bool, shape (sum of height * width,)
        """
        size = height * width
        base = (np.cumsum(size) - size)[self.zone] + self.row * width[self.zone]
        # Runs may touch but not overlap, so that no two of them start, and no two stop, at the same pixel.
        turns = np.zeros(int(size.sum()) + 1, np.int8)
        turns[base + self.col_start] += 1
        turns[base + self.col_stop] -= 1
        return np.cumsum(turns[:-1], dtype=np.int8).view(np.bool_)


def united_runs(zone: Ints, row: Ints, col_start: Ints, col_stop: Ints, n_zones: int) -> Runs:
    """Return what runs of weight 1 cover together; they may overlap and come in any order.

    Examples
    --------
    >>> import numpy as np
    >>> runs = united_runs(np.array([0, 0]), np.array([4, 4]), np.array([5, 2]), np.array([7, 6]), 1)
    >>> runs.col_start, runs.col_stop
    (array([2]), array([7]))
    """
    if not len(zone):
        return Runs(zone=zone, row=row, col_start=col_start, col_stop=col_stop, weight=np.zeros(0))
    lines = Scanlines.holding(zone, row, n_zones)
    stride = int(col_stop.max()) + 1
    # Positions along all rows laid end to end: a gap of one between rows keeps their runs apart.
    start = lines.of(zone, row) * stride
    stop = start + col_stop
    start = start + col_start
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(stop[order])
    begins = np.flatnonzero(np.concatenate([[True], start[1:] > reach[:-1]]))
    number, col_start = np.divmod(start[begins], stride)
    ends = np.concatenate([begins[1:] - 1, [len(reach) - 1]])
    zone, row = lines.owner_and_row(number)
    return Runs(
        zone=zone,
        row=row,
        col_start=col_start,
        col_stop=reach[ends] - number * stride,
        weight=np.ones(len(begins)),
    )
