"""Files that write down who asked for them, and collections over them."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import warnings
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import polars as pl
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource, RecordingSource

TILE = 128
"""Pixels. A tile of UInt16 takes 32 kB, more than the gap that two tiles may have in one request."""
SIZE = 512
TILE_BYTES = TILE * TILE * 2
EPSG = 32632
RESOLUTION = 10.0
UTC = dt.UTC
_numbers = itertools.count()


class _ByName(Mapping):
    """Files by the last piece of their href, so that one file may stand for many."""

    def __init__(self):
        self.by_name = {}

    def __getitem__(self, href):
        return self.by_name[href.rpartition("/")[2]]

    def __iter__(self):
        return iter(self.by_name)

    def __len__(self):
        return len(self.by_name)


class Store:
    """Files in memory under a prefix of their own, with a list of what was asked of them."""

    def __init__(self):
        self.prefix = f"memory://pushdown-{next(_numbers)}/"
        self.files = _ByName()
        self.source = RecordingSource(MemorySource(self.files))
        pr.configure_store(self.prefix, store=self.source)

    def put(self, name, data):
        self.files.by_name[name] = data
        return self.prefix + name

    def close(self):
        pr.configure_store(self.prefix)

    def clear(self):
        self.source.clear()

    @property
    def requests(self):
        return list(self.source.requests)

    @property
    def bytes(self):
        return self.source.bytes

    @property
    def hrefs(self):
        return {href for href, _, _ in self.source.requests}

    @property
    def names(self):
        return {href.rpartition("/")[2] for href in self.hrefs}

    def most_often_asked(self):
        """Give how often the byte that was asked most often was asked."""
        edges = defaultdict(list)
        for href, start, stop in self.source.requests:
            edges[href] += [(start, 1), (stop, -1)]
        most = 0
        for one in edges.values():
            most = max(most, *itertools.accumulate(step for _, step in sorted(one)))
        return most


def noise(seed, *, height=SIZE, width=SIZE, n_bands=1, dtype="uint16"):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 60_000, (n_bands, height, width)).astype(dtype)


def tiff(pixels, *, x=500_000.0, y=5_000_000.0, tile=TILE, interleave="band", epsg=EPSG, compress="none", **profile):
    n_bands, height, width = pixels.shape
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=n_bands,
            dtype=pixels.dtype.name,
            crs=rasterio.crs.CRS.from_epsg(epsg),
            transform=Affine(RESOLUTION, 0, x, 0, -RESOLUTION, y),
            tiled=True,
            blockxsize=tile,
            blockysize=tile,
            compress=compress,
            interleave=interleave,
            **profile,
        ) as file:
            for band in range(n_bands):
                if "sparse_ok" not in profile or pixels[band].any():
                    file.write(pixels[band], band + 1)
        return bytes(memory.getbuffer())


def build(store, records, bands):
    """Build a collection: ``records`` are dicts of columns, with an href (or ``(href, index)`` in `bands`) per band."""
    scenes = pr.build_from_table(pl.DataFrame(records), bands=bands, on_error="raise").collect().lazy()
    store.clear()
    return scenes


def at(row, col, *, x=500_000.0, y=5_000_000.0):
    """Give the map coordinates of the middle of a pixel."""
    return x + (col + 0.5) * RESOLUTION, y - (row + 0.5) * RESOLUTION


def points(pixels, *, x=500_000.0, y=5_000_000.0, **columns):
    """Give a frame of points at the middle of pixels (row, col)."""
    xy = [at(row, col, x=x, y=y) for row, col in pixels]
    return pl.DataFrame({**columns, "x": [one[0] for one in xy], "y": [one[1] for one in xy]})


PLACE_METERS = 6_000.0
PLACES_ACROSS = 10
DAYS_PER_PLACE = 10
FIRST_DAY = dt.datetime(2020, 1, 1, tzinfo=UTC)


def place_origin(place):
    return 300_000.0 + place % PLACES_ACROSS * PLACE_METERS, 5_000_000.0 - place // PLACES_ACROSS * PLACE_METERS


def alias(store, scene, bands, *, n_places, n_per_place, name_bytes=300, seed=0):
    """Make many records of one: each at a place and a time, its files under a name of its own.

    Records of one place share their days and nearly their cloud cover; names are noise, so that raster columns weigh
    something in Parquet.
    """
    rng = random.Random(seed)
    rows = [(place, one) for place in range(n_places) for one in range(n_per_place)]
    origin = [place_origin(place) for place, _ in rows]
    transforms = [[RESOLUTION, 0.0, x, 0.0, -RESOLUTION, y] for x, y in origin]
    frame = pl.DataFrame(
        {
            "id": [f"p{place:03d}-{one:03d}" for place, one in rows],
            "datetime": pl.Series(
                [FIRST_DAY + dt.timedelta(days=DAYS_PER_PLACE * (place + one / n_per_place)) for place, one in rows]
            ).cast(pl.Datetime("us", "UTC")),
            "eo:cloud_cover": [place + one / n_per_place for place, one in rows],
            "place": [place for place, _ in rows],
        }
    )
    raster = scene.select(bands).collect()
    names = {
        band: pl.Series(
            [f"{store.prefix}{place:03d}/{rng.randbytes(name_bytes).hex()}/{band}.tif" for place, _ in rows]
        )
        for band in bands
    }
    where = pl.Series(transforms, dtype=pl.Array(pl.Float64, 6))
    return frame.with_columns(
        [
            raster[band]
            .new_from_index(0, len(rows))
            .to_frame()
            .select(
                pl.col(band).struct.with_fields(pl.lit(names[band]).alias("href"), pl.lit(where).alias("transform"))
            )
            .to_series()
            for band in bands
        ]
    )


def place_of(href):
    """Give the place whose record an aliased href belongs to."""
    return int(href.split("/")[3])
