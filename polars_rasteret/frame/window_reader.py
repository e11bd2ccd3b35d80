"""What does ``read_windows`` give for paired rows?

A picklable value that carries names, dtypes and options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import Bill, bill_of
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.answers import array_series
from polars_rasteret.frame.columns import stacked_column, valid_column, window_array_column, window_struct_column
from polars_rasteret.frame.question import READ_ERROR
from polars_rasteret.frame.reading import BandAnswer, check_same_grids, read_bands, window_reads
from polars_rasteret.frame.units import TOO_LARGE, ReadAnswer, band_rows
from polars_rasteret.frame.windows import windows_of_areas, windows_of_points
from polars_rasteret.geo.affine import window_transform
from polars_rasteret.geo.moved import Areas, Points
from polars_rasteret.schema import lossless_supertype, numpy_dtype, pixel_dtype, polars_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.frame.references import RasterColumn
    from polars_rasteret.frame.units import PairedRows
    from polars_rasteret.frame.validity import Judge
    from polars_rasteret.frame.windows import Windows
    from polars_rasteret.options import ReadOptions


@dataclass(frozen=True, kw_only=True)
class WindowReader:
    """``read_windows``: one window per band, or one stack of all."""

    bands: Mapping[str, pl.DataType]
    shape: tuple[int, int] | None
    masked: bool | str
    fill_value: float | None
    stack: bool
    unscale: frozenset[str]
    tells_errors: bool
    as_points: bool
    areas_hint: str = (
        "read_windows: shape= on boxes and polygons (resampling) is not available yet in this version; leave shape out for the "
        "raster's own pixels, or pass point geometries"
    )

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
        if self.shape is not None:
            outputs.update(transform=pl.Array(pl.Float64(), 6), raster_crs=pl.String())
        if self.tells_errors:
            outputs[READ_ERROR] = pl.String()
        return outputs

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

    def windows(
        self, column: RasterColumn, reference_id: NDArray[np.int64], targets: Points | Areas, target: NDArray[np.int64]
    ) -> Windows:
        """Give the window around each point, or the smallest one that holds each area."""
        if isinstance(targets, Points):
            return windows_of_points(column, reference_id, targets, target, shape=self.shape or (1, 1))
        return windows_of_areas(column, reference_id, targets, target)

    def row_bytes(self, rows: PairedRows, wanted: AbstractSet[str]) -> NDArray[np.int64]:
        """Give the size of each row's windows, validity included."""
        size = np.full(len(rows), 128, np.int64)
        for band, windows in rows.windows.items():
            if self._is_wanted(band, wanted):
                pixel_bytes = 8 if band in self.unscale else numpy_dtype(pixel_dtype(self.bands[band])).itemsize
                n_pixels = np.where(rows.record >= 0, windows.height * windows.width, 0)
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
        judge: Judge | None,  # noqa: ARG002
        spending: Spending | None,
        must_count: bool,  # noqa: ARG002
    ) -> ReadAnswer:
        """Read the windows of the bands wanted."""
        columns: dict[str, pl.Series] = {}
        errors: dict[int, str] = {}
        if self.shape is not None:  # judged by all bands, so that the error does not depend on what is selected
            check_same_grids(band_rows(rows, list(self.bands), self.unscale))
        chosen = self._chosen(wanted)
        if chosen:
            dtypes = None
            bands = band_rows(rows, chosen, self.unscale)
            if self.stack and not self.unscale:
                dtypes = {band: self._stack_dtype() for band in chosen}
            answers, errors = read_bands(
                bands,
                options,
                dtypes=dtypes,
                fill_value=self.fill_value,
                want_valid=bool(self.masked),
                advice=TOO_LARGE,
                spending=spending,
                shape=self.shape,
                stack=self.stack and not self.unscale,
            )
            columns = self._columns(answers)
        if self.shape is not None and not wanted.isdisjoint({"transform", "raster_crs"}):
            columns.update(self._grid(rows))
        return ReadAnswer(columns=columns, errors=errors)

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        return [band for band in self.bands if self._is_wanted(band, wanted)]

    def bill(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judging: Sequence[str] = (),  # noqa: ARG002
        at_most: bool = True,  # noqa: ARG002
    ) -> Bill:
        """Give what `read` would fetch with an empty cache."""
        bands = band_rows(rows, self._chosen(wanted), self.unscale)
        return bill_of(window_reads(bands, [None] * len(bands), want_valid=bool(self.masked)), options)

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

    def _grid(self, rows: PairedRows) -> dict[str, pl.Series]:
        """Give transform and CRS of the first band that the row's record has; all bands of a row share its grid."""
        n_rows = len(rows)
        transform = np.full((n_rows, 6), np.nan)
        crs: list[str | None] = [None] * n_rows
        is_open = np.ones(n_rows, np.bool_)
        for band, windows in rows.windows.items():
            column = rows.records.rasters[band]
            reference_id = rows.reference_id(column)
            at = np.flatnonzero(is_open & (reference_id >= 0) & windows.is_met)
            found = reference_id[at]
            transform[at] = window_transform(column.transform[found], windows.row_start[at], windows.col_start[at])
            for row, reference in zip(at.tolist(), found.tolist(), strict=True):
                crs[row] = column.crs[reference]
            is_open[at] = False
        return {
            "transform": array_series("transform", transform.reshape(-1), (6,), is_null=is_open),
            "raster_crs": pl.Series("raster_crs", crs, dtype=pl.String),
        }

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether any of the columns is read."""
        return bool(names - {"transform", "raster_crs"})
