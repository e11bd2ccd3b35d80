"""Where do the images of the records lie on the common grid of a cube?

Boxes say which records may fill which pixels; they may be larger than the images. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.antimeridian import x_near_image
from polars_rasteret.geo.crs import NATIVE, transform_xy, x_period
from polars_rasteret.grids.pixel_grid import GridTable, PixelGrids
from polars_rasteret.pixels.rasters.raster_column import RasterColumn, raster_column

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrid

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_ALONG_SIDE = 33
"""Points along each side of an image whose outline is projected."""
_MARGIN_PX = 2.0
"""Pixels that a box reaches beyond an outline: sides bend between the points, and kernels reach beyond them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StackImages:
    """Raster columns of a stack, and the places of their images on the common grid."""

    columns: Mapping[str, RasterColumn]
    common: PixelGrids
    """The common grid, as the one entry of a column of the same table of grids."""
    boxes: Mapping[str, Floats]
    """Per band, ``row_start, row_stop, col_start, col_stop`` of each reference in pixels of the common grid, shape (n, 4)."""

    @cached_property
    def scales(self) -> dict[str, tuple[Floats, Floats]]:
        """Scale and offset of each record, by band."""
        return {name: column.scale_and_offset() for name, column in self.columns.items()}

    @classmethod
    def of(cls, grid: PixelGrid, rasters: Mapping[str, pl.Series]) -> Self:
        """Return the images of raster columns on a grid."""
        table = GridTable()
        sides = np.array([grid.width], np.int64), np.array([grid.height], np.int64)
        common = table.add([grid.crs], np.array([grid.transform], np.float64), *sides)
        targets_in = grid.crs or NATIVE
        columns = {name: raster_column(one, targets_in=targets_in, table=table) for name, one in rasters.items()}
        known: dict[int, Floats] = {}
        boxes = {}
        for name, column in columns.items():
            for at, one in enumerate(column.grids.grid_id.tolist()):
                if one not in known:
                    known[one] = _box(column.grids.grid(at), grid)
            each = [known[one] for one in column.grids.grid_id.tolist()]
            boxes[name] = np.array(each, np.float64).reshape(-1, 4)
        return cls(columns=columns, common=common, boxes=boxes)

    def meets(self, band: str, record: Ints, window: Ints) -> NDArray[np.bool_]:
        """Return for each record and window of the common grid whether the record's image may have a pixel there.

        Parameters
        ----------
        band
            Name of the band.
        record
            Records, shape (n,).
        window
            ``row_start, row_stop, col_start, col_stop``, shape (n, 4).
        """
        reference = self.columns[band].reference_id[record]
        if not len(self.boxes[band]):
            return np.zeros(len(record), np.bool_)
        box = self.boxes[band][reference]
        met = (box[:, 0] < window[:, 1]) & (box[:, 1] > window[:, 0]) & (box[:, 2] < window[:, 3])
        result: NDArray[np.bool_] = met & (box[:, 3] > window[:, 2]) & (reference >= 0)
        return result


def _box(image: PixelGrid, grid: PixelGrid) -> Floats:
    """Return the box of an image in pixels of a grid; everything where a part of its outline has no place there."""
    everything = np.array([-np.inf, np.inf, -np.inf, np.inf])
    part = np.linspace(0.0, 1.0, _ALONG_SIDE)
    row = np.concatenate([part * 0, part * 0 + 1, part, part]) * image.height
    col = np.concatenate([part, part, part * 0, part * 0 + 1]) * image.width
    transform = np.array(grid.transform)
    if not np.isfinite(image.transform).all():
        return everything
    x, y = map_coordinates(np.array(image.transform), row, col)
    if image.crs != grid.crs:
        if image.crs is None or grid.crs is None:
            return everything
        x, y = transform_xy(image.crs, grid.crs, x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return everything
    if grid.crs is not None and (period := x_period(grid.crs)) is not None:
        width, height = (np.full(x.size, one, np.int64) for one in (grid.width, grid.height))
        near = x_near_image(np.broadcast_to(transform, (x.size, 6)), width, height, x, y, period=period)
        if not np.array_equal(near, x):  # the image may lie on both sides of the antimeridian
            return everything
    down, across = pixel_coordinates(transform, x, y)
    return np.array(
        [down.min() - _MARGIN_PX, down.max() + _MARGIN_PX, across.min() - _MARGIN_PX, across.max() + _MARGIN_PX]
    )
