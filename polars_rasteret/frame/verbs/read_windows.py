"""What does ``read_windows`` give for paired rows?

A picklable value that carries names, dtypes and options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.engine import Cost, cost_of, dry_run_log
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.columns.answers import (
    stacked_column,
    valid_column,
    window_array_column,
    window_struct_column,
)
from polars_rasteret.frame.query.batches import TOO_LARGE
from polars_rasteret.frame.query.question import READ_ERROR
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.answer_grids import answer_grids
from polars_rasteret.grids.windows import windows_of_areas, windows_of_points, windows_on_grids, with_own_grid
from polars_rasteret.pairing.key_columns import gathered
from polars_rasteret.pairing.paired_rows import band_rows
from polars_rasteret.pairing.reader import ReadAnswer
from polars_rasteret.pixels.aligned_bands import AlignedBand, aligned_bands, are_answers, may_be_resampled
from polars_rasteret.pixels.covered import blank_uncovered
from polars_rasteret.pixels.neighbourhoods import add_reason
from polars_rasteret.pixels.reading import BandAnswer, read_bands, window_reads
from polars_rasteret.pixels.resampled import read_onto_grids, source_reads
from polars_rasteret.pixels.series import array_series
from polars_rasteret.pixels.valid_windows import PixelRows, accepted_pixels, refuse_pixels
from polars_rasteret.schema import lossless_supertype, numpy_dtype, pixel_dtype, polars_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pixels.valid_mask import Judge

_TOO_MANY_PIXELS = 2**36
"""Of an absurd window, which is refused when it is read; sums of many must not overflow before."""


@dataclass(frozen=True, kw_only=True)
class WindowReader:
    """``read_windows``: one window per band, or one stack of all."""

    bands: Mapping[str, pl.DataType]
    shape: tuple[int, int] | None
    resolution: tuple[float, float] | None
    coverage: str | None
    grid: str
    resampling: Mapping[str, str]
    masked: bool | str
    fill_value: float | None
    min_valid_fraction: float | None
    stack: bool
    unscale: frozenset[str]
    tells_errors: bool
    as_points: bool | None

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Arrays with ``transform`` and ``raster_crs``, or Structs that hold these themselves."""
        outputs: dict[str, pl.DataType] = {}
        if self.stack:
            assert self.shape is not None
            outputs["pixels"] = pl.Array(polars_dtype(self._stack_dtype()), (len(self.bands), *self.shape))
        for band, dtype in self.bands.items() if not self.stack else ():
            pixel = pl.Float32() if band in self.unscale else pixel_dtype(dtype)
            if self.shape is None:
                outputs[band] = pl.Struct(
                    {
                        "pixels": pl.List(pixel),
                        "height": pl.UInt32(),
                        "width": pl.UInt32(),
                        "transform": pl.Array(pl.Float64(), 6),
                        "crs": pl.String(),
                    }
                )
            else:
                outputs[band] = pl.Array(pixel, self.shape)
        if self.masked == "column" and self.shape is not None:
            outputs.update({f"{band}_valid": pl.Array(pl.Boolean(), self.shape) for band in self.bands})
        if self._has_grid:
            outputs.update(transform=pl.Array(pl.Float64(), 6), raster_crs=pl.String())
        if self.tells_errors:
            outputs[READ_ERROR] = pl.String()
        return outputs

    @property
    def _has_grid(self) -> bool:
        """Whether all bands of a row are given on one grid."""
        return self.shape is not None or self.resolution is not None

    def _stack_dtype(self) -> np.dtype[np.generic]:
        dtypes = [
            np.dtype(np.float32) if band in self.unscale else numpy_dtype(pixel_dtype(dtype))
            for band, dtype in self.bands.items()
        ]
        dtype = lossless_supertype(dtypes)
        if dtype is None:
            raise UsageError(
                f"read_windows: stack=True: no dtype holds every value of {', '.join(self.bands)}; read these without stack"
            )
        return dtype

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Return the window around each point, or what each area covers."""
        if isinstance(targets, Points):
            windows = windows_of_points(grids, targets, target, shape=self.shape or (1, 1))
            return windows if self.resolution is None else with_own_grid(windows)
        if self._has_grid:
            return windows_on_grids(grids, targets, target, shape=self.shape)
        return windows_of_areas(grids, targets, target)

    def row_bytes(self, rows: PairedRows, wanted: AbstractSet[str], judging: Sequence[str] = ()) -> NDArray[np.int64]:
        """Give the size of each row's windows, validity and what they are resampled from included."""
        size = np.full(len(rows), 128, np.int64)
        chosen = self._chosen(wanted)
        onto = self._onto(rows, [*chosen, *judging], judging) if judging else self._lined_up(rows, chosen)
        if onto is not None:
            size += np.sum([one.source_bytes() for one in onto], axis=0, dtype=np.int64)
        for band in (*chosen, *judging):
            pixel_bytes = 8 if band in self.unscale else rows.records.rasters[band].dtype.itemsize + bool(judging)
            if onto is not None:
                height, width = onto[0].grids.height, onto[0].grids.width
            elif band in rows.windows:
                height, width = rows.windows[band].height, rows.windows[band].width
            else:
                continue
            n_pixels = np.where(rows.record >= 0, np.minimum(height * width, _TOO_MANY_PIXELS), 0)
            if self.shape is not None:  # a row that is not read has a place all the same
                n_pixels = np.full(len(rows), self.shape[0] * self.shape[1], np.int64)
            size += n_pixels * (pixel_bytes + (1 if self.masked else 0))
        return size

    def _is_wanted(self, band: str, wanted: AbstractSet[str]) -> bool:
        return not wanted.isdisjoint({band, f"{band}_valid", READ_ERROR}) or (self.stack and "pixels" in wanted)

    @property
    def costs_vary(self) -> bool:
        """Say no: windows are known before any pixel is."""
        return False

    def read(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judge: Judge | None,
        spending: Spending | None,
        must_count: bool,
    ) -> ReadAnswer:
        """Read the windows of the bands wanted."""
        chosen = self._chosen(wanted)
        if judge is not None or must_count:
            answer = self._judged(rows, chosen, options, judge, spending, must_count=must_count)
        elif chosen:
            answers, errors = self._answers(rows, chosen, options, spending)
            if self.coverage is not None and options.dry_run is None:
                stride = self._stride(chosen)
                blank_uncovered(answers, self.coverage, self.fill_value, pixels_per_row=stride)
            answer = ReadAnswer(columns=self._columns(answers), errors=errors)
        else:
            answer = ReadAnswer(columns={}, errors={})
        if self._has_grid and not wanted.isdisjoint({"transform", "raster_crs"}):
            answer.columns.update(self._grid(rows, () if judge is None else judge.bands))
        return answer

    def _stride(self, chosen: list[str]) -> int | None:
        """Give the pixels from one row of the answers to the next; None where rows differ in size."""
        return None if self.shape is None else self.shape[0] * self.shape[1] * self._bands_side_by_side(chosen)

    def _judged(
        self,
        rows: PairedRows,
        chosen: list[str],
        options: ReadOptions,
        judge: Judge | None,
        spending: Spending | None,
        *,
        must_count: bool,
    ) -> ReadAnswer:
        """Read windows of which not every pixel counts: first the bands that say so, then the others."""
        n_rows = len(rows)
        size, accepted, errors = self._accepted(rows, options, judge, spending)
        kept = np.arange(n_rows, dtype=np.int64)
        if options.dry_run is not None:
            dry_run_log(options.dry_run).is_upper = True
        elif must_count:  # a record without a pixel that may count is not read on
            kept = np.flatnonzero(PixelRows(size=size).any_of_row(accepted))
        part = rows.taken(kept)
        names = list(self.bands) if must_count else chosen
        onto = self._onto(part, names, () if judge is None else judge.bands)
        answers: list[BandAnswer] = []
        if onto and len(part):
            answers, more = read_onto_grids(onto, options, **self._how(names, spending, want_valid=True))
            for row, reason in more.items():
                add_reason(errors, int(kept[row]), reason)
        pixels = PixelRows(size=size[kept])
        is_kept = np.zeros(n_rows, np.bool_)
        is_kept[kept] = True
        accepted = accepted[np.repeat(is_kept, size)]
        stride = self._stride(names)
        for band in answers:
            refuse_pixels(band, pixels, accepted, stride)
        n_covered = pixels.size.copy()
        if self.coverage is not None and options.dry_run is None and answers:
            found = blank_uncovered(answers, self.coverage, self.fill_value, pixels_per_row=stride)
            n_covered[list(found)] = list(found.values())
        counts = None
        if must_count:
            counts = np.zeros(n_rows, np.bool_)
            counts[kept] = self._count(pixels, answers, n_covered, stride)
        used = [one for one in answers if one.rows.column.name in chosen or self.stack]
        columns = self._columns(used) if used else {}
        return ReadAnswer(columns=self._spread(columns, chosen, kept, n_rows), errors=errors, counts=counts)

    def _accepted(
        self, rows: PairedRows, options: ReadOptions, judge: Judge | None, spending: Spending | None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], dict[int, str]]:
        """Give the pixels of each row, which of them may count, and the reasons of those that could not be judged."""
        judging = [] if judge is None else list(judge.bands)
        onto = self._onto(rows, [*self.bands, *judging], judging)
        grids = onto[0].grids
        size = np.where(grids.has_grid, grids.height * grids.width, 0)
        if self.shape is not None:
            size = np.full(len(rows), self.shape[0] * self.shape[1], np.int64)
        if judge is None or not len(rows):
            return size, np.ones(int(size.sum()), np.bool_), {}
        asked = [one for one in onto if one.rows.column.name in judging]
        seen: list[BandAnswer] = []
        errors: dict[int, str] = {}
        if asked:
            seen, errors = read_onto_grids(
                asked, options, want_valid=True, advice=TOO_LARGE, spending=spending, shape=self.shape
            )
        stride = None if self.shape is None else self.shape[0] * self.shape[1]
        return size, accepted_pixels(judge, PixelRows(size=size), seen, stride), errors

    def _onto(self, rows: PairedRows, bands: Sequence[str], judging: Sequence[str]) -> list[AlignedBand]:
        """Say what bands read to come onto the grid of all: of those asked for, and of those that say what is valid."""
        every = band_rows(rows, list(dict.fromkeys([*self.bands, *judging])), self.unscale)
        onto = aligned_bands(
            every, grid=self.grid, shape=self.shape, resolution=self.resolution, methods=self.resampling
        )
        return [one for one in onto if one.rows.column.name in bands]

    def _count(
        self,
        pixels: PixelRows,
        answers: list[BandAnswer],
        n_covered: NDArray[np.int64],
        stride: int | None,
    ) -> NDArray[np.bool_]:
        """Say which rows count: those with a pixel that is valid in any band, and with enough of them."""
        some = np.zeros(int(pixels.size.sum()), np.bool_)
        for band in answers:
            some |= pixels.valid_of(band, stride)
        n_valid = pixels.count(some)
        # Divided, not multiplied: 55 of 100 pixels are 0.55, but 0.55 * 100 is more than 55.
        return (n_valid > 0) & (n_valid / np.maximum(n_covered, 1) >= (self.min_valid_fraction or 0))

    def _spread(
        self, columns: dict[str, pl.Series], chosen: list[str], kept: NDArray[np.int64], n_rows: int
    ) -> dict[str, pl.Series]:
        """Give columns of some rows as columns of all, null elsewhere."""
        if len(kept) == n_rows and columns:
            return columns
        if not columns:
            names = [name for name in self.outputs if name in {*chosen, "pixels", *(f"{one}_valid" for one in chosen)}]
            return {name: pl.Series(name, [None], dtype=self.outputs[name]).new_from_index(0, n_rows) for name in names}
        at = np.full(n_rows, -1, np.int64)
        at[kept] = np.arange(len(kept))
        index = pl.Series(at)
        return {name: gathered(one, index.set(index < 0, None)).alias(name) for name, one in columns.items()}

    def _bands_side_by_side(self, chosen: list[str]) -> int:
        return len(chosen) if self.stack and not self.unscale else 1

    def _answers(
        self, rows: PairedRows, chosen: list[str], options: ReadOptions, spending: Spending | None
    ) -> tuple[list[BandAnswer], dict[int, str]]:
        how = self._how(chosen, spending, want_valid=bool(self.masked))
        onto = self._lined_up(rows, chosen)
        if onto is None:
            return read_bands(band_rows(rows, chosen, self.unscale), options, **how)
        return read_onto_grids(onto, options, **how)

    def _how(self, bands: list[str], spending: Spending | None, *, want_valid: bool) -> dict[str, Any]:
        is_stack = self._bands_side_by_side(bands) > 1
        return {
            "dtypes": {band: self._stack_dtype() for band in bands} if is_stack else None,
            "fill_value": self.fill_value,
            "want_valid": want_valid,
            "advice": TOO_LARGE,
            "spending": spending,
            "shape": self.shape,
            "stack": is_stack,
        }

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        return [band for band in self.bands if self._is_wanted(band, wanted)]

    def _lined_up(self, rows: PairedRows, chosen: list[str]) -> list[AlignedBand] | None:
        """Say what the chosen bands read to come onto the grid of all; None when windows are given as they are.

        Judged by all bands, so that the answer does not depend on what is selected.
        """
        bands = band_rows(rows, list(self.bands), self.unscale)
        if not chosen or not self._has_grid or not may_be_resampled(bands, self.resolution):
            return None
        onto = aligned_bands(
            bands, grid=self.grid, shape=self.shape, resolution=self.resolution, methods=self.resampling
        )
        if self.shape is not None and are_answers(onto):
            return None
        return [one for one in onto if one.rows.column.name in chosen]

    def cost(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judging: Sequence[str] = (),
    ) -> Cost:
        """Give what `read` would surely fetch with an empty cache."""
        if judging:
            return cost_of(source_reads(self._onto(rows, judging, judging), want_valid=True), options)
        chosen = self._chosen(wanted)
        onto = self._lined_up(rows, chosen)
        if onto is not None:
            return cost_of(source_reads(onto, want_valid=bool(self.masked)), options)
        bands = band_rows(rows, chosen, self.unscale)
        return cost_of(window_reads(bands, [None] * len(bands), want_valid=bool(self.masked)), options)

    def _columns(self, answers: list[BandAnswer]) -> dict[str, pl.Series]:
        masked = self.masked is True
        if self.shape is None:
            return {
                one.rows.column.name: window_struct_column(one, one.rows.column.name, masked=masked) for one in answers
            }
        columns: dict[str, pl.Series] = {}
        if self.stack:
            columns["pixels"] = stacked_column(answers, "pixels", self.shape, masked=masked)
        else:
            for one in answers:
                columns[one.rows.column.name] = window_array_column(
                    one, one.rows.column.name, self.shape, masked=masked
                )
        if self.masked == "column":
            for one in answers:
                columns[f"{one.rows.column.name}_valid"] = valid_column(
                    one, f"{one.rows.column.name}_valid", self.shape
                )
        return columns

    def _grid(self, rows: PairedRows, judging: Sequence[str]) -> dict[str, pl.Series]:
        """Give transform and CRS of the grid that all bands of a row share."""
        bands = band_rows(rows, list(dict.fromkeys([*self.bands, *judging])), self.unscale)
        grids = answer_grids(bands, self.grid, shape=self.shape, resolution=self.resolution)
        has_transform: NDArray[np.bool_] = np.asarray(np.isfinite(grids.transform).all(axis=1))
        return {
            "transform": array_series("transform", grids.transform.reshape(-1), (6,), is_null=~has_transform),
            "raster_crs": pl.Series("raster_crs", grids.crs.tolist(), dtype=pl.String),
        }

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether any of the columns is read."""
        return bool(names - {"transform", "raster_crs"})
