"""How is one blocking call made for many items at once?

Indexing reads thousands of headers; each is a short chain of ranged reads that mostly waits. Threads live under ``fetch/`` only,
so callers hand over a function. Knows nothing about TIFF and nothing about tiles (those go through the scheduler).
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_WAKE_S = 0.2
"""How long a wait lasts before Ctrl-C is looked for."""


def fan_out(
    call: Callable[[Item], Answer],
    items: Sequence[Item],
    *,
    max_concurrency: int,
    arrived: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Call `call` once per item, up to `max_concurrency` at a time, and give the answers in the order of `items`.

    Parameters
    ----------
    call
        Runs on a worker thread; must not call Polars.
    items
        What to call it with.
    max_concurrency
        Threads to use at most.
    arrived
        Called on the calling thread, from time to time, with the number of items answered since the last call.

    Raises
    ------
    BaseException
        The first error of any call, or Ctrl-C; calls that have not begun are dropped.
    """
    answers: list[Answer | None] = [None] * len(items)
    upcoming = iter(range(len(items)))
    take = threading.Lock()
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            with take:
                index = next(upcoming, None)
            if index is None:
                return
            try:
                answers[index] = call(items[index])
            except BaseException:
                stopped.set()
                raise
            done.append(index)

    done: list[int] = []
    told = 0
    n_threads = max(1, min(max_concurrency, len(items)))
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="polars_rasteret-headers")
    try:
        # Each thread sees the options in force where the caller stands.
        running: set[Future[None]] = {pool.submit(contextvars.copy_context().run, work) for _ in range(n_threads)}
        while running:
            finished, running = wait(running, timeout=_WAKE_S)
            if arrived is not None and len(done) > told:
                now = len(done)
                arrived(now - told)
                told = now
            for one in finished:
                one.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)
    return answers  # type: ignore[return-value]  # every call has answered


def fan_out_in_batches(
    call: Callable[[Item], Answer],
    items: Sequence[Item],
    n_per_batch: Sequence[int],
    *,
    max_concurrency: int,
    arrived: Callable[[int], None] | None = None,
) -> Iterator[list[Answer]]:
    """Call `call` once per item and give the answers of each batch when they are complete, in order.

    Calls run up to two batches ahead of the one that was taken, so that whoever takes the batches may take their time, while
    no more than three batches of answers are held.

    Parameters
    ----------
    call, max_concurrency, arrived
        As in `fan_out`.
    items
        What to call it with.
    n_per_batch
        Items of each batch; they add up to all items.

    Raises
    ------
    BaseException
        The first error of any call, or Ctrl-C.
    """
    stops = [0, *accumulate(n_per_batch)]
    state = threading.Condition()
    batch_of = [number for number, n in enumerate(n_per_batch) for _ in range(n)]
    missing = list(n_per_batch)
    answers: dict[int, Answer] = {}
    failures: list[BaseException] = []
    taken = told = given = 0
    allowed = stops[min(2, len(stops) - 1)]
    stopped = False

    def work() -> None:
        nonlocal taken, stopped
        while True:
            with state:
                while not stopped and allowed <= taken < len(items):
                    state.wait()
                if stopped or taken >= len(items):
                    return
                index = taken
                taken += 1
            try:
                answer = call(items[index])
            except BaseException as error:  # noqa: BLE001 - raised again where the batches are taken
                with state:
                    failures.append(error)
                    stopped = True
                    state.notify_all()
                return
            with state:
                answers[index] = answer
                missing[batch_of[index]] -= 1
                if not missing[batch_of[index]]:
                    state.notify_all()

    pool = ThreadPoolExecutor(max(1, min(max_concurrency, len(items))), thread_name_prefix="polars_rasteret-headers")
    try:
        for _ in range(min(max_concurrency, len(items))):
            pool.submit(contextvars.copy_context().run, work)
        for number in range(len(n_per_batch)):
            start, stop = stops[number], stops[number + 1]
            while True:
                with state:
                    if not failures and missing[number]:
                        state.wait(_WAKE_S)
                    if failures:
                        raise failures[0]
                    done = not missing[number]
                    n_answered = given + len(answers)
                if arrived is not None and n_answered > told:
                    arrived(n_answered - told)
                    told = n_answered
                if done:
                    break
            with state:
                batch = [answers.pop(index) for index in range(start, stop)]
                given += len(batch)
                allowed = stops[min(number + 3, len(stops) - 1)]
                state.notify_all()
            yield batch
    finally:
        with state:
            stopped = True
            state.notify_all()
        pool.shutdown(wait=False, cancel_futures=True)
