"""Is an answer larger than memory cut into units, without changing it?"""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest
from shapely import Point, to_wkb

import polars_rasteret as pr
from tests.support.child_process import environment
from tests.support.recorded import SIZE, build, noise, points, tiff

BANDS = ["b0", "b1", "b2"]
SHAPE = (40, 50)
WINDOW_BYTES = SHAPE[0] * SHAPE[1] * 2


@pytest.fixture
def rows(store):
    """Give 60 rows that carry a point and three raster columns."""
    href = store.put("all.tif", tiff(noise(2, n_bands=3), interleave="pixel"))
    scenes = build(store, {"id": ["one"], "href": [href]}, {band: ("href", n) for n, band in enumerate(BANDS)})
    spots = points([(7 * n % SIZE, 31 * n % SIZE) for n in range(60)], plot=list(range(60)))
    wkb = pl.Series([to_wkb(Point(x, y)) for x, y in spots.select("x", "y").iter_rows()], dtype=pl.Binary)
    return scenes.raster.pair(spots.with_columns(where=wkb), x="x", y="y", crs=32632).collect().lazy()


def chips():
    return pr.read_window(BANDS, "where", crs=32632, shape=SHAPE, stack=True)


class Watched:
    """Counts the rows of each unit as they pass."""

    def __init__(self):
        self.heights = []

    def __call__(self, column):
        self.heights.append(len(column))
        return column


def test_bounded_columns_equal_with_columns(rows, engine):
    whole = rows.with_columns(chips()).collect(engine=engine)
    with pr.options(max_answer_bytes=20 * WINDOW_BYTES):
        query = rows.raster.with_columns(chips())
    assert query.collect_schema() == whole.schema
    assert query.collect(engine=engine).equals(whole)
    named = rows.raster.with_columns(pixels=pl.col("b1").raster.sample_points("x", "y", crs=32632), twice="plot")
    direct = rows.with_columns(pixels=pl.col("b1").raster.sample_points("x", "y", crs=32632), twice="plot")
    assert named.collect(engine=engine).equals(direct.collect(engine=engine))


def test_bounded_columns_come_in_units_of_the_bytes_allowed(rows, engine):
    watched = Watched()
    allowed = 30 * WINDOW_BYTES
    with pr.options(max_answer_bytes=allowed):
        query = rows.raster.with_columns(
            chips(), passed=pl.col("plot").map_batches(watched, return_dtype=pl.Int64, is_elementwise=True)
        )
    query.collect(engine=engine)
    assert sum(watched.heights) == 60
    assert len(watched.heights) >= 60 * 3 * WINDOW_BYTES / allowed
    assert max(watched.heights) * 3 * WINDOW_BYTES <= allowed


def test_bounded_columns_of_unknown_size_are_bounded_too(rows, engine):
    # Whole images of three bands take 1.5 MB a row, which no dtype tells.
    image = pr.read_window(BANDS)
    direct = rows.head(9).with_columns(image).collect()
    with pr.options(max_answer_bytes=4_000_000):
        query = rows.head(9).raster.with_columns(image)
    assert query.collect(engine=engine).equals(direct)


def test_filters_and_selections_on_bounded_columns_give_what_they_give_on_with_columns(rows, engine):
    value = pl.col("b0").raster.sample_points("x", "y", crs=32632)
    direct = rows.with_columns(chips(), value=value)
    with pr.options(max_answer_bytes=20 * WINDOW_BYTES):
        bounded = rows.raster.with_columns(chips(), value=value)
    for change in (
        lambda lf: lf.filter(pl.col("value") > 30_000).select("plot", "value"),
        lambda lf: lf.filter(pl.col("plot") % 2 == 0, pl.col("value") > 30_000).select("value"),
        lambda lf: lf.select("plot"),
        lambda lf: lf.head(7).select("plot", "pixels"),
        lambda lf: lf.filter(pl.col("value") > 30_000).head(7).select("plot"),
        lambda lf: lf.slice(20, 5).select("plot", "value"),
        lambda lf: lf.tail(3).select("plot", "value"),
        lambda lf: lf.select(pl.len(), pl.col("value").max()),
    ):
        assert change(bounded).collect(engine=engine).equals(change(direct).collect(engine=engine))


def test_a_bounded_column_that_is_not_selected_asks_for_nothing(store, rows, engine):
    pairs = rows.raster.with_columns(near=pl.col("b0").raster.read_window(window=(0, 9, 0, 9)), far=chips())
    assert pairs.filter(pl.col("plot") == 59).select("plot", "near").collect(engine=engine).height == 1
    assert len(store.requests) == 1


def test_a_verb_cut_into_units_gives_the_same_rows_in_the_same_order(rows, engine):
    scenes = rows.select("record_id", *BANDS).head(1).rename({"record_id": "id"})
    spots = rows.select("plot", "where").collect()
    words = {"geometry": "where", "crs": 32632, "shape": SHAPE}
    whole = scenes.raster.read_windows(spots, BANDS, **words).collect(engine=engine)
    with pr.options(max_answer_bytes=20 * WINDOW_BYTES):
        cut = scenes.raster.read_windows(spots, BANDS, **words)
    assert cut.collect(engine=engine).equals(whole)
    assert whole["plot"].to_list() == list(range(60))


SCRIPT = """
import resource, sys
import numpy as np
import polars as pl
import polars_rasteret as pr
from tests.support.recorded import Store, build, noise, points, tiff

store = Store()
href = store.put("all.tif", tiff(noise(2, n_bands=4, height=1024, width=1024), interleave="pixel", tile=256))
bands = ["b0", "b1", "b2", "b3"]
scenes = build(store, {{"id": ["one"], "href": [href]}}, {{band: ("href", n) for n, band in enumerate(bands)}})
spots = points(np.random.default_rng(0).integers(64, 960, (6_000, 2)).tolist(), plot=list(range(6_000)))
scenes.raster.read_windows(spots.head(8), crs=32632, shape=(128, 128), stack=True).collect()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with pr.options(max_answer_bytes=36_000_000):
    chips = scenes.raster.read_windows(spots, crs=32632, shape=(128, 128), stack=True)
chips.sink_parquet(sys.argv[1], row_group_size=64, compression="uncompressed")
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(f"{{grown:.0f}} MB")
found = pl.scan_parquet(sys.argv[1]).select("plot").collect()
assert found["plot"].to_list() == list(range(6_000))
assert grown < {limit_mb}, grown
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in the units of Linux")
def test_windows_larger_than_the_allowance_go_to_a_sink_in_bounded_memory(tmp_path):
    # 6,000 windows of 128 x 128 pixels of four UInt16 bands are 786 MB, and 8 MB in a row group.
    # About 200 to 400 MB were measured, and 3 GB with row groups of Polars' default size.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(limit_mb=550))
    chips = tmp_path / "chips.parquet"
    command = [sys.executable, script, chips]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment())
    chips.unlink(missing_ok=True)
    assert done.returncode == 0, done.stdout + done.stderr
