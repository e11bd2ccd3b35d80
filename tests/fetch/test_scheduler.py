"""Is every tile told exactly once, with its bytes, for the fewest requests, and is everything given back?"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import Scheduler, process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.options import options
from polars_rasteret.profile import profile
from polars_rasteret.testing import FaultySource, MemorySource, RecordingSource
from tests.support.receiver import DATA, Receiver, each_alone, fetch, per_file, quiet, wait_until


class Gate:
    """A source that answers when it is opened."""

    def __init__(self, inner):
        self.inner, self.opened, self.n_waiting = inner, threading.Event(), 0

    def get(self, href, byte_start, byte_stop, *, etag):
        self.n_waiting += 1
        assert self.opened.wait(30)
        return self.inner.get(href, byte_start, byte_stop, etag=etag)


@pytest.fixture
def gate(memory):
    gate = Gate(memory)
    gate.memory, gate.a, gate.b = memory, memory.a, memory.b
    configure_store(memory.prefix, store=gate)
    yield gate
    gate.opened.set()


def test_tiles_of_one_group_share_a_request_and_groups_do_not(memory):
    got = fetch(memory.a, [0, 100, 5000], [50, 200, 6000], group=lambda f, a, b: np.array([0, 0, 1]))
    assert got.tiles == {0: DATA[0:50], 1: DATA[100:200], 2: DATA[5000:6000]}
    assert sorted(memory.requests) == [(memory.a, 0, 200), (memory.a, 5000, 6000)]


def test_a_second_fetch_is_answered_by_the_cache_without_a_request(memory):
    first = fetch(memory.a, [0, 100], [50, 200])
    with profile() as p:
        assert fetch(memory.a, [0, 100], [50, 200]).tiles == first.tiles
    assert len(memory.requests) == 2
    assert p.summary().select("requests", "bytes", "tiles", "cache_hits").row(0) == (0, 0, 2, 2)


def test_requests_bytes_and_tiles_are_counted(memory):
    with profile() as p:
        fetch(memory.a, [0, 100], [50, 200], group=per_file)
    assert p.summary().select("requests", "bytes", "tiles", "cache_hits").row(0) == (1, 200, 2, 0)


def test_no_tiles_make_no_request(memory):
    assert fetch(memory.a, [], []).tiles == {}
    assert memory.requests == []


def test_an_empty_range_is_an_empty_tile_without_a_request(memory):
    assert fetch(memory.a, [7], [7]).tiles == {0: b""}
    assert memory.requests == []


def test_a_range_that_ends_before_it_begins_is_refused(memory):
    with pytest.raises(UsageError, match="byte_stop"):
        fetch(memory.a, [7], [6])


def test_a_tile_wanted_by_sixteen_threads_is_fetched_once(gate):
    receivers = [Receiver() for _ in range(16)]
    threads = [threading.Thread(target=one.start, args=([gate.a], [0], [10], [500])) for one in receivers]
    with profile() as p:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gate.opened.set()
        for one in receivers:
            assert one.wait().tiles == {0: DATA[10:500]}
    assert len(gate.memory.requests) == 1
    assert p.summary()["shared_tiles"].item() == 15


def test_requests_never_exceed_max_concurrency(gate):
    with options(max_concurrency=3):
        receiver = Receiver()
        receiver.start([gate.a], np.zeros(40), np.arange(40) * 10, np.arange(40) * 10 + 5)
        wait_until(lambda: gate.n_waiting == 3)
        time.sleep(0.05)
        assert gate.n_waiting == 3
        gate.opened.set()
        receiver.wait()


def test_max_concurrency_takes_effect_for_later_work(gate):
    with options(max_concurrency=8):
        receiver = Receiver()
        receiver.start([gate.a], np.zeros(8), np.arange(8) * 10, np.arange(8) * 10 + 5)
        wait_until(lambda: gate.n_waiting == 8)
        gate.opened.set()
        receiver.wait()
    gate.opened.clear()
    gate.n_waiting = 0
    with options(max_concurrency=2):
        receiver = Receiver()
        receiver.start([gate.b], np.zeros(8), np.arange(8) * 10, np.arange(8) * 10 + 5)
        time.sleep(0.1)
        assert gate.n_waiting == 2
        gate.opened.set()
        receiver.wait()


def test_no_more_threads_run_than_there_are_requests(memory):
    scheduler = Scheduler()
    receiver = Receiver()
    receiver.start([memory.a], [0, 0], [0, 10], [5, 15], scheduler=scheduler)
    receiver.wait()
    assert scheduler.state().n_threads <= 2


def test_undone_tiles_hold_back_requests_until_they_are_done(memory):
    with options(max_bytes_in_flight=1000):
        receiver = Receiver(keep_done=True)
        receiver.start([memory.a], np.zeros(10), np.arange(10) * 400, np.arange(10) * 400 + 400)
        receiver.wait(2)
        time.sleep(0.1)
        assert len(receiver.tiles) == 2
        assert process_scheduler().state().bytes_in_flight == 800
        while len(receiver.tiles) < 10:
            n = len(receiver.tiles)
            receiver.dones.pop()()
            receiver.wait(n + 1)
        for done in receiver.dones:
            done()


def test_a_tile_larger_than_the_limit_goes_alone(memory):
    with options(max_bytes_in_flight=100):
        assert fetch(memory.a, [0, 20_000], [20_000, 40_000]).tiles == {0: DATA[:20_000], 1: DATA[20_000:40_000]}


def test_bytes_come_back_when_done_is_thrown_away_instead_of_called(memory):
    with options(max_bytes_in_flight=1000):
        receiver = Receiver(keep_done=True)
        receiver.start([memory.a], np.zeros(3), [0, 1000, 2000], [1000, 2000, 3000])
        for n in (1, 2, 3):
            receiver.wait(n)
            receiver.dones.clear()


def test_calling_done_twice_gives_back_once(memory):
    receiver = Receiver(keep_done=True)
    receiver.start([memory.a], [0, 0], [0, 10], [10, 30])
    receiver.wait()
    for done in receiver.dones:
        done()
        done()
    assert process_scheduler().state().bytes_in_flight == 0


def test_calls_are_served_in_turn(memory):
    order = []
    with options(max_concurrency=1):
        gate = Gate(memory)
        configure_store(memory.prefix, store=gate)
        receivers = [Receiver(), Receiver()]
        for number, (one, href) in enumerate(zip(receivers, (memory.a, memory.b), strict=True)):
            told = one.deliver
            one.deliver = lambda tile, data, done, number=number, told=told: (
                order.append(number),
                told(tile, data, done),
            )
            one.start([href], np.zeros(20), np.arange(20) * 10, np.arange(20) * 10 + 5)
        gate.opened.set()
        for one in receivers:
            one.wait()
    assert 8 <= sum(order[:20]) <= 12


def test_requests_of_a_call_go_in_file_order(memory):
    with options(max_concurrency=1):
        fetch(memory.a, np.arange(50) * 100, np.arange(50) * 100 + 7)
    assert [start for _, start, _ in memory.requests] == list(range(0, 5000, 100))


def test_the_cache_keeps_to_its_bytes(memory):
    with options(cache_bytes=10_000):
        fetch(memory.a, np.arange(100) * 500, np.arange(100) * 500 + 500)
        fetch(memory.b, [0, 60_000], [50_000, 60_010], group=each_alone)
        assert 0 < process_scheduler().state().cache_bytes <= 10_000


def test_cache_bytes_0_keeps_nothing(memory):
    with options(cache_bytes=0):
        fetch(memory.a, [0], [500])
        fetch(memory.a, [0], [500])
        assert process_scheduler().state().cache_bytes == 0
    assert len(memory.requests) == 2


def test_an_abandoned_call_is_told_nothing_and_leaves_nothing_behind(gate):
    receiver = Receiver()
    with options(max_concurrency=4):
        ticket = receiver.start([gate.a], np.zeros(100), np.arange(100) * 10, np.arange(100) * 10 + 5)
        wait_until(lambda: gate.n_waiting == 4)
        ticket.abandon()
        ticket.abandon()
        assert process_scheduler().state().n_queued == 0
        gate.opened.set()
        wait_until(lambda: quiet(process_scheduler().state()))
    assert receiver.times == {}
    assert gate.n_waiting == 4
    assert fetch(gate.a, np.arange(1000) * 10, np.arange(1000) * 10 + 5).errors == {}


def test_a_call_may_be_abandoned_by_the_thread_that_holds_the_lock(gate):
    """The garbage collector ends a forgotten generator wherever it comes to it, within the scheduler's own code too."""
    receiver = Receiver()
    scheduler = process_scheduler()
    with options(max_concurrency=4):
        ticket = receiver.start([gate.a], np.zeros(100), np.arange(100) * 10, np.arange(100) * 10 + 5)
        wait_until(lambda: gate.n_waiting == 4)

        def collected() -> None:
            with scheduler._lock:
                ticket.abandon()

        thread = threading.Thread(target=collected, daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert scheduler.state().n_queued == 0
        gate.opened.set()
        wait_until(lambda: quiet(scheduler.state()))
    assert receiver.times == {}
    assert gate.n_waiting == 4


def test_what_an_abandoned_call_had_running_ends_in_the_cache(gate):
    ticket = Receiver()
    running = ticket.start([gate.a], [0], [0], [50])
    wait_until(lambda: gate.n_waiting == 1)
    running.abandon()
    gate.opened.set()
    wait_until(lambda: quiet(process_scheduler().state()))
    assert fetch(gate.a, [0], [50]).tiles == {0: DATA[:50]}
    assert len(gate.memory.requests) == 1


def test_when_the_leader_goes_away_the_others_are_still_served(gate):
    leader, other = Receiver(), Receiver()
    with options(max_concurrency=1):
        ticket = leader.start([gate.a], np.zeros(5), np.arange(5) * 10, np.arange(5) * 10 + 5)
        wait_until(lambda: gate.n_waiting == 1)
        other.start([gate.a], [0, 0], [0, 40], [5, 45])
        ticket.abandon()
        assert process_scheduler().state().n_queued == 1
        gate.opened.set()
        assert other.wait().tiles == {0: DATA[0:5], 1: DATA[40:45]}
    assert leader.times == {}
    assert len(gate.memory.requests) == 2


def test_a_failure_reaches_every_waiter_and_is_not_remembered(memory):
    class Broken:
        def __init__(self):
            self.broken, self.opened = True, threading.Event()

        def get(self, href, byte_start, byte_stop, *, etag):
            self.opened.wait(30)
            if self.broken:
                raise LookupError("the shelf is empty")
            return memory.get(href, byte_start, byte_stop, etag=etag)

    source = Broken()
    configure_store(memory.prefix, store=source)
    receivers = [Receiver() for _ in range(5)]
    for one in receivers:
        one.start([memory.a], [0, 0], [0, 10], [10, 20], group=per_file)
    source.opened.set()
    for one in receivers:
        assert set(one.wait().errors) == {0, 1}
        assert isinstance(one.errors[0], FetchError)
        assert "bytes 0..20" in str(one.errors[0])
        assert "the shelf is empty" in str(one.errors[0])
    source.broken = False
    assert fetch(memory.a, [0, 10], [10, 20]).tiles == {0: DATA[:10], 1: DATA[10:20]}


def test_failures_that_pass_are_tried_again(memory):
    configure_store(memory.prefix, store=FaultySource(memory, seed=3, error_rate=0.3, short_rate=0.2))
    with profile() as p:
        got = fetch(memory.a, np.arange(60) * 100, np.arange(60) * 100 + 60, retries=30)
    assert got.tiles == {i: DATA[i * 100 : i * 100 + 60] for i in range(60)}
    summary = p.summary()
    assert summary["requests"].item() == 60 + summary["retries"].item() > 60


def test_failures_that_do_not_pass_are_not_tried_again(memory):
    source = RecordingSource(FaultySource(memory, error_rate=1.0, fatal=True))
    configure_store(memory.prefix, store=source)
    assert set(fetch(memory.a, [0], [10]).errors) == {0}
    assert len(source.requests) == 1


def test_after_the_last_attempt_the_error_says_how_often_it_was_tried(memory):
    source = RecordingSource(FaultySource(memory, error_rate=1.0))
    configure_store(memory.prefix, store=source)
    errors = fetch(memory.a, [0], [10], retries=2).errors
    assert len(source.requests) == 3
    assert "3 attempt" in str(errors[0])
    assert type(errors[0]) is FetchError


def test_a_waiting_retry_holds_no_thread_and_no_bytes(memory):
    faulty = FaultySource(memory, error_rate=1.0)
    configure_store(memory.prefix, store=faulty)
    with options(max_concurrency=1, max_bytes_in_flight=20):
        failing = Receiver()
        ticket = failing.start([memory.a], np.zeros(20), np.arange(20) * 10, np.arange(20) * 10 + 10, retries=1000)
        wait_until(lambda: process_scheduler().state().n_delayed > 10)
        other = MemorySource({"memory://elsewhere/x": DATA})
        configure_store("memory://elsewhere/", store=other)
        assert fetch("memory://elsewhere/x", [0], [20]).tiles == {0: DATA[:20]}
        ticket.abandon()
    assert failing.times == {}


def test_a_source_that_never_answers_is_given_up_at_the_deadline_and_costs_no_slot(gate):
    with options(max_concurrency=2):
        began = time.monotonic()
        stuck = Receiver()
        stuck.start([gate.a], np.zeros(2), [0, 10], [5, 15], timeout_s=0.3)
        errors = stuck.wait().errors
        assert 0.3 <= time.monotonic() - began < 60
        assert "timeout_s=0.3" in str(errors[0])
        assert process_scheduler().state().bytes_in_flight == 0
        configure_store("memory://elsewhere/", store=MemorySource({"memory://elsewhere/y": DATA}))
        assert fetch("memory://elsewhere/y", np.arange(10) * 10, np.arange(10) * 10 + 5).errors == {}
        gate.opened.set()
        wait_until(lambda: quiet(process_scheduler().state()))


def test_each_waiter_keeps_its_own_deadline(gate):
    patient, hasty = Receiver(), Receiver()
    patient.start([gate.a], [0], [0], [10], timeout_s=20)
    wait_until(lambda: gate.n_waiting == 1)
    hasty.start([gate.a], [0], [0], [10], timeout_s=0.2)
    assert set(hasty.wait(timeout_s=3).errors) == {0}
    assert patient.times == {}
    gate.opened.set()
    assert patient.wait().tiles == {0: DATA[:10]}
    assert hasty.times == {0: 1}


def test_a_receiver_that_fails_does_not_stop_the_others(memory):
    bad = Receiver()

    def broken(tile, data, done):
        raise RuntimeError("no room")

    bad.deliver = broken
    bad.start([memory.a], [0], [0], [10])
    assert "no room" in str(bad.wait().errors[0])
    assert fetch(memory.b, np.arange(40) * 10, np.arange(40) * 10 + 5).errors == {}


def test_a_group_that_fails_leaves_no_lead_behind(memory):
    def broken(file_id, byte_start, byte_stop):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Receiver().start([memory.a], [0], [0], [10], group=broken)
    assert fetch(memory.a, [0], [10]).tiles == {0: DATA[:10]}


def test_a_hundred_thousand_tiles_go_in_one_call(memory):
    n = 100_000
    href = memory.prefix + "big"
    memory.inner.files[href] = bytes(n)
    receiver = Receiver()
    receiver.start([href], np.zeros(n), np.arange(n), np.arange(n) + 1, group=lambda f, a, b: np.arange(len(a)) // 100)
    receiver.wait()
    fetch(href, np.arange(n), np.arange(n) + 1)
    assert len(memory.requests) == n // 100


@st.composite
def calls(draw):
    n = draw(st.integers(1, 40))
    file_id = np.sort(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    gaps = draw(st.lists(st.integers(0, 300), min_size=n, max_size=n))
    sizes = draw(st.lists(st.integers(1, 400), min_size=n, max_size=n))
    start = np.cumsum(gaps) + np.concatenate(([0], np.cumsum(sizes)[:-1]))
    cuts = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    return file_id, start, start + np.array(sizes), cuts, draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(calls(), min_size=1, max_size=4),
    st.integers(0, 1000),
    st.sampled_from([100, 2000, 10**6]),
    st.sampled_from([0, 1500, 10**6]),
    st.integers(1, 8),
)
def test_whatever_the_grouping_every_tile_is_told_once_with_its_bytes(calls, seed, in_flight, cache_bytes, threads):
    files = ["memory://property/a", "memory://property/b"]
    content = [DATA, DATA[::-1]]
    source = FaultySource(MemorySource(dict(zip(files, content, strict=True))), seed, error_rate=0.05, short_rate=0.05)
    configure_store("memory://property/", store=source)
    with options(max_bytes_in_flight=in_flight, cache_bytes=cache_bytes, max_concurrency=threads):
        started = []
        for file_id, start, stop, cuts, goes_away in calls:
            lookup = {(f, a): cut for f, a, cut in zip(file_id.tolist(), start.tolist(), cuts.tolist(), strict=True)}

            def group(f, a, b, lookup=lookup):
                cut = np.array([lookup[key] for key in zip(f.tolist(), a.tolist(), strict=True)])
                return np.concatenate(([0], np.cumsum((f[1:] != f[:-1]) | cut[1:])))

            receiver = Receiver()
            ticket = receiver.start(files, file_id, start, stop, group=group, retries=50)
            started.append((receiver, ticket, goes_away))
        for _, ticket, goes_away in started:
            if goes_away:
                ticket.abandon()
        for (receiver, _, goes_away), (file_id, start, stop, _, _) in zip(started, calls, strict=True):
            if goes_away:
                continue
            receiver.wait()
            assert receiver.errors == {}
            for i in range(len(start)):
                assert receiver.tiles[i] == content[file_id[i]][start[i] : stop[i]]
        wait_until(lambda: quiet(process_scheduler().state()))
        assert all(set(receiver.times.values()) <= {1} for receiver, _, _ in started)
