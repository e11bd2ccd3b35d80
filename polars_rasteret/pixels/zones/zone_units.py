"""Which tiles of which images are read together, so that memory stays bounded whatever the size of a zone?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.options import process_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from polars_rasteret.pixels.zones.grid_zones import GridZones
    from polars_rasteret.pixels.zones.zone_tiles import TileCells, ZoneTiles

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTask:
    """One tile of some images."""

    cells: TileCells
    rows: Ints
    """Row of each zone and image, shape (n_zones, n_images); -1 where there is none."""
    images: Ints


def units(tiles: ZoneTiles, zones: GridZones, *, pixel_bytes: int, allowed: int) -> Iterator[list[ZoneTask]]:
    """Yield runs of tiles whose pixels take no more than some bytes; at least one task each.

    Parameters
    ----------
    tiles, zones
        Of one grid.
    pixel_bytes
        Of all bands of one pixel, with their valid masks.
    allowed
        Bytes of a unit; fewer where few bytes may be in flight.
    """
    allowed = max(min(allowed, process_options().max_bytes_in_flight // 4), 1)
    unit: list[ZoneTask] = []
    n_bytes = 0
    for tile in range(len(tiles)):
        cells = tiles.cells(tile)
        rows = zones.rows_of(cells.zone)
        images = np.flatnonzero((rows >= 0).any(axis=0))
        image_bytes = cells.height * cells.width * pixel_bytes
        step = max(allowed // image_bytes, 1)
        for first in range(0, len(images), step):
            some = images[first : first + step]
            if unit and n_bytes + len(some) * image_bytes > allowed:
                yield unit
                unit, n_bytes = [], 0
            unit.append(ZoneTask(cells=cells, rows=rows[:, some], images=some))
            n_bytes += len(some) * image_bytes
    if unit:
        yield unit
