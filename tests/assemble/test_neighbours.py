"""Are the nearest valid pixel and interpolated values those of a plain loop over all pixels?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polars_rasteret.assemble.neighbours import KERNEL_SIZE, interpolated, kernel_start, nearest_valid

fractions = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 3), st.data(), fractions, fractions)
def test_the_nearest_rectangle_is_found_in_every_ring(reach, data, down, across):
    size = 2 * reach + 1
    valid = data.draw(hnp.arrays(np.bool_, (1, size, size)))
    row, col = reach + down, reach + across
    best = None
    for i in range(size):
        for j in range(size):
            away = math.hypot(max(i - row, 0, row - i - 1), max(j - col, 0, col - j - 1))
            if valid[0, i, j] and (best is None or away < best[0] - 1e-12):
                best = away, i * size + j
    index, distance = nearest_valid(valid, np.array([row]), np.array([col]))
    if best is None:
        assert index.tolist() == [-1]
        assert np.isnan(distance).all()
        return
    assert distance[0] == pytest.approx(best[0], abs=1e-6)
    i, j = divmod(int(index[0]), size)
    assert valid[0, i, j]
    assert math.hypot(max(i - row, 0, row - i - 1), max(j - col, 0, col - j - 1)) == pytest.approx(best[0], abs=1e-9)


def test_equal_distances_go_to_the_first_in_reading_order():
    valid = np.ones((1, 3, 3), np.bool_)
    valid[0, 1, 1] = False
    index, distance = nearest_valid(valid, np.array([1.5]), np.array([1.5]))
    assert (index.tolist(), distance.tolist()) == ([1], [0.5])


@pytest.mark.parametrize("method", ["bilinear", "cubic"])
@given(data=st.data(), row=st.floats(2, 5), col=st.floats(2, 5))
def test_a_plane_is_interpolated_exactly(method, data, row, col):
    slope, tilt = data.draw(st.integers(-9, 9)), data.draw(st.integers(-9, 9))
    rows, cols = np.meshgrid(np.arange(8) + 0.5, np.arange(8) + 0.5, indexing="ij")
    plane = slope * rows + tilt * cols + 7
    size = KERNEL_SIZE[method]
    top, left = kernel_start(np.array([row]), method)[0], kernel_start(np.array([col]), method)[0]
    patch = plane[top : top + size, left : left + size][None]
    values, valid = interpolated(
        patch, np.ones_like(patch, np.bool_), np.array([row - top]), np.array([col - left]), method
    )
    assert valid.all()
    assert values[0] == pytest.approx(slope * row + tilt * col + 7, abs=1e-9)


def test_what_is_not_valid_is_left_out_and_the_rest_makes_up_for_it():
    patch = np.array([[[10.0, np.nan], [30.0, 40.0]]])
    valid = np.array([[[True, False], [True, True]]])
    values, is_valid = interpolated(patch, valid, np.array([0.75]), np.array([1.0]), "bilinear")
    weights = {10.0: 0.75 * 0.5, 30.0: 0.25 * 0.5, 40.0: 0.25 * 0.5}
    assert values[0] == pytest.approx(sum(v * w for v, w in weights.items()) / sum(weights.values()))
    assert is_valid.all()
    assert not interpolated(patch, np.zeros_like(valid), np.array([0.75]), np.array([1.0]), "bilinear")[1].any()
