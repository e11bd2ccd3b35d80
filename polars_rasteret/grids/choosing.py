"""Which band gives its pixel grid to all bands of a record that must share one?

``grid="finest" | "coarsest" | band`` is resolved here, row by row, from the grids alone. Resampling a band onto another grid does
not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.geo.crs import is_geographic, metres_per_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import GridColumns, PixelGrids

FINEST, COARSEST = "finest", "coarsest"
_SAME_SIZE = 1e-6
"""Share by which equal pixel sizes may differ, because transforms went through text and projections."""


def check_grid(what: str, grid: object, bands: Sequence[str]) -> None:
    """Raise `UsageError` when `grid` is neither ``"finest"`` nor ``"coarsest"`` nor one of the bands."""
    if grid not in (FINEST, COARSEST, *bands):
        raise UsageError(f"{what}: grid={grid!r}; expected 'finest', 'coarsest' or one of the bands {', '.join(bands)}")


def grid_bands(columns: Sequence[PixelGrids], names: Sequence[str], grid: str) -> NDArray[np.int64]:
    """Return the index of the band whose grid each row uses.

    Parameters
    ----------
    columns
        Grids of the rows for each band, shape (n_rows,).
    names
        Names of the bands, in the caller's order.
    grid
        ``"finest"`` or ``"coarsest"`` by the area of a pixel; the first band where areas are equal. Or the name of a band; rows
        without a raster of that band use ``"finest"``.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Index into `columns`; -1 where no band has a raster of the row.
    """
    grid_id = np.stack([column.grid_id for column in columns], axis=0)
    table = columns[0].table.columns
    sizes = _pixel_sizes(table)[grid_id]
    if len(table.crs_names) > 1 and len(differs := _crs_differs(table.crs_id[grid_id])):
        sizes[:, differs] *= _metres(table)[grid_id[:, differs]]
    has_raster = grid_id >= 0
    # A raster without a transform has no pixel size: it is chosen only where there is nothing else.
    worst = np.inf if grid != COARSEST else -np.inf
    sizes = np.where(np.isnan(sizes), worst, sizes)
    if grid == COARSEST:
        best = sizes.max(axis=0, initial=-np.inf)
        is_best = sizes >= best * (1 - _SAME_SIZE)
    else:
        best = sizes.min(axis=0, initial=np.inf)
        is_best = sizes <= best * (1 + _SAME_SIZE)
    chosen = np.argmax(is_best & has_raster, axis=0).astype(np.int64)
    if grid not in (FINEST, COARSEST):
        named = list(names).index(grid)
        chosen = np.where(has_raster[named], named, chosen)
    return np.where(has_raster.any(axis=0), chosen, -1)


def _crs_differs(crs_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows whose bands are in more than one CRS; `crs_id` has shape (n_bands, n_rows), -1 without a raster."""
    largest = crs_id.max(axis=0, initial=-1)
    smallest = np.where(crs_id >= 0, crs_id, largest).min(axis=0, initial=np.iinfo(np.int64).max)
    return np.flatnonzero(smallest < largest)


def _pixel_sizes(table: GridColumns) -> NDArray[np.float64]:
    """Return the side of a square as large as a pixel of each grid, in units of its CRS; NaN without georeferencing."""
    a, b, _, d, e, _ = table.transform.T
    sizes: NDArray[np.float64] = np.sqrt(np.abs(a * e - b * d))
    return sizes


def _metres(table: GridColumns) -> NDArray[np.float64]:
    """Return the approximate metres per unit of each grid's CRS; for degrees those in the middle of the image."""
    _, y = map_coordinates(table.transform, table.height / 2, table.width / 2)
    names = table.crs_names
    metres = np.array([*(1.0 if crs is None else metres_per_unit(crs) for crs in names), 1.0])
    in_degrees = np.array([*(crs is not None and is_geographic(crs) for crs in names), False], np.bool_)
    # A degree of longitude shrinks with the cosine of the latitude; the side of a square as large, with its root.
    shrinking = np.sqrt(np.clip(np.cos(np.radians(y)), 1e-3, 1.0))
    return metres[table.crs_id] * np.where(in_degrees[table.crs_id], shrinking, 1.0)
