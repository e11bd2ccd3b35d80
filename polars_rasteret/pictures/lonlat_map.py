"""How is a picture in any CRS laid on a map of longitudes and latitudes?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import pixel_of
from polars_rasteret.geo.crs import LONLAT, transform_xy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.pictures.quicklooks import Quicklook


def on_lonlat(look: Quicklook, bounds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the picture as pixels of equal longitudes and latitudes within `bounds`; NaN beside the image.

    Parameters
    ----------
    bounds
        ``(xmin, ymin, xmax, ymax)`` in degrees, xmin < xmax.

    Returns
    -------
    ndarray of float32, shape (bands, n, n)
        The nearest pixels of the picture, as many as it has along its longer side; the first row is the northernmost.
    """
    n_bands, height, width = look.values.shape
    n = max(height, width)
    xmin, ymin, xmax, ymax = (float(side) for side in bounds)
    centres = (np.arange(n) + 0.5) / n
    lon = np.tile(xmin + centres * (xmax - xmin), n)
    lat = np.repeat(ymax - centres * (ymax - ymin), n)
    assert look.crs is not None
    row, col = pixel_of(look.transform, *transform_xy(LONLAT, look.crs, lon, lat))
    is_inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    result = np.full((n_bands, n * n), np.nan, np.float32)
    result[:, is_inside] = look.values[:, row[is_inside], col[is_inside]]
    return result.reshape(n_bands, n, n)
