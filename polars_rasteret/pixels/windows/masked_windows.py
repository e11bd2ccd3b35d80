"""How are windows read together with a ``valid=`` expression?

Bands of the expression are read first, the others only in rows where the expression accepts a pixel. The expression is evaluated
pixel by pixel, on the grid that all bands of a row share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine import dry_run_log
from polars_rasteret.pixels.reading import add_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandAnswer
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.windows.window_reads import WindowReads

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRows:
    """Pixels of all rows, one row after another."""

    size: Ints
    """Number of pixels of each row."""

    def row_of_pixel(self) -> Ints:
        """Return the row of each pixel."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def has_pixels(self, band: BandAnswer) -> Booleans:
        """Return for each pixel whether it is in the arrays of a band."""
        return np.repeat(np.diff(band.answer.offset) > 0, self.size)

    def valid_of(self, band: BandAnswer, stride: int | None) -> Booleans:
        """Return which pixels of a band are valid; pixels that were not read are not valid."""
        valid = np.zeros(int(self.size.sum()), np.bool_)
        valid[self.has_pixels(band)] = _validity(band, stride).reshape(-1)
        return valid & np.repeat(band.is_read, self.size)

    def any_of_row(self, pixels: Booleans) -> Booleans:
        """Return for each row whether any of its pixels is true."""
        return self.count(pixels) > 0

    def count(self, pixels: Booleans) -> Ints:
        """Return the number of true pixels of each row."""
        return np.bincount(self.row_of_pixel()[pixels], minlength=len(self.size)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedAnswer:
    """Windows of the rows that were read."""

    answers: list[BandAnswer]
    """Answers of all bands that were read; empty when no row was read."""
    rows: NDArray[np.int64]
    """Rows of the batch that were read."""
    errors: dict[int, str]
    """Reasons by row of the batch."""
    counts: NDArray[np.bool_] | None
    """Whether each row of the batch has enough valid pixels; None when this was not asked for."""


def read_masked(
    reads: WindowReads,
    chosen: Sequence[str],
    call: ReadCall,
    valid_mask: ValidMask | None,
    *,
    must_count: bool,
    min_valid_fraction: float | None,
) -> MaskedAnswer:
    """Return the windows of a batch; a pixel that the valid mask rejects is null in every band.

    Parameters
    ----------
    reads
        Windows of the batch.
    chosen
        Bands that are used.
    call
        Options and budget, as the engine takes them.
    valid_mask
        Valid mask of a ``valid=`` expression; None: every pixel is accepted.
    must_count
        Whether to find the rows with enough valid pixels. Every band of the question is then read, in rows with an accepted
        pixel.
    min_valid_fraction
        Share of a window's pixels that must be valid in some band for its row to count; None: any pixel.
    """
    mask_bands = () if valid_mask is None else valid_mask.bands
    size, accepted, errors = _accepted(reads, call, valid_mask)
    rows = np.arange(reads.n_rows, dtype=np.int64)
    if call.options.dry_run is not None:
        dry_run_log(call.options.dry_run).is_upper = True
    elif must_count:  # a record without a pixel that may count is not read on
        rows = np.flatnonzero(PixelRows(size=size).any_of_row(accepted))
    part = reads.taken(rows)
    names = list(reads.asked) if must_count else chosen
    onto = part.onto_grids(names, mask_bands)
    answers: list[BandAnswer] = []
    if onto and len(rows):
        answers, more = part.read(names, call, want_valid=True, onto=onto)
        for row, reason in more.items():
            add_reason(errors, int(rows[row]), reason)
    pixels = PixelRows(size=size[rows])
    is_kept = np.zeros(reads.n_rows, np.bool_)
    is_kept[rows] = True
    accepted = accepted[np.repeat(is_kept, size)]
    for band in answers:
        _refuse_pixels(band, pixels, accepted, reads.stride(names))
    n_covered = pixels.size.copy()
    found = part.blank_uncovered(answers, names, call)
    n_covered[list(found)] = list(found.values())
    counts = None
    if must_count:
        counts = np.zeros(reads.n_rows, np.bool_)
        counts[rows] = _counts(pixels, answers, n_covered, reads.stride(names), min_valid_fraction or 0)
    return MaskedAnswer(answers=answers, rows=rows, errors=errors, counts=counts)


def _accepted(
    reads: WindowReads, call: ReadCall, valid_mask: ValidMask | None
) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[int, str]]:
    """Return the pixels of each row, which of them the mask accepts, and the reasons of rows whose mask could not be read."""
    mask_bands = [] if valid_mask is None else list(valid_mask.bands)
    onto = reads.onto_grids([*reads.asked, *mask_bands], mask_bands)
    if reads.window.shape is not None:
        size = np.full(reads.n_rows, reads.window.shape[0] * reads.window.shape[1], np.int64)
    else:
        grids = onto[0].grids
        size = np.where(grids.has_grid, grids.height * grids.width, 0)
    if valid_mask is None or not reads.n_rows:
        return size, np.ones(int(size.sum()), np.bool_), {}
    of_mask = [one for one in onto if one.rows.column.name in mask_bands]
    seen: list[BandAnswer] = []
    errors: dict[int, str] = {}
    alone = reads.of_mask()
    if of_mask:
        names = [one.rows.column.name for one in of_mask]
        seen, errors = alone.read(names, call, want_valid=True, onto=of_mask)
    return size, _accepted_pixels(valid_mask, PixelRows(size=size), seen, alone.stride(mask_bands)), errors


def _counts(
    pixels: PixelRows,
    answers: Sequence[BandAnswer],
    n_covered: NDArray[np.int64],
    stride: int | None,
    min_valid_fraction: float,
) -> NDArray[np.bool_]:
    """Return which rows count: rows with enough pixels that are valid in any band, and at least one."""
    some = np.zeros(int(pixels.size.sum()), np.bool_)
    for band in answers:
        some |= pixels.valid_of(band, stride)
    n_valid = pixels.count(some)
    # Divided, not multiplied: 55 of 100 pixels are 0.55, but 0.55 * 100 is more than 55.
    return (n_valid > 0) & (n_valid / np.maximum(n_covered, 1) >= min_valid_fraction)


def _accepted_pixels(
    valid_mask: ValidMask, rows: PixelRows, answers: Sequence[BandAnswer], stride: int | None
) -> Booleans:
    """Return which pixels the valid mask accepts.

    Parameters
    ----------
    valid_mask
        Valid mask of the batch.
    rows
        Pixels of the grids that the bands share.
    answers
        Answers of the bands that the expression names.
    stride
        As in `_refuse_pixels`.
    """
    bands = {}
    for band in answers:
        is_there = rows.has_pixels(band)
        values = np.zeros(len(is_there), band.answer.values.dtype)
        values[is_there] = band.answer.values[: int(is_there.sum())]
        bands[band.rows.column.name] = (values, rows.valid_of(band, stride))
    return valid_mask.of_pixels(rows.row_of_pixel(), bands)


def _refuse_pixels(band: BandAnswer, rows: PixelRows, accepted: Booleans, stride: int | None) -> None:
    """Set pixels that were not accepted to not valid, in place.

    Parameters
    ----------
    band, rows, accepted
        Answer of a band, the pixels of the grids, and which of them are accepted.
    stride
        Pixels from one row to the next in the arrays of the answer, when all rows have the same size; None: rows lie side by
        side.
    """
    valid = _validity(band, stride)
    np.logical_and(valid, accepted[rows.has_pixels(band)].reshape(valid.shape), out=valid)


def _validity(band: BandAnswer, stride: int | None) -> Booleans:
    """Return the valid mask of a band's pixels, as a view: in a stack, pixels of other bands lie between them."""
    answer = band.answer
    assert answer.valid is not None
    if stride is None:
        return answer.valid[: answer.offset[-1]]
    size = np.diff(answer.offset)
    return np.ndarray((len(size), int(size[0]) if len(size) else 0), np.bool_, answer.valid, strides=(stride, 1))
