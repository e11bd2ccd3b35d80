"""Does the first query of a process import only what it needs?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import polars_rasteret as pr
from tests.support.child_process import environment

DATA = Path(__file__).parent.parent / "examples" / "data"

QUERIES = {
    "windows": 'scenes.select(pl.col("red").raster.read_window(window=(0, 20, 0, 20)))',
    "masked windows": 'scenes.select(pl.col("red").raster.read_window(window=(-5, 20, 0, 20), masked=True))',
    "several bands": 'scenes.select(pr.read_window(["red", "nir"], window=(0, 20, 0, 20), stack=True))',
    "points": 'scenes.raster.sample_points(pl.DataFrame({"lon": [-116.38], "lat": [32.97]}), ["red"], crs=4326)',
}


@pytest.mark.parametrize("query", QUERIES)
def test_nothing_is_imported_that_the_query_does_not_need(tmp_path, query):
    path = tmp_path / "scenes.parquet"
    scenes = pr.build_from_files(str(DATA / "m_32*.tif"), bands=["red", "green", "blue", "nir"])
    scenes.raster.sink_collection(path)
    code = f"""
import sys
import polars as pl
import polars_rasteret as pr
scenes = pr.scan_collection({str(path)!r})
print({QUERIES[query]}.collect().height)
print(*{{"pandas", "matplotlib", "xarray", "geopandas", "rasterio", "filelock", "pystac_client", "tqdm"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines() == ["1", ""]
