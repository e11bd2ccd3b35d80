"""How are the pixels of one unit of work read, on the grid of the zones or brought onto it?"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.grids.windows import Windows
from polars_rasteret.pixels.reading import BandRows, begin_bands
from polars_rasteret.pixels.windows.aligned_bands import aligned_bands
from polars_rasteret.pixels.windows.resampled import begin_onto_grids
from polars_rasteret.pixels.windows.resampling import methods_by_band

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.pixels.product import ReadCall
    from polars_rasteret.pixels.reading import BandAnswer, StartedBands
    from polars_rasteret.pixels.windows.resampled import StartedOntoGrids
    from polars_rasteret.pixels.zones.grid_zones import GridZones
    from polars_rasteret.pixels.zones.zone_groups import BandsTogether
    from polars_rasteret.pixels.zones.zone_tiles import ZoneCells
    from polars_rasteret.pixels.zones.zone_units import ZoneTask

    Booleans = NDArray[np.bool_]
    Pixels = tuple[NDArray[Any], Booleans | None]
    """Values and valid mask; None: all are valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onto:
    """Where the bands of a row meet, and how each comes there."""

    grid: str
    resampling: str | Mapping[str, str]
    asked: Sequence[str]
    """Bands that `resampling` is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPixels:
    """Pixels of one unit of work; windows are counted task by task, image by image."""

    answers: Mapping[str, BandAnswer]
    errors: Mapping[int, str]
    """Reasons of failed windows."""
    whole: dict[str, Booleans] = field(default_factory=dict)
    """By band: windows whose pixels are all valid, as far as they were looked at."""

    def cells(self, windows: range, cells: ZoneCells, size: int) -> dict[str, Pixels]:
        """Return values and valid mask of the cells in some windows by band, shape (n_windows, n_cells).

        Parameters
        ----------
        windows, cells
            Windows of one tile, and the cells of zones in it.
        size
            Pixels of the box of the tile.
        """
        return {name: self._cells_of(name, windows, cells, size) for name in self.answers}

    def _cells_of(self, name: str, windows: range, cells: ZoneCells, size: int) -> Pixels:
        band = self.answers[name]
        found, n_images, index = band.answer, len(windows), cells.index
        assert found.valid is not None
        start, stop = int(found.offset[windows.start]), int(found.offset[windows.stop])
        if stop - start != n_images * size:  # windows that are not read have no pixels
            values = np.zeros((n_images, cells.n_cells), found.values.dtype)
            valid = np.zeros(values.shape, np.bool_)
            for at, window in enumerate(windows):
                pixels = slice(int(found.offset[window]), int(found.offset[window + 1]))
                if pixels.stop > pixels.start:
                    values[at], valid[at] = found.values[pixels][index], found.valid[pixels][index]
            return values, valid & band.is_read[windows.start : windows.stop, None]
        images = found.values[start:stop].reshape(n_images, size)
        # `take` along rows is several times as fast as an index in brackets.
        values = images[:, index] if isinstance(index, slice) else np.take(images, index, axis=1)
        if self._is_whole(name)[windows.start : windows.stop].all():
            return values, None
        images = found.valid[start:stop].reshape(n_images, size)
        valid = images[:, index] if isinstance(index, slice) else np.take(images, index, axis=1)
        is_read = band.is_read[windows.start : windows.stop, None]
        return values, valid if is_read.all() else valid & is_read

    def _is_whole(self, name: str) -> Booleans:
        """Return of each window whether it was read and all its pixels are valid."""
        if name not in self.whole:
            band = self.answers[name]
            valid, offset = band.answer.valid, band.answer.offset
            assert valid is not None
            self.whole[name] = band.is_read & np.array(
                [valid[start:stop].all() for start, stop in pairwise(offset.tolist())], np.bool_
            )
        return self.whole[name]


def units_ahead(
    work: Iterable[Sequence[ZoneTask]],
    together: BandsTogether,
    zones: GridZones,
    call: ReadCall,
    *,
    onto: Onto | None,
    wanted: AbstractSet[str],
) -> Generator[tuple[Sequence[ZoneTask], UnitPixels]]:
    """Yield each unit of `work` with its pixels; while one is used, the next is fetched and decoded. See `begin_unit`."""
    begun: deque[tuple[Sequence[ZoneTask], StartedBands | StartedOntoGrids]] = deque()
    try:
        for unit in work:
            begun.append((unit, begin_unit(unit, together, zones, call, onto=onto, wanted=wanted)))
            if len(begun) > 1:
                yield _finished(begun)
        while begun:
            yield _finished(begun)
    finally:
        for _, read in begun:
            read.abandon()


def _finished(
    begun: deque[tuple[Sequence[ZoneTask], StartedBands | StartedOntoGrids]],
) -> tuple[Sequence[ZoneTask], UnitPixels]:
    """Return the first unit and its pixels, which nobody else holds."""
    answers, errors = begun[0][1].answers()
    unit, _ = begun.popleft()
    return unit, UnitPixels(answers={one.rows.name: one for one in answers}, errors=errors)


def begin_unit(
    unit: Sequence[ZoneTask],
    together: BandsTogether,
    zones: GridZones,
    call: ReadCall,
    *,
    onto: Onto | None,
    wanted: AbstractSet[str],
) -> StartedBands | StartedOntoGrids:
    """Begin to read the pixels of a unit.

    Parameters
    ----------
    unit
        Tiles and images that are read.
    together, zones
        Bands, and the references of the images.
    call
        Options, budget and advice of the read.
    onto
        Where bands meet; None: all have the grid of the zones.
    wanted
        Bands that are read; the others only say on which grid bands meet.
    """
    image = np.concatenate([task.images for task in unit])
    cells = [task.cells for task in unit]
    boxes = np.array([(one.row_start, one.col_start, one.height, one.width) for one in cells])
    boxes = np.repeat(boxes, [len(task.images) for task in unit], axis=0)
    bands = []
    for name, band in together.bands.items():
        reference_id = zones.references[name][image]
        windows = Windows(
            grids=band.column.grids.taken(reference_id),
            row_start=boxes[:, 0],
            col_start=boxes[:, 1],
            height=boxes[:, 2],
            width=boxes[:, 3],
            is_met=reference_id >= 0,
        )
        level = 0 if zones.levels is None else zones.levels[name][image]
        bands.append(BandRows(column=band.column, reference_id=reference_id, row=None, windows=windows, level=level))
    how: dict[str, Any] = {"want_valid": True, "advice": call.advice, "spending": call.spending}
    if onto is None:
        return begin_bands([one for one in bands if one.name in wanted], call.options, **how)
    methods = methods_by_band(onto.resampling, onto.asked)
    aligned = aligned_bands(bands, grid=onto.grid, shape=None, resolution=None, methods=methods)
    return begin_onto_grids([one for one in aligned if one.rows.name in wanted], call.options, **how)
