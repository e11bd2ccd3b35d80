"""Which level and window of a band is read to fill the answer of each row, given the answer's grid?

`SourceWindows` has the level (full resolution or an overview), the window, and the place of the answer's pixels on that level.
Columns in, columns out: nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.kernels import METHODS_AT_POSITIONS, reach
from polars_rasteret.assemble.resample import Axis, source_spans
from polars_rasteret.grids.answer_placement import placement
from polars_rasteret.grids.world_copies import N_COPIES, columns_per_period, meets_copies, wraps_around
from polars_rasteret.plan.overviews import overview_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.errors import UsageError
    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.answer_placement import Placement
    from polars_rasteret.grids.bands import BandOnGrids
    from polars_rasteret.grids.pixel_grid import PixelGrids

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_NEARLY_WHOLE_PX = 1e-3
"""Pixels by which a period may miss a whole number of pixels and still count as whole, because pixel sizes went through text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWindows:
    """Window that one band reads for each row, in pixels of `level`."""

    is_read: Booleans
    faults: Mapping[int, UsageError]
    """Faults of rows that cannot be read: answer and band are on different grids, one of them without georeferencing."""
    is_answer: Booleans
    """Whether the window is the answer: its pixels are not resampled."""
    is_reprojected: Booleans
    """Whether the answer's axes are not parallel to the image's: each pixel of the answer has a position of its own."""
    level: Ints
    """Level that is read: 0 is full resolution, then the overviews."""
    row_start: Ints
    col_start: Ints
    height: Ints
    width: Ints
    axes: Floats
    """Place of the answer's pixels, shape (n, 4): row of the first border, rows per pixel, column of the first border, columns
    per pixel."""
    level_size: Ints
    """Height and width of the level, shape (n, 2)."""
    copy_step: Ints
    """Columns of `level` from one copy of the image to the next, where the answer runs over the antimeridian; 0 elsewhere.
    Windows and axes then count columns along the copies."""

    def n_pixels(self) -> Ints:
        """Return the number of pixels read for each row."""
        return np.where(self.is_read, self.height * self.width, 0)


@dataclass(slots=True, kw_only=True)
class _Levels:
    """Level that each row is read from."""

    level: Ints
    size: Ints
    """Height and width of the level, shape (n, 2)."""
    copy_step: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """How much coarser than its image each answer is, where answers must agree that are parts of one grid."""

    level: Ints
    """Level that each row is read from."""
    step: Floats
    """Rows and columns of full resolution that a pixel of the answer spans, shape (n, 2); used where axes are not parallel."""


def source_windows(
    band: BandOnGrids, answers: AnswerGrids, method: str, reduction: Reduction | None = None
) -> SourceWindows:
    """Return the windows that one band reads for the answers of all rows.

    Rows whose answer and band are on different grids, one of them without georeferencing, have faults. Without `reduction` each
    row is read from the level that suits its own answer.
    """
    grids = band.grids
    answer_size = np.maximum(np.stack([answers.height, answers.width], axis=1), 1)
    placed = placement(band, grids, answers, answer_size)
    levels = (
        _levels(band, answers, placed, answer_size, method)
        if reduction is None
        else _given_levels(band, placed, np.where(placed.is_read, reduction.level, 0))
    )
    _read_copies(band, grids, placed, levels)
    scale = placed.image_size / levels.size
    scaled = placed.extent / np.repeat(scale, 2, axis=1)
    scaled[:, 2:] += levels.copy_step[:, None]
    step = placed.pixels / scale / answer_size
    if reduction is not None:
        step = np.where(placed.is_reprojected[:, None], reduction.step / scale, step)
    is_answer = placed.is_read & ~placed.is_reprojected & (levels.level == 0) & (levels.copy_step == 0)
    is_answer &= (placed.pixels == answer_size).all(axis=1) & (placed.extent % 1 == 0).all(axis=1)
    axes = np.stack([scaled[:, 0], step[:, 0], scaled[:, 2], step[:, 1]], axis=1)
    row_start, row_stop, col_start, col_stop = _spans(scaled, axes, answer_size, placed, levels, method)
    height = np.where(is_answer, answers.height, row_stop - row_start)
    width = np.where(is_answer, answers.width, col_stop - col_start)
    return SourceWindows(
        is_read=placed.is_read,
        faults=placed.faults,
        is_answer=is_answer,
        is_reprojected=placed.is_reprojected,
        level=levels.level,
        # What is the answer itself may reach beyond the image: the engine fills there.
        row_start=np.where(is_answer, placed.extent[:, 0], row_start).astype(np.int64),
        col_start=np.where(is_answer, placed.extent[:, 2], col_start).astype(np.int64),
        height=np.where(placed.is_read, height, 0).astype(np.int64),
        width=np.where(placed.is_read, width, 0).astype(np.int64),
        axes=axes,
        level_size=levels.size,
        copy_step=levels.copy_step,
    )


def _levels(band: BandOnGrids, answers: AnswerGrids, placed: Placement, answer_size: Ints, method: str) -> _Levels:
    """Return the level that each row is read from: an overview where the answer is coarser than full resolution."""
    pixels, size = placed.pixels, placed.image_size.copy()
    level = np.zeros(len(size), np.int64)
    may_be_coarse = np.flatnonzero(placed.is_read & ~answers.is_unresampled & (pixels > answer_size).any(axis=1))
    reference_id = band.reference_id[may_be_coarse]
    for one in np.unique(reference_id).tolist():
        rows = may_be_coarse[reference_id == one]
        sizes = band.level_sizes(one)
        level[rows] = overview_levels(
            sizes,
            (pixels[rows, 0], pixels[rows, 1]),
            (answer_size[rows, 0], answer_size[rows, 1]),
            is_nearest=method == "nearest",
        )
        size[rows] = np.array(sizes, np.int64)[level[rows]]
    return _Levels(level=level, size=size, copy_step=np.zeros(len(size), np.int64))


def _given_levels(band: BandOnGrids, placed: Placement, level: Ints) -> _Levels:
    size = placed.image_size.copy()
    coarse = np.flatnonzero(level > 0)
    for one in np.unique(band.reference_id[coarse]).tolist():
        rows = coarse[band.reference_id[coarse] == one]
        size[rows] = np.array(band.level_sizes(one), np.int64)[level[rows]]
    return _Levels(level=level, size=size, copy_step=np.zeros(len(size), np.int64))


def _read_copies(band: BandOnGrids, grids: PixelGrids, placed: Placement, levels: _Levels) -> None:
    """Set level and copy step of rows whose answer reaches a copy of the image, one period of x away."""
    rows = np.flatnonzero(placed.is_read) if wraps_around(band.windows) else placed.others
    rows = rows[~placed.is_reprojected[rows]]
    if not len(rows):
        return
    period = columns_per_period(grids.taken(rows))
    is_again = meets_copies(placed.extent[rows], period, placed.image_size[rows, 1])
    for row, columns in zip(rows[is_again].tolist(), period[is_again].tolist(), strict=True):
        sizes = band.level_sizes(int(band.reference_id[row]))
        level, step = _level_of_copies(sizes, int(levels.level[row]), columns)
        levels.level[row], levels.size[row], levels.copy_step[row] = level, sizes[level], step


def _level_of_copies(sizes: Sequence[tuple[int, int]], level: int, period: float) -> tuple[int, int]:
    """Return the level read, and its columns from one copy of an image to the next.

    A coarser level is used only when the period is a whole number of its pixels, too.
    """
    for one in range(level, -1, -1):
        columns = period * sizes[one][1] / sizes[0][1]
        if one == 0 or abs(columns - round(columns)) < _NEARLY_WHOLE_PX:
            break
    # Pixels that do not go into the period are half of one off at most, behind the antimeridian only.
    return one, round(columns)


def _spans(  # noqa: PLR0917 - one argument per step before
    scaled: Floats, axes: Floats, answer_size: Ints, placed: Placement, levels: _Levels, method: str
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return ``row_start, row_stop, col_start, col_stop`` of the pixels that answers need, within the image."""
    along_copies = np.where(levels.copy_step > 0, N_COPIES * levels.copy_step, levels.size[:, 1])
    spans = []
    for first, side, n_source in ((0, 0, levels.size[:, 0]), (2, 1, along_copies)):
        step = axes[:, first + 1]
        start, stop = source_spans(method, Axis(axes[:, first], step, answer_size[:, side], n_source))
        reaching = reach(method, step)
        if method not in METHODS_AT_POSITIONS:
            reaching = reaching * 2  # pixels that lie askew reach further than along their sides
        own_start = np.floor(scaled[:, first] - reaching) - 1
        own_stop = np.floor(scaled[:, first + 1] + reaching) + 2
        start = np.where(placed.is_reprojected, np.clip(own_start, 0, levels.size[:, side]), start)
        stop = np.where(placed.is_reprojected, np.clip(own_stop, 0, levels.size[:, side]), stop)
        spans += [start, np.maximum(start, stop)]
    row_start, row_stop, col_start, col_stop = spans
    return row_start, row_stop, col_start, col_stop
