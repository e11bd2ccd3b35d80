"""Which columns does ``pair`` return for its rows? The raster values themselves; no pixel is read."""

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

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.product import Bands, ReadCall, Reads, Targets

_VALUE_BYTES = 125
"""Bytes of one raster value in an answer. Tile tables are Arrow views, so their size does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterReferences:
    """Product of `pair`: the raster value of each band."""

    bands: Mapping[str, pl.DataType]
    as_points: bool = False
    """False: areas are placed by their outline, and a point is the smallest area."""
    costs_vary: bool = False
    many_rows: bool = False
    is_planned: bool = False

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Raster columns of the answer, with their dtypes."""
        return self.bands

    @property
    def free_outputs(self) -> frozenset[str]:
        """All columns: a reference costs no request."""
        return frozenset(self.bands)

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return windows that only show which targets meet their images."""
        if isinstance(targets, Points):
            return windows_of_points(grids, targets, target)
        return windows_of_areas(grids, targets, target)

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], *_: Any, **__: Any) -> NDArray[np.int64]:
        """Return the bytes of each row, equal for all rows."""
        return np.full(n_rows_of(bands), _VALUE_BYTES * len(wanted), np.int64)

    def certain_reads(self, *_: Any, **__: Any) -> Reads:
        """Return no reads: references cost no request."""
        return []

    def read(self, bands: Bands, wanted: AbstractSet[str], call: ReadCall, **_: Any) -> Answer:
        """Return the raster values; with ``on_error="null"`` faulty values, too, which fail when they are read."""
        chosen = [bands[name] for name in self.bands if name in wanted]
        if call.options.on_error == "raise":
            faults_of(chosen, call.options)
        columns = {}
        for band in chosen:
            row = np.arange(len(band.reference_id)) if band.row is None else band.row
            columns[band.column.name] = gathered(band.column.series, row_index(row))
        return Answer(columns=columns)
