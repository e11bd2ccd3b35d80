"""Which windows does the engine read for bands that are resampled, and where are their pixels in the answers?

One window per row, or one per copy of the image where an answer runs over the antimeridian. Nothing is read or resampled here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.resample import Axis, Source
from polars_rasteret.engine import WindowRead
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.world_copies import N_COPIES, WorldCopies, join_copies
from polars_rasteret.hrefs import shown
from polars_rasteret.plan.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import WindowAnswer
    from polars_rasteret.pixels.windows.aligned_bands import AlignedBand


def source_reads(bands: Sequence[AlignedBand], *, want_valid: bool) -> list[WindowRead]:
    """Return all reads of some bands, as the engine takes them; for computing their cost."""
    reads = []
    for band in bands:
        every, is_valid_wanted = slice(None), want_valid or band.method != "nearest"
        one_copy = band.sources.is_read & (band.sources.copy_step == 0)
        reads.append(source_read(band, every, one_copy, want_valid=is_valid_wanted))
        reads += [read for _, read in copy_reads(band, every, want_valid=is_valid_wanted)]
    return reads


def source_read(band: AlignedBand, part: slice, which: NDArray[np.bool_], *, want_valid: bool) -> WindowRead:
    """Return the read of a band in a run of rows, as the engine takes it.

    Parameters
    ----------
    band
        Band with the windows to read.
    part
        Run of rows.
    which
        Rows of the batch that are read; other rows of the run get a window without pixels.
    want_valid
        Whether a valid mask is needed.
    """
    sources, column = band.sources, band.rows.column
    which = which[part]
    row_start, col_start, height, width = (
        np.where(which, one[part], 0) for one in (sources.row_start, sources.col_start, sources.height, sources.width)
    )
    level = np.where(which, sources.level[part], 0)
    return WindowRead(
        label=column.name,
        references=column.references,
        reference_id=np.where(which, band.rows.reference_id[part], -1),
        row_start=row_start,
        col_start=col_start,
        height=height,
        width=width,
        level=level if level.any() else 0,
        dtype=column.dtype,
        want_valid=want_valid,
    )


def copy_reads(band: AlignedBand, part: slice, *, want_valid: bool) -> Iterator[tuple[int, WindowRead]]:
    """Yield the number of each copy of the images that answers of a run of rows reach, and the read of that copy."""
    sources = band.sources
    again = np.flatnonzero(sources.is_read & (sources.copy_step > 0))
    again = again[(again >= (part.start or 0)) & (again < (len(sources.is_read) if part.stop is None else part.stop))]
    for copy in range(N_COPIES) if len(again) else ():
        col_start, width = np.zeros_like(sources.col_start), np.zeros_like(sources.width)
        for row in again.tolist():
            copies = world_copies_of(band, row)
            assert copies is not None
            first, stop = copies.columns(copy)
            start = max(int(sources.col_start[row]), first)
            width[row] = max(min(int(sources.col_start[row] + sources.width[row]), stop) - start, 0)
            col_start[row] = start - copy * copies.step
        if width.any():
            of_copy = replace(band, sources=replace(sources, col_start=col_start, width=width))
            yield copy, source_read(of_copy, part, width > 0, want_valid=want_valid)


def source_batches(
    bands: Sequence[AlignedBand], *, want_valid: bool, max_bytes: int
) -> Iterator[tuple[slice, Sequence[int]]]:
    """Yield runs of rows with the bands that are read together, so that each read stays within the bytes allowed.

    A row that is too large by itself is read band by band.

    Raises
    ------
    UsageError
        When one band of one row is larger than allowed.
    """
    sizes = []
    for band in bands:
        answer_bytes = band.rows.column.dtype.itemsize + want_valid
        sizes.append(np.where(band.sources.is_answer, band.sources.n_pixels() * answer_bytes, band.source_bytes()))
    together = np.sum(sizes, axis=0)
    everyone = range(len(bands))
    for part in batches_of(together, max_bytes=max_bytes, ramps_up=False):
        if part.stop - part.start > 1 or together[part.start] <= max_bytes:
            yield part, everyone
            continue
        for at in everyone:
            if sizes[at][part.start] > max_bytes:
                _refuse_source(bands[at], part.start, int(sizes[at][part.start]), max_bytes)
            yield part, (at,)


def _refuse_source(band: AlignedBand, row: int, n_bytes: int, max_bytes: int) -> None:
    column, sources = band.rows.column, band.sources
    reference = column.references[int(band.rows.reference_id[row])]
    raise UsageError(
        f"{column.name}: the answer is resampled from {int(sources.height[row])} x {int(sources.width[row])} pixels of "
        f"{shown(reference.href)} (level {int(sources.level[row])} of {len(reference.tiles.images) - 1}), "
        f"{n_bytes / 1e6:,.1f} MB, more than max_answer_bytes ({max_bytes / 1e6:,.1f} MB) allows at once; "
        "ask for smaller windows, or raise pr.options(max_answer_bytes=...)"
    )


def axes_of(band: AlignedBand, row: int) -> tuple[Axis, Axis]:
    """Return the axes of an answer's rows and columns on the image that is read, or along its copies."""
    first_row, row_step, first_col, col_step = band.sources.axes[row].tolist()
    height, width = band.sources.level_size[row].tolist()
    if (copies := world_copies_of(band, row)) is not None:
        width = N_COPIES * copies.step
    return (
        Axis(first_row, row_step, int(band.grids.height[row]), height),
        Axis(first_col, col_step, int(band.grids.width[row]), width),
    )


def world_copies_of(band: AlignedBand, row: int) -> WorldCopies | None:
    """Return the copies of the image that a row's answer needs; None when it needs one copy only."""
    step = int(band.sources.copy_step[row])
    return WorldCopies(step, int(band.sources.level_size[row, 1])) if step else None


def read_pixels(read: WindowRead, answer: WindowAnswer, window: int) -> Source:
    """Return the pixels of one window that was read."""
    pixels = slice(int(answer.offset[window]), int(answer.offset[window + 1]))
    size = int(read.height[window]), int(read.width[window])
    return Source(
        values=answer.values[pixels].reshape(size),
        valid=None if answer.valid is None else answer.valid[pixels].reshape(size),
        first_row=int(read.row_start[window]),
        first_col=int(read.col_start[window]),
    )


def joined_copies(band: AlignedBand, row: int, parts: Sequence[tuple[int, Source]]) -> Source:
    """Return the source pixels of a row's answer, joined from the number and the pixels of each copy."""
    copies, first = world_copies_of(band, row), int(band.sources.col_start[row])
    assert copies is not None
    return join_copies(parts, (first, first + int(band.sources.width[row])), copies)
