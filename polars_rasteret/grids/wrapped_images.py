"""What is read of an image where an answer runs on over the seam of the Earth?

Longitudes repeat, so the image stands there again after a turn. Columns are counted along three copies of the image, of which the
middle one is where the area was placed; between two copies there may be columns that no image has. Nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polars_rasteret.assemble.resample import Source
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX
from polars_rasteret.geo.crs import NATIVE, x_period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandRows

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

N_COPIES = 3
_MIDDLE = 1


class Period(NamedTuple):
    """How copies follow each other, in pixels of the level read."""

    n_columns: int
    """From one copy to the next."""
    width: int
    """Of the image."""

    def columns(self, copy: int) -> tuple[int, int]:
        """Give the columns ``first, stop`` of a copy; where copies overlap, those of the middle one go before."""
        first = copy * self.n_columns
        stop = first + self.width
        if copy > _MIDDLE:
            first = max(first, first - self.n_columns + self.width)
        elif copy < _MIDDLE:
            stop = min(stop, first + self.n_columns)
        return first, stop

    def is_in_image(self, columns: Floats) -> Booleans:
        """Say which columns, counted along the copies, an image has."""
        inside: Booleans = np.floor(columns) % self.n_columns < self.width
        return inside


def turns_in_pixels(band: BandRows, rows: Ints) -> Floats:
    """Give how many columns a turn around the Earth is on the image of each row; infinite where longitudes do not repeat."""
    grids = band.column.grids.taken(band.reference_id[rows])
    columns = grids.table.columns
    periods = [np.inf if crs is None else x_period(crs) or np.inf for crs in columns.crs_names]
    turn = np.array([*periods, np.inf])[columns.crs_id[grids.grid_id]]
    a, b, _, d, _, _ = grids.transform.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((b == 0) & (d == 0), turn / np.abs(a), np.inf)


def runs_on(band: BandRows) -> bool:
    """Say whether what is asked runs on over the seam: areas on the Earth do, but not windows in pixels or native coordinates."""
    return band.windows.areas is not None and band.windows.areas.crs != NATIVE


def are_met_again(extent: Floats, turn: Floats, width: Ints) -> Booleans:
    """Say where an extent on the image reaches as far as the image a turn away."""
    with np.errstate(invalid="ignore"):
        before, after = np.minimum(width - turn, 0), np.maximum(turn, width)
        result: Booleans = (extent[:, 2] < before - BORDER_TOLERANCE_PX) | (extent[:, 3] > after + BORDER_TOLERANCE_PX)
    return result


def nearest_turns(extent: Floats, turn: Floats, width: Ints) -> Floats:
    """Give by how many columns extents move, in whole turns, to where most of the image is."""
    with np.errstate(invalid="ignore"):
        middle = (extent[:, 2] + extent[:, 3]) / 2
        n_turns = np.round((width / 2 - middle) / turn)
        return np.where(np.isfinite(turn) & (n_turns != 0), n_turns * turn, 0.0)


def join_copies(parts: Sequence[tuple[int, Source]], columns: tuple[int, int], period: Period) -> Source:
    """Put what was read of the copies side by side.

    Parameters
    ----------
    parts
        Copy, and what was read of it, in columns of the image.
    columns
        ``first, stop`` of the answer's source, along the copies.
    period
        Of the copies.
    """
    first, stop = columns
    one = parts[0][1]
    shape = one.values.shape[0], stop - first
    values = np.zeros(shape, one.values.dtype)
    valid = np.zeros(shape, np.bool_)
    for copy, part in parts:
        start = copy * period.n_columns + part.first_col - first
        place = slice(start, start + part.values.shape[1])
        values[:, place] = part.values
        valid[:, place] = True if part.valid is None else part.valid
    return Source(values=values, valid=None if one.valid is None else valid, first_row=one.first_row, first_col=first)
