"""Does a store that allows few requests a second get few, from many processes at once, and does every request end?"""

from __future__ import annotations

import heapq
import itertools
import random

import numpy as np
import pytest

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.failures import TransientFetchError
from polars_rasteret.fetch.scheduling import pace, scheduler
from polars_rasteret.fetch.scheduling.pace import Throttle
from polars_rasteret.fetch.scheduling.retries import backoff_s
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.testing import RecordingSource
from tests.support.receiver import DATA, Receiver, fetch, quiet, wait_until

REFUSED = TransientFetchError.refusal("503")


class Store:
    """A token bucket on a clock of its own."""

    def __init__(self, rate):
        self.rate, self.tokens, self.at, self.served, self.refused = rate, rate / 5, 0.0, 0, 0

    def takes(self, now):
        self.tokens = min(self.rate / 5, self.tokens + (now - self.at) * self.rate)
        self.at = now
        taken = self.tokens >= 1
        self.tokens -= taken
        self.served, self.refused = self.served + taken, self.refused + (not taken)
        return taken


def read_by(n_workers, n_each, store, *, latency_s, most=32, seed=1):
    """Return when each process had its requests, and the most refusals of one request; all on a simulated clock."""
    chance, numbers = random.Random(seed), itertools.count()
    throttles = [Throttle() for _ in range(n_workers)]
    queued = [[0] * n_each for _ in range(n_workers)]
    left, done, worst = [n_each] * n_workers, [0.0] * n_workers, 0
    events = [(0.0, next(numbers), worker, None) for worker in range(n_workers)]
    while events:
        now, _, worker, what = heapq.heappop(events)
        throttle = throttles[worker]
        if what is not None:
            n_refused, n_cuts, began, served = what
            if began is None:
                queued[worker].append(n_refused)
            elif served:
                throttle.went_well(most, now - began)
                left[worker] -= 1
                done[worker] = now
            else:
                throttle.refused(n_cuts, now=now, seconds=now - began, n_refused=n_refused)
                worst = max(worst, n_refused + 1)
                again = now + backoff_s(min(n_refused, 4), REFUSED, chance.random())
                heapq.heappush(events, (again, next(numbers), worker, (n_refused + 1, 0, None, False)))
            if began is not None:
                throttle.ended()
        while queued[worker] and throttle.n_running < most and (opens_at := throttle.opens_at(now)) < float("inf"):
            if opens_at > now:
                heapq.heappush(events, (opens_at, next(numbers), worker, None))
                break
            n_refused = queued[worker].pop()
            throttle.started(now)
            ends = now + latency_s * chance.uniform(0.7, 1.3)
            what = (n_refused, throttle.n_cuts, now, store.takes(now))
            heapq.heappush(events, (ends, next(numbers), worker, what))
    assert left == [0] * n_workers
    return done, worst


@pytest.mark.parametrize("latency_s", [0.003, 0.03, 0.2])
@pytest.mark.parametrize(("n_workers", "rate"), [(1, 5), (1, 60), (8, 5), (8, 60), (8, 500), (40, 60)])
def test_processes_that_share_a_limited_store_all_end_and_use_what_it_allows(n_workers, rate, latency_s):
    store = Store(rate)
    done, worst = read_by(n_workers, 3000 // n_workers, store, latency_s=latency_s)
    assert worst <= 12, "refusals of one request, of which 30 are allowed"
    assert store.refused <= store.served
    assert max(done) <= 6 * store.served / rate


def test_a_pace_below_one_at_a_time_is_kept_and_left_again():
    throttle, now = Throttle(), 0.0
    for n_refused in range(4):
        throttle.started(now)
        throttle.refused(throttle.n_cuts, now=now + 0.02, seconds=0.02, n_refused=n_refused)
        throttle.ended()
    assert throttle.limit == 1
    assert throttle.opens_at(now + 0.02) == pytest.approx(now + 0.02 + throttle.interval_s)
    assert throttle.interval_s == pytest.approx(0.16)
    n_slow = 0
    while throttle.interval_s:
        now = throttle.opens_at(now)
        throttle.started(now)
        assert throttle.opens_at(now) == float("inf")
        throttle.went_well(32, 0.02)
        throttle.ended()
        n_slow += 1
        assert n_slow < 2000
    assert n_slow > 100, "a pace that rises at once is refused at once"
    assert throttle.opens_at(now) <= now + 0.03


def test_one_request_that_is_always_refused_does_not_slow_down_the_others_for_good():
    throttle = Throttle()
    for n_refused in range(30):
        throttle.started(0.0)
        throttle.refused(throttle.n_cuts, now=0.0, seconds=0.01, n_refused=n_refused)
        throttle.ended()
    assert throttle.interval_s < 1


def test_a_store_that_only_refuses_is_given_up_without_long_pauses():
    throttle, now, n_asked = Throttle(), 0.0, 0
    while now < 100:
        now = throttle.opens_at(now)
        throttle.started(now)
        throttle.refused(throttle.n_cuts, now=now + 0.01, seconds=0.01, n_refused=0)
        throttle.ended()
        now, n_asked = now + 0.01, n_asked + 1
    assert n_asked > 5_000, "after half a minute one request follows the other, so that a thousand fail soon"


class Refusing:
    """A source that refuses the first requests of each range, without a word about how long to wait."""

    def __init__(self, inner, n_refused):
        self.inner, self.n_left, self.n_refused = inner, {}, n_refused

    def get(self, href, byte_start, byte_stop, *, etag):
        left = self.n_left.setdefault(byte_start, self.n_refused)
        if left:
            self.n_left[byte_start] = left - 1
            raise TransientFetchError.refusal("503 Slow Down")
        return self.inner.get(href, byte_start, byte_stop, etag=etag)


@pytest.fixture
def no_waits(monkeypatch):
    monkeypatch.setattr(scheduler.random, "random", lambda: 0.0)
    monkeypatch.setattr(pace, "_LONGEST_INTERVAL_S", 0.001)


@pytest.mark.parametrize("retries", [1, 4])
def test_refusals_take_no_retries(memory, no_waits, retries):
    source = RecordingSource(Refusing(memory, 20))
    configure_store(memory.prefix, store=source)
    got = fetch(memory.a, np.arange(8) * 100, np.arange(8) * 100 + 60, retries=retries)
    assert got.tiles == {i: DATA[i * 100 : i * 100 + 60] for i in range(8)}
    assert len(source.requests) == 8 * 21


@pytest.mark.parametrize(("retries", "n_attempts"), [(0, 1), (1, 31)])
def test_refusals_of_one_request_end_and_without_retries_there_is_none(memory, no_waits, retries, n_attempts):
    source = RecordingSource(Refusing(memory, 1000))
    configure_store(memory.prefix, store=source)
    error = fetch(memory.a, [0], [10], retries=retries).errors[0]
    assert type(error) is FetchError
    assert f"503 Slow Down Gave up after {n_attempts} attempt(s)" in str(error)
    assert len(source.requests) == n_attempts


def test_a_call_that_goes_away_leaves_no_refused_request_behind(memory):
    class Forever:
        def get(self, href, byte_start, byte_stop, *, etag):
            raise TransientFetchError.refusal("429", 1000.0)

    configure_store(memory.prefix, store=Forever())
    receiver = Receiver()
    ticket = receiver.start([memory.a], [0], [0], [10], timeout_s=5000)
    wait_until(lambda: process_scheduler().state().n_delayed == 1)
    ticket.abandon()
    wait_until(lambda: quiet(process_scheduler().state()))
    assert receiver.times == {}
