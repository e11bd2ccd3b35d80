"""Are all items answered in order, and does the first error stop the rest?"""

from __future__ import annotations

import threading
import time

import pytest

from polars_rasteret.fetch.fanout import fan_out, fan_out_in_batches
from polars_rasteret.options import current_options, options


def test_answers_come_in_the_order_of_the_items():
    def call(item):
        time.sleep(0.002 * (item % 3))
        return item * item

    assert fan_out(call, range(50), max_concurrency=8) == [item * item for item in range(50)]
    assert fan_out(call, [], max_concurrency=8) == []


def test_no_more_calls_run_at_once_than_allowed():
    running, most, lock = [0], [0], threading.Lock()

    def call(_item):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    fan_out(call, range(40), max_concurrency=4)
    assert most[0] == 4


def test_the_first_error_comes_out_and_what_has_not_begun_is_dropped():
    begun = []

    def call(item):
        begun.append(item)
        if item == 3:
            raise ZeroDivisionError
        time.sleep(0.01)

    with pytest.raises(ZeroDivisionError):
        fan_out(call, range(1000), max_concurrency=2)
    assert len(begun) < 20


def test_every_arrival_is_told_once():
    told = []
    fan_out(lambda item: item, range(30), max_concurrency=4, arrived=told.append)
    assert sum(told) == 30


def test_threads_see_the_options_of_the_caller():
    with options(timeout_s=7.5):
        seen = fan_out(lambda _item: current_options().timeout_s, range(4), max_concurrency=2)
    assert seen == [7.5] * 4


def test_batches_come_whole_and_in_order_and_calls_run_no_further_than_two_ahead():
    begun: list[int] = []

    def call(item):
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return -item

    seen = []
    for batch in fan_out_in_batches(call, range(30), [5, 0, 5, 5, 5, 5, 5], max_concurrency=8):
        seen.append(batch)
        assert max(begun) < sum([5, 0, 5, 5, 5, 5, 5][: len(seen) + 2])
    assert seen == [[-n for n in range(start, start + size)] for start, size in BATCHES]


BATCHES = [(0, 5), (5, 0), (5, 5), (10, 5), (15, 5), (20, 5), (25, 5)]


def test_the_first_error_ends_the_batches():
    def call(item):
        if item == 7:
            raise ValueError("seven")
        return item

    batches = fan_out_in_batches(call, range(20), [5, 5, 5, 5], max_concurrency=1)
    with pytest.raises(ValueError, match="seven"):
        list(batches)
