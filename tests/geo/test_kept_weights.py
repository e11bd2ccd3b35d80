"""Are weights of zones computed once, kept in bounded memory, and the same as if they were computed anew?"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
import shapely

from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.coverage import kept_weights, zone_runs
from tests.support.zone_world import NORTH, WEST, ZoneWorld, zones

COLUMNS = ("zone", "row", "col_start", "col_stop", "weight")
TRANSFORM, SIZE = (10.0, 0.0, WEST, 0.0, -10.0, NORTH), (96, 96)


@pytest.fixture(autouse=True)
def nothing_kept():
    kept_weights.clear_weights()
    yield
    kept_weights.clear_weights()


@pytest.fixture
def computed(monkeypatch):
    """List of the zones of each computation of weights."""
    found = []
    plain = zone_runs._runs

    def counted(outlines, *rest):
        found.append(outlines.n_zones)
        return plain(outlines, *rest)

    monkeypatch.setattr(zone_runs, "_runs", counted)
    return found


def areas_of(geometries):
    return Areas(np.array(shapely.to_wkb(geometries), object), "EPSG:32632")


def runs_of(areas, index, *, size=SIZE, coverage="exact", transform=TRANSFORM):
    return zone_runs.zone_runs(areas, index, "EPSG:32632", transform, size=size, coverage=coverage)


def columns(runs):
    return {name: (getattr(runs, name).dtype, getattr(runs, name).tolist()) for name in COLUMNS}


@pytest.mark.parametrize("coverage", zone_runs.COVERAGES)
def test_kept_runs_are_those_that_were_computed(computed, coverage):
    polygons, index = zones(40, seed=1), np.arange(40)
    first = columns(runs_of(areas_of(polygons), index, coverage=coverage))
    again = columns(runs_of(areas_of(polygons), index, coverage=coverage))
    assert computed == [40]
    kept_weights.clear_weights()
    anew = columns(runs_of(areas_of(polygons), index, coverage=coverage))
    assert computed == [40, 40]
    assert first == again == anew
    assert len(set(first["zone"][1])) < 40, "zones beside the image have no runs"


def test_other_zones_grids_and_rules_have_weights_of_their_own(computed):
    polygons, index = zones(8, seed=2), np.arange(8)
    areas = areas_of(polygons)
    asked = [
        (areas, index, {}),
        (areas, index[::-1], {}),
        (areas, index[:7], {}),
        (areas_of([*polygons[:7], shapely.transform(polygons[7], lambda xy: xy + 1e-3)]), index, {}),
        (areas_of([*polygons[:7], None]), index, {}),
        (areas, index, {"coverage": "center"}),
        (areas, index, {"coverage": "all_touched"}),
        (areas, index, {"size": (96, 95)}),
        (areas, index, {"transform": (*TRANSFORM[:5], NORTH - 5)}),
    ]
    for areas_asked, index_asked, how in asked:
        runs_of(areas_asked, index_asked, **how)
    assert len(computed) == len(asked)
    for areas_asked, index_asked, how in asked:
        runs_of(areas_asked, index_asked, **how)
    assert len(computed) == len(asked)


def test_long_runs_are_kept_whole(computed):
    wide, index = shapely.box(0, 0, 100_000, 2), np.zeros(1, np.int64)
    found = [
        columns(runs_of(areas_of([wide]), index, size=(2, 100_000), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 2.0)))
        for _ in range(2)
    ]
    assert len(computed) == 1
    assert found[0] == found[1]
    assert max(found[0]["col_stop"][1]) == 100_000
    assert max(np.subtract(found[0]["col_stop"][1], found[0]["col_start"][1])) > 65_535


def test_what_is_kept_is_bounded_and_takes_18_bytes_a_run(computed, monkeypatch):
    polygons, index = zones(30, seed=3), np.arange(30)
    n_runs = len(runs_of(areas_of(polygons), index))
    size = kept_weights.kept_bytes()
    assert size <= 18 * n_runs + 8 * 30 + 1_000
    monkeypatch.setattr(kept_weights, "MAX_BYTES", 3 * size)
    moved = [
        areas_of([shapely.transform(one, lambda xy, k=k: xy + np.array([10.0 * k, 0])) for one in polygons])
        for k in range(6)
    ]
    for areas in moved:
        runs_of(areas, index)
        assert kept_weights.kept_bytes() <= 3 * size
    n_computed = len(computed)
    runs_of(moved[-1], index)
    assert len(computed) == n_computed, "what was used last is kept"
    runs_of(moved[0], index)
    assert len(computed) == n_computed + 1, "what was used least recently has left"
    monkeypatch.setattr(kept_weights, "MAX_BYTES", size // 2)
    kept_weights.clear_weights()
    runs_of(moved[0], index)
    assert kept_weights.kept_bytes() == 0, "what is larger than all that may be kept is not kept"


def test_threads_share_weights():
    polygons = [areas_of(zones(6, seed=one)) for one in range(5)]
    wanted = [columns(runs_of(one, np.arange(6))) for one in polygons]
    kept_weights.clear_weights()

    def ask(number):
        return columns(runs_of(polygons[number % 5], np.arange(6)))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(200)))
    assert found == [wanted[number % 5] for number in range(200)]
    n_bytes = kept_weights.kept_bytes()
    assert n_bytes == sum(n_bytes for _, n_bytes in kept_weights._kept.values())
    assert len(kept_weights._kept) == 5


def test_bands_dates_and_later_queries_compute_no_weights(computed):
    world = ZoneWorld(n_scenes=3)
    frame = pl.DataFrame({"zone": range(12), "geometry": shapely.to_wkb(zones(12, seed=4))})
    how = {"stats": ["count", "mean", "valid_fraction"], "crs": 32632, "unmatched": "drop"}
    first = world.scenes.raster.zonal_stats(frame, ["red", "nir"], **how).collect()
    n_first = len(computed)
    assert n_first == 2, "the weights, and what whole zones cover"
    again = world.scenes.raster.zonal_stats(frame, ["red", "nir"], **how).collect()
    one_date = world.scenes.filter(pl.col("id") == "scene-1")
    some = one_date.raster.zonal_stats(frame, ["nir"], **how).collect()
    rows = one_date.raster.pixels(frame, ["red"], crs=32632).select(pl.len()).collect().item()
    masked = world.scenes.raster.zonal_stats(frame, ["red"], valid=pl.col("nir") < 5, **how).collect()
    assert len(computed) == n_first
    assert first.equals(again)
    assert rows > 100
    assert len(masked) == len(first)
    assert some.equals(first.filter(record_id="scene-1").select(some.columns))
