"""Which transform and CRS do the tags of a GeoTIFF give its pixels?

The affine transform of pixel corners comes from ModelPixelScale, ModelTiepoint or ModelTransformation, the CRS from the GeoKeys
(GeoTIFF 1.1). `geokeys` turns keys into a CRS.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from polars_rasteret.tiff import tags
from polars_rasteret.tiff.geokeys import GeoKeys, crs_from_keys, geo_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Transform = tuple[float, float, float, float, float, float]


def keys_of(values: Mapping[int, np.ndarray[Any, Any]]) -> GeoKeys:
    """Return the GeoKeys of a directory; empty when the directory has none."""
    directory = values.get(tags.GEO_KEY_DIRECTORY)
    if directory is None or directory.dtype.kind != "u" or len(directory) < 4:
        return ()
    doubles, text = values.get(tags.GEO_DOUBLE_PARAMS), values.get(tags.GEO_ASCII_PARAMS)
    return geo_keys(
        tuple(directory.tolist()),
        () if doubles is None or doubles.dtype.kind != "f" else tuple(doubles.tolist()),
        b"" if text is None else text.tobytes(),
    )


def crs_of(values: Mapping[int, np.ndarray[Any, Any]]) -> tuple[str | None, str | None]:
    """Return (CRS as ``EPSG:n`` or WKT2, None), or (None, reason) for a CRS that is not read, or (None, None) without a CRS."""
    keys = keys_of(values)
    return crs_from_keys(keys) if keys else (None, None)


def transform_of(values: Mapping[int, np.ndarray[Any, Any]]) -> Transform | None:
    """Return the affine transform (a, b, c, d, e, f) of pixel corners; None without one, or with ground control points only."""
    scale = _doubles(values, tags.MODEL_PIXEL_SCALE)
    tiepoints = _doubles(values, tags.MODEL_TIEPOINT)
    matrix = _doubles(values, tags.MODEL_TRANSFORMATION)
    if len(scale) >= 2 and scale[0] != 0 and scale[1] != 0:
        if len(tiepoints) < 6:
            return None
        col, row, _, x, y = tiepoints[:5]
        # A negative scale means north-up, too, as in GDAL.
        a, e = scale[0], -abs(scale[1])
        found = (a, 0.0, x - col * a, 0.0, e, y - row * e)
    elif len(matrix) >= 16:
        found = (matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
    else:
        return None
    a, b, c, d, e, f = found
    if not all(map(math.isfinite, found)):
        return None
    if dict(keys_of(values)).get(1025) == 2:  # GTRasterType PixelIsPoint: positions are those of pixel centres
        c, f = c - (a + b) / 2, f - (d + e) / 2
    return a, b, c, d, e, f


def _doubles(values: Mapping[int, np.ndarray[Any, Any]], tag: int) -> list[float]:
    found = values.get(tag)
    return [] if found is None or found.dtype.kind != "f" else [float(value) for value in found]
