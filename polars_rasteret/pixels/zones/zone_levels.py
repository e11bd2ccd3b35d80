"""Which overview of each image answers for each zone, where an approximate answer is asked for?

A zone is read from the coarsest overview on which it still has so many pixels. That depends on the zone and the file alone, never
on other zones of the query. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.zone_runs import whole_coverage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrid, PixelGrids
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.zones.grid_zones import GridZones

    Ints = NDArray[np.int64]
    Size = tuple[int, int]


def zones_on_levels(
    bands: Mapping[str, BandRows], grids: PixelGrids, zones: GridZones, n_pixels: int
) -> Iterator[GridZones]:
    """Yield the zones and images of one grid, parted by the level that answers for them.

    Full resolution answers where a file has no overview, or where bands that meet on one grid lie on several.

    Parameters
    ----------
    bands, grids
        Bands that are reduced together, and the grid of the zones of each row.
    zones
        Zones and images of one grid.
    n_pixels
        Pixels that a zone must have on an overview, by its area; parts of the zone beside the image count.
    """
    zone, image = np.divmod(zones.keys, zones.n_images)
    known = [_shared_levels(bands, grids, zones, at) for at in range(zones.n_images)]
    for sizes in dict.fromkeys(known):
        has_sizes = np.array([one == sizes for one in known])[image]
        level = _level_of_zones(zones, sizes, n_pixels)[zone]
        for one in np.unique(level[has_sizes]).tolist():
            part = zones.taken(has_sizes & (level == one))
            yield part if one == 0 else _on_level(bands, part, sizes[one])


def _shared_levels(bands: Mapping[str, BandRows], grids: PixelGrids, zones: GridZones, image: int) -> tuple[Size, ...]:
    """Return ``(height, width)`` of full resolution and of the overviews that all bands of an image have, finest first."""
    full = zones.grid.height, zones.grid.width
    shared: set[Size] | None = None
    row = int(zones.image_row[image])
    for name, band in bands.items():
        reference = int(zones.references[name][image])
        if reference < 0:
            continue
        if band.windows.grids.grid_id[row] != grids.grid_id[row]:
            return (full,)
        sizes = set(_usable(band, reference)[1:])
        shared = sizes if shared is None else shared & sizes
    return (full, *sorted((one for one in shared or () if one[0] < full[0] and one[1] < full[1]), reverse=True))


def _usable(band: BandRows, reference: int) -> list[Size]:
    """Return the sizes of the levels of a raster, as far as its internal masks have them, too."""
    sizes = band.level_sizes(reference)
    for mask in band.column.references[reference].tiles.masks:
        of_mask = [(image.height, image.width) for image in mask.images]
        n_same = next((at for at, both in enumerate(zip(sizes, of_mask, strict=False)) if both[0] != both[1]), None)
        sizes = sizes[: min(len(sizes), len(of_mask)) if n_same is None else n_same]
    return sizes


def _level_of_zones(zones: GridZones, sizes: tuple[Size, ...], n_pixels: int) -> Ints:
    """Return which of some levels answers for each zone."""
    level = np.zeros(len(zones.area), np.int64)
    if len(sizes) == 1:
        return level
    coarsest = _coarser(zones.grid, sizes[-1])
    area = whole_coverage(zones.areas, zones.area, coarsest.crs, coarsest.transform, coverage="exact")
    for at, (height, width) in enumerate(sizes[1:], 1):
        level[area * (height * width) / (coarsest.height * coarsest.width) >= n_pixels] = at
    return level


def _on_level(bands: Mapping[str, BandRows], zones: GridZones, size: Size) -> GridZones:
    """Return zones on an overview of their images."""
    levels = {}
    tile_size = zones.tile_size
    for name, band in bands.items():
        of_image = np.zeros(zones.n_images, np.int64)
        for at, reference in enumerate(zones.references[name].tolist()):
            if reference >= 0:
                of_image[at] = level = band.level_sizes(reference).index(size)
                image = band.column.references[reference].tiles.images[level]
                tile_size = image.tile_height, image.tile_width
        levels[name] = of_image
    return replace(zones, grid=_coarser(zones.grid, size), levels=levels, tile_size=tile_size)


def _coarser(grid: PixelGrid, size: Size) -> PixelGrid:
    """Return the grid of an overview, which covers what the image covers."""
    a, b, c, d, e, f = grid.transform
    down, across = grid.height / size[0], grid.width / size[1]
    return grid._replace(transform=(a * across, b * down, c, d * across, e * down, f), width=size[1], height=size[0])
