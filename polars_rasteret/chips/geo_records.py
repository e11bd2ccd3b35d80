"""Which records does a query of TorchGeo find, in which order, and on which grid are they read?

Grid, CRS and resolution are those of the query. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.cubes.stack import Stack
from polars_rasteret.grids.pixel_grid import PixelGrid

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.time_match import Intervals


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoRecords:
    """Records of a collection, by time and id, with the words by which their pixels become samples: a picklable value."""

    frame: pl.DataFrame
    """Raster columns, ``id``, and the columns that labels and `valid` need."""
    bands: tuple[str, ...]
    crs: str
    """CRS of the dataset."""
    resolution: tuple[float, float]
    """Size of a pixel in x and in y."""
    bounds: NDArray[np.float64]
    """``minx, miny, maxx, maxy`` of each record in `crs`."""
    times: Intervals
    """Time of each record."""
    is_series: bool
    """Whether a sample has a layer for each time; else it has one of all records."""
    mosaic: str
    resampling: Mapping[str, str]
    valid: pl.Expr | None
    context: tuple[str, ...]
    """Columns that `valid` names, beside bands."""
    mask_bands: tuple[str, ...]
    """Bands that `valid` names."""
    unscale: frozenset[str]
    label: str | None
    options: ReadOptions

    def stack(self, record: NDArray[np.int64], *, crs: str, x: slice, y: slice) -> Stack:
        """Return the stack of some records on the grid of a query.

        Parameters
        ----------
        record
            Records in the order of the mosaic.
        crs
            CRS of the query.
        x, y
            Start, stop and pixel size; like rasterio's ``merge``, the number of pixels is rounded.
        """
        width, height = (max(round((side.stop - side.start) / side.step), 1) for side in (x, y))
        transform = (float(x.step), 0.0, float(x.start), 0.0, -float(y.step), float(y.stop))
        rows = self.frame[record]
        step = np.zeros(len(record), np.int64)
        if self.is_series:
            _, step = np.unique(self._instants(record), return_inverse=True)
            order = np.argsort(step, kind="stable")
            rows, step = rows[order], step[order]
        return Stack(
            grid=PixelGrid(crs, transform, width, height),
            rasters={name: rows[name] for name in dict.fromkeys([*self.bands, *self.mask_bands])},
            bands=self.bands,
            step=step.astype(np.int64),
            n_steps=int(step.max()) + 1,
            mosaic=self.mosaic,
            resampling=self.resampling,
            valid=self.valid,
            context=rows.select(self.context) if self.context else None,
            unscale=self.unscale,
            options=self.options,
        )

    def moments(self, record: NDArray[np.int64]) -> list[int]:
        """Return the distinct times of some records, microseconds since 1970; those without a time share the smallest int64."""
        times: list[int] = np.unique(self._instants(record)).tolist()
        return times

    def _instants(self, record: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.where(self.times.is_known[record], self.times.start[record], np.iinfo(np.int64).min)
