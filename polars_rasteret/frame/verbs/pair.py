"""What does ``pair`` give for paired rows?

The raster columns themselves: a picklable value that carries names and dtypes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import Cost
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import windows_of_areas, windows_of_points
from polars_rasteret.pairing.paired_rows import band_rows
from polars_rasteret.pairing.reader import ReadAnswer
from polars_rasteret.pixels.reading import faults_of

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


@dataclass(frozen=True, kw_only=True)
class PairReader:
    """``pair``: the raster columns themselves; nothing is read."""

    bands: Mapping[str, pl.DataType]
    as_points: bool

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """The raster columns."""
        return self.bands

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Give the window that says whether the target meets the image."""
        if isinstance(targets, Points):
            return windows_of_points(grids, targets, target)
        return windows_of_areas(grids, targets, target)

    def row_bytes(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        judging: Sequence[str] = (),  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """Give the size of a row: references are views, whatever the size of their tile tables."""
        return np.full(len(rows), 125 * len(wanted), np.int64)

    @property
    def costs_vary(self) -> bool:
        """Say no: nothing is read."""
        return False

    def read(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judge: Judge | None,  # noqa: ARG002
        spending: Spending | None,  # noqa: ARG002
        must_count: bool,  # noqa: ARG002
    ) -> ReadAnswer:
        """Give the raster columns of the rows; with ``on_error="null"`` faulty values too: they fail where they are read."""
        if options.on_error == "raise":
            faults_of(band_rows(rows, [band for band in self.bands if band in wanted], frozenset()), options)
        record = pl.Series(rows.record)
        if len(rows) and int(rows.record.min()) < 0:
            record = record.set(record < 0, None)
        columns = {}
        for band in self.bands:
            if band in wanted:
                series = rows.records.rasters[band].series
                if len(series):
                    columns[band] = series.alias("").gather(record)
                else:
                    columns[band] = pl.Series(band, [None], dtype=series.dtype).new_from_index(0, len(rows))
        return ReadAnswer(columns=columns, errors={})

    def cost(
        self,
        rows: PairedRows,  # noqa: ARG002
        wanted: AbstractSet[str],  # noqa: ARG002
        options: ReadOptions,  # noqa: ARG002
        *,
        judging: Sequence[str] = (),  # noqa: ARG002
    ) -> Cost:
        """Give nothing: references cost nothing."""
        return Cost(tiles=0, requests=0, bytes=0)

    def needs_pixels(self, names: AbstractSet[str]) -> bool:  # noqa: ARG002 - references cost nothing
        """Say no: a reference is not a pixel."""
        return False
