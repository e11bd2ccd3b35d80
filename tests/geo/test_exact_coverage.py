"""Is the share of each pixel that zones cover the area that shapely says?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from rasterio.transform import Affine

from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.coverage.areal import areal
from polars_rasteret.geo.coverage.exact import exact_runs
from polars_rasteret.geo.coverage.outlines import outlines_of
from tests.support.drawn_polygons import assert_canonical, blob, lattice_polygon, nasty_polygons, on_map, random_polygon

VECTORS = Path(__file__).parents[3] / "shared" / "data" / "vector"
PIXELS = Affine.identity()
SOUTH_UP = Affine(0.5, 0, 0.25, 0, 0.5, -0.75)
NORTH_UP = Affine(2, 0, 1, 0, -4, 3)
ROTATED = Affine(0.9396926207859084, 0.3420201433256687, 0, 0.3420201433256687, -0.9396926207859084, 0)


def runs_of(geometries, heights, widths, grid=PIXELS):
    heights, widths = np.array(heights, np.int64), np.array(widths, np.int64)
    transform = np.tile(np.array(grid[:6], np.float64), (len(heights), 1))
    return exact_runs(outlines_of(areal(np.array(geometries, object))), transform, heights, widths)


def weights_of(geometries, heights, widths, grid=PIXELS):
    """One array of weights per zone."""
    runs = runs_of(geometries, heights, widths, grid)
    assert_canonical(runs)
    weights = [np.zeros(shape) for shape in zip(heights, widths, strict=True)]
    for zone, row, start, stop, weight in zip(
        runs.zone, runs.row, runs.col_start, runs.col_stop, runs.weight, strict=True
    ):
        weights[zone][row, start:stop] = weight
    return weights


def drawn(rng, height, width):
    """A valid polygon or multipolygon, in pixels."""
    x, y = rng.uniform(-2, width + 2), rng.uniform(-2, height + 2)
    match rng.integers(9):
        case 0:
            return shapely.LineString(rng.uniform(-3, 15, (4, 2))).buffer(rng.uniform(1e-3, 0.4))  # slivers
        case 1:
            sides = np.sort(rng.uniform(-2, width + 2, 2)), np.sort(rng.uniform(-2, height + 2, 2))
            return shapely.box(sides[0][0], sides[1][0], sides[0][1], sides[1][1])
        case 2:  # level edges off the pixel borders
            x, y = np.sort(rng.uniform(-2, width + 2, 6)), rng.uniform(-2, height + 2, 6)
            return shapely.union_all(shapely.box(x[:-1], np.minimum(y[:-1], y[1:]), x[1:], np.maximum(y[:-1], y[1:])))
        case 3:
            hole = shapely.make_valid(shapely.Polygon(blob(rng, x, y, 2, 10)))
            return shapely.make_valid(shapely.Polygon(blob(rng, x, y, 5, 20))).difference(hole)
        case 4 | 5:
            return lattice_polygon(rng, height, width)
        case 6:
            return shapely.box(-9, -9, width + 9, height + 9).difference(random_polygon(rng, height, width).buffer(0))
        case _:
            return random_polygon(rng, height, width)


def check_areas(grid, n, seed):
    rng = np.random.default_rng(seed)
    heights, widths = rng.integers(1, 14, (2, n))
    zones = areal(np.array([drawn(rng, h, w) for h, w in zip(heights, widths, strict=True)]))
    weights = weights_of([None if one is None else on_map(one, grid) for one in zones], heights, widths, grid)
    of_zone = np.repeat(np.arange(n), heights * widths)
    row, col = (
        np.concatenate(one)
        for one in zip(*(np.mgrid[:h, :w].reshape(2, -1) for h, w in zip(heights, widths, strict=True)), strict=True)
    )
    pixels = shapely.box(col, row, col + 1, row + 1)
    areas = np.nan_to_num(shapely.area(shapely.intersection(pixels, zones[of_zone])))
    found = np.concatenate([one.ravel() for one in weights])
    np.testing.assert_allclose(found, areas, rtol=0, atol=1e-12)
    clipped = np.nan_to_num(shapely.area(shapely.intersection(zones, shapely.box(0, 0, widths, heights))))
    np.testing.assert_allclose(np.bincount(of_zone, found, n), clipped, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("grid", [PIXELS, SOUTH_UP, NORTH_UP, ROTATED])
def test_weights_of_a_thousand_polygons_on_each_of_four_grids_are_areas(grid):
    check_areas(grid, 1_000, 1)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [PIXELS, SOUTH_UP, NORTH_UP, ROTATED])
def test_weights_of_thousands_of_polygons_are_areas(grid):
    check_areas(grid, 20_000, 2)


def even_odd(polygon, x, y):
    """Whether places are inside, by the rings as drawn."""
    inside = np.zeros(len(x), bool)
    for ring in shapely.get_rings(polygon):
        xy = shapely.get_coordinates(ring)
        for (x_a, y_a), (x_b, y_b) in pairwise(xy):
            if y_a != y_b:
                inside ^= ((y_a <= y) != (y_b <= y)) & (x_a + (y - y_a) * (x_b - x_a) / (y_b - y_a) < x)
    return inside


def test_rings_that_cross_count_by_even_odd_and_parts_are_united():
    rng = np.random.default_rng(5)
    tangled = [
        shapely.Polygon(rng.integers(0, 6, (7, 2)), [rng.integers(0, 6, (4, 2))] if rng.random() < 0.5 else None)
        for _ in range(150)
    ]
    zones = [one for one in [*tangled, *nasty_polygons(19, 23)] if one.geom_type != "GeometryCollection"]
    x, y = rng.uniform(-1, 24, (2, 3_000))
    for zone, made in zip(zones, areal(np.array(zones)), strict=True):
        wanted = np.any([even_odd(part, x, y) for part in shapely.get_parts(zone)], axis=0)
        got = np.zeros(len(x), bool) if made is None else shapely.contains_xy(made, x, y)
        np.testing.assert_array_equal(got, wanted, err_msg=zone.wkt)
        assert made is None or made.is_valid


def test_no_pixel_is_covered_more_than_once():
    two, three = shapely.box(0.5, 0, 3, 2), shapely.box(2, 1, 4, 2)
    for overlapping in (shapely.MultiPolygon([two, three]), shapely.GeometryCollection([two, three])):
        (weights,) = weights_of([overlapping], [2], [4])
        np.testing.assert_array_equal(weights, [[0.5, 1, 1, 0], [0.5, 1, 1, 1]])


def test_what_has_no_area_has_no_runs():
    line, point = shapely.LineString([(0, 0), (3, 3)]), shapely.Point(1, 1)
    zones = [None, shapely.Polygon(), point, line, shapely.GeometryCollection([point, line]), shapely.box(9, 9, 10, 10)]
    assert len(runs_of(zones, [3] * 6, [3] * 6)) == 0
    assert len(runs_of([], [], [])) == 0
    (weights,) = weights_of([shapely.GeometryCollection([line, shapely.box(0, 0, 1, 2)])], [3], [3])
    assert weights.sum() == 2


def test_vertices_near_a_pixel_border_are_on_it():
    near = np.random.default_rng(0).uniform(-9e-7, 9e-7, 4)
    runs = runs_of([shapely.box(*np.array([1, 2, 5, 4]) + near)], [9], [9])
    assert runs.row.tolist() == [2, 2, 3, 3]
    assert (runs.col_start.min(), runs.col_stop.max()) == (1, 5)
    assert (runs.weight == 1).all()
    (beside,) = weights_of([shapely.box(1 - 1e-5, 2, 5, 4)], [9], [9])
    np.testing.assert_allclose(beside[2:4, 0], 1e-5, rtol=1e-9)


def test_far_from_the_origin_weights_are_as_exact():
    shape = shapely.Polygon(np.array([(0.25, 0.5), (7.75, 1.125), (5.5, 6.875), (2.0, 5.25)]))
    (near,) = weights_of([shape], [8], [9])
    far = runs_of([on_map(shape, Affine.translation(90_000, 60_000))], [70_000], [100_000])
    weights = np.zeros((8, 9))
    for row, start, stop, weight in zip(far.row, far.col_start, far.col_stop, far.weight, strict=True):
        weights[row - 60_000, start - 90_000 : stop - 90_000] = weight
    np.testing.assert_array_equal(weights, near)


def test_weights_do_not_depend_on_order_or_other_zones(monkeypatch):
    rng = np.random.default_rng(8)
    zones = np.array([drawn(rng, 20, 20) for _ in range(80)])
    together = weights_of(zones, [20] * 80, [20] * 80)
    order = rng.permutation(80)
    for at, weights in zip(order, weights_of(zones[order], [20] * 80, [20] * 80), strict=True):
        np.testing.assert_array_equal(weights, together[at])
    monkeypatch.setattr("polars_rasteret.geo.coverage.batches._ZONES_PER_BATCH", 7)
    for one, other in zip(weights_of(zones, [20] * 80, [20] * 80), together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_zones_in_another_crs_have_the_areas_that_are_drawn_there():
    bow_tie = shapely.Polygon([(9.0, 45.0), (9.02, 45.02), (9.02, 45.0), (9.0, 45.02)])
    overlapping = shapely.MultiPolygon([shapely.box(9.0, 45.0, 9.01, 45.01), shapely.box(9.005, 45.005, 9.02, 45.02)])
    with np.errstate(invalid="ignore"):
        lost = shapely.Polygon([(9, 45), (9.1, 45), (np.nan, 45.1)])
    zones = np.array([bow_tie, overlapping, shapely.LineString([(9, 45), (9.1, 45)]), lost])
    index = np.array([1, 0, 2, 3, 1])
    outlines = Areas(shapely.to_wkb(zones), "EPSG:4326").areal_outlines("EPSG:32632", index)
    grid, (height, width) = Affine(20, 0, 499_900, 0, -20, 4_986_100), (200, 100)
    of_each = np.tile(np.array(grid[:6]), (5, 1)), np.full(5, height), np.full(5, width)
    runs = exact_runs(outlines, *of_each)
    assert_canonical(runs)
    got = np.bincount(runs.zone, runs.weight * (runs.col_stop - runs.col_start), 5)
    to_utm = pyproj.Transformer.from_crs(4326, 32632, always_xy=True)
    drawn = shapely.transform(shapely.segmentize(areal(zones), 1e-4), to_utm.transform, interleaved=False)
    wanted = np.nan_to_num(shapely.area(drawn)[index]) / 400
    assert wanted[0] > wanted[1] > 1_000
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.skipif(not VECTORS.exists(), reason="needs the shared vector data")
@pytest.mark.parametrize(("name", "resolution"), [("sf__nc.shp", 0.05), ("geopandas__naturalearth_lowres.shp", 0.5)])
def test_real_polygons(name, resolution):
    geopandas = pytest.importorskip("geopandas")
    zones = geopandas.read_file(VECTORS / name).geometry.to_numpy()
    west, south, east, north = shapely.total_bounds(zones)
    grid = Affine(resolution, 0, west - 0.013, 0, -resolution, north + 0.017)
    height, width = (int(size / resolution) + 2 for size in (north - south, east - west))
    runs = runs_of(zones, [height] * len(zones), [width] * len(zones), grid)
    assert_canonical(runs)
    zone, row, col, weight = runs.cells()
    a, _, c, _, e, f = grid[:6]

    def corner(col, row):
        return a * col + c, e * row + f

    pixels = shapely.box(*corner(col, row), *corner(col + 1, row + 1))
    some = np.flatnonzero(weight < 1)[:: max(1, len(weight) // 4_000)]
    areas = shapely.area(shapely.intersection(pixels[some], areal(zones)[zone[some]])) / resolution**2
    np.testing.assert_allclose(weight[some], areas, rtol=0, atol=1e-9)
    total = np.bincount(zone, weight, len(zones)) * resolution**2
    np.testing.assert_allclose(total, shapely.area(zones), rtol=1e-9)
