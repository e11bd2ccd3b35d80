"""Where do raster values lie, by their grid fields alone?

Tiles are not unpacked, so bounds of a hundred thousand values can be computed in every query. Values without a valid place have
NaN bounds here; `pixels.rasters.raster_faults` explains their faults when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.geo.bounds_cache import cached_bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID_FIELDS = ("crs", "transform", "width", "height")


def bounds_of_grids(grids: pl.Series, *, native: bool = False) -> NDArray[np.float64]:
    """Return the bounds of each value of a Struct with `GRID_FIELDS`, shape (n, 4).

    Parameters
    ----------
    grids
        Raster column, or a Struct of its grid fields.
    native
        True: bounds in the CRS of each value. False: in longitude and latitude, with xmin > xmax across the antimeridian.
    """
    fields = grids.struct.unnest()
    transform = _transforms(fields["transform"])
    width, height = (fields[side].fill_null(0).to_numpy().astype(np.int64) for side in ("width", "height"))
    if not native:
        return cached_bounds(fields["crs"].to_list(), transform, width, height)
    return bounds_in_own_crs(transform, width, height)


def bounds_in_own_crs(
    transform: NDArray[np.float64], width: NDArray[np.int64], height: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the bounds of grids in their own CRS, shape (n, 4); NaN without georeferencing."""
    zero = np.zeros(len(width))
    rows = np.stack([zero, zero, height, height], axis=1).astype(np.float64)
    cols = np.stack([zero, width, zero, width], axis=1).astype(np.float64)
    x, y = map_coordinates(transform[:, None, :], rows, cols)
    return np.stack([x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)], axis=1)


def _transforms(field: pl.Series) -> NDArray[np.float64]:
    """Return transforms, shape (n, 6); NaN where a transform is null or is not six numbers that span a pixel."""
    transform = _six_numbers(field)
    a, b, _, d, e, _ = transform.T
    transform[a * e == b * d] = np.nan
    return transform


def _six_numbers(field: pl.Series) -> NDArray[np.float64]:
    transform = np.full((len(field), 6), np.nan)
    if isinstance(field.dtype, pl.Array) and field.dtype.size == 6:
        present = field.is_not_null().to_numpy()
        transform[present] = field.drop_nulls().cast(pl.Array(pl.Float64, 6)).to_numpy().reshape(-1, 6)
        return transform
    for row, numbers in enumerate(field.to_list()):
        if numbers is not None and len(numbers) == 6:
            transform[row] = [np.nan if one is None else one for one in numbers]
    return transform
