"""Are the pixels covered those that GDAL rasterises?"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask
from rasterio.transform import Affine

from polars_rasteret.geo.coverage import covered_pixels


def lines_of(polygon):
    return [
        (shapely.get_y(points), shapely.get_x(points), True)
        for part in shapely.get_parts(polygon)
        for ring in shapely.get_rings(part)
        for points in [shapely.points(shapely.get_coordinates(ring))]
    ]


def check(polygon, height, width, all_touched):
    wanted = geometry_mask([polygon], (height, width), Affine.identity(), all_touched=all_touched, invert=True)
    np.testing.assert_array_equal(covered_pixels(lines_of(polygon), height, width, all_touched=all_touched), wanted)


sides = st.integers(1, 30)


@pytest.mark.filterwarnings("ignore::rasterio.errors.ShapeSkipWarning")
@settings(deadline=None, max_examples=200)
@given(
    points=st.lists(
        st.tuples(st.floats(-6, 36, width=32), st.floats(-6, 36, width=32)), min_size=3, max_size=9, unique=True
    ),
    hole=st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0.3, 9)),
    height=sides,
    width=sides,
    all_touched=st.booleans(),
)
def test_polygons_with_holes(points, hole, height, width, all_touched):
    hull = shapely.convex_hull(shapely.multipoints(np.round(points, 3) + 0.0007))
    polygon = hull.difference(shapely.buffer(shapely.Point(*hole[:2]), hole[2]))
    if polygon.geom_type in ("Polygon", "MultiPolygon") and not polygon.is_empty:
        check(polygon, height, width, all_touched)


@settings(deadline=None, max_examples=200)
@given(
    corner=st.tuples(st.integers(-8, 50), st.integers(-8, 50)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    height=sides,
    width=sides,
    all_touched=st.booleans(),
)
def test_boxes_along_borders_and_centres_of_pixels(corner, size, height, width, all_touched):
    left, top = corner[0] / 2, corner[1] / 2
    check(shapely.box(left, top, left + size[0] / 2, top + size[1] / 2), height, width, all_touched)


def test_a_line_covers_nothing_but_what_it_passes_through():
    line = [(np.array([0.5, 0.5, 2.5]), np.array([0.5, 2.5, 2.5]), False)]
    assert not covered_pixels(line, 3, 4, all_touched=False).any()
    assert covered_pixels(line, 3, 4, all_touched=True).astype(int).tolist() == [
        [1, 1, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 1, 0],
    ]
