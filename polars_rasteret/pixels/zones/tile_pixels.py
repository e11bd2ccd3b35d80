"""Where are the pixels that were read for zones, how much of each is covered, and what are their values, pixel by pixel?"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.geo.coverage.scanlines import spread
from polars_rasteret.pixels.zones.zone_pixels import units_ahead
from polars_rasteret.pixels.zones.zone_units import units

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.zones.grid_zones import GridZones
    from polars_rasteret.pixels.zones.zone_groups import BandsTogether
    from polars_rasteret.pixels.zones.zone_pixels import Onto, UnitPixels
    from polars_rasteret.pixels.zones.zone_tiles import ZoneTiles
    from polars_rasteret.pixels.zones.zone_units import ZoneTask

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Pixels = tuple[NDArray[Any], Booleans]

_UNIT_BYTES = 32_000_000
"""Pixels that are read together, with their valid masks. The next are fetched meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePixels:
    """Pixels as parallel arrays; an entry whose raster row is -1 stands for a row without a pixel."""

    row: Ints
    """Row of the batch."""
    pixel_row: Ints
    pixel_col: Ints
    weight: Floats
    values: Mapping[str, Pixels] = field(default_factory=dict)
    """Values as stored and valid mask, by band."""
    reason: Ints | None = None
    """Entry in `reasons` of each pixel that could not be read, -1 for the others; None where all were."""
    reasons: Sequence[str] = ()

    @classmethod
    def nothing(cls, bands: Mapping[str, BandRows], rows: Ints | None = None) -> TilePixels:
        """Return no pixels of some bands, or entries without a pixel for some rows."""
        row = np.zeros(0, np.int64) if rows is None else rows
        none = np.full(len(row), -1, np.int64)
        values = {name: (np.zeros(len(row), band.column.dtype), none >= 0) for name, band in bands.items()}
        return cls(row=row, pixel_row=none, pixel_col=none, weight=np.zeros(len(row)), values=values)

    @classmethod
    def joined(cls, parts: Sequence[TilePixels]) -> TilePixels:
        """Return the pixels of several tiles in order of rows, raster rows and raster columns."""
        joined = cls._concatenated(parts)
        return joined.taken(_order(joined.row, joined.pixel_row, joined.pixel_col))

    @classmethod
    def _concatenated(cls, parts: Sequence[TilePixels]) -> TilePixels:
        if len(parts) == 1:
            return parts[0]
        reason = None
        if any(one.reason is not None for one in parts):
            before = np.cumsum([0, *(len(one.reasons) for one in parts)])
            codes = [np.full(len(one.row), -1, np.int64) if one.reason is None else one.reason for one in parts]
            reason = np.concatenate([np.where(code >= 0, code + n, -1) for code, n in zip(codes, before, strict=False)])
        return cls(
            row=np.concatenate([one.row for one in parts]),
            pixel_row=np.concatenate([one.pixel_row for one in parts]),
            pixel_col=np.concatenate([one.pixel_col for one in parts]),
            weight=np.concatenate([one.weight for one in parts]),
            values={
                name: (
                    np.concatenate([one.values[name][0] for one in parts]),
                    np.concatenate([one.values[name][1] for one in parts]),
                )
                for name in parts[0].values
            },
            reason=reason,
            reasons=[reason for one in parts for reason in one.reasons],
        )

    def taken(self, index: Ints) -> TilePixels:
        """Return some of the pixels."""
        return replace(
            self,
            row=self.row[index],
            pixel_row=self.pixel_row[index],
            pixel_col=self.pixel_col[index],
            weight=self.weight[index],
            values={name: (values[index], valid[index]) for name, (values, valid) in self.values.items()},
            reason=None if self.reason is None else self.reason[index],
        )

    def of_rows(self, first: Ints) -> TilePixels:
        """Return the pixels of each row where several have those of one: row ``i`` has those of row ``first[i]``; sorted."""
        if (first == np.arange(len(first))).all():
            return self
        start, stop = np.searchsorted(self.row, first), np.searchsorted(self.row, first, side="right")
        row, index = spread(start, stop)
        return replace(self.taken(index), row=row)

    def errors(self) -> dict[int, str]:
        """Return the reasons of pixels that could not be read, by their place."""
        if self.reason is None:
            return {}
        return {int(at): self.reasons[self.reason[at]] for at in np.flatnonzero(self.reason >= 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTile:
    """One tile that was read for zones, in some images."""

    task: ZoneTask
    windows: range
    """Windows of the images in the unit."""
    unit: UnitPixels | None
    """What was read; None: nothing, and all values are null."""
    bands: Mapping[str, BandRows]
    """Bands that were read."""

    def pixels(self, raster_rows: range | None = None) -> TilePixels:
        """Return the pixels of the zones and images that have a row; of a single zone, maybe those of some raster rows."""
        tile, rows = self.task.cells, self.task.rows
        cells = tile.cells() if raster_rows is None else tile.in_rows(raster_rows)
        n_cells = np.diff(cells.start, append=cells.n_cells)
        cell_rows = np.repeat(rows.T, n_cells, axis=1)
        image, cell = np.nonzero(cell_rows >= 0)
        found = {} if self.unit is None else self.unit.cells(self.windows, cells, tile.height * tile.width)
        values: dict[str, Pixels] = {}
        for name, band in self.bands.items():
            if name in found:
                of_cells, valid = found[name]
                is_valid = np.ones(len(cell), np.bool_) if valid is None else valid[image, cell]
                values[name] = of_cells[image, cell], is_valid
            else:
                values[name] = np.zeros(len(cell), band.column.dtype), np.zeros(len(cell), np.bool_)
        errors = {} if self.unit is None else self.unit.errors
        failed = {at: errors[one] for at, one in enumerate(self.windows) if one in errors}
        reason = None
        if failed:
            code = np.full(len(self.windows), -1, np.int64)
            code[list(failed)] = np.arange(len(failed))
            reason = code[image]
        down, across = np.divmod(cells.pixels()[cell], tile.width)
        return TilePixels(
            row=cell_rows[image, cell],
            pixel_row=tile.row_start + down,
            pixel_col=tile.col_start + across,
            weight=cells.weights()[cell],
            values=values,
            reason=reason,
            reasons=list(failed.values()),
        )


def read_tiles(
    tiles: ZoneTiles,
    together: BandsTogether,
    zones: GridZones,
    call: ReadCall,
    *,
    onto: Onto,
    bands: Mapping[str, BandRows],
) -> Iterator[ReadTile]:
    """Yield each tile, read unit by unit; in a dry run all values are null.

    Parameters
    ----------
    tiles
        Tiles with zones.
    together, zones, call, onto
        As in `zone_pixels.begin_unit`.
    bands
        Bands that are read.
    """
    pixel_bytes = sum(band.column.dtype.itemsize + 1 for band in bands.values())
    allowed = max(min(_UNIT_BYTES, call.options.max_answer_bytes // 4), 1)
    work = units(tiles, zones, pixel_bytes=max(pixel_bytes, 1), allowed=allowed)
    with closing(_read(work, together, zones, call, onto=onto, bands=bands)) as read:
        for unit, found in read:
            start = 0
            for task in unit:
                windows = range(start, start + len(task.images))
                start = windows.stop
                yield ReadTile(task=task, windows=windows, unit=found, bands=bands)
            del found  # two units are in memory, not three


def _read(
    work: Iterable[Sequence[ZoneTask]],
    together: BandsTogether,
    zones: GridZones,
    call: ReadCall,
    *,
    onto: Onto,
    bands: Mapping[str, BandRows],
) -> Generator[tuple[Sequence[ZoneTask], UnitPixels | None]]:
    """Yield units of work and their pixels; None in a dry run, and where no band is read."""
    if not bands:
        yield from ((unit, None) for unit in work)
        return
    for unit, found in units_ahead(work, together, zones, call, onto=onto, wanted=bands.keys()):
        yield unit, found if call.options.dry_run is None else None
        del found


def _order(row: Ints, pixel_row: Ints, pixel_col: Ints) -> Ints:
    """Return the order of pixels by row, raster row and raster column. One number for all three sorts faster."""
    height, width = int(pixel_row.max(initial=0)) + 2, int(pixel_col.max(initial=0)) + 2
    if (int(row.max(initial=0)) + 1) * height * width >= 2**62:
        return np.lexsort((pixel_col, pixel_row, row))
    return np.argsort((row * height + pixel_row + 1) * width + pixel_col + 1, kind="stable")
