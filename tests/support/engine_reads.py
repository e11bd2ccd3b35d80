"""Files in memory, and reads that the engine is asked of them without a query."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from polars_rasteret.engine import PixelReference, WindowRead, unpacked
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.options import ReadOptions
from polars_rasteret.testing import MemorySource, RecordingSource
from polars_rasteret.tiff.header import read_header

OPTIONS = ReadOptions(timeout_s=20)
WIDTH, HEIGHT = 300, 210
_number = itertools.count()


class Store:
    """Files in memory under a prefix of their own, with a list of what was asked."""

    def __init__(self):
        self.prefix = f"memory://engine-{next(_number)}/"
        self.files = {}
        self.source = RecordingSource(MemorySource(self.files))
        configure_store(self.prefix, store=self.source)

    def put(self, data):
        href = f"{self.prefix}{len(self.files)}.tif"
        self.files[href] = data
        return href

    def close(self):
        configure_store(self.prefix)


def pixels_of(dtype, n_bands=1, seed=0, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    values = rng.integers(0, 100, (n_bands, height, width))
    if dtype.kind == "f":
        values = values / 4
    return values.astype(dtype)


def tiff_of(pixels, **profile):
    n_bands, height, width = pixels.shape
    overviews = profile.pop("overviews", ())
    config = {"GDAL_TIFF_ENDIANNESS": profile.pop("endianness", "NATIVE")}
    layout = {"driver": "GTiff", "width": width, "height": height, "count": n_bands, "dtype": pixels.dtype.name}
    with warnings.catch_warnings(), rasterio.Env(**config), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        layout["transform"] = from_origin(0, 0, 1, 1)
        endian = {"ENDIANNESS": "BIG"} if config["GDAL_TIFF_ENDIANNESS"] == "BIG" else {}
        with memory.open(**layout, **profile, **endian) as file:
            file.write(pixels)
            if overviews:
                file.build_overviews(overviews, rasterio.enums.Resampling.nearest)
        return bytes(memory.getbuffer())


def parsed(href, data, asked=None):
    header = read_header(href)
    wanted = next(header)
    while True:
        if asked is not None:
            asked.append(wanted)
        try:
            wanted = header.send(data[wanted.byte_start : wanted.byte_stop])
        except StopIteration as stop:
            return stop.value


def tables_of(href, data, band_index=0):
    return unpacked(parsed(href, data).band_tiles(band_index, file_size=len(data), etag=None, last_modified=None))


def reference_to(store, href, band_index=0, nodata=None):
    return PixelReference(href, band_index, tables_of(href, store.files[href], band_index), nodata)


def make_read(references, windows, **changes):
    columns = np.array(windows, np.int64).reshape(-1, 5).T
    settings = {"label": "B", "dtype": references[0].tiles.dtype} | changes
    return WindowRead(
        references=references,
        reference_id=columns[0],
        row_start=columns[1],
        col_start=columns[2],
        height=columns[3],
        width=columns[4],
        **settings,
    )


def random_windows(seed=0, n=25, n_references=1, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.integers(0, n_references, n),
            rng.integers(-60, height + 10, n),
            rng.integers(-60, width + 10, n),
            rng.integers(0, 130, n),
            rng.integers(0, 130, n),
        ],
        axis=1,
    )


def random_points(seed=0, n=400, n_references=1, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    ones = np.ones(n, np.int64)
    return np.stack(
        [
            rng.integers(0, n_references, n),
            rng.integers(-9, height + 9, n),
            rng.integers(-9, width + 9, n),
            ones,
            ones,
        ],
        axis=1,
    )
