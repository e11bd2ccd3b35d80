"""Are all boxes kept that touch an area, and hardly any others?"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.plan.pairs import boxes_near

SIDES = st.one_of(st.integers(-20, 20).map(float), st.floats(-20, 20), st.sampled_from([np.nan, np.inf]))


@st.composite
def boxes(draw, sizes):
    corners = draw(st.lists(st.tuples(SIDES, SIDES), max_size=12))
    spans = [draw(st.tuples(sizes, sizes)) for _ in corners]
    return np.array([[x, y, x + dx, y + dy] for (x, y), (dx, dy) in zip(corners, spans, strict=True)]).reshape(-1, 4)


SIZES = st.one_of(st.just(0.0), st.floats(0, 5))


def touch(areas, candidates):
    """Ask of each pair."""
    one, two = candidates[:, None], areas[None]
    with np.errstate(invalid="ignore"):
        meets = (one[..., :2] <= two[..., 2:]).all(axis=2) & (one[..., 2:] >= two[..., :2]).all(axis=2)
    finite = np.isfinite(one).all(axis=2) & np.isfinite(two).all(axis=2)
    return (meets & finite).any(axis=1)


@settings(max_examples=60)
@given(boxes(SIZES), boxes(SIZES), st.sampled_from([1, 3, 512]))
def test_boxes_that_touch_an_area_are_near(areas, candidates, n_cells):
    near = boxes_near(areas, candidates, n_cells)
    assert (near >= touch(areas, candidates)).all()
    assert not near[~np.isfinite(candidates).all(axis=1)].any()


def test_few_boxes_are_near_that_touch_nothing():
    rng = np.random.default_rng(0)
    corners = rng.uniform(-180, 180, (200, 2))
    areas = np.concatenate([corners, corners], axis=1)
    low = rng.uniform(-180, 180, (20_000, 2))
    candidates = np.concatenate([low, low + 1], axis=1)
    near, touching = boxes_near(areas, candidates), touch(areas, candidates)
    assert touching.sum() <= near.sum() < 4 * touching.sum() < 2_000
