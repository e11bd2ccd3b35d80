"""What is known of zones and images on one grid, and which row of a batch is each pair of them?

Which rows have one grid is decided in `zone_groups`. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrid

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridZones:
    """Zones and images of one grid, and the row of each pair."""

    areas: Areas
    area: Ints
    """Area of each zone."""
    grid: PixelGrid
    """Where zones are weighed: the grid of the images, or of an overview that they have."""
    tile_size: tuple[int, int]
    n_images: int
    references: Mapping[str, Ints]
    """By band: reference of each image; -1 where it has none."""
    image_row: Ints
    """A row of each image."""
    keys: Ints
    """Pairs that have a row, ascending: ``zone * n_images + image``."""
    row_of_key: Ints
    rows: Ints
    first: Ints
    """Row that has the sums of each of `rows`."""
    levels: Mapping[str, Ints] | None = None
    """By band: the level of each image that has this grid; None: full resolution."""

    def taken(self, is_taken: Booleans) -> GridZones:
        """Return some of the pairs, and the rows that have their sums."""
        zones, zone = np.unique(self.keys[is_taken] // self.n_images, return_inverse=True)
        images, image = np.unique(self.keys[is_taken] % self.n_images, return_inverse=True)
        has_row = np.isin(self.first, self.row_of_key[is_taken])
        return replace(
            self,
            area=self.area[zones],
            n_images=len(images),
            references={name: one[images] for name, one in self.references.items()},
            image_row=self.image_row[images],
            keys=zone * len(images) + image,
            row_of_key=self.row_of_key[is_taken],
            rows=self.rows[has_row],
            first=self.first[has_row],
        )

    def rows_of(self, zone: Ints) -> Ints:
        """Return the row of some zones and every image, shape (n_zones, n_images); -1 where there is none."""
        wanted = zone[:, None] * self.n_images + np.arange(self.n_images)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, self.row_of_key[at], -1)
