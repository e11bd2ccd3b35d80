"""Which columns of an image are read where an answer runs over the antimeridian?

x repeats after a period, so the image occurs again one period away. Columns are counted along three copies of the image; areas
are placed on the middle copy. Between two copies there may be columns without pixels. Nothing is read here.
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

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

N_COPIES = 3
_MIDDLE = 1


class WorldCopies(NamedTuple):
    """Columns of the copies of an image, in pixels of the level that is read."""

    step: int
    """Columns from one copy to the next."""
    width: int
    """Columns of the image."""

    def columns(self, copy: int) -> tuple[int, int]:
        """Return the columns ``first, stop`` of a copy; where copies overlap, the columns belong to the middle copy."""
        first = copy * self.step
        stop = first + self.width
        if copy > _MIDDLE:
            first = max(first, first - self.step + self.width)
        elif copy < _MIDDLE:
            stop = min(stop, first + self.step)
        return first, stop

    def is_in_image(self, columns: Floats) -> Booleans:
        """Return which columns, counted along the copies, lie in a copy."""
        inside: Booleans = np.floor(columns) % self.step < self.width
        return inside


def columns_per_period(grids: PixelGrids) -> Floats:
    """Return the columns of each image in one period of x; infinite where x does not repeat along rows."""
    table = grids.table.columns
    periods = [np.inf if crs is None else x_period(crs) or np.inf for crs in table.crs_names]
    period = np.array([*periods, np.inf])[table.crs_id[grids.grid_id]]
    a, b, _, d, _, _ = grids.transform.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((b == 0) & (d == 0), period / np.abs(a), np.inf)


def wraps_around(windows: Windows) -> bool:
    """Return whether answers may run over the antimeridian: only windows of areas in a CRS may.

    Windows in pixels, and of areas in native coordinates, never do.
    """
    return windows.areas is not None and windows.areas.crs != NATIVE


def meets_copies(extent: Floats, period: Floats, width: Ints) -> Booleans:
    """Return whether extents on an image of some width reach the copy of the image one period away, in columns."""
    with np.errstate(invalid="ignore"):
        before, after = np.minimum(width - period, 0), np.maximum(period, width)
        result: Booleans = (extent[:, 2] < before - BORDER_TOLERANCE_PX) | (extent[:, 3] > after + BORDER_TOLERANCE_PX)
    return result


def shift_to_image(extent: Floats, period: Floats, width: Ints) -> Floats:
    """Return the columns, whole periods, by which extents are shifted to where most of the image is."""
    with np.errstate(invalid="ignore"):
        middle = (extent[:, 2] + extent[:, 3]) / 2
        n_periods = np.round((width / 2 - middle) / period)
        return np.where(np.isfinite(period) & (n_periods != 0), n_periods * period, 0.0)


def join_copies(parts: Sequence[tuple[int, Source]], columns: tuple[int, int], copies: WorldCopies) -> Source:
    """Return the pixels of all copies, joined side by side.

    Parameters
    ----------
    parts
        Number of each copy, and the pixels that were read of the copy, in columns of the image.
    columns
        ``first, stop`` of the columns that the answer needs, along the copies.
    copies
        Columns of the copies.
    """
    first, stop = columns
    one = parts[0][1]
    shape = one.values.shape[0], stop - first
    values = np.zeros(shape, one.values.dtype)
    valid = np.zeros(shape, np.bool_)
    for copy, part in parts:
        start = copy * copies.step + part.first_col - first
        place = slice(start, start + part.values.shape[1])
        values[:, place] = part.values
        valid[:, place] = True if part.valid is None else part.valid
    return Source(values=values, valid=None if one.valid is None else valid, first_row=one.first_row, first_col=first)
