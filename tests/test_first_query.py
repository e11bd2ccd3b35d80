"""Does the first query of a process import only what it needs?"""

from __future__ import annotations

import os
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


def ended(collection, *flags, before="", then=""):
    """Run a script that makes a query, with lines before it and after it; return the ended process."""
    code = f"""
import os, sys, threading, warnings
import polars as pl
import polars_rasteret as pr
{before}
scenes = pr.scan_collection({str(collection)!r})
query = scenes.select(pl.col("red").raster.read_window(window=(0, 20, 0, 20)))
{then}
"""
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


@pytest.mark.parametrize("then", ["", "import polars_rasteret.engine.ahead as a; a.wait()", "query.collect_schema()"])
def test_a_process_that_only_makes_a_query_ends_cleanly(collection, then):
    done = ended(collection, "-W", "error", then=then)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_describing_a_collection_loads_nothing_ahead(collection):
    code = f"""
import sys, threading
import polars_rasteret as pr
scenes = pr.scan_collection({str(collection)!r})
print(len(scenes.collect_schema()) > 10, "polars_rasteret.engine" in sys.modules, threading.active_count())
"""
    assert run(code) == ["True False 1"]


def test_what_cannot_be_loaded_ahead_is_an_error_where_it_is_needed(collection):
    then = """
from polars_rasteret.engine import ahead
ahead.wait()
print("made")
try:
    query.collect()
except Exception as error:
    print("numpy.ma" in str(error))
"""
    done = ended(collection, before='sys.modules["numpy.ma"] = None', then=then)
    assert done.stdout.splitlines() == ["made", "True"]
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_modules_are_loaded_can_import_them(collection):
    before = """
import polars_rasteret.tiff.codecs.inflate
gate = threading.Event()
polars_rasteret.tiff.codecs.inflate._stops_early = lambda _: gate.wait(60)
"""
    then = """
from polars_rasteret.engine import ahead
assert ahead._thread.is_alive()
os.register_at_fork(before=gate.set)  # runs before the functions that were registered earlier
warnings.simplefilter("ignore")
child = os.fork()
if not child:
    import numpy.ma
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ahead._thread.is_alive())
"""
    done = ended(collection, before=before, then=then)
    assert done.stdout.split() == ["7", "False"]
