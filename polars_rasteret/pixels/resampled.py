"""How are bands resampled onto the grids of their answers?

Windows that need no resampling are read into the answer directly. All others are read from the chosen level, in batches of
bounded bytes, and resampled.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.at_positions import values_at
from polars_rasteret.assemble.resample import Axis, Source, resampled
from polars_rasteret.assemble.values import fill_value as value_outside
from polars_rasteret.assemble.values import masking_value
from polars_rasteret.engine import WindowAnswer, WindowRead, read_windows
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.reprojection import pixel_positions
from polars_rasteret.grids.world_copies import N_COPIES, WorldCopies, join_copies
from polars_rasteret.hrefs import shown
from polars_rasteret.pixels.raster_faults import tell_faults
from polars_rasteret.pixels.reading import AnswerOut, BandAnswer, answer_outs, check_fill_fits, faults_of, join_reasons
from polars_rasteret.plan.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.aligned_bands import AlignedBand


def source_reads(bands: Sequence[AlignedBand], *, want_valid: bool) -> list[WindowRead]:
    """Return all reads that resampling needs, as the engine takes them; for computing their cost."""
    reads = []
    for band in bands:
        every, is_valid_wanted = slice(None), want_valid or band.method != "nearest"
        one_copy = band.sources.is_read & (band.sources.copy_step == 0)
        reads.append(_read(band, every, one_copy, want_valid=is_valid_wanted))
        reads += [read for _, read in _copies(band, every, want_valid=is_valid_wanted)]
    return reads


def read_onto_grids(
    bands: Sequence[AlignedBand],
    options: ReadOptions,
    *,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    fill_value: float | None = None,
    want_valid: bool,
    advice: str,
    shape: tuple[int, int] | None = None,
    stack: bool = False,
    spending: Spending | None = None,
) -> tuple[list[BandAnswer], dict[int, str]]:
    """Read windows of all bands together, as `read_bands` does, each onto its grids; null pixels take no part in mixed ones."""
    rows = [band.rows for band in bands]
    errors = faults_of(rows, options)
    for band in bands:
        join_reasons(errors, tell_faults(band.sources.faults, on_error=options.on_error))
    is_regular = shape is not None
    outs = answer_outs(
        rows,
        dtypes or {},
        [
            np.full(len(one.grids.has_grid), shape[0] * shape[1])
            if shape is not None
            else np.where(one.sources.is_read, one.grids.height * one.grids.width, 0)
            for one in bands
        ],
        is_regular=is_regular,
        stack=stack,
        want_valid=want_valid,
        options=options,
        advice=advice,
    )
    work = _Work(bands, outs, fill_value, want_valid=want_valid)
    for part, some in _batches(bands, want_valid=want_valid, max_bytes=options.max_answer_bytes):
        work.read(part, some, options, advice, spending)
    answers = []
    for at, (band, out) in enumerate(zip(bands, outs, strict=True)):
        is_read = band.sources.is_read.copy()
        is_read[list(work.errors[at])] = False
        join_reasons(errors, work.errors[at])
        answers.append(
            BandAnswer(
                rows=band.rows,
                answer=WindowAnswer(values=out.values, valid=out.valid, offset=out.offset(), errors=work.errors[at]),
                is_read=is_read,
                grids=band.grids,
                outside=work.outside[at],
                fill=fill_value,
            )
        )
    return answers, errors


_PLAIN = -1
"""Stands for windows that are the answers, where others name the copy that they are of."""


class _Work:
    """Fills the arrays of the answers, batch by batch."""

    def __init__(
        self, bands: Sequence[AlignedBand], outs: Sequence[AnswerOut], fill: float | None, *, want_valid: bool
    ) -> None:
        self.bands, self.outs, self.want_valid = bands, outs, want_valid
        self.errors: list[dict[int, str]] = [{} for _ in bands]
        self.outside: list[NDArray[np.bool_] | None] = []
        self.fills = []
        self.raw_fill: list[float | None] = []
        for band, out in zip(bands, outs, strict=True):
            column = band.rows.column
            # The fill of an unscaled answer is in its units: it comes when the values are unscaled.
            raw = None if band.rows.unscale else fill
            check_fill_fits(raw, out.values.dtype, column.name)
            self.raw_fill.append(raw)
            self.fills.append(
                [
                    value_outside(one.tiles, one.nodata, raw, out.values.dtype, label=column.name)
                    for one in column.references
                ]
            )
            wants_outside = band.rows.unscale and fill is not None
            self.outside.append(np.zeros(len(out.values), np.bool_) if wants_outside else None)

    def read(
        self, part: slice, some: Sequence[int], options: ReadOptions, advice: str, spending: Spending | None
    ) -> None:
        """Read a run of rows of some bands."""
        reads: list[WindowRead] = []
        of_band: list[tuple[int, int | None]] = []
        for at in some:
            band = self.bands[at]
            plain = band.sources.is_read & band.sources.is_answer
            if plain[part].any():
                reads.append(self._plain(at, part, plain))
                of_band.append((at, _PLAIN))
            want_valid = self.want_valid or band.method != "nearest"
            others = band.sources.is_read & ~plain & (band.sources.copy_step == 0)
            if others[part].any():
                reads.append(_read(band, part, others, want_valid=want_valid))
                of_band.append((at, None))
            for copy, read in _copies(band, part, want_valid=want_valid):
                reads.append(read)
                of_band.append((at, copy))
        answers = read_windows(reads, options, advice=advice, spending=spending)
        if options.dry_run is not None:
            return
        copies: dict[tuple[int, int], list[tuple[int, Source]]] = {}
        for read, answer, (at, which) in zip(reads, answers, of_band, strict=True):
            for window, reason in answer.errors.items():
                self.errors[at][part.start + window] = reason
            for window in np.flatnonzero(read.reference_id >= 0).tolist():
                if window in answer.errors:
                    continue
                row = part.start + window
                if which == _PLAIN:
                    if read.out is None:
                        self._copy(at, row, window, answer)
                elif which is None:
                    self._place(at, row, _source(read, answer, window))
                else:
                    copies.setdefault((at, row), []).append((which, _source(read, answer, window)))
        for (at, row), sources in copies.items():
            if row not in self.errors[at]:
                self._place(at, row, _joined(self.bands[at], row, sources))

    def _plain(self, at: int, part: slice, plain: NDArray[np.bool_]) -> WindowRead:
        """Read windows that are the answers; where these have one size, right into their places."""
        read = _read(self.bands[at], part, plain, want_valid=self.want_valid)
        out, fill = self.outs[at], self.raw_fill[at]
        dtype = out.values.dtype
        if self.outside[at] is not None:
            for row in (part.start + np.flatnonzero(plain[part])).tolist():
                self._mark_outside(at, row)
        return replace(
            read,
            dtype=dtype,
            fill=None if fill is None else dtype.type(fill),
            out=None if out.stride is None else out.part(part.start),
        )

    def _copy(self, at: int, row: int, window: int, answer: WindowAnswer) -> None:
        out, pixels = self.outs[at], slice(int(answer.offset[window]), int(answer.offset[window + 1]))
        out.values[out.pixels(row)] = answer.values[pixels]
        if out.valid is not None and answer.valid is not None:
            out.valid[out.pixels(row)] = answer.valid[pixels]

    def _mark_outside(self, at: int, row: int) -> None:
        band, outside = self.bands[at], self.outside[at]
        assert outside is not None
        rows, cols = _axes(band, row)
        inside = rows.is_inside()[:, None] & cols.is_inside()
        outside[self.outs[at].pixels(row)] = ~inside.reshape(-1)

    def _place(self, at: int, row: int, source: Source) -> None:
        """Resample one source window and put it into its place."""
        band, out = self.bands[at], self.outs[at]
        sources, column = band.sources, band.rows.column
        reference = int(band.rows.reference_id[row])
        one = column.references[reference]
        nodata = masking_value(one.tiles, one.nodata)
        nodata = None if nodata is None else column.dtype.type(nodata)
        if sources.is_reprojected[row]:
            level = tuple(sources.level_size[row].tolist())
            grid = column.grids.grid(reference)
            where = pixel_positions(band.grids, row, grid)
            values, valid, inside = values_at(
                source,
                (where[0] * (level[0] / grid.height), where[1] * (level[1] / grid.width)),
                (float(sources.axes[row, 1]), float(sources.axes[row, 3])),
                level,
                method=band.method,
                nodata=nodata,
            )
        else:
            rows, cols = _axes(band, row)
            values, valid, part = resampled(source, rows, cols, band.method, nodata)
            inside = np.zeros(values.shape, np.bool_)
            inside[part] = True
            if (copies := _world_copies(band, row)) is not None:
                inside &= copies.is_in_image(cols.centres())
                valid = None if valid is None else valid & inside
        place = out.pixels(row)
        out.values[place] = np.where(inside, values, self.fills[at][reference]).reshape(-1)
        if out.valid is not None and valid is not None:
            out.valid[place] = valid.reshape(-1)
        if (outside := self.outside[at]) is not None:
            outside[place] = ~inside.reshape(-1)


def _axes(band: AlignedBand, row: int) -> tuple[Axis, Axis]:
    first_row, row_step, first_col, col_step = band.sources.axes[row].tolist()
    height, width = band.sources.level_size[row].tolist()
    if (copies := _world_copies(band, row)) is not None:
        width = N_COPIES * copies.step
    return (
        Axis(first_row, row_step, int(band.grids.height[row]), height),
        Axis(first_col, col_step, int(band.grids.width[row]), width),
    )


def _world_copies(band: AlignedBand, row: int) -> WorldCopies | None:
    step = int(band.sources.copy_step[row])
    return WorldCopies(step, int(band.sources.level_size[row, 1])) if step else None


def _source(read: WindowRead, answer: WindowAnswer, window: int) -> Source:
    pixels = slice(int(answer.offset[window]), int(answer.offset[window + 1]))
    size = int(read.height[window]), int(read.width[window])
    return Source(
        values=answer.values[pixels].reshape(size),
        valid=None if answer.valid is None else answer.valid[pixels].reshape(size),
        first_row=int(read.row_start[window]),
        first_col=int(read.col_start[window]),
    )


def _joined(band: AlignedBand, row: int, parts: Sequence[tuple[int, Source]]) -> Source:
    copies, first = _world_copies(band, row), int(band.sources.col_start[row])
    assert copies is not None
    return join_copies(parts, (first, first + int(band.sources.width[row])), copies)


def _copies(band: AlignedBand, part: slice, *, want_valid: bool) -> Iterator[tuple[int, WindowRead]]:
    """Yield the number of each copy of the images that answers reach, and the read of that copy."""
    sources = band.sources
    again = np.flatnonzero(sources.is_read & (sources.copy_step > 0))
    again = again[(again >= (part.start or 0)) & (again < (len(sources.is_read) if part.stop is None else part.stop))]
    for copy in range(N_COPIES) if len(again) else ():
        col_start, width = np.zeros_like(sources.col_start), np.zeros_like(sources.width)
        for row in again.tolist():
            copies = _world_copies(band, row)
            assert copies is not None
            first, stop = copies.columns(copy)
            start = max(int(sources.col_start[row]), first)
            width[row] = max(min(int(sources.col_start[row] + sources.width[row]), stop) - start, 0)
            col_start[row] = start - copy * copies.step
        if width.any():
            of_copy = replace(band, sources=replace(sources, col_start=col_start, width=width))
            yield copy, _read(of_copy, part, width > 0, want_valid=want_valid)


def _read(band: AlignedBand, part: slice, which: NDArray[np.bool_], *, want_valid: bool) -> WindowRead:
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


def _batches(
    bands: Sequence[AlignedBand], *, want_valid: bool, max_bytes: int
) -> Iterator[tuple[slice, Sequence[int]]]:
    """Cut rows, and where one row is too large its bands, so that what is read at once stays within the allowance."""
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
