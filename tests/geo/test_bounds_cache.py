"""Are bounds of grids that were asked before the ones that were found then, whatever else was asked?"""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.geo import bounds_cache
from polars_rasteret.geo.footprints import image_footprints

CRSS = ["EPSG:32632", "EPSG:4326", "EPSG:3035", None]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(bounds_cache, "_runs", ())


def grids(numbers):
    """Give a grid for each number: many have all but one field in common."""
    numbers = np.asarray(numbers, np.int64)
    transform = np.tile([0.001, 0, 5.0, 0, -0.001, 45.0], (len(numbers), 1))
    transform[:, 2] += numbers % 7
    transform[numbers % 11 == 3] = np.nan
    return [CRSS[number % 4] for number in numbers], transform, 10 + numbers % 2, 20 + numbers % 3


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 400), max_size=60), max_size=8), st.sampled_from([20, 100, 10_000]))
def test_known_bounds_are_those_of_the_footprints(calls, max_grids):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds_cache, "_runs", ())
        patch.setattr(bounds_cache, "MAX_GRIDS", max_grids)
        for numbers in calls:
            asked = grids(numbers)
            np.testing.assert_array_equal(bounds_cache.cached_bounds(*asked), image_footprints(*asked).bounds)
            assert sum(map(len, bounds_cache._runs)) <= max_grids
            lengths = [len(run) for run in bounds_cache._runs]
            assert all(longer > 2 * shorter for longer, shorter in itertools.pairwise(lengths))


def test_each_grid_is_computed_once(monkeypatch):
    computed = []

    def counting(crs, *grid):
        computed.append(len(crs))
        return image_footprints(crs, *grid)

    monkeypatch.setattr(bounds_cache, "image_footprints", counting)
    bounds_cache.cached_bounds(*grids(np.arange(300)))
    first = sum(computed)
    for numbers in (np.arange(300), np.arange(299, -1, -3), np.repeat([5, 17], 50)):
        bounds_cache.cached_bounds(*grids(numbers))
    assert sum(computed) == first <= 300


def test_equal_hashes_tell_nothing(monkeypatch):
    monkeypatch.setattr(bounds_cache, "_ODD", np.zeros(10, np.uint64))
    for _ in range(2):
        asked = grids(np.arange(100))
        np.testing.assert_array_equal(bounds_cache.cached_bounds(*asked), image_footprints(*asked).bounds)


def test_threads_share_what_is_known():
    wrong = []

    def ask(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            asked = grids(rng.integers(0, 200, 50))
            if not np.array_equal(bounds_cache.cached_bounds(*asked), image_footprints(*asked).bounds, equal_nan=True):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
