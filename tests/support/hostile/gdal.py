"""What does GDAL make of a file? Asked in a process of its own."""

from __future__ import annotations

import os
import warnings

os.environ["GDAL_DISABLE_READDIR_ON_OPEN"] = "EMPTY_DIR"

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

_MOST_PIXELS = 1 << 20


def read_with_gdal(data: bytes) -> dict:
    """Give the same facts as for our own reading."""
    from tests.support.hostile.fingerprint import fingerprint

    warnings.simplefilter("ignore")
    try:
        with MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
            if file.width * file.height > _MOST_PIXELS:
                return {"status": "large"}
            bands = [file.read(band) for band in dict.fromkeys((1, file.count))]
            facts = {"dtype": str(bands[0].dtype), "shape": bands[0].shape, "count": file.count}
    except (RasterioError, ValueError, MemoryError, OSError) as error:
        return {"status": "refused", "told": str(error)}
    return {"status": "read", "pixels": fingerprint(bands), **facts}


assert rasterio.__gdal_version__
