"""Whose pixel grid do the bands of a record share where they must line up?

``grid="finest" | "coarsest" | band`` is settled here, row by row, from the references alone. Nothing here brings a band onto
another grid.
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

    from polars_rasteret.pixels.raster_column import RasterColumn
    from polars_rasteret.pixels.reading import BandRows

FINEST, COARSEST = "finest", "coarsest"
_SAME_SIZE = 1e-6
"""Pixel sizes that differ by less than this share are the same: transforms went through text and projections."""


def check_grid(what: str, grid: object, bands: Sequence[str]) -> None:
    """Refuse a grid that is neither a word nor one of the bands."""
    if grid not in (FINEST, COARSEST, *bands):
        raise UsageError(f"{what}: grid={grid!r}; expected 'finest', 'coarsest' or one of the bands {', '.join(bands)}")


def grid_bands(
    columns: Sequence[RasterColumn], reference_ids: Sequence[NDArray[np.int64]], grid: str
) -> NDArray[np.int64]:
    """Give the band whose grid each row uses.

    Parameters
    ----------
    columns
        The bands, in the order asked for.
    reference_ids
        Per band, the reference of each row, shape (n_rows,); -1 without a raster.
    grid
        ``"finest"`` or ``"coarsest"`` by the area of a pixel, the first band where these are the same; or the name of a band,
        which stands for ``"finest"`` in rows that have no raster of it.

    Returns
    -------
    ndarray of int64, shape (n_rows,)
        Index into `columns`; -1 where no band has a raster.
    """
    sizes = np.stack(
        [_picked(_pixel_sizes(column), ids) for column, ids in zip(columns, reference_ids, strict=True)], axis=0
    )
    if len({crs for column in columns for crs in column.crs}) > 1:
        differs = _crs_differs(columns, reference_ids)
        for band, (column, ids) in enumerate(zip(columns, reference_ids, strict=True)) if len(differs) else ():
            sizes[band, differs] *= _picked(_metres(column), ids[differs])
    has_raster = np.stack(reference_ids, axis=0) >= 0
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
        named = next(at for at, column in enumerate(columns) if column.name == grid)
        chosen = np.where(has_raster[named], named, chosen)
    return np.where(has_raster.any(axis=0), chosen, -1)


def shared_grids(bands: Sequence[BandRows]) -> list[NDArray[np.int64]]:
    """Give a number to the grid of each band in each row: the same where grid and image size are the same.

    Returns
    -------
    list of ndarray of int64
        Per band, shape (n_rows,): the first band on the same grid; -1 without a raster.
    """
    known: dict[tuple[object, ...], int] = {}
    labels: list[NDArray[np.int64]] = []
    keys: list[NDArray[np.int64]] = []
    for at, band in enumerate(bands):
        twins = (
            one for one in range(at) if bands[one].windows is band.windows and not (band.faults or bands[one].faults)
        )
        twin = next(twins, None)
        if twin is not None:  # shared because the grids are the same in every row
            keys.append(keys[twin])
            labels.append(labels[twin])
            continue
        column = band.column
        grids = zip(column.crs, column.transform, column.width.tolist(), column.height.tolist(), strict=True)
        number = [known.setdefault((crs, transform.tobytes(), *size), len(known)) for crs, transform, *size in grids]
        ids = band.reference_id
        keys.append(np.where(ids >= 0, np.array([*number, -1], np.int64)[ids], -1))
        label = np.where(ids >= 0, at, -1)
        for one in reversed(range(at)):
            label = np.where((keys[one] == keys[at]) & (ids >= 0), labels[one], label)
        labels.append(label)
    return labels


def _crs_differs(columns: Sequence[RasterColumn], reference_ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Give the rows whose rasters are in more than one CRS."""
    number: dict[str | None, int] = {}
    crs = [
        _picked(np.array([number.setdefault(one, len(number)) for one in column.crs], np.float64), ids)
        for column, ids in zip(columns, reference_ids, strict=True)
    ]
    # Rows without any raster are NaN, and no NaN is less than another.
    return np.flatnonzero(np.fmin.reduce(crs) < np.fmax.reduce(crs))


def _picked(of_reference: NDArray[np.float64], reference_id: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the value of each row's reference; NaN without one."""
    if not len(of_reference):
        return np.full(len(reference_id), np.nan)
    return np.where(reference_id >= 0, of_reference[reference_id], np.nan)


def _pixel_sizes(column: RasterColumn) -> NDArray[np.float64]:
    """Give the side of a square as large as a pixel of each reference, in units of its CRS."""
    a, b, _, d, e, _ = column.transform.T
    sizes: NDArray[np.float64] = np.sqrt(np.abs(a * e - b * d))
    return sizes


def _metres(column: RasterColumn) -> NDArray[np.float64]:
    """Give what a unit of the CRS of each reference is in metres: roughly, and for degrees in the middle of the image."""
    _, y = map_coordinates(column.transform, column.height / 2, column.width / 2)
    metres = np.array([1.0 if crs is None else metres_per_unit(crs) for crs in column.crs])
    in_degrees = np.array([crs is not None and is_geographic(crs) for crs in column.crs], np.bool_)
    # A degree of longitude shrinks with the cosine of the latitude; the side of a square as large, with its root.
    shrinking = np.sqrt(np.clip(np.cos(np.radians(y)), 1e-3, 1.0))
    return metres * np.where(in_degrees, shrinking, 1.0)
