"""Where do the images of the records lie on the common grid of a cube?

Boxes say which records may fill which pixels; they may be larger than the images. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import NATIVE, transform_xy, x_period
from polars_rasteret.geo.turns import x_near_image
from polars_rasteret.grids.pixel_grid import GridTable, PixelGrids
from polars_rasteret.grids.reprojection import pixels_per_pixel
from polars_rasteret.grids.source_windows import Reduction
from polars_rasteret.pixels.rasters.own_tables import columns_with_own_tables
from polars_rasteret.pixels.rasters.raster_column import RasterColumn, raster_column
from polars_rasteret.plan.overviews import overview_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.engine import PixelReference, Spending
    from polars_rasteret.grids.pixel_grid import PixelGrid
    from polars_rasteret.options import ReadOptions

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_ALONG_SIDE = 33
"""Points along each side of an image that are projected, inside of the image, too: a pole may lie there."""
_MARGIN_PX, _MARGIN_SHARE = 2.0, 0.05
"""By how much an image may be larger than the box of these points: pixels, and share of the box."""


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

    steps: Mapping[str, Floats]
    """Per band, the rows and columns of each reference that a pixel of the common grid spans, shape (n, 2)."""
    grid: PixelGrid
    """The common grid itself."""
    ratios: Mapping[str, Sequence[Floats]]
    """Per band and reference, how many pixels of the image a pixel of the common grid spans, at places all over the image."""
    methods: Mapping[str, str]
    """Resampling methods of bands; nearest where there is none."""

    @classmethod
    def of(cls, grid: PixelGrid, rasters: Mapping[str, pl.Series], methods: Mapping[str, str]) -> Self:
        """Return the images of raster columns on a grid; `methods` are resampling methods, nearest where there is none."""
        table = GridTable()
        sides = np.array([grid.width], np.int64), np.array([grid.height], np.int64)
        common = table.add([grid.crs], np.array([grid.transform], np.float64), *sides)
        targets_in = grid.crs or NATIVE
        columns = {name: raster_column(one, targets_in=targets_in, table=table) for name, one in rasters.items()}
        known: dict[int, tuple[Floats, Floats]] = {}
        boxes, steps, ratios = {}, {}, {}
        for name, column in columns.items():
            for at, one in enumerate(column.grids.grid_id.tolist()):
                if one not in known:
                    image = column.grids.grid(at)
                    box = _box(image, grid)
                    known[one] = box, pixels_per_pixel(image, grid, box)
            each = [known[one] for one in column.grids.grid_id.tolist()]
            boxes[name] = np.array([box for box, _ in each], np.float64).reshape(-1, 4)
            steps[name] = np.array([step for _, step in each], np.float64).reshape(-1, 2)
            ratios[name] = [ratio for _, ratio in each]
        return cls(columns=columns, common=common, grid=grid, boxes=boxes, steps=steps, ratios=ratios, methods=methods)

    @cached_property
    def levels(self) -> Mapping[str, Ints]:
        """Per band, the level that each reference is read from: 0 is full resolution, then the overviews.

        It follows from image and common grid alone, never from the window that is read.
        """
        return {
            name: np.array(
                [
                    _level(one, ratio, self.grid, self.methods.get(name, "nearest"))
                    for one, ratio in zip(column.references, self.ratios[name], strict=True)
                ],
                np.int64,
            )
            for name, column in self.columns.items()
        }

    def with_own_tables(
        self, records: Ints, window: Ints | None, options: ReadOptions, spending: Spending | None
    ) -> StackImages:
        """Return the images with tile tables by which those of some records can be read.

        Parameters
        ----------
        records
            Records whose pixels are about to be read.
        window
            ``row_start, row_stop, col_start, col_stop``: images that miss this window of the common grid are not read.
        options, spending
            Of the read.
        """
        asked = []
        for name, column in self.columns.items():
            reference_id = column.reference_id[records]
            if window is not None:
                met = self.meets(name, records, np.tile(window, (len(records), 1)))
                reference_id = np.where(met, reference_id, -1)
            asked.append(reference_id)
        columns = columns_with_own_tables(list(self.columns.values()), asked, options, spending)
        if all(new is old for new, old in zip(columns, self.columns.values(), strict=True)):
            return self
        return replace(self, columns=dict(zip(self.columns, columns, strict=True)))

    def most_source_pixels(self, band: str) -> float:
        """Return how many pixels of an image are read at most for a pixel of the common grid."""
        most = 1.0
        for step, level, one in zip(self.steps[band], self.levels[band], self.columns[band].references, strict=True):
            full, image = one.tiles.images[0], one.tiles.images[level]
            share = image.height * image.width / max(full.height * full.width, 1)
            most = max(most, float(step[0] * step[1]) * share)
        return most

    def reduction(self, band: str, reference_id: Ints) -> Reduction:
        """Return how the images of some references are reduced; -1 for no reference."""
        if not len(self.levels[band]):
            return Reduction(level=np.zeros_like(reference_id), step=np.ones((len(reference_id), 2)))
        # Any level will do without a reference: nothing is read.
        return Reduction(level=self.levels[band][reference_id], step=self.steps[band][reference_id])

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
        with np.errstate(invalid="ignore"):
            margin = _MARGIN_PX + _MARGIN_SHARE * (box[:, [1, 3]] - box[:, [0, 2]])
            start, stop = box[:, [0, 2]] - margin, box[:, [1, 3]] + margin
        met = (start < window[:, [1, 3]]) & (stop > window[:, [0, 2]])
        result: NDArray[np.bool_] = met.all(axis=1) & (reference >= 0)
        return result


def _box(image: PixelGrid, grid: PixelGrid) -> Floats:
    """Return the box of an image in pixels of a grid; everything where a part of its outline has no place there."""
    everything = np.array([-np.inf, np.inf, -np.inf, np.inf])
    part = np.linspace(0.0, 1.0, 2 if image.crs == grid.crs else _ALONG_SIDE)
    row, col = (one.ravel() for one in np.meshgrid(part * image.height, part * image.width, indexing="ij"))
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
    return np.array([down.min(), down.max(), across.min(), across.max()])


def _level(reference: PixelReference, ratio: Floats, grid: PixelGrid, method: str) -> int:
    """Return the level of a reference that is about as fine as the common grid, as GDAL chooses it."""
    if not (ratio > 1).any():
        return 0
    size = np.array([[grid.height], [grid.width]], np.int64)
    levels = overview_levels(
        [(image.height, image.width) for image in reference.tiles.images],
        (size[0] * ratio[0], size[1] * ratio[1]),
        (size[0], size[1]),
        is_nearest=method == "nearest",
    )
    return int(levels[0])
