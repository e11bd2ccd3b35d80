"""How are the pixels of many zones read, each tile once, and reduced to sums while they are in memory?

Zones are cut at tile borders. A unit of work is a run of tiles, each cropped to the box that its zones want, for all images on
that grid.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.geo.coverage.zone_runs import whole_coverage, zone_runs
from polars_rasteret.pixels.formulas import bands_of
from polars_rasteret.pixels.reading import add_reasons, faults_of, n_rows_of
from polars_rasteret.pixels.zones.zone_groups import BandsTogether, bands_together
from polars_rasteret.pixels.zones.zone_pixels import Onto, units_ahead
from polars_rasteret.pixels.zones.zone_tiles import ZoneTiles
from polars_rasteret.pixels.zones.zone_units import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.formulas import Formula
    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.zones.zone_groups import GridZones
    from polars_rasteret.pixels.zones.zone_pixels import Pixels, UnitPixels
    from polars_rasteret.pixels.zones.zone_statistics import ZoneSums
    from polars_rasteret.pixels.zones.zone_tiles import ZoneCells
    from polars_rasteret.pixels.zones.zone_units import ZoneTask

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_UNIT_BYTES = 32_000_000
"""Pixels of a unit of work, with their valid mask; less where few bytes may be in flight. Two units are in memory."""
_CELLS_AT_ONCE = 150_000
"""Cells of all images that are reduced together: each takes some 50 bytes meanwhile."""


@dataclass(slots=True, kw_only=True)
class ZoneAnswer:
    """Sums of all rows of a batch."""

    sums: Mapping[str, ZoneSums]
    """By band or formula."""
    first: Ints
    """The row that has the sums of each row: zones and images that come twice are read once."""
    weight: Floats
    """Weight of the pixels of each row that are valid in any band; 0 where nobody asks whether rows count."""
    errors: dict[int, str]
    """Reasons of failed rows (``on_error="null"``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneReads:
    """The zones of one batch of rows."""

    bands: Mapping[str, BandRows]
    """Bands asked for and bands of a ``valid=`` expression, by name."""
    names: Sequence[str]
    """Bands or formulas that are reduced."""
    coverage: str
    """Rule of `geo.coverage.zone_runs.COVERAGES`."""
    grid: str
    """Grid on which bands meet where a mask or a formula needs them all."""
    resampling: str | Mapping[str, str]
    """How the bands `asked` come onto that grid."""
    asked: Sequence[str]
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    """What is reduced, by name; empty where it is the bands themselves."""
    valid_mask: ValidMask | None = None
    """Mask of the pixels that count beside those that are not nodata."""
    whole: bool = False
    """Whether the coverage of whole zones is needed."""
    approx: int | None = None
    """Least number of pixels of a zone on the overview that answers for it; None: full resolution answers."""
    counts: bool = False
    """Whether it is asked if rows count: the weights of pixels that are valid in any band are needed."""

    @property
    def meet(self) -> bool:
        """Whether the bands of a row meet on one grid."""
        return self.valid_mask is not None or bool(self.formulas)

    @property
    def wanted(self) -> list[str]:
        """Bands that are read."""
        mask_bands = () if self.valid_mask is None else self.valid_mask.bands
        return list(dict.fromkeys([*bands_of(list(self.names), self.formulas), *mask_bands]))

    def read(self, sums: Mapping[str, ZoneSums], call: ReadCall) -> ZoneAnswer:
        """Return the sums of the pixels of all rows; `sums` are filled."""
        n_rows = n_rows_of(self.bands)
        read = [self.bands[name] for name in self.wanted]
        used = list(self.bands.values()) if self.meet else read
        answer = ZoneAnswer(
            sums=sums,
            first=np.arange(n_rows, dtype=np.int64),
            weight=np.zeros(n_rows),
            errors=faults_of(read, call.options),
        )
        for together in bands_together(used, self.names, grid=self.grid, meets=self.meet):
            for zones in together.zones(self.approx):
                _GridReader(reads=self, together=together, zones=zones, call=call, answer=answer).read()
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _GridReader:
    """Reads and reduces the zones of one grid."""

    reads: ZoneReads
    together: BandsTogether
    zones: GridZones
    call: ReadCall
    answer: ZoneAnswer

    def read(self) -> None:
        """Add the pixels of all zones to the sums."""
        zones, reads, options = self.zones, self.reads, self.call.options
        grid = zones.grid
        self.answer.first[zones.rows] = zones.first
        if reads.whole:
            whole = whole_coverage(zones.areas, zones.area, grid.crs, grid.transform, coverage=reads.coverage)[
                zones.keys // zones.n_images
            ]
            for name in self.together.names:
                self.answer.sums[name].whole[zones.row_of_key] = whole
        size = grid.height, grid.width
        # The runs are not held: there may be millions, and their tiles have copies.
        tiles = ZoneTiles.of(
            zone_runs(zones.areas, zones.area, grid.crs, grid.transform, size=size, coverage=reads.coverage),
            *zones.tile_size,
        )
        pixel_bytes = sum(band.column.dtype.itemsize + 1 for band in self.together.bands.values())
        allowed = max(min(_UNIT_BYTES, options.max_answer_bytes // 4), 1)
        onto = (
            Onto(grid=reads.grid, resampling=reads.resampling, asked=reads.asked)
            if reads.meet and zones.levels is None
            else None
        )
        wanted = set(reads.wanted)
        work = units(tiles, zones, pixel_bytes=pixel_bytes, allowed=allowed)
        read = units_ahead(work, self.together, zones, self.call, onto=onto, wanted=wanted)
        with closing(read):
            for unit, found in read:
                if options.dry_run is None:
                    self._reduce_unit(unit, found)
                del found  # two units are in memory, not three
        if zones.levels is not None:
            self._count_in_full_pixels()

    def _count_in_full_pixels(self) -> None:
        """Multiply the sums by the pixels of full resolution that a pixel of the overview stands for."""
        row = int(self.zones.image_row[0])
        grids, rows = self.together.grids, self.zones.row_of_key
        n_pixels = float(grids.height[row] * grids.width[row]) / (self.zones.grid.height * self.zones.grid.width)
        for name in self.together.names:
            sums = self.answer.sums[name]
            for weights in (sums.moments.weight, sums.moments.total, sums.moments.squares, sums.whole):
                if len(weights):
                    weights[rows] *= n_pixels
        self.answer.weight[rows] *= n_pixels

    def _reduce_unit(self, unit: Sequence[ZoneTask], found: UnitPixels) -> None:
        """Add the pixels of one unit of work to the sums, and the reasons of failed windows to those of their rows."""
        first = 0
        for task in unit:
            windows = range(first, first + len(task.images))
            first = windows.stop
            tile = task.cells
            for of_zones, cells in tile.pieces(_CELLS_AT_ONCE // 2):
                step = max(_CELLS_AT_ONCE // cells.n_cells, 1)
                for at in range(0, len(windows), step):
                    some = slice(at, at + step)
                    pixels = found.cells(windows[some], cells, tile.height * tile.width)
                    self._reduce(cells, task.rows[of_zones, some].T, task.images[some], pixels)
            for at, window in enumerate(windows):
                rows = [row for row in task.rows[:, at].tolist() if row >= 0]
                if window in found.errors:
                    add_reasons(self.answer.errors, dict.fromkeys(rows, found.errors[window]))
                for name in self.together.names:
                    for band in bands_of([name], self.reads.formulas):
                        is_asked = self.zones.references[band][task.images[at]] >= 0
                        if is_asked and not found.answers[band].is_read[window]:
                            self.answer.sums[name].is_failed[rows] = True

    def _reduce(self, cells: ZoneCells, rows: Ints, images: Ints, pixels: Mapping[str, Pixels]) -> None:
        """Add pixels of one tile to the sums of their zones.

        Parameters
        ----------
        cells
            Of zones in the tile.
        rows
            Row of each image and zone, shape (n_images, n_zones); -1 where there is none.
        images, pixels
            Images, and the pixels of their cells.
        """
        accepted = self._accepted(cells, rows, pixels)
        some: Booleans | None = np.zeros((len(images), cells.n_cells), np.bool_)
        for name in self.together.names:
            values, valid = self._values(name, images, pixels)
            if accepted is not None:
                valid = accepted if valid is None else valid & accepted
            some = None if some is None or valid is None else some | valid
            self.answer.sums[name].add(values, valid, cells.weight, cells.start, rows=rows)
        if not self.reads.counts:
            return
        weights = cells.weights() if some is None else np.where(some, cells.weights(), 0.0)
        weight = np.broadcast_to(np.add.reduceat(weights, cells.start, axis=-1), rows.shape)
        self.answer.weight[rows[rows >= 0]] += weight[rows >= 0]

    def _values(self, name: str, images: Ints, pixels: Mapping[str, Pixels]) -> Pixels:
        """Return values and valid mask of the cells in one band or formula, shape (n_images, n_cells)."""
        if name in self.reads.formulas:
            formula = self.reads.formulas[name]
            of_bands = {band: _masked(*self._unscaled(band, images, pixels)) for band in formula.bands}
            return formula.of_pixels(of_bands)
        return self._unscaled(name, images, pixels)

    def _unscaled(self, name: str, images: Ints, pixels: Mapping[str, Pixels]) -> Pixels:
        values, valid = pixels[name]
        band = self.together.bands[name]
        if band.unscale:
            scale, offset = band.scale_and_offset()
            at = self.zones.image_row[images]
            values = values * scale[at, None] + offset[at, None]
        return values, valid

    def _accepted(self, cells: ZoneCells, rows: Ints, pixels: Mapping[str, Pixels]) -> Booleans | None:
        """Return which cells the valid mask accepts, shape (n_images, n_cells); None without a mask: all."""
        mask = self.reads.valid_mask
        if mask is None:
            return None
        cell_rows = np.repeat(rows, np.diff(cells.start, append=cells.n_cells), axis=1)
        accepted = np.zeros(cell_rows.shape, np.bool_)
        known = cell_rows >= 0
        of_bands = {}
        for name in mask.bands:
            values, valid = _masked(*pixels[name])
            of_bands[name] = values[known], valid[known]
        accepted[known] = mask.of_pixels(cell_rows[known], of_bands)
        return accepted


def _masked(values: NDArray[Any], valid: Booleans | None) -> tuple[NDArray[Any], Booleans]:
    """Return values with a valid mask where there is none, because all are valid."""
    return values, np.ones(values.shape, np.bool_) if valid is None else valid
