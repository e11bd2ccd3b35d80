"""Which zones and images of a batch lie on one grid, and which row is each pair of them?

Zones on one grid share their weights. Pairs of a zone and an image that come twice are read once. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.grids.choosing import grid_bands
from polars_rasteret.grids.pixel_grid import PixelGrids, first_equal
from polars_rasteret.pixels.zones.grid_zones import GridZones
from polars_rasteret.pixels.zones.zone_levels import zones_on_levels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandRows

    Ints = NDArray[np.int64]

__all__ = ["BandsTogether", "GridZones", "bands_together"]


def bands_together(
    used: Sequence[BandRows], names: Sequence[str], *, grid: str, meets: bool
) -> Iterator[BandsTogether]:
    """Yield the bands that are reduced together, because the zones of each row have one grid in all of them.

    Parameters
    ----------
    used
        Bands that are reduced. Where all meet, all bands of the question: which grid is chosen depends on no column selection.
    names
        Bands or formulas that are reduced.
    grid
        The grid on which all bands of a row meet.
    meets
        Whether they do: a valid mask or a formula needs them all. Else each band keeps its own grid.
    """
    grids = [band.windows.grids.where(band.is_read) if meets else band.windows.grids for band in used]
    if meets:
        chosen = grid_bands(grids, [band.name for band in used], grid)
        grid_id = np.stack([one.grid_id for one in grids])[np.maximum(chosen, 0), np.arange(len(chosen))]
        common = PixelGrids(table=grids[0].table, grid_id=np.where(chosen >= 0, grid_id, -1))
        yield BandsTogether(bands={band.name: band for band in used}, names=names, grids=common, keeps_rows=True)
        return
    first = first_equal(grids)
    for one in dict.fromkeys(first):
        members = {band.name: band for band, at in zip(used, first, strict=True) if at == one}
        is_read: NDArray[np.bool_] = np.logical_or.reduce([band.is_read for band in members.values()])
        keeps_rows = any(band.unscale for band in members.values())
        yield BandsTogether(bands=members, names=list(members), grids=grids[one].where(is_read), keeps_rows=keeps_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandsTogether:
    """Bands that are reduced together."""

    bands: Mapping[str, BandRows]
    names: Sequence[str]
    grids: PixelGrids
    """Grid of the zones of each row."""
    keeps_rows: bool
    """Whether two rows of one zone and one image may differ, because of their records."""

    def zones(self, approx: int | None = None) -> Iterator[GridZones]:
        """Yield the rows that have one grid and tiles of one size; with `approx` as `zone_levels.zones_on_levels` parts them."""
        for zones in self._zones():
            yield from [zones] if approx is None else zones_on_levels(self.bands, self.grids, zones, approx)

    def _zones(self) -> Iterator[GridZones]:
        bands = list(self.bands.values())
        rows = np.flatnonzero(self.grids.grid_id >= 0)
        if not len(rows):
            return
        areas, area = bands[0].windows.areas, bands[0].windows.area
        assert areas is not None
        assert area is not None
        references = [np.where(band.is_read, band.reference_id, -1)[rows] for band in bands]
        own = [] if not self.keeps_rows else [rows if band.row is None else band.row[rows] for band in bands[:1]]
        at_image, image = _numbered([*references, *own])
        tile_size = self._tile_sizes(rows)
        _, group = _numbered([self.grids.grid_id[rows], *tile_size])
        for one in range(int(group.max()) + 1):
            here = np.flatnonzero(group == one)
            zones, zone = np.unique(area[rows[here]], return_inverse=True)
            images, its_image = np.unique(image[here], return_inverse=True)
            keys, at_first, at_key = np.unique(zone * len(images) + its_image, return_index=True, return_inverse=True)
            row_of_key = rows[here][at_first]
            yield GridZones(
                areas=areas,
                area=zones,
                grid=self.grids.grid(int(rows[here[0]])),
                tile_size=(int(tile_size[0][here[0]]), int(tile_size[1][here[0]])),
                n_images=len(images),
                references={
                    band.name: one_band[at_image[images]] for band, one_band in zip(bands, references, strict=True)
                },
                image_row=rows[at_image[images]],
                keys=keys,
                row_of_key=row_of_key,
                rows=rows[here],
                first=row_of_key[at_key],
            )

    def _tile_sizes(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return height and width of the tiles of each row, in a file on the grid of the zones."""
        height, width = np.ones(len(rows), np.int64), np.ones(len(rows), np.int64)
        is_open = np.ones(len(rows), np.bool_)
        for band in self.bands.values():
            reference = band.reference_id[rows]
            here = is_open & (reference >= 0) & (band.windows.grids.grid_id[rows] == self.grids.grid_id[rows])
            for one in np.unique(reference[here]).tolist():
                image = band.column.references[one].tiles.images[0]
                at = here & (reference == one)
                height[at], width[at] = image.tile_height, image.tile_width
            is_open &= ~here
        return height, width


def _numbered(columns: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Return the first entry of each distinct combination of numbers, and the combination of each entry, dense from 0."""
    first, number = np.zeros(0, np.int64), np.zeros(len(columns[0]), np.int64)
    for column in columns:
        low = int(column.min(initial=0))
        code = number * (int(column.max(initial=0)) - low + 1) + (column - low)
        _, first, number = np.unique(code, return_index=True, return_inverse=True)
    return first, number.astype(np.int64)
