"""Are quantiles, majorities and shares of weighted pixels what NumPy and exactextract say?"""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st

from polars_rasteret.assemble.value_counts import ValueCounts, value_counts

QUANTILES = [0.0, 0.1, 0.25, 0.5, 0.9, 1.0]


@st.composite
def pixels(draw, weights=(1.0, 0.25, 0.5)):
    """Draw pixels of a few groups."""
    n = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["uint8", "int64", "float32"]))
    return rng.integers(0, 4, n), rng.integers(0, draw(st.integers(1, 9)), n).astype(dtype), rng.choice(weights, n)


@given(pixels(), st.integers(1, 60))
def test_counts_of_parts_put_together_are_those_of_the_whole(drawn, step):
    group, value, weight = drawn
    assume(len(group) > 0)
    parts = [
        value_counts(group[at : at + step], value[at : at + step], weight[at : at + step])
        for at in range(0, len(group), step)
    ]
    whole, together = value_counts(group, value, weight), ValueCounts.merged(parts)
    for name in ("group", "value", "weight", "n_pixels"):
        np.testing.assert_array_equal(getattr(together, name), getattr(whole, name))
    assert whole.n_pixels.sum() == len(group)


@given(pixels(weights=(0.7,)), st.sampled_from(QUANTILES))
def test_with_equal_weights_quantiles_are_those_of_numpy(drawn, q):
    group, value, weight = drawn
    found = value_counts(group, value, weight).quantiles(5, q)
    for one in range(5):
        of_group = value[group == one].astype(np.float64)
        if not len(of_group):
            assert np.isnan(found[one])
        else:
            assert found[one] == pytest.approx(np.quantile(of_group, q), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("seed", range(25))
def test_where_no_value_repeats_quantiles_are_those_of_exactextract(seed):
    exactextract = pytest.importorskip("exactextract")
    from exactextract.raster import NumPyRasterSource

    rng = np.random.default_rng(seed)
    image = rng.normal(size=(6, 7))
    zone = shapely.Polygon(rng.uniform(0, 6, (3, 2)))
    column, row = np.meshgrid(np.arange(7), np.arange(6))
    cells = shapely.box(column, 5 - row, column + 1, 6 - row)
    # Its coverage is float32: the same numbers, so that only the quantile is compared.
    feature = {"type": "Feature", "geometry": shapely.geometry.mapping(zone), "properties": {}}
    source = NumPyRasterSource(image)
    found = exactextract.exact_extract(source, [feature], ["cell_id", "coverage", "values"], output="pandas").iloc[0]
    weight, value = np.asarray(found["coverage"], np.float64), np.asarray(found["values"], np.float64)
    assert weight.sum() == pytest.approx(shapely.area(shapely.intersection(cells, zone)).sum(), rel=1e-5)
    counts = value_counts(np.zeros(len(value), np.int64), value, weight)
    for q in (0.1, 0.5, 0.9):
        expected = exactextract.exact_extract(source, [feature], [f"quantile(q={q})"], output="pandas").iloc[0, 0]
        assert counts.quantiles(1, q)[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_a_median_weighs_pixels_not_distinct_values():
    value = np.repeat([100, 200], [990, 10]).astype(np.uint8)
    assert value_counts(np.zeros(1000, np.int64), value, np.ones(1000)).quantiles(1, 0.5).tolist() == [100.0]


def test_quantiles_of_a_small_group_do_not_feel_a_large_one():
    rng = np.random.default_rng(1)
    value = np.concatenate([rng.normal(size=200_000), [1.0, 2.0, 4.0]])
    weight = np.concatenate([rng.uniform(0, 1e6, 200_000), [1e-6, 1e-6, 1e-6]])
    found = value_counts(np.repeat([0, 1], [200_000, 3]), value, weight).quantiles(2, 0.5)
    assert found[1] == 2.0


@given(pixels())
def test_shares_majority_and_minority_are_those_of_a_dictionary(drawn):
    group, value, weight = drawn
    shares = value_counts(group, value, weight).by_value()
    n_distinct = shares.variety(4)
    chosen = {one: dict(zip(*map(np.ndarray.tolist, extreme()), strict=True)) for one, extreme in
              (("majority", shares.majority), ("minority", shares.minority))}  # fmt: skip
    for one in range(4):
        told: dict[float, float] = {}
        for x, w in zip(value[group == one].tolist(), weight[group == one].tolist(), strict=True):
            told[x] = told.get(x, 0.0) + w
        assert n_distinct[one] == len(told)
        if not told:
            assert one not in chosen["majority"]
            continue
        assert chosen["majority"][one] == max(told, key=lambda x: (told[x], x))
        assert chosen["minority"][one] == min(told, key=lambda x: (told[x], x))
        of_group = shares.group == one
        assert dict(zip(shares.value[of_group].tolist(), shares.weight[of_group].tolist(), strict=True)) == told
        assert shares.fractions()[of_group].sum() == pytest.approx(1.0, rel=1e-12)


def test_shares_that_differ_by_rounding_tie():
    weight = np.array([0.1, 0.2, 0.3])
    shares = value_counts(np.zeros(3, np.int64), np.array([5, 5, 9], np.uint8), weight).by_value()
    assert shares.weight[0] != shares.weight[1]
    assert shares.majority()[1].tolist() == [9]
    assert shares.minority()[1].tolist() == [5]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float64"])
@pytest.mark.parametrize("span", [4, 250, 60_000])
def test_counts_are_those_of_a_dictionary(dtype, span):
    rng = np.random.default_rng(span)
    low = -100 if np.dtype(dtype).kind != "u" else 0
    high = low + span if np.dtype(dtype).kind == "f" else min(low + span, np.iinfo(dtype).max)
    group = rng.choice([3, 4, 900], 5_000)
    value, weight = rng.integers(low, high, 5_000).astype(dtype), rng.choice([1.0, 1.0, 0.5, 0.25], 5_000)
    for some in (weight > 0, weight == 1, weight < 1, weight > 2):
        told: dict[tuple[int, float, float], int] = {}
        for key in zip(group[some].tolist(), value[some].tolist(), weight[some].tolist(), strict=True):
            told[key] = told.get(key, 0) + 1
        found = value_counts(group[some], value[some], weight[some])
        assert found.value.dtype == np.dtype(dtype)
        columns = (found.group.tolist(), found.value.tolist(), found.weight.tolist(), found.n_pixels.tolist())
        assert list(zip(*columns, strict=True)) == [(*key, told[key]) for key in sorted(told)]


def test_small_integers_are_counted_without_sorting_pixels(monkeypatch):
    sorted_sizes = []
    plain = np.lexsort

    def watched(keys, *rest):
        sorted_sizes.append(len(keys[0]))
        return plain(keys, *rest)

    monkeypatch.setattr(np, "lexsort", watched)
    value = np.random.default_rng(1).integers(0, 3_000, 100_000).astype(np.uint16)
    weight = np.ones(100_000)
    weight[:500] = 0.5
    value_counts(np.zeros(100_000, np.int64), value, weight)
    assert max(sorted_sizes) <= 500 + 3_000, "the pixels at the edge, then the counts"
