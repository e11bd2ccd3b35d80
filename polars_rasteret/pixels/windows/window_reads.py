"""How are the windows of several bands read together, unresampled or on one grid?

All bands of a batch have the same rows. Columns of the answer do not belong here. What resamples and covers is imported where it
is needed: most windows are pixels of their image as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.pixels.reading import begin_bands, n_rows_of, taken_bands, window_reads
from polars_rasteret.pixels.windows.resampling import may_be_resampled, methods_by_band

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import WindowRead
    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandAnswer, BandRows
    from polars_rasteret.pixels.windows.aligned_bands import AlignedBand
    from polars_rasteret.pixels.windows.window_options import WindowOptions

_MOST_PIXELS = 2**36
"""Pixels that a window counts as at most. A larger one is refused when it is read; sums of many must not overflow before."""


@bundle
class WindowReads:
    """Windows of one batch of rows."""

    bands: Mapping[str, BandRows]
    """Bands of the question and of a ``valid=`` expression, by name."""
    asked: Sequence[str]
    """Bands of the question. All of them decide the grid of a row, so the grid does not depend on the selected columns."""
    window: WindowOptions
    stack_dtype: np.dtype[np.generic] | None = None
    """Dtype of the array in which all bands lie side by side; None: each band has an array of its own."""

    @property
    def n_rows(self) -> int:
        """Number of rows of the batch."""
        return n_rows_of(self.bands)

    def taken(self, rows: NDArray[np.int64]) -> WindowReads:
        """Return the windows of some rows."""
        return self if len(rows) == self.n_rows else replace(self, bands=taken_bands(self.bands, rows))

    def of_mask(self) -> WindowReads:
        """Return these windows for a valid mask, which needs raw values: without fill, with an array for each band."""
        return replace(self, stack_dtype=None, window=replace(self.window, fill_value=None))

    def stride(self, names: Sequence[str]) -> int | None:
        """Return the pixels from one row to the next in the arrays of some bands; None where rows differ in size."""
        if self.window.shape is None:
            return None
        height, width = self.window.shape
        return height * width * (1 if self.stack_dtype is None else len(names))

    def grids(self, mask_bands: Iterable[str] = ()) -> AnswerGrids:
        """Return the grid that all bands of a row share."""
        window = self.window
        assert window.grid is not None
        from polars_rasteret.grids.answer_grids import answer_grids

        return answer_grids(self._together(mask_bands), window.grid, shape=window.shape, resolution=window.resolution)

    def onto_grids(self, names: Iterable[str], mask_bands: Iterable[str] = ()) -> list[AlignedBand]:
        """Return some bands aligned on the grid that all bands of the question, and those of a mask, share."""
        chosen = set(names)
        return [one for one in self._lined_up(self._together(mask_bands)) if one.rows.column.name in chosen]

    def resampled(self, names: Iterable[str]) -> list[AlignedBand] | None:
        """Return some bands aligned on the grids of their answers; None when no window is resampled."""
        window, every = self.window, self._together(())
        # Bands that keep their own grids need others for the same reason, if at all.
        first = every if window.grid is not None else every[:1]
        if not window.has_grid or not may_be_resampled(first, window.resolution):
            return None
        from polars_rasteret.pixels.windows.aligned_bands import are_answers

        onto = self._lined_up(every)
        if window.shape is not None and are_answers(onto):
            return None
        chosen = set(names)
        return [one for one in onto if one.rows.column.name in chosen]

    def read(
        self, names: Sequence[str], call: ReadCall, *, want_valid: bool, onto: list[AlignedBand] | None
    ) -> tuple[list[BandAnswer], dict[int, str]]:
        """Return the windows of some bands, and the reasons of errors by row; `resampled` and `onto_grids` give `onto`."""
        how = {
            "dtypes": None if self.stack_dtype is None else dict.fromkeys(names, self.stack_dtype),
            "fill_value": self.window.fill_value,
            "want_valid": want_valid,
            "advice": call.advice,
            "spending": call.spending,
            "shape": self.window.shape,
            "stack": self.stack_dtype is not None,
        }
        if onto is None:
            return begin_bands([self.bands[name] for name in names], call.options, **how).answers()  # type: ignore[arg-type]
        from polars_rasteret.pixels.windows.resampled import begin_onto_grids

        return begin_onto_grids(onto, call.options, **how).answers()  # type: ignore[arg-type]

    def blank_uncovered(self, answers: Sequence[BandAnswer], names: Sequence[str], call: ReadCall) -> dict[int, int]:
        """Blank pixels that areas do not cover, in place; return the number of covered pixels of rows where some are not."""
        window = self.window
        if window.coverage is None or call.options.dry_run is not None or not answers:
            return {}
        from polars_rasteret.pixels.windows.covered import blank_uncovered

        return blank_uncovered(answers, window.coverage, window.fill_value, pixels_per_row=self.stride(names))

    def certain_reads(self, names: Sequence[str], *, want_valid: bool, mask_bands: Sequence[str]) -> list[WindowRead]:
        """Return the reads of some bands; with a mask only those of the mask's bands, which decide what else is read."""
        from polars_rasteret.pixels.windows.source_reads import source_reads

        if mask_bands:
            return source_reads(self.onto_grids(mask_bands, mask_bands), want_valid=True)
        if names and (onto := self.resampled(names)) is not None:
            return source_reads(onto, want_valid=want_valid)
        return window_reads([self.bands[name] for name in names], [None] * len(names), want_valid=want_valid)

    def row_bytes(
        self, names: Sequence[str], *, pixel_bytes: Mapping[str, int], mask_bands: Sequence[str]
    ) -> NDArray[np.int64]:
        """Return the bytes of each row's windows, and of the source pixels of resampled windows.

        Parameters
        ----------
        names, mask_bands
            Bands that are read for the answer, and for a mask.
        pixel_bytes
            Bytes of a pixel of each band in the answer.
        """
        size = np.zeros(self.n_rows, np.int64)
        every = [*names, *mask_bands]
        if mask_bands:
            onto: list[AlignedBand] | None = self.onto_grids(every, mask_bands)
        else:
            onto = self.resampled(names) if names else None
        if onto is not None:
            size += np.sum([one.source_bytes() for one in onto], axis=0, dtype=np.int64)
        for name in every:
            band = self.bands[name]
            if self.window.shape is not None:  # a row that is not read has a place all the same
                n_pixels = np.full(self.n_rows, self.window.shape[0] * self.window.shape[1], np.int64)
            else:
                grids = band.windows if onto is None else onto[0].grids
                n_pixels = np.minimum(grids.height * grids.width, _MOST_PIXELS)
                if band.row is not None:
                    n_pixels = np.where(band.row >= 0, n_pixels, 0)
            size += n_pixels * pixel_bytes[name]
        return size

    def _together(self, mask_bands: Iterable[str]) -> list[BandRows]:
        return [self.bands[name] for name in dict.fromkeys([*self.asked, *mask_bands])]

    def _lined_up(self, bands: Sequence[BandRows]) -> list[AlignedBand]:
        from polars_rasteret.pixels.windows.aligned_bands import aligned_bands

        window = self.window
        methods = methods_by_band(window.resampling, self.asked)
        return aligned_bands(bands, grid=window.grid, shape=window.shape, resolution=window.resolution, methods=methods)
