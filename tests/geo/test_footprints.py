"""Do footprints enclose the images, wherever on Earth they are?"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from polars_rasteret.geo.antimeridian import geometry_bounds
from polars_rasteret.geo.boxes import merge_bounds, wrap_bounds
from polars_rasteret.geo.footprints import image_footprints


def footprint(crs, transform, width, height):
    found = image_footprints([crs], np.array([transform], dtype=np.float64), np.array([width]), np.array([height]))
    return found.geometry[0], found.bounds[0]


def holds(bounds, lon, lat, slack=1e-9):
    west, south, east, north = bounds
    inside = (
        (lon >= west - slack) & (lon <= east + slack) if west <= east else (lon >= west - slack) | (lon <= east + slack)
    )
    return inside & (lat >= south - slack) & (lat <= north + slack)


CASES = {
    "UTM": ("EPSG:32632", (10, 0, 300_000, 0, -10, 5_400_000), 10980, 10980),
    "UTM over the antimeridian": ("EPSG:32601", (100, 0, 200_000, 0, -100, 6_700_000), 2000, 2000),
    "UTM south": ("EPSG:32760", (30, 0, 700_000, 0, -30, 6_000_000), 6000, 6000),
    "south up": ("EPSG:32632", (10, 0, 300_000, 0, 10, 5_400_000), 500, 500),
    "rotated": ("EPSG:32632", (7, 7, 300_000, 7, -7, 5_400_000), 5000, 5000),
    "web mercator, all of it": ("EPSG:3857", (40_000, 0, -20_000_000, 0, -40_000, 20_000_000), 1000, 1000),
    "geographic, all of it": ("EPSG:4326", (1, 0, -180, 0, -1, 90), 360, 180),
    "geographic, 0 to 360": ("EPSG:4326", (1, 0, 0, 0, -1, 90), 360, 180),
    "geographic, past 180": ("EPSG:4326", (0.1, 0, 175, 0, -0.1, 10), 100, 100),
    "north pole inside": ("EPSG:3413", (1000, 0, -500_000, 0, -1000, 500_000), 1000, 1000),
    "north pole at a corner": ("EPSG:3413", (1000, 0, 0, 0, -1000, 0), 1000, 1000),
    "south pole inside": ("EPSG:3031", (1000, 0, -1_000_000, 0, -1000, 500_000), 1500, 1500),
    "polar, no pole": ("EPSG:3413", (1000, 0, 500_000, 0, -1000, -500_000), 1000, 1000),
    "Pacific": ("EPSG:3832", (5000, 0, 1_000_000, 0, -5000, 2_000_000), 800, 800),
    "equal area": ("EPSG:3035", (1000, 0, 2_500_000, 0, -1000, 5_500_000), 4000, 4000),
    "sinusoidal corner": ("ESRI:54008", (5000, 0, -19_000_000, 0, -5000, 7_000_000), 1000, 1000),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds_and_footprint_hold_what_is_in_the_image(name):
    crs, transform, width, height = CASES[name]
    geometry, bounds = footprint(crs, transform, width, height)
    rng = np.random.default_rng(0)
    col, row = rng.uniform(0, width, 3000), rng.uniform(0, height, 3000)
    a, b, c, d, e, f = transform
    x, y = a * col + b * row + c, d * col + e * row + f
    lon, lat = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True).transform(x, y)
    on_earth = np.isfinite(lon) & np.isfinite(lat)
    if "sinusoidal" in name:  # beyond the limb its inverse goes on around the Earth
        on_earth &= np.abs(Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(lon, lat)[0] - x) < 1
    lon, lat = (lon[on_earth] + 180) % 360 - 180, lat[on_earth]
    assert len(lon)
    assert holds(bounds, lon, lat).all()
    assert geometry.is_valid
    outline = shapely.bounds(geometry)
    assert outline[0] >= -180
    assert outline[2] <= 180
    inside = shapely.covers(geometry, shapely.points(lon, lat))
    assert inside.mean() > 0.99


@pytest.mark.parametrize("name", ["UTM over the antimeridian", "geographic, past 180", "Pacific"])
def test_images_over_the_antimeridian_run_from_east_to_west(name):
    geometry, bounds = footprint(*CASES[name])
    assert bounds[0] > 0 > bounds[2]
    assert geometry.geom_type == "MultiPolygon"
    np.testing.assert_allclose(geometry_bounds(np.array([geometry]))[0], bounds, atol=0.01)


def test_an_image_that_ends_at_the_antimeridian_does_not_cross_it():
    for left, right in ((170, 180), (-180, -170)):
        geometry, bounds = footprint("EPSG:4326", (0.1, 0, left, 0, -0.1, 10), 100, 100)
        assert geometry.geom_type == "Polygon"
        np.testing.assert_allclose(bounds, [left, 0, right, 10])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, (1, 0, 0, 0, -1, 0)),
        ("EPSG:4326", (np.nan,) * 6),
        ("EPSG:4326", (np.inf, 0, 0, 0, -1, 0)),
        ('LOCAL_CS["site",UNIT["metre",1]]', (1, 0, 0, 0, -1, 0)),
    ],
)
def test_an_image_without_a_place_has_no_footprint(crs, transform):
    geometry, bounds = footprint(crs, transform, 10, 10)
    assert geometry is None
    assert np.isnan(bounds).all()


@settings(deadline=None)
@given(st.floats(-180, 180), st.floats(-80, 70), st.floats(0.01, 100), st.floats(0.01, 10))
def test_geographic_boxes_are_exact(west, south, width, height):
    geometry, bounds = footprint("OGC:CRS84", (width / 10, 0, west, 0, -height / 10, south + height), 10, 10)
    east = west + width
    if abs(east - 180) > 1e-6 and abs(west + 180) > 1e-6 and abs(west - 180) > 1e-6:
        np.testing.assert_allclose(
            bounds, [west, south, east if east <= 180 else east - 360, south + height], atol=1e-6
        )
    assert geometry.area == pytest.approx(width * height, rel=1e-6)


@given(st.lists(st.tuples(st.floats(-180, 180), st.floats(0, 300)), min_size=2, max_size=2))
def test_merged_bounds_hold_both(spans):
    each = np.array([[west, 0, west + width, 1] for west, width in spans])
    wrapped = wrap_bounds(each)
    merged = merge_bounds(wrapped[:1], wrapped[1:])[0]
    for west, width in spans:
        lon = (np.linspace(west, west + width, 50) + 180) % 360 - 180
        at_the_seam = np.abs(lon) > 180 - 1e-6  # 180 and -180 are one place
        assert (holds(merged, lon, np.full(50, 0.5), slack=1e-6) | at_the_seam).all()


def test_merging_with_nothing_changes_nothing():
    one, nothing = np.array([[170.0, 0, -170, 1]]), np.full((1, 4), np.nan)
    np.testing.assert_allclose(merge_bounds(one, nothing), one)
    np.testing.assert_allclose(merge_bounds(nothing, one), one)
    assert np.isnan(merge_bounds(nothing, nothing)).all()
