"""Are the windows of areas the smallest that hold them?"""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_coordinates
from polars_rasteret.geo.area_windows import area_windows, outline_windows
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.crs import NATIVE, normalize_crs, transform_xy
from polars_rasteret.geo.points import Points

NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
SOUTH_UP = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0)
ROTATED = (8.0, 3.0, 500_000.0, 3.0, -8.0, 5_000_000.0)
TOLERANCE = 1e-6


def wkb_of(*geometries):
    values = np.empty(len(geometries), object)
    values[:] = [None if one is None else shapely.to_wkb(one) for one in geometries]
    return values


def brute_force(geometry, grid, *, move=None, n_points=400):
    """Give the window of a geometry from very many points of its outline."""
    coordinates = shapely.get_coordinates(geometry.segmentize(max(geometry.length / n_points, 1e-9)))
    x, y = coordinates.T
    if move is not None:
        x, y = transform_xy(*move, np.ascontiguousarray(x), np.ascontiguousarray(y))
    row, col = pixel_coordinates(np.array(grid), x, y)
    row_start, col_start = np.floor(row.min() + TOLERANCE), np.floor(col.min() + TOLERANCE)
    row_stop, col_stop = np.ceil(row.max() - TOLERANCE), np.ceil(col.max() - TOLERANCE)
    return [row_start, max(row_stop, row_start + 1), col_start, max(col_stop, col_start + 1)]


METERS = st.floats(-2_000, 2_000).map(lambda value: round(value, 2))
TRIANGLES = st.lists(st.tuples(METERS, METERS), min_size=3, max_size=6, unique=True).map(
    lambda xy: shapely.MultiPoint([(500_000 + x, 5_000_000 - y) for x, y in xy]).convex_hull
)


@given(st.lists(TRIANGLES, min_size=1, max_size=5), st.data())
@settings(max_examples=60)
def test_windows_in_the_areas_own_crs_are_floor_and_ceil_of_the_outline(shapes, data):
    areas = Areas(wkb_of(*shapes), "EPSG:32632")
    n_asked = data.draw(st.integers(1, 6))
    index = np.array(data.draw(st.lists(st.integers(0, len(shapes) - 1), min_size=n_asked, max_size=n_asked)), np.int64)
    grids = [data.draw(st.sampled_from([NORTH_UP, SOUTH_UP, ROTATED])) for _ in index]
    found = outline_windows(areas, "EPSG:32632", index, np.array(grids))[0]
    assert found.dtype == np.int64
    expected = [brute_force(shapes[at], grid) for at, grid in zip(index, grids, strict=True)]
    assert found.tolist() == np.array(expected).tolist()


@given(st.floats(6, 12), st.floats(40, 60), st.floats(0.001, 0.8), st.floats(0.001, 0.8))
@settings(max_examples=40)
def test_windows_in_another_crs_hold_the_bent_outline(lon, lat, width, height):
    box = shapely.box(lon, lat, lon + width, lat + height)
    areas = Areas(wkb_of(box), "EPSG:4326")
    (found,) = outline_windows(areas, "EPSG:32632", np.array([0]), np.array([NORTH_UP]))[0].tolist()
    row_start, row_stop, col_start, col_stop = brute_force(box, NORTH_UP, move=("EPSG:4326", "EPSG:32632"))
    corners = brute_force(shapely.MultiPoint(shapely.get_coordinates(box)), NORTH_UP, move=("EPSG:4326", "EPSG:32632"))
    # Chords stay inside of the true curve by a little: at most the sagitta of a twentieth of a side.
    sag = 2 + 0.01 * max(row_stop - row_start, col_stop - col_start)
    assert row_start <= found[0] <= row_start + sag
    assert row_stop - sag <= found[1] <= row_stop
    assert col_start <= found[2] <= col_start + sag
    assert col_stop - sag <= found[3] <= col_stop
    assert found[0] <= corners[0]
    assert found[1] >= corners[1]


def test_a_box_of_pixel_corners_is_just_those_pixels_in_spite_of_rounding():
    for nudge in (0.0, 5e-6, -5e-6):  # half a millionth of a pixel
        box = shapely.box(500_100 + nudge, 4_999_700 + nudge, 500_250 + nudge, 4_999_900 + nudge)
        areas = Areas(wkb_of(box), "EPSG:32632")
        assert outline_windows(areas, "EPSG:32632", np.array([0]), np.array([NORTH_UP]))[0].tolist() == [
            [10, 30, 10, 25]
        ]


def test_points_and_lines_on_a_border_touch_the_pixel_that_starts_there():
    areas = Areas(
        wkb_of(shapely.Point(500_100, 4_999_900), shapely.LineString([(500_100, 4_999_900), (500_100, 4_999_700)])),
        "EPSG:32632",
    )
    found = outline_windows(areas, "EPSG:32632", np.array([0, 1]), np.array([NORTH_UP, NORTH_UP]))[0]
    assert found.tolist() == [[10, 11, 10, 11], [10, 30, 10, 11]]


def test_null_and_empty_areas_have_no_window_and_do_not_shift_others():
    box = shapely.box(500_100, 4_999_700, 500_250, 4_999_900)
    areas = Areas(wkb_of(None, box, shapely.Polygon(), box, shapely.Point()), "EPSG:32632")
    assert len(areas) == 5
    grids = np.tile(np.array(NORTH_UP), (6, 1))
    found = outline_windows(areas, "EPSG:32632", np.array([0, 1, 2, 3, 4, 1]), grids)[0]
    assert found.tolist() == [[0] * 4, [10, 30, 10, 25], [0] * 4, [10, 30, 10, 25], [0] * 4, [10, 30, 10, 25]]
    assert np.isnan(areas.bounds_in("EPSG:4326")[[0, 2, 4]]).all()
    assert np.isfinite(areas.bounds_in("EPSG:4326")[[1, 3]]).all()
    assert outline_windows(Areas(wkb_of(), "EPSG:32632"), "EPSG:32632", np.zeros(0, np.int64), np.zeros((0, 6)))[
        0
    ].shape == (0, 4)


def test_areas_without_a_place_in_a_crs_have_no_window_there():
    areas = Areas(wkb_of(shapely.Point(9, 95), shapely.Point(9, 45)), "EPSG:4326")
    found = outline_windows(areas, "EPSG:32632", np.array([0, 1]), np.tile(np.array(NORTH_UP), (2, 1)))[0]
    assert found[0].tolist() == [0] * 4
    x, y = transform_xy("EPSG:4326", "EPSG:32632", np.array([9.0]), np.array([45.0]))
    row, col = (int(np.floor(one[0])) for one in pixel_coordinates(np.array(NORTH_UP), x, y))
    assert found[1].tolist() == [row, row + 1, col, col + 1]


def test_native_areas_are_in_whatever_crs_is_asked_for():
    areas = Areas(wkb_of(shapely.box(3, 4, 5.5, 6)), NATIVE)
    grid = np.array([(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)])
    for crs in ("EPSG:4326", "EPSG:32632", NATIVE):
        assert outline_windows(areas, crs, np.array([0]), grid)[0].tolist() == [[4, 6, 3, 6]]


def test_what_is_no_geometry_is_an_error_that_says_so():
    with pytest.raises(UsageError, match="WKB"):
        Areas(np.array([b"\x01\x02"], object), NATIVE)


@given(st.lists(st.lists(st.integers(0, 19), max_size=15), max_size=5))
def test_points_are_moved_as_if_all_were_moved_at_once(asked):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(5, 13, 20), rng.uniform(40, 60, 20)
    x[3], y[4] = np.nan, np.inf
    points = Points(x, y, "EPSG:4326")
    expected = {crs: transform_xy("EPSG:4326", crs, x, y) for crs in ("EPSG:32632", "EPSG:3857")}
    for n, index in enumerate(asked):
        crs = ("EPSG:32632", "EPSG:3857", "EPSG:4326")[n % 3]
        all_x, all_y = expected.get(crs, (x, y))
        at = np.array(index, np.int64)
        moved_x, moved_y = points.in_crs(crs, at)
        np.testing.assert_allclose(moved_x, all_x[at], rtol=1e-12)
        np.testing.assert_allclose(moved_y, all_y[at], rtol=1e-12)


def naip_like_grid():
    """A grid of 100 x 80 pixels of 1 km in UTM 32N, and its size."""
    return np.array([[1000.0, 0, 450_000, 0, -1000, 5_050_000]]), np.array([100]), np.array([80])


@pytest.mark.parametrize(
    ("crs", "area"),
    [
        ("EPSG:4326", shapely.box(-180, -90, 180, 90)),
        ("EPSG:4326", shapely.box(-60, 0, 90, 80)),
        ("EPSG:4326", shapely.Polygon([(-100, -80), (100, -80), (100, 80), (-100, 85)])),
        ("EPSG:3857", shapely.box(-2e7, -1e7, 2e7, 1.5e7)),
    ],
)
def test_an_area_that_holds_the_image_asks_for_all_of_it(crs, area):
    transform, width, height = naip_like_grid()
    ((row_start, row_stop, col_start, col_stop),) = area_windows(
        Areas(np.array([shapely.to_wkb(area)], dtype=object), crs),
        "EPSG:32632",
        np.array([0]),
        transform,
        width,
        height,
    )[0].tolist()
    assert row_start <= 0
    assert row_stop >= 80
    assert col_start <= 0
    assert col_stop >= 100


def test_a_larger_area_never_asks_for_less():
    transform, width, height = naip_like_grid()
    middle = 45.3
    small, large = (
        area_windows(
            Areas(
                np.array([shapely.to_wkb(shapely.box(9 - wide, middle, 9 + wide, middle + tall))], dtype=object),
                "EPSG:4326",
            ),
            "EPSG:32632",
            np.array([0]),
            transform,
            width,
            height,
        )[0][0].clip(0, [80, 80, 100, 100])
        for wide, tall in ((2, 1), (40, 30))
    )
    assert large[0] <= small[0]
    assert large[1] >= small[1]
    assert large[2] <= small[2]
    assert large[3] >= small[3]


def test_a_ring_around_an_image_does_not_meet_it():
    transform, width, height = naip_like_grid()
    hole = shapely.box(440_000, 4_960_000, 560_000, 5_060_000)
    ring = shapely.difference(shapely.box(300_000, 4_800_000, 700_000, 5_200_000), hole)
    found, _ = area_windows(
        Areas(np.array([shapely.to_wkb(ring)], dtype=object), "EPSG:32632"),
        "EPSG:32632",
        np.array([0]),
        transform,
        width,
        height,
    )
    assert found.tolist() == [[0, 0, 0, 0]]


def test_a_polygon_that_crosses_itself_keeps_all_of_its_parts():
    transform, width, height = naip_like_grid()
    bow_tie = shapely.Polygon([(460_000, 5_040_000), (540_000, 4_980_000), (540_000, 5_040_000), (460_000, 4_980_000)])
    box = shapely.box(*bow_tie.bounds)
    found, whole = (
        area_windows(
            Areas(np.array([shapely.to_wkb(one)], dtype=object), "EPSG:32632"),
            "EPSG:32632",
            np.array([0]),
            transform,
            width,
            height,
        )[0].tolist()
        for one in (bow_tie, box)
    )
    assert found == whole


def clipped(window, size):
    return np.clip(window, 0, size).astype(int).tolist()


def dense_window(area, grid, source, target, n_points=20_000):
    """The bounds of an outline that was cut into very many pieces before it was moved."""
    x, y = shapely.get_coordinates(shapely.segmentize(area, area.length / n_points)).T
    x, y = pyproj.Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    col, row = (x - grid[2]) / grid[0], (y - grid[5]) / grid[4]
    return [
        np.floor(row.min() + TOLERANCE),
        np.ceil(row.max() - TOLERANCE),
        np.floor(col.min() + TOLERANCE),
        np.ceil(col.max() - TOLERANCE),
    ]


SHARES = st.tuples(*[st.floats(0.01, 1)] * 4)
LARGE = {
    "from lon/lat to UTM": ("EPSG:4326", "EPSG:32632", (10.0, 0, 200_000, 0, -10, 5_350_000), (9.0, 45.5), 4.0),
    "from UTM to lon/lat": (
        "EPSG:32632",
        "EPSG:4326",
        (1e-4, 0, 6.0, 0, -1e-4, 48.5),
        (500_000.0, 5_000_000.0),
        300_000.0,
    ),
    "from web mercator to UTM": ("EPSG:3857", "EPSG:32632", (10.0, 0, 200_000, 0, -10, 5_350_000), (1e6, 5.7e6), 3e5),
    "from polar to lon/lat": ("EPSG:3413", "EPSG:4326", (1e-3, 0, -75.0, 0, -1e-3, 89), (0.0, -1e6), 5e5),
}


@pytest.mark.parametrize("way", LARGE)
@given(shares=SHARES, is_triangle=st.booleans())
@example(shares=(0.03125, 1.0, 0.0625, 1.0), is_triangle=False)  # narrow: its short edges are curved, too
@settings(max_examples=30)
def test_the_window_of_a_large_area_is_that_of_its_bent_bounds(way, shares, is_triangle):
    source, target, grid, (x, y), size = LARGE[way]
    west, south, east, north = (size * one for one in shares)
    area = shapely.box(x - west, y - south, x + east, y + north)
    if is_triangle:
        area = shapely.Polygon([(x - west, y - south), (x + east, y - south), (x, y + north)])
    n = np.array([60_000])
    found = area_windows(Areas(wkb_of(area), source), target, np.array([0]), np.array([grid]), n, n)[0][0]
    expected = dense_window(area, grid, source, target)
    assert clipped(found, 60_000) == clipped(expected, 60_000)


GOES = "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80"


@pytest.mark.parametrize(
    ("area", "area_crs", "crs", "transform", "is_met"),
    [
        ((15, 6, 16, 14), 4326, GOES, (54_000, 0, -5.4e6, 0, -54_000, 5.4e6), False),
        ((-30, 6, 16, 14), 4326, GOES, (54_000, 0, -5.4e6, 0, -54_000, 5.4e6), True),
        ((1.2e6, -4e6, 1.3e6, -3.9e6), GOES, 32701, (5_000, 0, 300_000, 0, -5_000, 8_300_000), False),
        ((-1e6, -1e6, 1e6, 1e6), GOES, 32718, (5_000, 0, 300_000, 0, -5_000, 1e7), True),
    ],
)
def test_an_image_that_has_nothing_of_an_area_off_its_earth_is_not_taken_whole(area, area_crs, crs, transform, is_met):
    areas = Areas(np.array([shapely.to_wkb(shapely.box(*area))], object), normalize_crs(area_crs))
    size = np.array([200])
    window, _ = area_windows(areas, normalize_crs(crs), np.array([0]), np.array([transform], np.float64), size, size)
    assert window.any() == is_met
