"""Are all files asked step by step, in order, side by side, and does the first error stop the rest?"""

from __future__ import annotations

import threading

import pytest

from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import FileKey, process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.fetch.stepwise_reads import FileRange, read_all, read_in_batches
from polars_rasteret.options import ReadOptions, options
from tests.support.range_server import Fault, RangeServer
from tests.support.receiver import DATA, look, quiet, wait_until

OPTIONS = ReadOptions()
BATCHES = [(0, 5), (5, 0), (5, 5), (10, 5), (15, 5), (20, 5), (25, 5)]


@pytest.fixture
def file(memory):
    return FileKey(memory.a)


def two_steps(file):
    def talk(item):
        first = yield FileRange(file, item, item + 1)
        second = yield FileRange(file, item + 1, item + 3)
        return item, bytes(first.data) + bytes(second.data)

    return talk


def test_results_come_in_the_order_of_the_items(file):
    assert read_all(two_steps(file), range(50), options=OPTIONS) == [
        (item, DATA[item : item + 3]) for item in range(50)
    ]
    assert read_all(two_steps(file), [], options=OPTIONS) == []


def test_a_dialogue_may_end_without_a_wish(file):
    def talk(item):
        if item % 3:
            yield FileRange(file, 0, 1)
        return item

    assert read_all(talk, range(3000), options=OPTIONS) == list(range(3000))


def test_no_more_dialogues_are_held_than_requests_are_allowed():
    with RangeServer({"f": DATA}, latency_s=0.005) as server:
        talk = two_steps(FileKey(server.url("f")))
        read_all(talk, range(20), options=ReadOptions(max_concurrency=4))
        assert server.most_running <= 4
        assert len(server.requests) == 40


def test_two_calls_share_one_limit():
    with RangeServer({"f": DATA}, latency_s=0.005) as server, options(max_concurrency=4):
        talk = two_steps(FileKey(server.url("f")))
        threads = [
            threading.Thread(
                target=read_all, args=(talk, range(20)), kwargs={"options": ReadOptions(max_concurrency=4)}
            )
            for _ in range(3)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(server.requests) == 120
        assert server.most_running <= 4


def test_the_first_error_comes_out_and_nothing_more_is_begun(file):
    begun = []

    def talk(item):
        begun.append(item)
        yield FileRange(file, item, item + 1)
        if item == 3:
            raise ZeroDivisionError
        yield FileRange(file, item, item + 1)

    with pytest.raises(ZeroDivisionError):
        read_all(talk, range(1000), options=ReadOptions(max_concurrency=2))
    assert len(begun) < 20
    wait_until(lambda: quiet(process_scheduler().state()))


def test_a_failed_request_is_thrown_into_its_dialogue_alone(file, memory):
    def talk(item):
        name = FileKey(memory.prefix + "none") if item % 2 else file
        try:
            answer = yield FileRange(name, 0, 2)
        except FetchError as error:
            return str(error)
        return bytes(answer.data)

    results = read_all(talk, range(10), options=OPTIONS)
    assert results[::2] == [DATA[:2]] * 5
    assert all("none" in one for one in results[1::2])


def test_an_href_that_nothing_reads_is_thrown_into_its_dialogue():
    def talk(href):
        try:
            yield FileRange(FileKey(href), 0, 2)
        except UsageError as error:
            return str(error)

    results = read_all(talk, [f"strange{n}://x" for n in range(2000)], options=OPTIONS)
    assert all("nothing reads" in one for one in results)


def test_a_refusal_ends_all(file):
    def admit(_file, n_bytes):
        if n_bytes > 1:
            raise UsageError("too much")

    with pytest.raises(UsageError, match="too much"):
        read_all(two_steps(file), range(10), options=OPTIONS, admit=admit)


def test_every_arrival_is_told_once(file):
    told = []
    read_all(two_steps(file), range(30), options=OPTIONS, arrived=told.append)
    assert sum(told) == 30


def test_the_options_of_the_caller_count():
    with RangeServer({"f": DATA}) as server:
        server.fault = lambda _seen: Fault(status=500)
        with pytest.raises(FetchError, match=r"2 attempt"):
            look(server.url("f"), 0, 10, retries=1)
        assert len(server.requests) == 2


def test_batches_come_whole_and_in_order_and_dialogues_run_no_further_than_two_ahead(file):
    begun: list[int] = []
    sizes = [size for _, size in BATCHES]

    def talk(item):
        begun.append(item)
        yield FileRange(file, item, item + 1)
        return -item

    seen = []
    for batch in read_in_batches(talk, range(30), sizes, options=ReadOptions(max_concurrency=8)):
        seen.append(batch)
        assert max(begun) < sum(sizes[: len(seen) + 2])
    assert seen == [[-n for n in range(start, start + size)] for start, size in BATCHES]


def test_whoever_stops_taking_batches_leaves_nothing_behind(file):
    batches = read_in_batches(two_steps(file), range(1000), [5] * 200, options=ReadOptions(max_concurrency=2))
    next(batches)
    batches.close()
    wait_until(lambda: quiet(process_scheduler().state()))


class Panic(BaseException):
    """As of a transport that is not written in Python."""


def test_a_source_that_panics_costs_its_request_and_no_thread(scheduler):
    class Panicking:
        def get(self, href, byte_start, byte_stop, *, etag):
            raise Panic("index out of bounds")

    configure_store("panic://x/", store=Panicking())
    try:
        for _ in range(40):
            with pytest.raises(FetchError, match=r"panic://x/f: asked for bytes 0\.\.9 .*index out of bounds"):
                look("panic://x/f", 0, 9)
    finally:
        configure_store("panic://x/")
    state = scheduler.state()
    assert (state.n_running, state.n_threads_lost, state.bytes_in_flight) == (0, 0, 0)

    def n_alive() -> int:
        return sum(one.name == "polars_rasteret fetch" for one in threading.enumerate())

    # A thread that is not counted any more may be about to end.
    wait_until(lambda: scheduler.state().n_threads == n_alive())
