"""Does a store that allows few requests a second get few, from many processes, while one that only fails now and then is not
spared? And does every request end?"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import re
import threading
from collections import deque

import numpy as np
import pytest

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.failures import TransientFetchError
from polars_rasteret.fetch.scheduling import pace, scheduler
from polars_rasteret.fetch.scheduling.pace import Throttle
from polars_rasteret.fetch.scheduling.pending import Call, Request
from polars_rasteret.fetch.scheduling.retries import next_attempt_at
from polars_rasteret.fetch.scheduling.scheduler import Scheduler, process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.testing import RecordingSource
from tests.support.fault_plans import RateLimit
from tests.support.receiver import DATA, Receiver, fetch, quiet, wait_until

REFUSED = TransientFetchError.refusal("503")


class Burst:
    """A token bucket of a fifth of a second."""

    def __init__(self, rate):
        self.rate, self.tokens, self.at = rate, rate / 5, 0.0

    def takes(self, now, _chance):
        self.tokens, self.at = min(self.rate / 5, self.tokens + (now - self.at) * self.rate), now
        taken = self.tokens >= 1
        self.tokens -= taken
        return taken


class Sliding:
    """So many within any second."""

    def __init__(self, rate):
        self.rate, self.served_at = rate, deque()

    def takes(self, now, _chance):
        while self.served_at and self.served_at[0] <= now - 1:
            self.served_at.popleft()
        taken = len(self.served_at) < self.rate
        self.served_at.extend([now] * taken)
        return taken


class ByChance:
    """Refuses a part of the requests, however many there are."""

    def __init__(self, part):
        self.part = part

    def takes(self, _now, chance):
        return chance.random() >= self.part


class Out:
    """Refuses everything for a while."""

    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def takes(self, now, _chance):
        return not self.begin <= now < self.end


class Simulation:
    """Processes that read one store, with the throttles and retries of the scheduler, on a clock of its own.

    Parameters
    ----------
    store
        ``store.takes(now, chance)`` says whether it answers.
    n_processes, n_each
        Processes, and requests of each.
    latency_s
        Time of an answer, 0.7 to 1.3 times.
    most
        Requests that a process makes at once.
    is_bad
        ``is_bad(number)``: whether a request is refused always.
    """

    def __init__(
        self, store, n_processes, n_each, *, latency_s, most=16, retries=4, is_bad=lambda _number: False, seed=1
    ):
        self.chance, numbers = random.Random(seed), itertools.count()
        self.n_served = self.n_refused = self.n_failed = 0
        self.most_attempts, self.first_failure_s, self.ended_s = 0, math.inf, [0.0] * n_processes
        call = Call(None, None, timeout_s=30.0, retries=retries)
        throttles = [Throttle() for _ in range(n_processes)]
        queued = [deque(self._request(call, number) for number in range(n_each)) for _ in range(n_processes)]
        events = [(0.0, next(numbers), process, None, None) for process in range(n_processes)]
        while events:
            now, _, process, request, served = heapq.heappop(events)
            throttle = throttles[process]
            if request is not None and served is None:
                queued[process].appendleft(request)
            elif request is not None:
                again = self._ended(request, served, throttle, now, most)
                if again is None:
                    self.ended_s[process] = now
                else:
                    heapq.heappush(events, (again, next(numbers), process, request, None))
                throttle.ended()
            while queued[process] and throttle.n_running < most and (opens_at := throttle.opens_at(now)) < math.inf:
                if opens_at > now:
                    heapq.heappush(events, (opens_at, next(numbers), process, None, None))
                    break
                request = queued[process].popleft()
                request.attempted_at = now
                request.started_at = now if request.started_at is None else request.started_at
                throttle.started(now)
                request.n_cuts = throttle.n_cuts
                served = not is_bad(request.byte_start) and store.takes(now, self.chance)
                ends = now + latency_s * self.chance.uniform(0.7, 1.3)
                heapq.heappush(events, (ends, next(numbers), process, request, served))
        assert self.n_served + self.n_failed == n_processes * n_each

    @staticmethod
    def _request(call, number):
        return Request(call, None, None, byte_start=number, byte_stop=number + 1, tiles=[])

    def _ended(self, request, served, throttle, now, most):
        is_first, seconds = request.attempt == 0, now - request.attempted_at
        if served:
            throttle.went_well(most, seconds=seconds, is_first=is_first)
            self.n_served += 1
            return None
        throttle.refused(request.n_cuts, now=now, seconds=seconds, is_first=is_first)
        self.n_refused += 1
        is_crowded = throttle.is_crowded(now)
        again = next_attempt_at(request, REFUSED, now, self.chance.random(), is_crowded=is_crowded)
        self.most_attempts = max(self.most_attempts, request.attempt)
        if again is None:
            self.n_failed += 1
            self.first_failure_s = min(self.first_failure_s, now)
        return again

    @property
    def seconds(self):
        return max(self.ended_s)


@pytest.fixture
def never_spaced(monkeypatch):
    """Return a function after which only the number of requests at once is limited."""
    return lambda: monkeypatch.setattr(pace, "_SURPLUS", math.inf)


@pytest.mark.parametrize("latency_s", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("most", [1, 4, 16])
@pytest.mark.parametrize("store", [Burst, Sliding])
@pytest.mark.parametrize(("n_processes", "rate"), [(8, 60), (8, 20), (3, 60)])
def test_processes_that_share_a_limited_store_all_end_and_use_what_it_allows(n_processes, rate, store, most, latency_s):
    one = Simulation(store(rate), n_processes, 20 * rate // n_processes, latency_s=latency_s, most=most)
    assert one.n_failed == 0
    assert one.most_attempts <= 20
    assert one.n_refused <= 3 * one.n_served
    reachable = min(rate, n_processes * most / latency_s / 1.1)
    assert one.n_served / one.seconds >= 0.6 * reachable


@pytest.mark.parametrize("store", [Burst, Sliding])
def test_a_limited_store_fails_requests_where_time_never_passes_between_them(store, never_spaced, monkeypatch):
    """The test above can fail: this is the store that needs it."""
    never_spaced()
    monkeypatch.setattr(pace, "_CROWDED", 2.0)
    one = Simulation(store(60), 8, 150, latency_s=0.02)
    assert one.n_failed > 20


@pytest.mark.parametrize("latency_s", [0.002, 0.02, 0.1])
@pytest.mark.parametrize("most", [1, 16])
@pytest.mark.parametrize("part", [0.02, 0.07, 0.2, 0.3])
def test_a_store_that_fails_now_and_then_is_read_as_fast_as_without_time_between_requests(
    part, most, latency_s, never_spaced
):
    def seconds():
        ran = [
            Simulation(ByChance(part), 1, 1000, latency_s=latency_s, most=most, retries=50, seed=n) for n in range(3)
        ]
        assert sum(one.n_failed for one in ran) == 0
        return sum(one.seconds for one in ran)

    spaced = seconds()
    never_spaced()
    assert spaced <= 1.3 * seconds()


@pytest.mark.parametrize("latency_s", [0.002, 0.02])
def test_short_queries_at_a_store_that_fails_now_and_then_never_wait(latency_s):
    """A query of few requests, one at a time: no time passes between them."""
    for seed in range(200):
        chance, throttle = random.Random(seed), Throttle()
        now = 0.0
        for _ in range(12):
            assert throttle.opens_at(now) == now
            throttle.started(now)
            now += latency_s
            if chance.random() < 0.07:
                throttle.refused(throttle.n_cuts, now=now, seconds=latency_s, is_first=True)
            else:
                throttle.went_well(32, seconds=latency_s, is_first=True)
            throttle.ended()


@pytest.mark.parametrize(("every", "most_slower"), [(600, 1.0), (60, 1.0), (20, 1.05)])
@pytest.mark.parametrize("most", [1, 16])
def test_files_that_are_always_refused_fail_as_soon_as_ever_and_hold_up_nobody(
    most, every, most_slower, never_spaced, monkeypatch
):
    def run():
        return Simulation(ByChance(0.0), 1, 1200, latency_s=0.02, most=most, is_bad=lambda n: n % every == 0)

    one = run()
    never_spaced()
    monkeypatch.setattr(pace, "_CROWDED", 2.0)
    before = run()
    assert one.n_failed == before.n_failed == 1200 // every
    assert one.first_failure_s <= 1.5 < 2 * before.first_failure_s + 1.5
    assert one.seconds <= most_slower * before.seconds


@pytest.mark.parametrize("latency_s", [0.002, 0.02])
@pytest.mark.parametrize("most", [1, 16])
def test_many_requests_to_a_file_that_is_always_refused_fail_in_time(most, latency_s):
    one = Simulation(ByChance(0.0), 1, 1000, latency_s=latency_s, most=most, is_bad=lambda n: n < 50)
    assert one.n_failed == 50
    assert one.seconds <= 30 + 1000 * latency_s


@pytest.mark.parametrize("n", [1, 40, 1000])
def test_a_store_that_is_down_is_given_up_soon_and_then_asked_without_pauses(n):
    one = Simulation(Out(0.0, math.inf), 1, n, latency_s=0.002)
    assert one.n_failed == n
    assert one.first_failure_s < 10
    assert one.seconds < 12 + n * 0.015


def test_a_short_outage_fails_nothing():
    assert Simulation(Out(0.3, 3.5), 1, 1000, latency_s=0.02).n_failed == 0


def test_a_pace_below_one_at_a_time_is_kept_and_left_again():
    throttle, now = Throttle(), 0.0

    def served(is_served):
        nonlocal now
        now = throttle.opens_at(now)
        throttle.started(now)
        now += 0.02
        if is_served:
            throttle.went_well(32, seconds=0.02, is_first=True)
        else:
            throttle.refused(throttle.n_cuts, now=now, seconds=0.02, is_first=True)
        throttle.ended()

    served(False)
    assert (throttle.limit, throttle.interval_s) == (1.0, 0.0)
    for answers in ([False] * 4 + [True], [False] * 5):
        assert throttle.interval_s == 0
        for is_served in answers:
            served(is_served)
    served(False)
    assert throttle.interval_s == pytest.approx(0.04)
    assert throttle.opens_at(now) == pytest.approx(now + 0.04)
    n_slow = 0
    while throttle.interval_s:
        served(True)
        n_slow += 1
    assert 20 < n_slow < 50
    assert throttle.opens_at(now) <= now + 0.03


class Refusing:
    """A source that refuses the first requests of each range, without a word about how long to wait.

    The first requests of `n_together` ranges are answered when all are there.
    """

    def __init__(self, inner, n_refused, n_together=1):
        self.inner, self.n_left, self.n_refused = inner, {}, n_refused
        self.together = threading.Barrier(n_together)

    def get(self, href, byte_start, byte_stop, *, etag):
        if byte_start not in self.n_left:
            self.together.wait(20)
        left = self.n_left.setdefault(byte_start, self.n_refused(byte_start))
        if left:
            self.n_left[byte_start] = left - 1
            raise TransientFetchError.refusal("503 Slow Down")
        return self.inner.get(href, byte_start, byte_stop, etag=etag)


@pytest.fixture
def no_waits(monkeypatch):
    monkeypatch.setattr(scheduler.random, "random", lambda: 0.0)
    monkeypatch.setattr(pace, "_SLOWER", 0.01)
    monkeypatch.setattr(pace, "_LEAST_INTERVAL_S", 1e-6)


def test_what_a_crowded_store_refuses_takes_no_retries(memory, no_waits):
    source = RecordingSource(Refusing(memory, lambda _start: 20, n_together=8))
    configure_store(memory.prefix, store=source)
    got = fetch(memory.a, np.arange(8) * 100, np.arange(8) * 100 + 60, retries=1)
    assert got.tiles == {i: DATA[i * 100 : i * 100 + 60] for i in range(8)}
    assert len(source.requests) == 8 * 21


@pytest.mark.parametrize(("retries", "n_attempts"), [(0, 1), (1, 2), (4, 5)])
def test_a_range_that_is_refused_beside_others_has_the_retries_of_the_call(memory, no_waits, retries, n_attempts):
    source = RecordingSource(Refusing(memory, lambda start: 1000 if start == 500 else 0))
    configure_store(memory.prefix, store=source)
    got = fetch(memory.a, np.arange(60) * 100, np.arange(60) * 100 + 60, retries=retries)
    assert got.tiles == {i: DATA[i * 100 : i * 100 + 60] for i in range(60) if i != 5}
    assert type(got.errors[5]) is FetchError
    assert f"503 Slow Down Gave up after {n_attempts} attempt(s)" in str(got.errors[5])
    assert len(source.requests) == 59 + n_attempts


def test_no_retries_is_none_at_a_crowded_store_too(memory, no_waits):
    source = RecordingSource(Refusing(memory, lambda _start: 20))
    configure_store(memory.prefix, store=source)
    got = fetch(memory.a, np.arange(40) * 100, np.arange(40) * 100 + 60, retries=0)
    assert len(got.errors) == len(source.requests) == 40


def test_requests_that_wait_for_their_turn_end_with_their_deadline_and_their_call(memory, monkeypatch):
    class Forever:
        def get(self, href, byte_start, byte_stop, *, etag):
            raise TransientFetchError.refusal("429")

    monkeypatch.setattr(scheduler.random, "random", lambda: 0.01)
    configure_store(memory.prefix, store=Forever())
    got = fetch(memory.a, np.arange(8) * 100, np.arange(8) * 100 + 60, timeout_s=0.3)
    assert len(got.errors) == 8
    assert all(re.search("429|refused as too many", str(error)) for error in got.errors.values())
    receiver = Receiver()
    ticket = receiver.start([memory.a], np.zeros(8), np.arange(8) * 100, np.arange(8) * 100 + 60, timeout_s=5000)
    wait_until(lambda: process_scheduler().state().n_delayed > 0)
    ticket.abandon()
    wait_until(lambda: quiet(process_scheduler().state()))
    assert receiver.times == {}


def test_schedulers_that_share_a_limited_server_read_everything(server):
    """Three as in three processes: none knows of the others. One at a time of each would be ten times too many."""
    server.fault = limit = RateLimit(60)
    receivers = [Receiver() for _ in range(3)]
    starts = np.arange(60) * 100
    for receiver in receivers:
        receiver.start([server.url("f.bin")], np.zeros(60), starts, starts + 60, scheduler=Scheduler())
    for receiver in receivers:
        receiver.wait(timeout_s=60)
        assert receiver.errors == {}
        assert receiver.tiles == {i: DATA[i * 100 : i * 100 + 60] for i in range(60)}
    assert limit.n_served == 180
    assert limit.n_refused < 3 * limit.n_served
