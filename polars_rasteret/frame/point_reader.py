"""What does ``sample_points`` give for paired rows?

A picklable value that carries names, dtypes and options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import Bill, bill_of
from polars_rasteret.frame.columns import point_column
from polars_rasteret.frame.question import READ_ERROR
from polars_rasteret.frame.reading import read_bands, window_reads
from polars_rasteret.frame.units import TOO_LARGE, band_rows
from polars_rasteret.frame.windows import windows_of_points
from polars_rasteret.geo.moved import Areas, Points
from polars_rasteret.schema import numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.frame.references import RasterColumn
    from polars_rasteret.frame.units import PairedRows
    from polars_rasteret.frame.windows import Windows
    from polars_rasteret.options import ReadOptions


@dataclass(frozen=True, kw_only=True)
class PointReader:
    """``sample_points``: one value per band."""

    bands: Mapping[str, pl.DataType]
    unscale: frozenset[str]
    tells_errors: bool
    as_points: bool = True
    areas_hint: str = ""

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """One value column per band, and ``read_error`` where it was asked for."""
        values: dict[str, pl.DataType] = {
            band: pl.Float64() if band in self.unscale else pixel_dtype(dtype) for band, dtype in self.bands.items()
        }
        return {**values, **({READ_ERROR: pl.String()} if self.tells_errors else {})}

    def windows(
        self, column: RasterColumn, reference_id: NDArray[np.int64], targets: Points | Areas, target: NDArray[np.int64]
    ) -> Windows:
        """Give the pixel that holds each point."""
        assert isinstance(targets, Points)
        return windows_of_points(column, reference_id, targets, target)

    def row_bytes(self, rows: PairedRows, wanted: AbstractSet[str]) -> NDArray[np.int64]:
        """Give the size of a row: a value and its validity per band."""
        sizes = [
            8 if band in self.unscale else numpy_dtype(pixel_dtype(self.bands[band])).itemsize
            for band in self._chosen(wanted)
        ]
        return np.full(len(rows), sum(sizes) + 2 * len(sizes), np.int64)

    def read(
        self, rows: PairedRows, wanted: AbstractSet[str], options: ReadOptions
    ) -> tuple[dict[str, pl.Series], dict[int, str]]:
        """Read the pixels of the bands wanted."""
        bands = band_rows(rows, self._chosen(wanted), self.unscale)
        answers, errors = read_bands(bands, options, want_valid=True, advice=TOO_LARGE)
        return {one.rows.column.name: point_column(one, one.rows.column.name) for one in answers}, errors

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        return [band for band in self.bands if band in wanted or READ_ERROR in wanted]

    def bill(self, rows: PairedRows, wanted: AbstractSet[str], options: ReadOptions) -> Bill:
        """Give what `read` would fetch with an empty cache."""
        bands = band_rows(rows, self._chosen(wanted), self.unscale)
        return bill_of(window_reads(bands, [None] * len(bands), want_valid=True), options)

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether any of the columns is read."""
        return bool(names)
