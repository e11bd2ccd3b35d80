"""Are statistics of a formula those of its values, pixel by pixel, and are other expressions refused?"""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support.engines import ENGINES
from tests.support.zone_world import ZoneWorld, statistics, zones

STATS = ("count", "sum", "mean", "var", "min", "max", "majority", "variety", "median")


@pytest.fixture(scope="module")
def world():
    return ZoneWorld()


def frame_of(geometries):
    return pl.DataFrame({"zone": range(len(geometries)), "geometry": shapely.to_wkb(geometries)})


def nd(a, b):
    a, b = a.astype("float32"), b.astype("float32")
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a - b) / (a + b)


@pytest.mark.parametrize("engine", ENGINES)
def test_statistics_of_formulas_are_those_of_their_pixels(world, engine):
    polygons = zones(16, seed=5)
    bands = {
        "nd": pr.normalized_difference("nir", "red"),
        "more": pl.col("red").cast(pl.Int16) - 5,
        "red": "red",
        "mixed": pl.when(pl.col("clear") == 1).then(pl.col("red")).otherwise(0),
    }
    query = world.scenes.raster.zonal_stats(frame_of(polygons), bands, STATS, crs=32632, unmatched="drop")
    found = query.collect(engine=engine)
    assert found.schema == query.collect_schema()
    dtypes = {name: found.schema[f"{name}_majority"] for name in bands}
    assert dtypes == {"nd": pl.Float32, "more": pl.Int16, "red": pl.UInt8, "mixed": pl.UInt8}
    n_differ = 0
    for row in found.iter_rows(named=True):
        red, nir = world.images[row["record_id"], "red"], world.images[row["record_id"], "nir"]
        clear = np.kron(world.images[row["record_id"], "clear"].pixels, np.ones((2, 2), int))
        values = {
            "nd": (nd(nir.pixels, red.pixels), red.valid & nir.valid & (red.pixels + nir.pixels > 0)),
            "more": (red.pixels.astype(int) - 5, red.valid),
            "red": (red.pixels, red.valid),
            "mixed": (np.where(clear == 1, red.pixels, 0), red.valid),  # nodata is null, not 0
        }
        weights = red.weights(polygons[row["zone"]], "exact")
        for name, (pixels, valid) in values.items():
            for statistic, value in statistics(pixels[valid], weights[valid]).items():
                if statistic in STATS:
                    got = row[f"{name}_{statistic}"]
                    assert got == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6)), (
                        name,
                        statistic,
                    )
        n_differ += row["nd_count"] < row["red_count"]
    assert n_differ > 3


def test_the_grid_of_a_formula_depends_on_no_column_selection(world):
    query = world.scenes.raster.zonal_stats(
        frame_of(zones(8, seed=1)), {"nd": pl.col("red") - pl.col("nir"), "clear": "clear"}, ["count"], crs=32632
    )
    masked = world.scenes.raster.zonal_stats(
        frame_of(zones(8, seed=1)), ["red", "clear"], ["count"], crs=32632, valid=pl.col("clear") > 0
    )
    for one in (query, masked):
        assert one.select("clear_count").collect().equals(one.collect().select("clear_count"))
    coarse = world.scenes.raster.zonal_stats(
        frame_of(zones(8, seed=1)),
        {"nd": pl.col("red") - pl.col("nir"), "clear": "clear"},
        ["count"],
        crs=32632,
        grid="clear",
    ).collect()
    ratio = (query.collect()["clear_count"] / coarse["clear_count"]).drop_nulls().drop_nans()
    assert ratio.to_list() == pytest.approx([4.0] * len(ratio), rel=1e-9)


def test_bands_of_formulas_that_are_not_wanted_are_not_read(world):
    query = world.scenes.raster.zonal_stats(
        frame_of(zones(8, seed=1)), {"sum": pl.col("red") + pl.col("nir"), "clear": "clear"}, ["mean"], crs=32632
    )
    world.source.requests.clear()
    with pr.options(cache_bytes=0):
        query.select("clear_mean").collect()
    assert {href.rpartition("-")[2] for href, _, _ in world.source.requests} == {"clear.tif"}


@pytest.mark.parametrize("verb", ["pixels", "zonal_stats"])
@pytest.mark.parametrize(
    ("bands", "told"),
    [
        ({}, "expected a dict"),
        ({"a": 3}, "expression over bands"),
        ({"a": "missing"}, "'missing'"),
        ({"a": pl.col("red") + pl.col("day")}, "'day'"),
        ({"a": pl.lit(1)}, "no band"),
        ({"a": pl.col("red") - pl.col("red").mean()}, "may look at others"),
        ({"a": pl.col("red").shift(1)}, "may look at others"),
        ({"a": pl.col("red").sum()}, "may look at others"),
        ({"a": pl.col("red") > 3}, "Boolean"),
        ({"a": pl.col("red").cast(pl.String)}, "String"),
        ({"a": pl.col("red").list.get(0)}, "cannot be evaluated"),
    ],
)
def test_other_expressions_are_refused(world, verb, bands, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        getattr(world.scenes.raster, verb)(frame_of(zones(1, seed=1)), bands, crs=32632)
