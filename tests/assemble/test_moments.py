"""Are moments of weighted pixels those of NumPy, however the pixels are cut into parts?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_rasteret.assemble.moments import Moments, moments_of

DTYPES = ["uint8", "int16", "uint32", "int64", "float32", "float64"]


@st.composite
def images(draw):
    """Draw groups of weighted cells, two images of them, and where the cells are cut into parts."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    seed, n_cells = draw(st.integers(0, 2**32 - 1)), sum(sizes)
    rng = np.random.default_rng(seed)
    if dtype.kind == "f":
        values = rng.normal(1000, 3, (2, n_cells)).astype(dtype)
    else:
        values = rng.integers(0, 127, (2, n_cells)).astype(dtype)
    return (
        np.repeat(np.arange(len(sizes)), sizes),
        values,
        rng.random((2, n_cells)) < draw(st.sampled_from([0.0, 0.6, 1.0])),
        rng.choice([1.0, 0.5, 1e-9, 0.3], n_cells),
        draw(st.integers(1, n_cells)),
        len(sizes),
    )


@given(images())
def test_moments_of_parts_put_together_are_those_of_numpy(drawn):
    group, values, valid, weight, step, n_groups = drawn
    together = Moments.nothing(2 * n_groups, values.dtype)
    for first in range(0, len(group), step):
        part = slice(first, first + step)
        start = np.flatnonzero(np.diff(group[part], prepend=-1))
        here = group[part][start]
        found = moments_of(values[:, part], valid[:, part], weight[part], start)
        together.add(np.concatenate([here, here + n_groups]), found)
    for image in range(2):
        for one in range(n_groups):
            at, is_in = image * n_groups + one, (group == one) & valid[image]
            x, w = values[image, is_in].astype(np.float64), weight[is_in]
            assert together.weight[at] == pytest.approx(w.sum(), rel=1e-13)
            assert together.total[at] == pytest.approx((w * x).sum(), rel=1e-13)
            if not is_in.any():
                assert np.isnan(together.variance()[at])
                continue
            mean = np.average(x, weights=w)
            assert together.mean[at] == pytest.approx(mean, rel=1e-13)
            assert together.variance()[at] == pytest.approx(np.average((x - mean) ** 2, weights=w), rel=1e-9, abs=1e-18)
            assert together.smallest[at] == values[image, is_in].min()
            assert together.largest[at] == values[image, is_in].max()


def test_a_small_variance_far_from_zero_keeps_its_digits():
    x = 1e9 + np.arange(8.0)
    found = Moments.nothing(1, x.dtype)
    for part in (x[:3], x[3:]):
        found.add(
            np.array([0]), moments_of(part[None], np.ones((1, len(part)), bool), np.ones(len(part)), np.array([0]))
        )
    assert found.variance()[0] == pytest.approx(np.var(np.arange(8.0)), rel=1e-12)


def test_many_images_are_reduced_block_by_block():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (40, 50_000)).astype(np.uint8)
    start = np.array([0, 20_000])
    found = moments_of(values, np.ones(values.shape, bool), np.ones(50_000), start)
    expected = np.stack([values[:, :20_000].sum(axis=1), values[:, 20_000:].sum(axis=1)], axis=1)
    np.testing.assert_array_equal(found.total.reshape(40, 2), expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("has_nodata", [False, True])
def test_moments_of_cells_that_are_all_whole_or_all_valid_are_those_of_numpy(dtype, has_weight, has_nodata):
    rng = np.random.default_rng(3)
    sizes = [1, 40_000, 7, 2]
    start, n_cells = np.cumsum(sizes) - sizes, sum(sizes)
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(np.float32)
    top = min(int(limits.max), 65_535)
    values = rng.integers(top - 100, top, (3, n_cells)).astype(dtype)  # large numbers that differ little
    weight = rng.choice([1.0, 0.3], n_cells) if has_weight else None
    valid = rng.random(values.shape) < 0.7 if has_nodata else None
    found = moments_of(values, valid, weight, start)
    for image in range(3):
        for group, (first, size) in enumerate(zip(start, sizes, strict=True)):
            at, part = image * len(sizes) + group, slice(first, first + size)
            is_in = np.ones(size, bool) if valid is None else valid[image, part]
            x = values[image, part][is_in].astype(np.float64)
            w = np.ones(len(x)) if weight is None else weight[part][is_in]
            assert found.weight[at] == pytest.approx(w.sum(), rel=1e-13)
            if not len(x):
                assert np.isnan(found.variance()[at])
                continue
            mean = np.average(x, weights=w)
            assert found.total[at] == pytest.approx((w * x).sum(), rel=1e-13)
            assert found.mean[at] == pytest.approx(mean, rel=1e-13)
            assert found.variance()[at] == pytest.approx(np.average((x - mean) ** 2, weights=w), rel=1e-12, abs=1e-12)
            assert (found.smallest[at], found.largest[at]) == (x.min(), x.max())


def test_the_variance_of_small_integers_is_exact():
    value = np.full(500_000, 65_535, np.uint16)
    value[0] = 65_534
    found = moments_of(value[None], None, None, np.array([0]))
    assert found.squares[0] == (500_000 - 1) / 500_000
    assert moments_of(value[None, 1:], None, None, np.array([0])).squares[0] == 0
