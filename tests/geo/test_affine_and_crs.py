"""Do map coordinates fall into the pixels that rasterio and pyproj say?"""

from __future__ import annotations

import json
import math
import threading
import warnings

import numpy as np
import pyproj
import pytest
import rasterio.transform
import rasterio.warp
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates, pixel_of, window_transform
from polars_rasteret.geo.crs import LONLAT, densified_box, normalize_crs, transform_xy

COS, SIN = math.cos(math.radians(33)), math.sin(math.radians(33))
GRIDS = {
    "north up": (10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0),
    "south up": (10.0, 0.0, 500_000.0, 0.0, 10.0, 4_600_000.0),
    "rotated": (10 * COS, 7 * SIN, 500_000.0, 10 * SIN, -7 * COS, 4_600_000.0),
    "sheared": (10.0, 2.0, 500_000.0, 1.0, -10.0, 4_600_000.0),
    "rows and columns exchanged": (0.0, 10.0, 500_000.0, -10.0, 0.0, 4_600_000.0),
    "degrees": (1 / 3600, 0.0, 11.0, 0.0, -1 / 3600, 47.0),
    "flipped left to right": (-30.0, 0.0, 500_000.0, 0.0, -30.0, 4_600_000.0),
}


def rowcol(grid, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        row, col = rasterio.transform.rowcol(Affine(*grid), x, y, op=np.floor)
    return np.asarray(row, np.int64), np.asarray(col, np.int64)


@pytest.mark.parametrize("name", GRIDS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_the_pixel_of_a_coordinate_is_the_one_rasterio_gives(name, seed):
    grid = GRIDS[name]
    rng = np.random.default_rng(seed)
    # Not nearer than a millionth of a pixel to a border, where rounding decides.
    row = rng.integers(-50, 300, 40) + rng.uniform(1e-6, 1 - 1e-6, 40)
    col = rng.integers(-50, 300, 40) + rng.uniform(1e-6, 1 - 1e-6, 40)
    x, y = map_coordinates(np.array(grid), row, col)
    found = pixel_of(np.array(grid), x, y)
    for ours, theirs, true in zip(found, rowcol(grid, x, y), (row, col), strict=True):
        assert ours.dtype == np.int64
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(ours, np.floor(true))


@pytest.mark.parametrize("name", ["north up", "south up", "rows and columns exchanged", "flipped left to right"])
def test_a_coordinate_on_a_border_belongs_to_the_pixel_that_starts_there(name):
    grid = np.array(GRIDS[name])
    row, col = (one.ravel() for one in np.mgrid[-3:40, -3:40].astype(float))
    x, y = map_coordinates(grid, row, col)  # whole metres: exact
    found = pixel_of(grid, x, y)
    np.testing.assert_array_equal(found, (row, col))
    np.testing.assert_array_equal(found, rowcol(grid, x, y))


@given(st.lists(st.sampled_from(sorted(GRIDS)), min_size=1, max_size=12), st.integers(0, 2**32))
def test_a_transform_per_coordinate_gives_what_each_gives_alone(names, seed):
    grids = np.array([GRIDS[name] for name in names])
    rng = np.random.default_rng(seed)
    row, col = rng.integers(0, 500, (2, len(names))) + rng.uniform(0.01, 0.99, (2, len(names)))
    x, y = map_coordinates(grids, row, col)
    together = pixel_of(grids, x, y)
    alone = [pixel_of(grid, x[[n]], y[[n]]) for n, grid in enumerate(grids)]
    np.testing.assert_array_equal(together, np.array(alone).reshape(len(names), 2).T)


def test_what_is_not_finite_falls_outside_of_every_image():
    far = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 5.0])
    for name, grid in GRIDS.items():
        row, col = pixel_of(np.array(grid), far, far[::-1])
        inside = (row >= 0) & (row < 2**31) & (col >= 0) & (col < 2**31)
        assert not inside.any(), name
    degenerate = np.zeros(6)
    row, col = pixel_of(degenerate, np.array([0.0, 3.0]), np.array([0.0, 3.0]))
    assert not ((row >= 0) & (row < 2**31) & (col >= 0) & (col < 2**31)).any()


@given(st.tuples(*[st.floats(-1e5, 1e5)] * 6), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_map_and_pixel_coordinates_undo_each_other(grid, row, col):
    a, b, _, d, e, _ = grid
    size = max(abs(a), abs(b), abs(d), abs(e))
    assume(size > 1e-3 and abs(a * e - b * d) > 1e-3 * size * size)
    x, y = map_coordinates(np.array(grid), np.array([row]), np.array([col]))
    back = pixel_coordinates(np.array(grid), x, y)
    np.testing.assert_allclose(np.ravel(back), (row, col), atol=1e-3)


@pytest.mark.parametrize("name", GRIDS)
def test_a_windows_transform_is_the_one_rasterio_gives(name):
    grid = Affine(*GRIDS[name])
    rows, cols = np.array([0, 7, -3]), np.array([0, 11, 400])
    found = window_transform(np.array(GRIDS[name]), rows, cols)
    for one, row, col in zip(found, rows, cols, strict=True):
        window = rasterio.windows.Window(col, row, 5, 5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = tuple(rasterio.windows.transform(window, grid))[:6]
        np.testing.assert_allclose(one, expected, rtol=1e-12)


CRS_32632 = pyproj.CRS.from_epsg(32632)


@pytest.mark.parametrize(
    "crs",
    [
        32632,
        np.int64(32632),
        "EPSG:32632",
        "epsg:32632",
        CRS_32632,
        CRS_32632.to_wkt(),
        CRS_32632.to_json(),
        CRS_32632.to_json_dict(),
        rasterio.crs.CRS.from_epsg(32632),
    ],
)
def test_one_crs_has_one_name_however_it_is_written(crs):
    assert normalize_crs(crs) == "EPSG:32632"


def test_a_crs_without_a_code_keeps_its_meaning():
    laea = "+proj=laea +lat_0=1 +lon_0=2 +datum=WGS84 +units=m"
    name = normalize_crs(laea)
    assert pyproj.CRS(name) == pyproj.CRS(laea)
    assert normalize_crs(name) == name
    assert normalize_crs(json.dumps(pyproj.CRS(laea).to_json_dict())) == name


@pytest.mark.parametrize("crs", ["no such thing", -5, True, None, object(), "EPSG:0", "", 3.5])
def test_what_is_no_crs_is_an_error_that_says_so(crs):
    with pytest.raises(UsageError, match="crs"):
        normalize_crs(crs)


@pytest.mark.parametrize("target", [32632, 3035, 3857, 2154, 4326])
def test_coordinates_move_as_rasterio_moves_them_longitude_first(target):
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(2, 14, 50), rng.uniform(42, 55, 50)
    x, y = transform_xy("EPSG:4326", normalize_crs(target), lon, lat)
    expected = rasterio.warp.transform("EPSG:4326", f"EPSG:{target}", lon, lat)
    np.testing.assert_allclose((x, y), expected, rtol=1e-9, atol=1e-6)
    back = transform_xy(normalize_crs(target), LONLAT, x, y)
    np.testing.assert_allclose(back, (lon, lat), atol=1e-7)


def test_axis_order_is_no_difference_and_the_same_crs_gives_the_input_back():
    x, y = np.array([9.0, np.nan]), np.array([47.0, 1.0])
    for source, target in (("EPSG:4326", LONLAT), (LONLAT, "EPSG:4326"), ("EPSG:32632", "EPSG:32632")):
        moved = transform_xy(source, target, x, y)
        assert moved[0] is x
        assert moved[1] is y


@pytest.mark.parametrize("shape", [(1,), (1, 1), (0,), (3,), (2, 2)])
def test_moved_coordinates_have_the_shape_of_those_given(shape):
    lon, lat = np.full(shape, 9.0), np.full(shape, 47.0)
    x, y = transform_xy("EPSG:4326", "EPSG:3857", lon, lat)
    assert x.shape == y.shape == shape
    assert x.dtype == y.dtype == np.float64
    expected = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(9.0, 47.0)
    assert set(zip(x.ravel(), y.ravel(), strict=True)) <= {expected}


def test_coordinates_without_a_place_are_not_finite_and_do_not_spoil_others():
    lon, lat = np.array([9.0, np.nan, np.inf, 9.0]), np.array([47.0, 1.0, 2.0, 95.0])
    x, y = transform_xy("EPSG:4326", "EPSG:3857", lon, lat)
    assert np.isfinite([x[0], y[0]]).all()
    assert not np.isfinite(np.stack([x, y])[:, 1:]).all(axis=0).any()


def test_threads_move_coordinates_at_once_and_get_the_same():
    lon, lat = np.linspace(5, 14, 5_000), np.linspace(40, 55, 5_000)
    expected = transform_xy("EPSG:4326", "EPSG:32632", lon, lat)
    wrong = []

    def run():
        for _ in range(5):
            if not np.array_equal(transform_xy("EPSG:4326", "EPSG:32632", lon, lat), expected):
                wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_densified_box_walks_once_around_its_edges():
    bounds = np.array([[0.1, 0.2, 3.7, 4.9], [-1.0, -1.0, -1.0, 2.0]])
    x, y = densified_box(bounds, points_per_edge=5)
    assert x.shape == y.shape == (2, 20)
    np.testing.assert_array_equal(np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], axis=1), bounds)
    on_edge = np.isin(x, bounds[:, [0, 2]]) | np.isin(y, bounds[:, [1, 3]])
    assert on_edge.all()
    steps = np.abs(np.diff(np.append(x, x[:, :1], axis=1))) + np.abs(np.diff(np.append(y, y[:, :1], axis=1)))
    assert (steps[0] <= 4.7 / 5 + 1e-12).all()
