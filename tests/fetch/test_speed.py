"""Do latency and rate of a store come out as they were put in?"""

from __future__ import annotations

import random

import pytest

from polars_rasteret.fetch.scheduling.pace import Speed


@pytest.mark.parametrize("latency_s", [0.0003, 0.03, 0.4])
@pytest.mark.parametrize("rate", [5e6, 1e9])
@pytest.mark.parametrize("at_once", [1, 32])
def test_what_a_store_shows_is_learned(latency_s, rate, at_once):
    chance, speed = random.Random(1), Speed()
    for number in range(300):
        n_bytes = chance.randrange(100, 5_000) if number % 2 else chance.randrange(300_000, 4_000_000)
        speed.observe(n_bytes, chance.uniform(0.7, 1.3) * latency_s + n_bytes * at_once / rate, at_once=at_once)
    small_s = latency_s + 2_500 * at_once / rate
    assert small_s / 2 < speed.latency_s(9.0) < small_s * 2
    if n_bytes * at_once / rate > latency_s / 2:  # else the transfer drowns in the waiting
        assert rate / 2 < speed.bytes_per_s(1.0) < rate * 2


def test_a_store_that_changes_is_learned_anew():
    speed = Speed()
    for _ in range(100):
        speed.observe(1_000, 0.3, at_once=1)
    for _ in range(40):
        speed.observe(1_000, 0.003, at_once=1)
    assert 0.002 < speed.latency_s(9.0) < 0.01


def test_before_anything_was_seen_the_constants_hold():
    speed = Speed()
    assert (speed.latency_s(0.08), speed.bytes_per_s(60e6)) == (0.08, 60e6)
    speed.observe(40_000, 0.0001, at_once=1)
    assert speed.bytes_per_s(60e6) == pytest.approx(400e6), "a small answer proves no less than it brought"
