"""Which pixel grid does an image get in another CRS, where the caller names only the CRS?

It is the grid that GDAL suggests (`gdalwarp`, a WarpedVRT): north up, square pixels, the diagonal of the image as many pixels
long as before. Pixels do not belong here.
"""

from __future__ import annotations

from math import ceil, floor, hypot
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import is_geographic, is_known, transform_xy, x_period
from polars_rasteret.grids.pixel_grid import PixelGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STEPS = 20
"""Parts of each side whose ends are transformed, as in GDAL."""
_LARGEST = 2**31


def default_grid(image: PixelGrid, crs: str, resolution: tuple[float, float] | None, *, label: str) -> PixelGrid:
    """Return the grid of an image in another CRS.

    Parameters
    ----------
    image
        Grid of the image.
    crs
        Normalized CRS of the new grid.
    resolution
        Size of a pixel in x and y; None: as GDAL suggests.
    label
        Words that name the image in a message.

    Raises
    ------
    UsageError
        When the image is not georeferenced, or has no place in `crs`.
    """
    if not (is_known(image.crs) and np.isfinite(image.transform).all()):
        raise UsageError(f"target_crs: {label} has no CRS or no transform, so it has no place in another CRS")
    along = np.arange(_STEPS + 1) / _STEPS
    row, col = (one.ravel() for one in np.meshgrid(along * image.height, along * image.width, indexing="ij"))
    x, y = _moved(image, crs, row, col)
    has_place = np.isfinite(x) & np.isfinite(y)
    if not has_place.any():
        raise UsageError(f"target_crs: {label} has no place in {crs}; choose a CRS that covers it")
    west, east, south, north = x[has_place].min(), x[has_place].max(), y[has_place].min(), y[has_place].max()
    if is_geographic(crs) and (period := x_period(crs)) is not None:
        for pole in _poles_in(image, crs, period / 4):
            west, east = -period / 2, period / 2
            south, north = min(south, pole), max(north, pole)
    first, last = 0, len(row) - 1
    if has_place[first] and has_place[last]:
        diagonal = hypot(x[last] - x[first], y[last] - y[first])
    else:
        diagonal = hypot(east - west, north - south)
    size = diagonal / hypot(image.width, image.height)
    width, height = floor((east - west) / size + 0.5), floor((north - south) / size + 0.5)
    size_x = size_y = float(size)
    if resolution is not None:
        size_x, size_y = resolution
        width, height = ceil(width * size / size_x), ceil(height * size / size_y)
    width, height = (int(min(max(side, 1), _LARGEST)) for side in (width, height))
    return PixelGrid(crs, (size_x, 0.0, float(west), 0.0, -size_y, float(north)), width, height)


def _poles_in(image: PixelGrid, crs: str, latitude: float) -> list[float]:
    """Return the latitudes of the poles that lie in an image: it reaches all around them, whatever its edges say."""
    poles = [-latitude, latitude]
    assert image.crs is not None
    if is_geographic(image.crs):
        return []  # there, a pole is an edge
    x, y = transform_xy(crs, image.crs, np.zeros(2), np.array(poles))
    row, col = pixel_coordinates(np.array(image.transform), x, y)
    with np.errstate(invalid="ignore"):
        inside = (row > 0) & (row < image.height) & (col > 0) & (col < image.width)
    return [pole for pole, is_inside in zip(poles, inside.tolist(), strict=True) if is_inside]


def _moved(image: PixelGrid, crs: str, row: Floats, col: Floats) -> tuple[Floats, Floats]:
    """Return pixel positions in another CRS; where its x repeats, they follow each other across the seam."""
    assert image.crs is not None
    x, y = transform_xy(image.crs, crs, *map_coordinates(np.array(image.transform), row, col))
    period = x_period(crs)
    if period is not None and np.isfinite(x).all():
        side = _STEPS + 1
        followed = np.unwrap(np.unwrap(x.reshape(side, side), period=period, axis=1), period=period, axis=0).ravel()
        # Around a pole they would go round and round.
        if np.ptp(followed) <= period * (1 + 1e-9):
            x = followed
    return x, y
