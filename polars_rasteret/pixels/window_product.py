"""Which columns does ``read_windows`` return for its rows? A window of each band, or one stack of all bands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import (
    overlapping,
    windows_of_areas,
    windows_of_points,
    windows_on_grids,
    with_own_grid,
)
from polars_rasteret.pixels.answer_columns import (
    grid_columns,
    stacked_column,
    valid_column,
    window_array_column,
    window_struct_column,
)
from polars_rasteret.pixels.masked_windows import read_masked
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.series import GRID_OUTPUTS, gathered, row_index, window_struct_fields
from polars_rasteret.pixels.stacks import STACK, stack_dtype
from polars_rasteret.pixels.window_reads import WindowOptions, WindowReads
from polars_rasteret.schema import numpy_dtype, pixel_dtype, polars_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.engine import WindowRead
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandAnswer, BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask

_ROW_BYTES = 128
"""Bytes of a row without its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @property
    def as_points(self) -> bool | None:
        """None with a shape, so that points get windows; else False: a point is the smallest area."""
        return False if self.window.shape is None else None

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns of the answer: arrays with ``transform`` and ``raster_crs``, or Structs that hold both."""
        shape = self.window.shape
        outputs: dict[str, pl.DataType] = {}
        if self.stack:
            assert shape is not None
            outputs[STACK] = pl.Array(polars_dtype(self._stack_dtype()), (len(self.bands), *shape))
        for band, dtype in self.bands.items() if not self.stack else ():
            pixel = pl.Float32() if band in self.unscale else pixel_dtype(dtype)
            if shape is None:
                outputs[band] = pl.Struct(window_struct_fields(pl.List(pixel)))
            else:
                outputs[band] = pl.Array(pixel, shape)
        if self.masked == "column" and shape is not None:
            outputs.update({f"{band}_valid": pl.Array(pl.Boolean(), shape) for band in self.bands})
        return {**outputs, **(GRID_OUTPUTS if self.window.has_grid else {})}

    @property
    def free_outputs(self) -> frozenset[str]:
        """Columns of the grid, which cost no request."""
        return frozenset(GRID_OUTPUTS)

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Return the window around each point, or the pixels that each area covers."""
        shape = self.window.shape
        if isinstance(targets, Points):
            windows = windows_of_points(grids, targets, target, shape=shape or (1, 1))
            if not self.clips_points:
                return overlapping(windows)
            return windows if self.window.resolution is None else with_own_grid(windows)
        if self.window.has_grid:
            return windows_on_grids(grids, targets, target, shape=shape)
        return windows_of_areas(grids, targets, target)

    def row_bytes(
        self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], mask_bands: Sequence[str] = ()
    ) -> NDArray[np.int64]:
        """Return the bytes of each row's windows, their valid masks, and the source pixels of resampled windows."""
        chosen = self._chosen(wanted)
        pixel_bytes = {
            name: (8 if name in self.unscale else bands[name].column.dtype.itemsize + bool(mask_bands))
            + bool(self.masked)
            for name in (*chosen, *mask_bands)
        }
        reads = self._reads(bands)
        return _ROW_BYTES + reads.row_bytes(chosen, pixel_bytes=pixel_bytes, mask_bands=mask_bands)

    def certain_reads(
        self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], mask_bands: Sequence[str] = ()
    ) -> list[WindowRead]:
        """Return the reads of the wanted bands; with a ``valid=`` expression only those of its bands."""
        reads = self._reads(bands)
        return reads.certain_reads(self._chosen(wanted), want_valid=bool(self.masked), mask_bands=mask_bands)

    def read(
        self,
        bands: Mapping[str, BandRows],
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
            answer = Answer(columns=self._columns(found), errors=errors)
        if self.window.has_grid and not wanted.isdisjoint(GRID_OUTPUTS):
            answer.columns.update(grid_columns(reads.grids(() if valid_mask is None else valid_mask.bands)))
        return answer

    def _masked(
        self, reads: WindowReads, chosen: list[str], call: ReadCall, valid_mask: ValidMask | None, *, must_count: bool
    ) -> Answer:
        found = read_masked(
            reads, chosen, call, valid_mask, must_count=must_count, min_valid_fraction=self.min_valid_fraction
        )
        used = [one for one in found.answers if one.rows.column.name in chosen or self.stack]
        n_rows = reads.n_rows
        if not used:
            names = [name for name in self.outputs if name in {*chosen, STACK, *(f"{one}_valid" for one in chosen)}]
            columns = {
                name: pl.Series(name, [None], dtype=self.outputs[name]).new_from_index(0, n_rows) for name in names
            }
        elif len(found.rows) == n_rows:
            columns = self._columns(used)
        else:
            at = np.full(n_rows, -1, np.int64)
            at[found.rows] = np.arange(len(found.rows))
            index = row_index(at)
            columns = {name: gathered(one, index).alias(name) for name, one in self._columns(used).items()}
        return Answer(columns=columns, errors=found.errors, counts=found.counts)

    def _reads(self, bands: Mapping[str, BandRows]) -> WindowReads:
        return WindowReads(
            bands={name: replace(band, unscale=name in self.unscale) for name, band in bands.items()},
            asked=tuple(self.bands),
            window=self.window,
            stack_dtype=self._stack_dtype() if self.stack and not self.unscale else None,
        )

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        """Return the bands that the wanted columns need."""
        return [
            band
            for band in self.bands
            if not wanted.isdisjoint({band, f"{band}_valid"}) or (self.stack and STACK in wanted)
        ]

    def _stack_dtype(self) -> np.dtype[np.generic]:
        return stack_dtype(
            {
                band: np.dtype(np.float32) if band in self.unscale else numpy_dtype(pixel_dtype(dtype))
                for band, dtype in self.bands.items()
            }
        )

    def _columns(self, answers: Sequence[BandAnswer]) -> dict[str, pl.Series]:
        masked, shape = self.masked is True, self.window.shape
        named = {one.rows.column.name: one for one in answers}
        if shape is None:
            return {name: window_struct_column(one, name, masked=masked) for name, one in named.items()}
        if self.stack:
            columns = {STACK: stacked_column(answers, STACK, shape, masked=masked)}
        else:
            columns = {name: window_array_column(one, name, shape, masked=masked) for name, one in named.items()}
        if self.masked == "column":
            columns.update({f"{name}_valid": valid_column(one, f"{name}_valid", shape) for name, one in named.items()})
        return columns
