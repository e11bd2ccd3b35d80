"""How many requests does the header of one file take, by the way it was written?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as rasterio_copy
from rasterio.transform import Affine

import polars_rasteret as pr
from tests.support.range_server import RangeServer

TILED = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
KINDS = {
    # name: (driver, options, requests)
    "COG": ("COG", {"compress": "deflate", "blocksize": 256}, 1),
    "COG of 341 tiles": ("COG", {"compress": "deflate", "blocksize": 128}, 1),
    "BigTIFF COG": ("COG", {"compress": "deflate", "blocksize": 256, "BIGTIFF": "YES"}, 1),
    "tiled, directory first": ("GTiff", TILED, 1),
    "tiled, directory last": ("GTiff", TILED, 2),
    "striped": ("GTiff", {"compress": "deflate"}, 1),
    "striped, one row each": ("GTiff", {"compress": "deflate", "blockysize": 1}, 1),
    "BigTIFF of 16,384 tiles": ("GTiff", TILED | {"BIGTIFF": "YES", "blockxsize": 16, "blockysize": 16}, 3),
}
SIZE = 2048


def write(path: Path, kind: str) -> None:
    """Write an image whose tiles differ in size, as GDAL does for this kind of file."""
    driver, options, _ = KINDS[kind]
    pixels = np.random.default_rng(3).integers(0, 4, (SIZE, SIZE), dtype="uint8")
    profile = {"driver": "GTiff", "width": SIZE, "height": SIZE, "count": 1, "dtype": "uint8", "crs": "EPSG:32632"}
    profile["transform"] = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    if driver == "GTiff":
        with rasterio.open(path, "w", **profile, **options) as file:
            file.write(pixels, 1)
        if "last" in kind:
            # What is added to the directory after the pixels moves it to the end of the file.
            with rasterio.open(path, "r+") as file:
                file.update_tags(LONG="x" * 2_000)
        return
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, tiled=True) as file:
            file.write(pixels, 1)
        with memory.open() as file:
            rasterio_copy(file, path, driver="COG", **options)


def directory_at(path: Path) -> int:
    data = path.read_bytes()[:16]
    order = "little" if data[:2] == b"II" else "big"
    return int.from_bytes(data[8:16] if data[2] == 43 else data[4:8], order)


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_takes_few_requests(tmp_path, kind):
    write(tmp_path / "a.tif", kind)
    size = (tmp_path / "a.tif").stat().st_size
    if "last" in kind:
        assert directory_at(tmp_path / "a.tif") > size - 50_000 > 40_000
    if "BigTIFF" in kind:
        assert (tmp_path / "a.tif").read_bytes()[2] == 43
    with RangeServer({"a.tif": tmp_path / "a.tif"}) as server:
        found = pr.build_from_files([server.url("a.tif")], on_error="raise").collect()
        told = [(one.byte_start, one.byte_stop) for one in server.requests]
        n_bytes = server.n_bytes
    assert len(told) == KINDS[kind][2], told
    assert n_bytes < 200_000
    with rasterio.open(tmp_path / "a.tif") as file:
        raster = found["b1"].struct
        assert (raster.field("width").item(), raster.field("height").item()) == (file.width, file.height)
