"""What are the pixels of one variable at some indices along its axes?

Indices along y and x are cut into runs, so that only what is asked for is read, not the box around it. xarray has no place here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.cubes.blocks import read_block
from polars_rasteret.cubes.pointwise import read_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.cubes.blocks import Block
    from polars_rasteret.cubes.stack import Stack
    from polars_rasteret.xarray_datasets.covered_pixels import CoveredPixels

    Ints = NDArray[np.int64]

_GAP = 16
"""Indices nearer than this are read as one run: no tile is smaller, so none is read in vain."""
_MOST_PLACES = 1_000_000
"""Pixels that are read as single places where a key makes several runs; beyond it, each run is a read of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CubePixels:
    """One variable of a cube: a band, or where a band is valid."""

    stack: Stack
    band: str
    dtype: np.dtype[Any]
    """Boolean: where the band is valid. The dtype of `Stack.dtype`: its values. Another float: NaN where it is not valid."""
    is_valid_mask: bool = False
    """Whether the variable says where the band is valid."""
    covered: CoveredPixels | None = None
    """Areas, each with an axis entry of its own before time; None without areas."""
    has_area_axis: bool = False
    """Whether the areas are an axis; else there is one area, and no axis for it."""
    record_ids: Sequence[str | None] = ()
    """Id of each record of the stack, for reasons."""
    read_errors: list[str] = field(default_factory=list)
    """Reasons of records that could not be read (``on_error="null"``), shared by the variables of a Dataset."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis: areas (where they are an axis), time, y, x."""
        grid = self.stack.grid
        areas = (len(self.covered),) if self.has_area_axis and self.covered is not None else ()
        return (*areas, self.stack.n_steps, grid.height, grid.width)

    def read(self, index: Sequence[Ints]) -> NDArray[Any]:
        """Read the pixels at indices along every axis; the shape of the answer has their lengths."""
        *areas, steps, rows, cols = index
        shape = tuple(len(one) for one in index)
        if 0 in shape:
            return np.zeros(shape, self.dtype)
        if self.covered is None:
            return self._window(steps, rows, cols)
        values = self._no_pixels(shape) if self._is_dry else np.full(shape, self._outside(), self.dtype)
        numbers = areas[0] if areas else np.zeros(1, np.int64)
        each = values if areas else values[None]
        for at, area in enumerate(numbers.tolist()):
            row_start, row_stop, col_start, col_stop = self.covered.box(area)
            inner_rows = np.flatnonzero((rows >= row_start) & (rows < row_stop))
            inner_cols = np.flatnonzero((cols >= col_start) & (cols < col_stop))
            if not len(inner_rows) or not len(inner_cols):
                continue
            is_covered = self.covered.mask(area, rows[inner_rows], cols[inner_cols])
            if is_covered.any():
                part = self._window(steps, rows[inner_rows], cols[inner_cols])
                if self._is_dry:
                    continue
                part[:, ~is_covered] = self._outside()
                each[at][np.ix_(np.arange(len(steps)), inner_rows, inner_cols)] = part
        return values

    def read_places(self, before: Sequence[Ints], rows: Ints, cols: Ints) -> NDArray[Any]:
        """Read the pixels at single places.

        Parameters
        ----------
        before
            Indices along the axes before y.
        rows, cols
            Shape (n,).

        Returns
        -------
        ndarray
            Lengths of `before`, then n.
        """
        *areas, steps = before
        if not len(steps) or not len(rows):
            return np.zeros((*(len(one) for one in before), len(rows)), self.dtype)
        found = self._points(steps, rows, cols)
        if self.covered is None:
            return found
        numbers = areas[0] if areas else np.zeros(1, np.int64)
        values = np.repeat(found[None], len(numbers), axis=0)
        for at, area in enumerate(numbers.tolist()):
            values[at][:, ~self.covered.at_places(area, rows, cols)] = self._outside()
        return values if areas else values[0]

    def _window(self, steps: Ints, rows: Ints, cols: Ints) -> NDArray[Any]:
        """Read the pixels at indices of time, y and x, whatever areas cover."""
        each_step, step_at = np.unique(steps, return_inverse=True)
        row_runs, col_runs = _runs(rows), _runs(cols)
        n_places = len(np.unique(rows)) * len(np.unique(cols))
        if len(row_runs) * len(col_runs) > 1 and n_places <= _MOST_PLACES:
            at_rows, row_at = np.unique(rows, return_inverse=True)
            at_cols, col_at = np.unique(cols, return_inverse=True)
            places = np.meshgrid(at_rows, at_cols, indexing="ij")
            found = self._points(each_step, places[0].ravel(), places[1].ravel())
            found = found.reshape(len(each_step), len(at_rows), len(at_cols))
            return found[np.ix_(step_at, row_at, col_at)]
        shape = len(steps), len(rows), len(cols)
        values = self._no_pixels(shape) if self._is_dry else np.empty(shape, self.dtype)
        for row_start, row_stop, its_rows in row_runs:
            for col_start, col_stop, its_cols in col_runs:
                window = row_start, row_stop, col_start, col_stop
                block = self._of(read_block(self.stack, [self.band], each_step, window))
                if self._is_dry:
                    continue
                inner = np.ix_(step_at, rows[its_rows] - row_start, cols[its_cols] - col_start)
                if len(row_runs) * len(col_runs) == 1 and _is_whole(rows, cols, window) and _is_range(step_at):
                    return block
                values[np.ix_(np.arange(len(steps)), its_rows, its_cols)] = block[inner]
        return values

    def _points(self, steps: Ints, rows: Ints, cols: Ints) -> NDArray[Any]:
        each_step, step_at = np.unique(steps, return_inverse=True)
        return self._of(read_points(self.stack, [self.band], each_step, rows, cols))[step_at]

    def _of(self, block: Block) -> NDArray[Any]:
        """Return the values of this variable in a block; note what could not be read."""
        for record, reason in block.errors.items():
            told = f"{self.record_ids[record]}: {reason}"
            if told not in self.read_errors:
                self.read_errors.append(told)
        if self._is_dry:
            return self._no_pixels(block.valid[self.band].shape)
        if self.is_valid_mask:
            return block.valid[self.band]
        values = block.values[self.band]
        if values.dtype == self.dtype:
            return values
        return np.where(block.valid[self.band], values, np.nan).astype(self.dtype)

    @property
    def _is_dry(self) -> bool:
        """Whether reads are written down and not made."""
        return self.stack.options.dry_run is not None

    def _no_pixels(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the answer of a dry run: an array of any size that takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), shape)

    def _outside(self) -> Any:
        """Return what stands where no area covers a pixel."""
        if self.is_valid_mask:
            return False
        return self.stack.fill(self.band) if self.dtype == self.stack.dtype(self.band) else self.dtype.type(np.nan)


def _runs(index: Ints) -> list[tuple[int, int, Ints]]:
    """Return runs of neighbouring indices: the first, one more than the last, and which entries lie in the run."""
    distinct = np.unique(index)
    begins = np.flatnonzero(np.diff(distinct, prepend=distinct[0] - _GAP - 1) > _GAP)
    ends = np.append(begins[1:], len(distinct))
    runs = []
    for first, stop in zip(begins.tolist(), ends.tolist(), strict=True):
        low, high = int(distinct[first]), int(distinct[stop - 1])
        runs.append((low, high + 1, np.flatnonzero((index >= low) & (index <= high))))
    return runs


def _is_whole(rows: Ints, cols: Ints, window: tuple[int, int, int, int]) -> bool:
    """Return whether indices ask for all of a window, in order."""
    return all(
        len(index) == stop - start and bool((np.diff(index) == 1).all())
        for index, (start, stop) in ((rows, window[:2]), (cols, window[2:]))
    )


def _is_range(index: Ints) -> bool:
    return bool((index == np.arange(len(index))).all())
