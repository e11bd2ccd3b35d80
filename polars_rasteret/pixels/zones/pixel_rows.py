"""How do pixels in zones become rows, in order and in bounded memory?

Pixels of a batch are in order of its rows, then of raster rows and columns, whatever the tiles are. A batch of one large zone is
read from top to bottom: one row of tiles is in memory at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.zone_runs import whole_coverage, zone_runs
from polars_rasteret.pixels.formulas import bands_of
from polars_rasteret.pixels.reading import faults_of, n_rows_of
from polars_rasteret.pixels.zones.pixel_columns import PIECE_PIXELS, PixelColumns
from polars_rasteret.pixels.zones.tile_pixels import TilePixels, read_tiles
from polars_rasteret.pixels.zones.zone_groups import bands_together
from polars_rasteret.pixels.zones.zone_pixels import Onto
from polars_rasteret.pixels.zones.zone_tiles import ZoneTiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.formulas import Formula
    from polars_rasteret.pixels.product import Answer, ReadCall
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.zones.tile_pixels import ReadTile
    from polars_rasteret.pixels.zones.zone_groups import BandsTogether, GridZones

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class PixelRowReads:
    """The pixels of one batch of rows."""

    bands: Mapping[str, BandRows]
    """Bands of the question and of a ``valid=`` expression, by name; all of them say on which grid a row is."""
    names: Sequence[str]
    """Bands or formulas whose values are needed."""
    formulas: Mapping[str, Formula]
    wanted: frozenset[str]
    coverage: str
    grid: str
    resampling: str | Mapping[str, str]
    asked: Sequence[str]
    """Bands that `resampling` is for."""
    valid_mask: ValidMask | None
    keeps_empty: bool
    needs_whole: bool
    weight: Floats = field(default_factory=lambda: np.zeros(0))
    """Weight of the pixels of each row that are valid in any value; known once all parts are there."""
    whole: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def read_bands(self) -> dict[str, BandRows]:
        """Bands that are read."""
        mask_bands = () if self.valid_mask is None else self.valid_mask.bands
        return {name: self.bands[name] for name in (*bands_of(list(self.names), self.formulas), *mask_bands)}

    def counts(self, min_valid_fraction: float | None) -> Booleans:
        """Return whether each row has enough valid pixels."""
        share = self.weight / np.where(self.whole > 0, self.whole, 1) if self.needs_whole else 1.0
        return np.asarray((self.weight > 0) & (share >= (min_valid_fraction or 0)))

    def parts(self, call: ReadCall) -> Iterator[Answer]:
        """Yield the columns of all pixels, in pieces; at least one."""
        n_rows = n_rows_of(self.bands)
        self.weight, self.whole = np.zeros(n_rows), np.zeros(n_rows)
        faults = faults_of(list(self.read_bands.values()), call.options)
        used = list(self.bands.values())
        (together,) = bands_together(used, self.names, grid=self.grid, meets=True)
        maker = PixelColumns(
            bands=self.bands,
            names=self.names,
            formulas=self.formulas,
            wanted=self.wanted,
            valid_mask=self.valid_mask,
            grids=together.grids,
            faults=faults,
            weight=self.weight,
        )
        first = np.arange(n_rows, dtype=np.int64)
        found: list[TilePixels] = []
        has_pixels = np.zeros(n_rows, np.bool_)
        for zones in together.zones():
            first[zones.rows] = zones.first
            for strip in self._strips(together, zones, call, by_tile_row=n_rows == 1):
                if n_rows > 1:
                    found += [tile.pixels() for tile in strip]
                    continue
                has_pixels[:] = True
                tiles = list(strip)
                for raster_rows in _pieces_of(tiles):
                    yield from maker.pieces(TilePixels.joined([tile.pixels(raster_rows) for tile in tiles]))
                del tiles  # free its memory while the next is read
        pixels = TilePixels.joined(found) if found else TilePixels.nothing(self.read_bands)
        has_pixels |= np.isin(first, np.unique(pixels.row))
        kept = np.ones(n_rows, np.bool_) if self.keeps_empty else np.isin(np.arange(n_rows), list(faults))
        pixels = pixels.of_rows(first)
        if len(lonely := np.flatnonzero(kept & ~has_pixels)):
            pixels = TilePixels.joined([pixels, TilePixels.nothing(self.read_bands, lonely)])
        yield from maker.pieces(pixels)

    def _strips(
        self, together: BandsTogether, zones: GridZones, call: ReadCall, *, by_tile_row: bool
    ) -> Iterator[Iterator[ReadTile]]:
        """Yield the tiles of the zones of one grid: all at once, or one row of tiles after another."""
        grid, bands = zones.grid, self.read_bands
        if self.needs_whole:
            whole = whole_coverage(zones.areas, zones.area, grid.crs, grid.transform, coverage=self.coverage)
            self.whole[zones.row_of_key] = whole[zones.keys // zones.n_images]
        size = grid.height, grid.width
        # The runs are not held: there may be millions, and their tiles have copies.
        tiles = ZoneTiles.of(
            zone_runs(zones.areas, zones.area, grid.crs, grid.transform, size=size, coverage=self.coverage),
            *zones.tile_size,
        )
        onto = Onto(grid=self.grid, resampling=self.resampling, asked=self.asked)
        for strip in tiles.strips(zones.tile_size[0]) if by_tile_row else [tiles]:
            yield read_tiles(strip, together, zones, call, onto=onto, bands=bands)


def _pieces_of(tiles: Sequence[ReadTile]) -> Iterator[range]:
    """Yield ranges of raster rows that hold about the pixels of one piece."""
    cells = [tile.task.cells for tile in tiles]
    start, stop = min(one.row_start for one in cells), max(one.row_start + one.height for one in cells)
    step = max(1, PIECE_PIXELS * (stop - start) // sum(int((one.stop - one.first).sum()) for one in cells))
    for first in range(start, stop, step):
        yield range(first, min(first + step, stop))
