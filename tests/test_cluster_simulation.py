"""Does the simulation of a cluster keep its own books?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def simulation():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import cluster_simulation
    finally:
        sys.path.remove(str(BENCHMARKS))
    return cluster_simulation


def certain(simulation, **words):
    """Return the result where nothing is left to chance."""
    without = {"sigma": 0.0, "straggler_share": 0.0, "lost_share": 0.0}
    return simulation.Simulation(simulation.Assumptions(**{**without, **words})).run()


def test_without_chance_every_part_takes_the_time_of_its_requests(simulation):
    told = certain(simulation, n_parts=40, n_workers=4, hand_out_s=0.0)
    # 300 MB at 60 MB/s, ten parts one after another, each 86 ms after it was taken, 2 s after the start.
    assert told["seconds"] == pytest.approx(2.0 + 10 * (0.086 + 300 / 60))
    assert told["gets"] == pytest.approx(40 * 300 / 1.4)
    assert (told["wasted_share"], told["limited_share"], told["parts_done"]) == (pytest.approx(0.0), 0.0, 40)


def test_a_prefix_at_its_limit_serves_just_its_limit(simulation):
    told = certain(simulation, n_parts=64, n_workers=64, prefix_gets_per_s=100.0, hand_out_s=0.0, n_prefixes=2)
    assert told["seconds"] == pytest.approx(2.0 + 0.086 + 32 * (300 / 1.4) / 100.0)
    assert told["most_gets_per_s"] == pytest.approx(200.0)


@pytest.mark.parametrize("copies", [False, True])
def test_lost_workers_and_copies_cost_requests_but_no_part(simulation, copies):
    told = simulation.Simulation(
        simulation.Assumptions(n_parts=400, n_workers=40, lost_share=0.05, straggler_share=0.05, copies=copies)
    ).run()
    assert told["parts_done"] == 400
    assert told["lost"] > 0
    assert (told["copies"] > 0) is copies
    # An attempt whose worker is lost half-way costs half a part; a copy costs at most a whole one.
    lost = 0.5 * told["lost"] / 400
    assert 0 < told["wasted_share"] <= lost + told["copies"] / 400 + 1e-9
    assert copies or told["wasted_share"] == pytest.approx(lost)


def test_copies_shorten_the_wait_for_stragglers(simulation):
    # One part of 101 is slow: alone it would take eight times as long, with a copy about three times.
    words = {"n_parts": 100, "n_workers": 100, "straggler_share": 0.02, "sigma": 0.0, "lost_share": 0.0, "seed": 3}
    alone, copied = (
        simulation.Simulation(simulation.Assumptions(**words, copies=copies)).run()["seconds"]
        for copies in (False, True)
    )
    assert copied < 0.6 * alone


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=30), st.floats(0.1, 500.0))
def test_shares_use_up_the_limit_and_none_is_more_than_wanted(simulation, wanted, limit):
    wanted = np.array(wanted)
    share = simulation.fair_shares(wanted, limit)
    assert share.sum() == pytest.approx(min(limit, wanted.sum()))
    assert (share <= wanted + 1e-9).all()
    cut = share < wanted - 1e-9
    assert np.ptp(share[cut]) <= 1e-6 if cut.any() else True
    assert not cut.any() or (share[~cut] <= share[cut].min() + 1e-6).all()


def test_the_table_is_told_with_its_assumptions():
    command = [sys.executable, str(BENCHMARKS / "cluster_simulation.py"), "--parts", "50", "--workers", "8"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "prefix_gets_per_s 5500.0" in told
    assert sum(line.startswith("| 8 |") for line in told.splitlines()) == 4
