"""Which pixels of their grids do zones cover, as GDAL rasterises them: by pixel centres, or wherever an outline passes?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.batches import runs_in_batches
from polars_rasteret.geo.coverage.gdal_edges import edges_on_grids
from polars_rasteret.geo.coverage.gdal_fill import filled
from polars_rasteret.geo.coverage.gdal_touch import touched
from polars_rasteret.geo.coverage.runs import united_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines
    from polars_rasteret.geo.coverage.runs import Runs

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


def gdal_runs(
    outlines: Outlines,
    transform: Floats,
    height: Ints,
    width: Ints,
    *,
    all_touched: bool,
) -> Runs:
    """Return the pixels that zones cover, all of weight 1, as ``rasterio.features.rasterize`` burns them.

    Parameters
    ----------
    outlines
        As the caller drew them, in map coordinates: rings that cross themselves count by even-odd, parts are united.
    transform, height, width
        Grid of each zone, shapes (n_zones, 6), (n_zones,), (n_zones,).
    all_touched
        Whether pixels that an outline or a line passes through count, too. Lines cover nothing else.

    Examples
    --------
    >>> import shapely
    >>> from polars_rasteret.geo.coverage.outlines import outlines_of
    >>> outlines = outlines_of(np.array([shapely.box(0.6, -2.7, 3, -0.2)]))
    >>> grid = np.array([[1.0, 0, 0, 0, -1, 0]]), np.array([3]), np.array([4])
    >>> gdal_runs(outlines, *grid, all_touched=False).masks(*grid[1:]).reshape(3, 4).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    return runs_in_batches(partial(_runs, all_touched=all_touched), outlines, transform, height, width)


def _runs(outlines: Outlines, transform: Floats, height: Ints, width: Ints, *, all_touched: bool) -> Runs:
    """Return the runs of one batch of zones."""
    edges = edges_on_grids(outlines, transform)
    zone = outlines.zone
    runs = filled(edges, height[zone], width[zone])
    if all_touched:
        passed = touched(edges, height[zone], width[zone])
        runs = tuple(np.concatenate(pair) for pair in zip(runs, passed, strict=True))  # type: ignore[assignment]
    part, row, col_start, col_stop = runs
    return united_runs(zone[part], row, col_start, col_stop, outlines.n_zones)
