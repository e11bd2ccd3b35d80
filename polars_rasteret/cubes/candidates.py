"""Which records may fill which places of a block, and in which order are they asked?

A place is a step and a cell. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack import Stack
    from polars_rasteret.cubes.stack_images import StackImages

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Records of each place: those of place ``p`` are ``record[start[p]:start[p + 1]]``, in the order in which they are asked."""

    record: Ints
    start: Ints
    n_cells: int
    """The place of step number ``s`` and cell ``c`` is ``s * n_cells + c``."""

    @property
    def place(self) -> Ints:
        """Return the place of each entry of `record`."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def candidates_of(stack: Stack, images: StackImages, bands: Sequence[str], steps: Ints, cells: Ints) -> Candidates:
    """Return the records whose images of some bands may have a pixel in each cell of each step.

    Parameters
    ----------
    stack, images
        The stack, and its images.
    bands
        Names of bands.
    steps
        Steps of the block, in its order.
    cells
        Windows on the common grid, shape (n, 4).
    """
    n_cells = len(cells)
    found: list[tuple[Ints, Ints]] = []
    backwards = stack.mosaic == "last_valid"
    order = np.arange(len(stack.step))
    for number, step in enumerate(steps.tolist()):
        records = order[stack.records_of(step)]
        records = records[::-1] if backwards else records
        record, cell = np.tile(records, n_cells), np.repeat(np.arange(n_cells), len(records))
        is_met = np.zeros(len(record), np.bool_)
        for band in bands:
            is_met |= images.meets(band, record, cells[cell])
        found.append((record[is_met], number * n_cells + cell[is_met]))
    record, place = (np.concatenate([one[at] for one in found] or [np.zeros(0, np.int64)]) for at in (0, 1))
    start = np.searchsorted(place, np.arange(len(steps) * n_cells + 1)).astype(np.int64)
    return Candidates(record=record, start=start, n_cells=n_cells)


def rounds(
    found: Candidates, is_open: Mapping[str, NDArray[np.bool_]], asked: Sequence[str]
) -> Iterator[tuple[Ints, Ints]]:
    """Yield places that are open, each with the next of its records, until all are closed or out of records.

    Parameters
    ----------
    found
        The records of each place.
    is_open
        Per band, which places still want pixels; the caller closes them as it fills them.
    asked
        Bands for which a further record is asked.
    """
    at, stop = found.start[:-1].copy(), found.start[1:]
    places = np.flatnonzero(at < stop)
    while len(places):
        yield places, found.record[at[places]]
        at[places] += 1
        left = np.any([is_open[name][places] for name in asked], axis=0)
        places = places[left & (at[places] < stop[places])]


def left_open(found: Candidates, is_open: Mapping[str, NDArray[np.bool_]], asked: Sequence[str]) -> set[str]:
    """Return the bands for which `rounds` may have left records out, because the bands asked for were filled before."""
    may_lack = (np.diff(found.start) > 1) & ~np.any([is_open[name] for name in asked], axis=0)
    return {name for name, one in is_open.items() if name not in asked and (one & may_lack).any()}
