"""How are windows read together with a ``valid=`` expression?

Bands of the expression are read first, the others only in rows where the expression accepts a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine import dry_run_log
from polars_rasteret.pixels.reading import add_reason
from polars_rasteret.pixels.valid_windows import PixelRows, accepted_pixels, refuse_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandAnswer
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.window_reads import WindowReads


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
        refuse_pixels(band, pixels, accepted, reads.stride(names))
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
    return size, accepted_pixels(valid_mask, PixelRows(size=size), seen, alone.stride(mask_bands)), errors


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
