"""Are pairs by boxes those that comparing everything with everything gives?"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.geo.boxes import cut_boxes
from polars_rasteret.plan import pairs as by_boxes
from polars_rasteret.plan.pairs import covering_boxes, distinct_pairs, pairs_of_boxes, pairs_of_points, target_runs

# Few distinct values, so that edges meet often; and everything a float may be.
COORDINATE = st.one_of(
    st.sampled_from([-180.0, -1.0, 0.0, 0.5, 1.0, 2.0, 180.0]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(-200, 200),
)
POINTS = st.lists(st.tuples(COORDINATE, COORDINATE), max_size=25).map(lambda rows: np.array(rows, float).reshape(-1, 2))
BOXES = st.lists(st.tuples(*[COORDINATE] * 4), max_size=15).map(lambda rows: np.array(rows, float).reshape(-1, 4))


def sorted_boxes(boxes):
    """Give boxes whose minima do not exceed their maxima."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def listed(pairs):
    target, record = pairs
    assert target.dtype == record.dtype == np.int64
    return list(zip(target.tolist(), record.tolist(), strict=True))


@given(POINTS, BOXES)
def test_points_pair_with_the_closed_boxes_that_hold_them(points, boxes):
    boxes = sorted_boxes(boxes)
    expected = [
        (target, record)
        for target, (x, y) in enumerate(points)
        for record, (minx, miny, maxx, maxy) in enumerate(boxes)
        if np.isfinite([x, y]).all() and np.isfinite(boxes[record]).all() and minx <= x <= maxx and miny <= y <= maxy
    ]
    assert listed(pairs_of_points(points[:, 0], points[:, 1], boxes)) == expected


@given(BOXES, BOXES)
@settings(max_examples=60)
def test_areas_pair_with_the_boxes_they_touch(areas, boxes):
    areas, boxes = sorted_boxes(areas), sorted_boxes(boxes)
    expected = [
        (target, record)
        for target, a in enumerate(areas)
        for record, b in enumerate(boxes)
        if np.isfinite([a, b]).all() and a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]
    ]
    assert listed(pairs_of_boxes(areas, boxes)) == expected


def test_targets_that_are_points_or_lines_pair_too():
    boxes = np.array([[0.0, 0.0, 1.0, 1.0]])
    areas = np.array([[1.0, 1.0, 1.0, 1.0], [0.5, -3.0, 0.5, 3.0], [1.1, 0.0, 1.1, 0.0]])
    assert listed(pairs_of_boxes(areas, boxes)) == [(0, 0), (1, 0)]


LONGITUDE = st.sampled_from([-360.0, -180.0, -179.0, -1.0, 0.0, 1.0, 179.5, 180.0, 190.0, 360.0, 540.0]) | st.floats(
    -360, 540
).map(lambda value: round(value, 3))
LATITUDE = st.floats(-90, 90)


@given(
    st.lists(st.tuples(LONGITUDE, LATITUDE, LONGITUDE, LATITUDE), max_size=10),
    st.lists(LONGITUDE, min_size=1, max_size=10),
)
def test_the_pieces_of_a_box_hold_the_longitudes_that_it_holds_in_any_turn(boxes, longitudes):
    boxes = np.array(boxes, float).reshape(-1, 4)
    pieces, owner = cut_boxes(boxes)
    assert sorted(set(owner.tolist())) == list(range(len(boxes)))
    assert not (pieces[:, 0] > pieces[:, 2]).any()
    assert not (np.abs(pieces[:, ::2]) > 180).any()
    np.testing.assert_array_equal(pieces[:, 1::2], boxes[owner, 1::2])
    for box, (west, _, east, _) in enumerate(boxes):
        while west > east:  # it crosses: it runs east from west
            east += 360
        for longitude in longitudes:
            turns = longitude + 360 * np.arange(-4, 5)
            margin = np.minimum(turns - west, east - turns).max()
            turned = (longitude + 180) % 360 - 180
            mine = pieces[owner == box]
            found = bool(((mine[:, 0] <= turned) & (turned <= mine[:, 2])).any())
            if abs(margin) > 1e-9:  # rounding decides on the border
                assert found == (margin > 0)


def test_boxes_without_a_place_keep_their_row_and_have_none():
    nothing = np.array([[np.nan] * 4, [np.inf, 0, -np.inf, 1], [170.0, 0, -170, np.nan], [0.0, 0, 1, 1]])
    pieces, owner = cut_boxes(nothing)
    assert owner.tolist() == [0, 1, 2, 3]
    assert np.isfinite(pieces).all(axis=1).tolist() == [False, False, False, True]


def test_a_box_over_the_antimeridian_pairs_with_both_its_sides_once():
    boxes, owner = cut_boxes(np.array([[0.0, 0.0, 1.0, 1.0], [170.0, -10.0, -170.0, 10.0]]))
    x = np.array([175.0, -175.0, 180.0, -180.0, 0.5, 160.0, -160.0])
    target, box = pairs_of_points(x, np.full(len(x), 0.5), boxes)
    found = listed(distinct_pairs(target, owner[box]))
    assert found == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 0)]


INDEX = st.integers(0, 6)


@given(
    st.lists(st.tuples(INDEX, INDEX), max_size=40)
    | st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), max_size=40)
)
def test_distinct_pairs_are_the_sorted_set(pairs):
    target, record = (np.array([pair[at] for pair in pairs], np.int64) for at in (0, 1))
    assert listed(distinct_pairs(target, record)) == sorted(set(pairs))


@given(st.lists(st.integers(0, 20), max_size=60).map(sorted), st.integers(0, 5), st.integers(1, 30))
def test_runs_cover_every_target_and_every_pair_once_in_order(target, n_more, max_pairs):
    target = np.array(target, np.int64)
    n_targets = int(target.max(initial=-1)) + 1 + n_more
    covered, seen = [], []
    for pairs, targets in target_runs(target, n_targets, max_pairs):
        own = target[pairs]
        covered += list(targets)
        seen += own.tolist()
        assert set(own.tolist()) <= set(targets)
        assert len(own) <= max_pairs or len(set(own.tolist())) == 1
    assert covered == list(range(n_targets))
    assert seen == target.tolist()


@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 60))
@settings(max_examples=20)
def test_many_points_pair_as_shapely_says(seed, n_points, n_boxes):
    import shapely

    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-5, 5, (2, n_points)).round(1)
    low = rng.uniform(-6, 5, (n_boxes, 2)).round(1)
    boxes = np.concatenate([low, low + rng.uniform(0, 2, (n_boxes, 2)).round(1)], axis=1)
    tree = shapely.STRtree(shapely.box(*boxes.T))
    target, record = tree.query(shapely.points(x, y), predicate="intersects")
    assert listed(pairs_of_points(x, y, boxes)) == sorted(zip(target.tolist(), record.tolist(), strict=True))


@given(st.data())
def test_covering_boxes_cover_every_box_and_no_more_than_the_whole(data):
    n = data.draw(st.integers(1, 40))
    spread = data.draw(st.sampled_from([0.0, 1.0, 300.0]))
    drawn = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    corner = drawn.uniform(-spread, spread, (n, 2))
    boxes = np.concatenate([corner, corner + drawn.uniform(0, data.draw(st.sampled_from([0.0, 1.0])), (n, 2))], axis=1)
    covers = covering_boxes(boxes)
    assert len(covers) <= 16
    inside = (covers[:, None, :2] <= boxes[None, :, :2]) & (covers[:, None, 2:] >= boxes[None, :, 2:])
    assert inside.all(axis=2).any(axis=0).all()
    whole = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    if len(covers) > 1:
        area = np.prod(covers[:, 2:] - covers[:, :2], axis=1).sum()
        assert area <= np.prod(whole[2:] - whole[:2]) / 2


def test_a_few_far_places_are_covered_one_by_one():
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [100.0, 0.0, 101.0, 1.0]])
    assert covering_boxes(boxes).tolist() == boxes.tolist()
    assert covering_boxes(boxes[[0, 0]] + [[0, 0, 0, 0], [0.5, 0, 0.5, 0]]).tolist() == [[0.0, 0.0, 1.5, 1.0]]
    assert covering_boxes(np.full((2, 4), np.nan)).shape == (0, 4)


def test_points_pair_the_same_when_they_are_sorted_in_parts(monkeypatch):
    rng = np.random.default_rng(6)
    x, y = rng.uniform(0, 10, (2, 500))
    x[[3, 90]] = np.nan, np.inf
    corner = rng.uniform(-1, 10, (12, 2))
    boxes = np.concatenate([corner, corner + 3], axis=1)
    monkeypatch.setattr(by_boxes, "_POINTS_AT_ONCE", 64)
    monkeypatch.setattr(by_boxes, "_POINTS_PER_BOX", 1)
    inside = (x[:, None] >= boxes[:, 0]) & (x[:, None] <= boxes[:, 2])
    inside &= (y[:, None] >= boxes[:, 1]) & (y[:, None] <= boxes[:, 3])
    target, record = pairs_of_points(x, y, boxes)
    np.testing.assert_array_equal(np.stack([target, record]), np.nonzero(inside))
