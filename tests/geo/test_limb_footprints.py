"""Do footprints hold all of an image that is on the Earth, and little else, where the Earth ends inside the image?

pyproj is the judge: a pixel centre is on the Earth when its longitude and latitude lead back to it.
"""

from __future__ import annotations

import functools

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polars_rasteret.geo.crs import normalize_crs
from polars_rasteret.geo.footprints import image_footprints

GOES_EDGE = 5434894.885
PROJECTIONS = {
    "geostationary": ("+proj=geos +h=35786023 +lon_0={lon} +sweep=x +ellps=GRS80", (GOES_EDGE, GOES_EDGE)),
    "geostationary, sweep y": ("+proj=geos +h=35785831 +lon_0={lon} +sweep=y", (5.57e6, 5.57e6)),
    "Mollweide": ("+proj=moll +lon_0={lon} +datum=WGS84", (1.81e7, 9.05e6)),
    "Robinson": ("+proj=robin +lon_0={lon} +datum=WGS84", (1.71e7, 8.7e6)),
    "Eckert IV": ("+proj=eck4 +lon_0={lon} +datum=WGS84", (1.7e7, 8.5e6)),
    "Goode": ("+proj=igh +lon_0={lon} +datum=WGS84", (2.01e7, 8.7e6)),
    "sinusoidal": ("+proj=sinu +lon_0={lon} +R=6371007.181", (2.0015109354e7, 1.0007554677e7)),
    "orthographic": ("+proj=ortho +lat_0={lat} +lon_0={lon} +datum=WGS84", (6.4e6, 6.4e6)),
    "equal area": ("+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84", (1.3e7, 1.3e7)),
    "equidistant": ("+proj=aeqd +lat_0={lat} +lon_0={lon} +datum=WGS84", (2.01e7, 2.01e7)),
    "polar stereographic": ("+proj=stere +lat_0=90 +lat_ts=70 +lon_0={lon} +datum=WGS84", (4e6, 4e6)),
}


@functools.cache
def both_ways(proj):
    crs = pyproj.CRS(proj)
    there = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    return normalize_crs(crs), there, pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)


def footprint(proj, transform, width, height):
    found = image_footprints([both_ways(proj)[0]], np.array([transform]), np.array([width]), np.array([height]))
    return found.geometry[0], found.bounds[0]


def grid(box, width, height, *, turn=0.0, south_up=False):
    """Give the transform of an image over a box, turned around its middle by some degrees."""
    west, south, east, north = box
    a, e = (east - west) / width, (north - south) / height
    transform = np.array([[a, 0, west], [0, e if south_up else -e, south if south_up else north], [0, 0, 1]])
    if turn:
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        x, y = (west + east) / 2, (south + north) / 2
        around = np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]])
        transform = around @ transform
    return tuple(transform[:2].ravel().tolist())


def centres_on_earth(proj, transform, width, height, at_most=40_000):
    """Give longitude and latitude of pixel centres; of large images, of some."""
    _, there, back = both_ways(proj)
    if width * height <= at_most:
        col, row = (axis.ravel() for axis in np.meshgrid(np.arange(width), np.arange(height)))
    else:
        rng = np.random.default_rng(0)
        col, row = rng.integers(0, width, at_most), rng.integers(0, height, at_most)
    a, b, c, d, e, f = transform
    x, y = a * (col + 0.5) + b * (row + 0.5) + c, d * (col + 0.5) + e * (row + 0.5) + f
    lon, lat = there.transform(x, y)
    again = back.transform(lon, lat)
    with np.errstate(invalid="ignore"):
        on_earth = np.isfinite(lon) & (np.hypot(again[0] - x, again[1] - y) < 10)
    return (lon[on_earth] + 180) % 360 - 180, lat[on_earth]


def share_in_image(proj, transform, width, height, geometry, n_places=60_000):
    """Give the share of the area of a footprint whose places have their pixel in the image."""
    west, south, east, north = shapely.bounds(geometry)
    # The R2 sequence spreads evenly.
    number = np.arange(1, n_places + 1)
    lon = west + (east - west) * (number * 0.7548776662466927 % 1)
    lat = south + (north - south) * (number * 0.5698402909980532 % 1)
    inside = shapely.contains_xy(geometry, lon, lat)
    x, y = both_ways(proj)[2].transform(lon[inside], lat[inside])
    a, b, c, d, e, f = transform
    with np.errstate(invalid="ignore"):
        dx, dy = x - c, y - f
        col, row = (e * dx - b * dy) / (a * e - b * d), (a * dy - d * dx) / (a * e - b * d)
    return ((col >= 0) & (col <= width) & (row >= 0) & (row <= height)).mean(), inside.sum()


def check(proj, transform, width, height):
    geometry, bounds = footprint(proj, transform, width, height)
    lon, lat = centres_on_earth(proj, transform, width, height)
    if geometry is None:
        assert not len(lon)
        assert np.isnan(bounds).all()
        return None
    assert geometry.is_valid
    assert shapely.box(-180, -90, 180, 90).covers(geometry)
    shapely.prepare(geometry)
    assert shapely.covers(geometry, shapely.points(lon, lat)).all()
    west, south, east, north = bounds
    within = (lon >= west) & (lon <= east) if west <= east else (lon >= west) | (lon <= east)
    assert (within & (lat >= south) & (lat <= north)).all()
    share, n_places = share_in_image(proj, transform, width, height, geometry)
    # What the sequence cannot tell: a few places for each crossing of the outline.
    assert share >= 1 / 1.02 - 3 / np.sqrt(max(n_places, 1)) / 10
    return geometry


CENTRES = ((-75, 40), (180, -90))


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [
        pytest.param(name, *centre, marks=[pytest.mark.slow] if (at + turn) % 2 else [])
        for at, name in enumerate(PROJECTIONS)
        for turn, centre in enumerate(CENTRES)
    ],
)
def test_the_whole_map_is_held(name, lon, lat):
    proj, (x, y) = PROJECTIONS[name]
    check(proj.format(lon=lon, lat=lat), grid((-x, -y, x, y), 120, 100), 120, 100)


@st.composite
def images(draw):
    """Draw a projection and a grid over a part of its map, or beyond it."""
    name = draw(st.sampled_from(sorted(PROJECTIONS)))
    proj, (reach_x, reach_y) = PROJECTIONS[name]
    proj = proj.format(lon=draw(st.integers(-180, 180)), lat=draw(st.integers(-90, 90)))
    size = draw(st.sampled_from([2.0, 1.0, 0.3, 0.05, 0.005])) * draw(st.floats(0.5, 1))
    x, y = draw(st.floats(-1, 1)), draw(st.floats(-1, 1))
    box = ((x - size) * reach_x, (y - size) * reach_y, (x + size) * reach_x, (y + size) * reach_y)
    # Straight pieces are as good as the edges of small images, unless their pixels are very small, too.
    shapes = [(1, 1), (3, 2), (150, 1), (120, 90)] + [(20_000, 30_000)] * (size > 0.1)
    width, height = draw(st.sampled_from(shapes))
    turn = draw(st.sampled_from([0.0, 0.0, 90.0, 180.0, 31.0]))
    return proj, grid(box, width, height, turn=turn, south_up=draw(st.booleans())), width, height


@settings(max_examples=25, deadline=None)
@given(images())
@example(("+proj=igh +lon_0=0 +datum=WGS84", (0, 5739.583333333333, 9791718.75, 9945.3125, 0, 4517929.6875), 120, 90))
@example(("+proj=igh +lon_0=0 +datum=WGS84", (250, 0, 1_000_000, 0, -250, 4_600_000), 450, 450))
def test_a_part_of_a_map_is_held(image):
    check(*image)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(images())
def test_any_part_of_a_map_is_held(image):
    check(*image)


def test_an_image_beyond_the_limb_has_no_footprint():
    for box in ((5.2e6, 5.2e6, 5.4e6, 5.4e6), (6e6, -1e6, 7e6, 1e6)):
        transform = grid(box, 100, 100)
        assert footprint(PROJECTIONS["geostationary"][0].format(lon=-75), transform, 100, 100)[0] is None
    # The inverse of this one goes on around the Earth.
    transform = grid((1.9e7, 8e6, 2e7, 9e6), 100, 100)
    geometry, bounds = footprint(PROJECTIONS["sinusoidal"][0].format(lon=0), transform, 100, 100)
    assert geometry is None
    assert np.isnan(bounds).all()


def test_a_corner_of_the_map_that_is_not_in_the_image_is_not_held():
    # Both sides of the limb are the same meridian: the face of the corner goes on between them.
    transform = (36643902.105, 11202078.129, -23922990.117, 22017877.702, -18643388.790, -1687244.456)
    check("+proj=robin +lon_0=2 +datum=WGS84", transform, 1, 1)


def test_an_image_that_only_touches_the_limb_is_held():
    transform = grid((5.4335e6, -2e5, 5.5e6, 3e5), 665, 500)
    geometry = check(PROJECTIONS["geostationary"][0].format(lon=-75), transform, 665, 500)
    assert geometry.area < 3


def test_a_map_that_ends_at_the_antimeridian_does_not_cross_it():
    transform = grid((5e6, 2e6, 1.81e7, 9.1e6), 400, 200)
    bounds = footprint(PROJECTIONS["Mollweide"][0].format(lon=0), transform, 400, 200)[1]
    assert bounds[0] == pytest.approx(51.1, abs=0.2)
    assert bounds[2] == 180


@pytest.mark.parametrize(
    ("crs", "box", "expected"),
    [
        # Rows of pixels around the poles, on a sphere: GRIB files of weather models.
        ("+proj=longlat +R=6371229", (-0.125, -90.125, 359.875, 90.125), (-180, -90, 180, 90)),
        # EASE-Grid 2.0, global.
        ("EPSG:6933", (-17367530.44, -7314540.83, 17367530.44, 7314540.83), (-180, -85.04, 180, 85.04)),
    ],
)
def test_maps_that_go_around_the_earth_are_held(crs, box, expected):
    crs = normalize_crs(pyproj.CRS(crs))
    transform = grid(box, 720, 361)
    found = image_footprints([crs], np.array([transform]), np.array([720]), np.array([361]))
    np.testing.assert_allclose(found.bounds[0], expected, atol=0.05)
    assert found.geometry[0].area == pytest.approx(360 * (expected[3] - expected[1]), rel=1e-3)


def test_a_rotated_grid_with_a_pole_inside_is_held():
    rotated = (
        "+proj=ob_tran +o_proj=longlat +o_lat_p=39.25 +o_lon_p=0 +lon_0=18 +R=6371229 +to_meter=0.0174532925199433"
    )
    transform = grid((-20, -20, 60, 60), 100, 100)
    geometry, bounds = footprint(rotated, transform, 100, 100)
    col, row = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(100), np.arange(100)))
    lon, lat = both_ways(rotated)[1].transform(transform[0] * col + transform[2], transform[4] * row + transform[5])
    assert shapely.covers(geometry, shapely.points((lon + 180) % 360 - 180, lat)).all()
    assert bounds[3] == 90
    assert share_in_image(rotated, transform, 100, 100, geometry)[0] > 0.98


@pytest.mark.parametrize(
    ("proj", "box"),
    [
        ("+proj=igh +lon_0=160 +datum=WGS84", (-9e6, -8e6, 1e7, 8.7e6)),
        ("+proj=robin +lon_0=30 +datum=WGS84", (9.0e6, 8.61e6, 9.06e6, 8.63e6)),
        ("+proj=sinu +lon_0=30 +datum=WGS84", (-5e3, 9.995e6, 5e3, 1.0005e7)),
        ("+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84", (0.0, -1e6, 1e6, 0.0)),
        ("+proj=aeqd +lat_0=0 +lon_0=0 +datum=WGS84", (-1.005e7, -1.005e7, 1.005e7, 1.005e7)),
        ("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84", (-9e6, -8.99e6, 9e6, 8.99e6)),
    ],
)
def test_corners_of_maps_are_held(proj, box):
    for size in (1, 100):
        check(proj, grid(box, size, size), size, size)
