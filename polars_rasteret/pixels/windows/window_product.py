"""Which columns does ``read_windows`` return for its rows? A window of each band, or one stack of all bands."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.bundles import bundle
from polars_rasteret.pixels.answer_columns import grid_columns, window_columns, window_outputs, window_stack_dtype
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.series import GRID_OUTPUTS, gathered, row_index
from polars_rasteret.pixels.stacks import STACK
from polars_rasteret.pixels.windows.window_reads import WindowReads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.product import Bands, ReadCall, Reads, Targets
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.windows.window_options import WindowOptions

_ROW_BYTES = 128
"""Bytes of a row without its pixels."""


@bundle
class WindowProduct:
    """Product of `read_windows`: one window per band, or one stack of all bands."""

    bands: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Bands with their dtypes; in an expression they are empty until a batch arrives."""
    unscale: frozenset[str] = frozenset()
    window: WindowOptions
    stack: bool = False
    masked: bool | str = False
    """True: null pixels are null elements; ``"column"``: the valid mask of each band is a column of its own."""
    min_valid_fraction: float | None = None
    clips_points: bool = True
    """Whether a window around a point is read only when the image holds the point. False: when the image holds any pixel of the
    window."""
    costs_vary: bool = False
    many_rows: bool = False
    is_planned: bool = False

    @property
    def as_points(self) -> bool | None:
        """None with a shape, so that points get windows; else False: a point is the smallest area."""
        return False if self.window.shape is None else None

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns of the answer: arrays with ``transform`` and ``raster_crs``, or Structs that hold both."""
        outputs = window_outputs(
            self.bands, self.unscale, self.window.shape, stack=self.stack, has_valid=self.masked == "column"
        )
        return {**outputs, **(GRID_OUTPUTS if self.window.has_grid else {})}

    @property
    def free_outputs(self) -> frozenset[str]:
        """Columns of the grid, which cost no request."""
        return frozenset(GRID_OUTPUTS)

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return the window around each point, or the pixels that each area covers."""
        return self.window.windows(grids, targets, target, clips_points=self.clips_points)

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> NDArray[np.int64]:
        """Return the bytes of each row's windows, their valid masks, and the source pixels of resampled windows."""
        chosen = self._chosen(wanted)
        pixel_bytes = {
            name: (8 if name in self.unscale else bands[name].column.dtype.itemsize + bool(mask_bands))
            + bool(self.masked)
            for name in (*chosen, *mask_bands)
        }
        reads = self._reads(bands)
        return _ROW_BYTES + reads.row_bytes(chosen, pixel_bytes=pixel_bytes, mask_bands=mask_bands)

    def certain_reads(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> Reads:
        """Return the reads of the wanted bands; with a ``valid=`` expression only those of its bands."""
        reads = self._reads(bands)
        return reads.certain_reads(self._chosen(wanted), want_valid=bool(self.masked), mask_bands=mask_bands)

    def read(
        self,
        bands: Bands,
        wanted: AbstractSet[str],
        call: ReadCall,
        *,
        valid_mask: ValidMask | None = None,
        must_count: bool = False,
    ) -> Answer:
        """Return the windows of the wanted bands."""
        chosen, reads = self._chosen(wanted), self._reads(bands)
        answer = Answer(columns={})
        if valid_mask is not None or must_count:
            answer = self._masked(reads, chosen, call, valid_mask, must_count=must_count)
        elif chosen:
            found, errors = reads.read(chosen, call, want_valid=bool(self.masked), onto=reads.resampled(chosen))
            reads.blank_uncovered(found, chosen, call)
            answer = Answer(
                columns=window_columns(found, self.window.shape, stack=self.stack, masked=self.masked), errors=errors
            )
        if self.window.has_grid and not wanted.isdisjoint(GRID_OUTPUTS):
            answer.columns.update(grid_columns(reads.grids(() if valid_mask is None else valid_mask.bands)))
        return answer

    def _masked(
        self, reads: WindowReads, chosen: list[str], call: ReadCall, valid_mask: ValidMask | None, *, must_count: bool
    ) -> Answer:
        from polars_rasteret.pixels.windows.masked_windows import read_masked

        found = read_masked(
            reads, chosen, call, valid_mask, must_count=must_count, min_valid_fraction=self.min_valid_fraction
        )
        used = [one for one in found.answers if one.rows.column.name in chosen or self.stack]
        n_rows = reads.n_rows
        if not used:
            names = {*chosen, STACK, *(f"{one}_valid" for one in chosen)}
            columns = {
                name: pl.Series(name, [None], dtype=dtype).new_from_index(0, n_rows)
                for name, dtype in self.outputs.items()
                if name in names
            }
            return Answer(columns=columns, errors=found.errors, counts=found.counts)
        columns = window_columns(used, self.window.shape, stack=self.stack, masked=self.masked)
        if len(found.rows) < n_rows:
            at = np.full(n_rows, -1, np.int64)
            at[found.rows] = np.arange(len(found.rows))
            index = row_index(at)
            columns = {name: gathered(one, index).alias(name) for name, one in columns.items()}
        return Answer(columns=columns, errors=found.errors, counts=found.counts)

    def _reads(self, bands: Bands) -> WindowReads:
        return WindowReads(
            bands={name: replace(band, unscale=name in self.unscale) for name, band in bands.items()},
            asked=tuple(self.bands),
            window=self.window,
            stack_dtype=window_stack_dtype(self.bands, self.unscale) if self.stack and not self.unscale else None,
        )

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        """Return the bands that the wanted columns need."""
        return [
            band
            for band in self.bands
            if not wanted.isdisjoint({band, f"{band}_valid"}) or (self.stack and STACK in wanted)
        ]
