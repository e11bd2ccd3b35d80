"""How many zones are looked at together?

More zones at once take longer per zone, because sorts leave the caches of the processor, and more memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from polars_rasteret.geo.coverage.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_ZONES_PER_BATCH = 10_000


def runs_in_batches(
    runs_of: Callable[[Outlines, Floats, Ints, Ints], Runs],
    outlines: Outlines,
    transform: Floats,
    height: Ints,
    width: Ints,
) -> Runs:
    """Return the runs of all zones, found for some zones at a time.

    Parameters
    ----------
    runs_of
        Returns the runs of zones from their outlines and grids.
    outlines
        Of all zones.
    transform, height, width
        Grid of each zone, shapes (n_zones, 6), (n_zones,), (n_zones,).
    """
    found = []
    for first in range(0, outlines.n_zones, _ZONES_PER_BATCH):
        zones = slice(first, min(first + _ZONES_PER_BATCH, outlines.n_zones))
        runs = runs_of(outlines.zones(first, zones.stop), transform[zones], height[zones], width[zones])
        found.append(replace(runs, zone=runs.zone + first))
    return Runs.joined(found)
