"""Are the pixels covered by zones those that GDAL rasterises, on the zones' own grids?"""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from polars_rasteret.geo.coverage.gdal_masks import gdal_runs
from polars_rasteret.geo.coverage.outlines import outlines_of
from tests.support.drawn_polygons import (
    GRIDS,
    assert_canonical,
    differences,
    lattice_polygon,
    nasty_polygons,
    on_map,
    random_polygon,
)
from tests.support.gdal_release import skip_newer

ROTATED = Affine(9.396926207859085, 3.4202014332566884, 500_000, 3.420201433256687, -9.396926207859085, 4_000_000)
SHEARED = Affine(10, 3, 500_000, -2, -12, 4_000_000)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.ShapeSkipWarning")


def masks_of(geometries, heights, widths, grid, all_touched):
    heights, widths = np.array(heights, np.int64), np.array(widths, np.int64)
    transform = np.tile(np.array(grid[:6], np.float64), (len(heights), 1))
    runs = gdal_runs(outlines_of(np.array(geometries, object)), transform, heights, widths, all_touched=all_touched)
    flat = runs.masks(heights, widths)
    parts = np.split(flat, np.cumsum(heights * widths))
    return runs, [one.reshape(shape) for one, *shape in zip(parts, heights, widths, strict=False)]


def check(make, grid, all_touched, n, seed):
    if all_touched and make is lattice_polygon:
        skip_newer("touched corners")
    rng = np.random.default_rng(seed)
    heights, widths = rng.integers(1, 30, (2, n))
    geometries = [on_map(make(rng, h, w), grid) for h, w in zip(heights, widths, strict=True)]
    _, masks = masks_of(geometries, heights, widths, grid, all_touched)
    found = [
        differences(one, mask, grid, all_touched=all_touched)[0] for one, mask in zip(geometries, masks, strict=True)
    ]
    assert not [(geometries[at].wkt, one) for at, one in enumerate(found) if one]


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("make", [random_polygon, lattice_polygon])
@pytest.mark.parametrize("grid", [ROTATED, SHEARED, Affine.identity()])
def test_masks_of_many_zones_on_other_grids(make, grid, all_touched):
    check(make, grid, all_touched, 150, 1)


@pytest.mark.slow
@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("make", [random_polygon, lattice_polygon])
@pytest.mark.parametrize("grid", [*(grid for _, grid in GRIDS.values()), ROTATED, SHEARED, Affine.identity()])
def test_masks_of_thousands_of_zones(make, grid, all_touched):
    check(make, grid, all_touched, 5_000, 2)


@pytest.mark.parametrize("all_touched", [False, True])
@pytest.mark.parametrize("grid", [*(grid for _, grid in GRIDS.values()), ROTATED, Affine.identity()])
def test_nasty_polygons(grid, all_touched):
    height, width = 19, 23
    geometries = [on_map(one, grid) for one in nasty_polygons(height, width)]
    n = len(geometries)
    runs, masks = masks_of(geometries, [height] * n, [width] * n, grid, all_touched)
    for geometry, mask in zip(geometries, masks, strict=True):
        assert not differences(geometry, mask, grid, all_touched=all_touched)[0], geometry.wkt
    assert_canonical(runs)


def test_lines_cover_what_they_pass_through_and_points_and_nothing_cover_nothing():
    line = shapely.LineString([(0.5, 0.5), (2.5, 0.5), (2.5, 2.5)])
    zones = [
        line,
        shapely.Point(1, 1),
        None,
        shapely.Polygon(),
        shapely.GeometryCollection([line, shapely.box(0, 2, 1, 3)]),
    ]
    _, center = masks_of(zones, [3] * 5, [4] * 5, Affine.identity(), all_touched=False)
    assert [int(one.sum()) for one in center] == [0, 0, 0, 0, 1]
    _, touched = masks_of(zones, [3] * 5, [4] * 5, Affine.identity(), all_touched=True)
    assert touched[0].astype(int).tolist() == [[1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(
        touched[0], rasterize([line], (3, 4), transform=Affine.identity(), all_touched=True).astype(bool)
    )
    assert [int(one.sum()) for one in touched] == [5, 0, 0, 0, 6]


def test_edges_that_go_on_far_beyond_the_grid_take_no_longer():
    steep = [(0.5, -5.0), (5.0, 1e7), (-9.0, 1e7)]
    flat = [(y, x) for x, y in steep]
    zones = [
        shapely.Polygon(one) for one in (steep, flat, [(x, 20 - y) for x, y in steep], [(20 - x, y) for x, y in flat])
    ]
    start = process_time()
    _, masks = masks_of(zones, [20] * 4, [20] * 4, Affine.identity(), all_touched=True)
    assert process_time() - start < 1
    for zone, mask in zip(zones, masks, strict=True):
        assert not differences(zone, mask, Affine.identity(), all_touched=True)[0], zone.wkt


def test_no_zones_have_no_runs():
    runs, _ = masks_of([], [], [], Affine.identity(), all_touched=True)
    assert len(runs) == 0


def test_a_zone_does_not_depend_on_the_others(monkeypatch):
    rng = np.random.default_rng(3)
    zones = np.array([random_polygon(rng, 25, 25) for _ in range(60)])
    _, together = masks_of(zones, [25] * 60, [25] * 60, Affine.identity(), all_touched=True)
    for at in (0, 7, 59):
        _, (alone,) = masks_of(zones[at : at + 1], [25], [25], Affine.identity(), all_touched=True)
        np.testing.assert_array_equal(alone, together[at])
    monkeypatch.setattr("polars_rasteret.geo.coverage.batches._ZONES_PER_BATCH", 7)
    _, in_batches = masks_of(zones, [25] * 60, [25] * 60, Affine.identity(), all_touched=True)
    np.testing.assert_array_equal(in_batches, together)
