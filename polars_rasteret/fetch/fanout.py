"""How is one blocking call made for many items at once?

Indexing reads thousands of headers; each is a short chain of ranged reads that mostly waits. Threads live under ``fetch/`` only,
so callers hand over a function. Knows nothing about TIFF and nothing about tiles (those go through the scheduler).
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
