"""Does the GDAL of rasterio follow the rules that are compared with it?

The rules are those of GDAL 3.10, which rasterio 1.4 brings. GDAL 3.12, with rasterio 1.5, has halves as a dtype of their own,
breaks ties of `mode` otherwise, touches other pixels at vertices on their corners, and lets a nodata of NaN mask no integer.
"""

from __future__ import annotations

import pytest
import rasterio

IS_NEWER = tuple(int(part) for part in rasterio.__gdal_version__.split(".")[:2]) > (3, 10)


def skip_newer(what: str) -> None:
    """Skip the test on a GDAL whose rules have changed."""
    if IS_NEWER:
        pytest.skip(
            f"GDAL {rasterio.__gdal_version__} has other rules for {what} than 3.10, with which this is compared"
        )


def same_dtype(dtype: object) -> str:
    """Return the name of the dtype in which GDAL 3.10 reads what this GDAL reads as `dtype`."""
    return {"float16": "float32"}.get(str(dtype), str(dtype))
