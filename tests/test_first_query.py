"""Does the first query of a process import only what it needs?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import polars_rasteret as pr
from tests.support.child_process import environment

DATA = Path(__file__).parent.parent / "examples" / "data"

NEVER = {
    "pandas",
    "matplotlib",
    "xarray",
    "geopandas",
    "rasterio",
    "filelock",
    "pystac_client",
    "tqdm",
    "httpx",
    "pyarrow",
}
NO_GEOMETRY = NEVER | {"shapely", "pyproj", "polars_rasteret.geo.areas", "polars_rasteret.pairing.targets"}
PIXELS_AS_THEY_ARE = NO_GEOMETRY | {
    "xml",
    "urllib.request",
    "polars_rasteret.tiff.header",
    "polars_rasteret.fetch.disk_cache",
    "polars_rasteret.pixels.windows.resampled",
    "polars_rasteret.rasteret_format.records",
}

QUERIES = {
    "windows": (
        'scenes.select(pl.col("red").raster.read_window(window=(0, 20, 0, 20)))',
        PIXELS_AS_THEY_ARE,
    ),
    "masked windows": (
        'scenes.select(pl.col("red").raster.read_window(window=(-5, 20, 0, 20), masked=True))',
        PIXELS_AS_THEY_ARE - {"pyarrow"},  # which makes columns with null pixels
    ),
    "several bands": (
        'scenes.select(pr.read_window(["red", "nir"], window=(0, 20, 0, 20), stack=True))',
        PIXELS_AS_THEY_ARE,
    ),
    "points": (
        'scenes.raster.sample_points(pl.DataFrame({"lon": [-116.38], "lat": [32.97]}), ["red"], crs=4326)',
        # Polars imports pyarrow for an IO source whose schema is a function.
        (NEVER - {"pyarrow"})
        | {"numpy.random", "polars_rasteret.tiff.header", "polars_rasteret.pixels.windows.resampled"},
    ),
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    path = tmp_path_factory.mktemp("first") / "scenes.parquet"
    scenes = pr.build_from_files(str(DATA / "m_32*.tif"), bands=["red", "green", "blue", "nir"])
    scenes.raster.sink_collection(path)
    return path


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    return done.stdout.splitlines()


@pytest.mark.parametrize("query", QUERIES)
def test_nothing_is_imported_that_the_query_does_not_need(collection, query):
    text, unneeded = QUERIES[query]
    code = f"""
import sys
import polars as pl
import polars_rasteret as pr
scenes = pr.scan_collection({str(collection)!r})
print({text}.collect().height)
print(*sorted({unneeded!r} & set(sys.modules)))
"""
    assert run(code) == ["1", ""]


def test_the_import_of_the_package_brings_no_engine_and_no_thread():
    code = """
import sys, threading
import polars as pl
known = set(sys.modules)
import polars_rasteret
new = set(sys.modules) - known
print(*sorted({"numpy", "obstore", "imagecodecs", "polars_rasteret.engine", "polars_rasteret.fetch"} & new))
print(threading.active_count())
"""
    assert run(code) == ["", "1"]


def test_a_plain_https_origin_is_asked_without_httpx():
    code = """
import sys
from polars_rasteret.fetch.sources.stores import source_for
for href in ("https://example.com/a.tif", "http://127.0.0.1:9/a.tif", "s3://bucket/a.tif"):
    source_for(href)
print(*sorted({"httpx", "urllib.request"} & set(sys.modules)))
"""
    assert run(code) == [""]
