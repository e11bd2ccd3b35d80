"""How are bands read and resampled onto the grids of their answers?

Windows that are the answer are read into their places. All others are read from the level chosen, in batches of bounded bytes,
and resampled. Which windows these are must not be decided here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polars_rasteret.assemble.resample import Source, resampled
from polars_rasteret.assemble.under_pixels import reprojected_values
from polars_rasteret.assemble.values import fill_value as value_outside
from polars_rasteret.assemble.values import masking_value
from polars_rasteret.engine import StartedRead, WindowAnswer, WindowRead, begin_windows
from polars_rasteret.grids.reprojection import pixel_positions
from polars_rasteret.pixels.answer_arrays import AnswerOut, answer_outs
from polars_rasteret.pixels.reading import BandAnswer, add_reasons, answer_dtypes, check_fill_fits, faults_of
from polars_rasteret.pixels.windows.source_reads import (
    axes_of,
    copy_reads,
    joined_copies,
    read_pixels,
    source_batches,
    source_read,
    world_copies_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.windows.aligned_bands import AlignedBand


_POSITIONS_BYTES = 64_000_000
"""Bytes of positions of pixels that are kept for other bands and records on the same grids."""


def begin_onto_grids(
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
) -> StartedOntoGrids:
    """Begin to read windows as `reading.begin_bands` does, each onto the grids of its answers, a batch at a time.

    Parameters are those of `begin_bands`, and so is what ``answers()`` returns. Null pixels take no part, as `assemble.kernels`
    says.
    """
    rows = [band.rows for band in bands]
    errors = faults_of(rows, options, *(band.sources.faults for band in bands))
    outs = answer_outs(
        answer_dtypes(rows, dtypes),
        [
            np.full(len(one.grids.has_grid), shape[0] * shape[1])
            if shape is not None
            else np.where(one.sources.is_read, one.grids.height * one.grids.width, 0)
            for one in bands
        ],
        is_regular=shape is not None,
        stack=stack,
        want_valid=want_valid,
        options=options,
        advice=advice,
    )
    writer = _AnswerWriter(bands, outs, fill_value, want_valid=want_valid)
    batches = source_batches(bands, want_valid=want_valid, max_bytes=options.max_answer_bytes)

    def begun() -> Iterator[_StartedPart]:
        for part, some in batches:
            yield writer.begin(part, some, options, advice, spending)

    later = begun()
    return StartedOntoGrids(writer=writer, errors=errors, first=next(later, None), later=later)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedOntoGrids:
    """Windows on the grids of their answers, of which the bytes of a first batch are on their way."""

    writer: _AnswerWriter
    errors: dict[int, str]
    first: _StartedPart | None
    later: Iterator[_StartedPart]
    """Begins the other batches, one after another."""

    def abandon(self) -> None:
        """Stop reading; nothing happens where all is read."""
        if self.first is not None:
            self.first.read.abandon()

    def answers(self) -> tuple[list[BandAnswer], dict[int, str]]:
        """Return the pixels of each band, and reasons by row, once they are there."""
        writer, answers = self.writer, []
        one = self.first
        while one is not None:
            writer.finish(one)
            one = next(self.later, None)
        for at, (band, out) in enumerate(zip(writer.bands, writer.outs, strict=True)):
            is_read = band.sources.is_read.copy()
            is_read[list(writer.errors[at])] = False
            add_reasons(self.errors, writer.errors[at])
            answers.append(
                BandAnswer(
                    rows=band.rows,
                    answer=WindowAnswer(
                        values=out.values, valid=out.valid, offset=out.offset(), errors=writer.errors[at]
                    ),
                    is_read=is_read,
                    grids=band.grids,
                    outside=writer.outside[at],
                    fill=writer.fill,
                )
            )
        return answers, self.errors


class _ReadPart(NamedTuple):
    """What one read of the engine is for."""

    band: int
    is_answer: bool = False
    """Whether its windows are the answers."""
    copy: int | None = None
    """Copy of the image, of those that an answer is made of; None: the answer is made of one window."""


class _StartedPart(NamedTuple):
    """A batch of rows whose bytes are on their way."""

    start: int
    """First row."""
    reads: list[WindowRead]
    parts: list[_ReadPart]
    read: StartedRead
    is_dry: bool


class _AnswerWriter:
    """Reads batches of rows and writes them into the arrays of the answers."""

    def __init__(
        self, bands: Sequence[AlignedBand], outs: Sequence[AnswerOut], fill: float | None, *, want_valid: bool
    ) -> None:
        self.bands, self.outs, self.fill, self.want_valid = bands, outs, fill, want_valid
        self.errors: list[dict[int, str]] = [{} for _ in bands]
        self.positions: dict[tuple[object, ...], tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self.positions_bytes = 0
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

    def begin(
        self, part: slice, some: Sequence[int], options: ReadOptions, advice: str, spending: Spending | None
    ) -> _StartedPart:
        """Begin to read a run of rows of some bands."""
        reads: list[WindowRead] = []
        parts: list[_ReadPart] = []
        for at in some:
            band = self.bands[at]
            are_answers = band.sources.is_read & band.sources.is_answer
            if are_answers[part].any():
                reads.append(self._read_of_answers(at, part, are_answers))
                parts.append(_ReadPart(at, is_answer=True))
            want_valid = self.want_valid or band.method != "nearest"
            others = band.sources.is_read & ~are_answers & (band.sources.copy_step == 0)
            if others[part].any():
                reads.append(source_read(band, part, others, want_valid=want_valid))
                parts.append(_ReadPart(at))
            for copy, read in copy_reads(band, part, want_valid=want_valid):
                reads.append(read)
                parts.append(_ReadPart(at, copy=copy))
        started = begin_windows(reads, options, advice=advice, spending=spending)
        return _StartedPart(part.start, reads, parts, started, options.dry_run is not None)

    def finish(self, begun: _StartedPart) -> None:
        """Write the pixels of a batch of rows once they are there."""
        answers, start = begun.read.answers(), begun.start
        if begun.is_dry:
            return
        copies: dict[tuple[int, int], list[tuple[int, Source]]] = {}
        for read, answer, (at, is_answer, of_copy) in zip(begun.reads, answers, begun.parts, strict=True):
            for window, reason in answer.errors.items():
                self.errors[at][start + window] = reason
            for window in np.flatnonzero(read.reference_id >= 0).tolist():
                if window in answer.errors:
                    continue
                row = start + window
                if is_answer:
                    if read.out is None:
                        self._write_answer(at, row, window, answer)
                elif of_copy is None:
                    self._write_resampled(at, row, read_pixels(read, answer, window))
                else:
                    copies.setdefault((at, row), []).append((of_copy, read_pixels(read, answer, window)))
        for (at, row), sources in copies.items():
            if row not in self.errors[at]:
                self._write_resampled(at, row, joined_copies(self.bands[at], row, sources))

    def _read_of_answers(self, at: int, part: slice, which: NDArray[np.bool_]) -> WindowRead:
        """Return the read of windows that are the answers; where these have one size, right into their places."""
        read = source_read(self.bands[at], part, which, want_valid=self.want_valid)
        out, fill = self.outs[at], self.raw_fill[at]
        dtype = out.values.dtype
        if self.outside[at] is not None:
            for row in (part.start + np.flatnonzero(which[part])).tolist():
                self._mark_outside(at, row)
        return replace(
            read,
            dtype=dtype,
            fill=None if fill is None else dtype.type(fill),
            out=None if out.stride is None else out.part(part.start),
        )

    def _write_answer(self, at: int, row: int, window: int, answer: WindowAnswer) -> None:
        out, pixels = self.outs[at], slice(int(answer.offset[window]), int(answer.offset[window + 1]))
        out.values[out.pixels(row)] = answer.values[pixels]
        if out.valid is not None and answer.valid is not None:
            out.valid[out.pixels(row)] = answer.valid[pixels]

    def _mark_outside(self, at: int, row: int) -> None:
        band, outside = self.bands[at], self.outside[at]
        assert outside is not None
        rows, cols = axes_of(band, row)
        inside = rows.is_inside()[:, None] & cols.is_inside()
        outside[self.outs[at].pixels(row)] = ~inside.reshape(-1)

    def _write_resampled(self, at: int, row: int, source: Source) -> None:
        """Resample the pixels read for one row, and write them into their place."""
        band, out = self.bands[at], self.outs[at]
        sources, column = band.sources, band.rows.column
        reference = int(band.rows.reference_id[row])
        one = column.references[reference]
        nodata = masking_value(one.tiles, one.nodata)
        nodata = None if nodata is None else column.dtype.type(nodata)
        if sources.is_reprojected[row]:
            level = tuple(sources.level_size[row].tolist())
            grid = column.grids.grid(reference)
            scale = level[0] / grid.height, level[1] / grid.width
            values, valid, inside = reprojected_values(
                source,
                _scaled(self._positions(at, row), scale),
                lambda: _scaled(pixel_positions(band.grids, row, grid, corners=True), scale),
                (float(sources.axes[row, 1]), float(sources.axes[row, 3])),
                level,
                method=band.method,
                nodata=nodata,
            )
        else:
            rows, cols = axes_of(band, row)
            values, valid, part = resampled(source, rows, cols, band.method, nodata)
            inside = np.zeros(values.shape, np.bool_)
            inside[part] = True
            if (copies := world_copies_of(band, row)) is not None:
                inside &= copies.is_in_image(cols.centres())
                valid = None if valid is None else valid & inside
        place = out.pixels(row)
        out.values[place] = np.where(inside, values, self.fills[at][reference]).reshape(-1)
        if out.valid is not None and valid is not None:
            out.valid[place] = valid.reshape(-1)
        if (outside := self.outside[at]) is not None:
            outside[place] = ~inside.reshape(-1)

    def _positions(self, at: int, row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the positions of an answer's pixels; those of other bands and records on the same grids are the same."""
        band = self.bands[at]
        grids, column = band.grids, band.rows.column
        reference = int(band.rows.reference_id[row])
        size = int(grids.height[row]), int(grids.width[row])
        key = (int(column.grids.grid_id[reference]), grids.crs[row], grids.transform[row].tobytes(), *size)
        if key not in self.positions:
            n_bytes = 16 * size[0] * size[1]
            if self.positions_bytes + n_bytes > _POSITIONS_BYTES:
                self.positions.clear()
                self.positions_bytes = 0
            self.positions[key] = pixel_positions(grids, row, column.grids.grid(reference))
            self.positions_bytes += n_bytes
        return self.positions[key]


def _scaled(
    positions: tuple[NDArray[np.float64], NDArray[np.float64]], scale: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return positions[0] * scale[0], positions[1] * scale[1]
