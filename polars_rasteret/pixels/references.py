"""What does ``pair`` give for its rows? The raster values themselves, of which no pixel is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import windows_of_areas, windows_of_points
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.reading import faults_of, n_rows_of
from polars_rasteret.pixels.series import gathered, row_index

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.engine import WindowRead
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandRows

_VALUE_BYTES = 125
"""References are views, whatever the size of their tile tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterReferences:
    """The raster value of each band."""

    bands: Mapping[str, pl.DataType]
    as_points: bool = False
    """Areas count by their outline, and a point is the smallest area."""
    costs_vary: bool = False

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """The raster columns."""
        return self.bands

    @property
    def free_outputs(self) -> frozenset[str]:
        """All columns: a reference is not a pixel."""
        return frozenset(self.bands)

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Return the windows that say which targets meet their images."""
        if isinstance(targets, Points):
            return windows_of_points(grids, targets, target)
        return windows_of_areas(grids, targets, target)

    def row_bytes(
        self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], *_: Any, **__: Any
    ) -> NDArray[np.int64]:
        """Return the bytes of each row: the same for all."""
        return np.full(n_rows_of(bands), _VALUE_BYTES * len(wanted), np.int64)

    def certain_reads(self, *_: Any, **__: Any) -> list[WindowRead]:
        """Return nothing: references cost nothing."""
        return []

    def read(self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], call: ReadCall, **_: Any) -> Answer:
        """Return the raster values; with ``on_error="null"`` faulty ones too, which fail where they are read."""
        chosen = [bands[name] for name in self.bands if name in wanted]
        if call.options.on_error == "raise":
            faults_of(chosen, call.options)
        columns = {}
        for band in chosen:
            row = np.arange(len(band.reference_id)) if band.row is None else band.row
            columns[band.column.name] = gathered(band.column.series, row_index(row))
        return Answer(columns=columns)
