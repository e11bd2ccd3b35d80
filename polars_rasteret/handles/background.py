"""How does a read run without blocking an event loop?

It runs on a thread of its own pool, in the caller's context, so that options and profiles apply. A task that is cancelled ends
its read at the next wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from polars_rasteret.engine.interruption import look_while_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_N_THREADS = 32
"""Reads at a time. They mostly wait; the requests of all reads share the limit of the process."""

_cancelled: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("cancelled", default=None)


async def in_background(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function on another thread and return its answer; other tasks go on meanwhile."""
    context, cancelled = contextvars.copy_context(), threading.Event()
    context.run(_cancelled.set, cancelled)
    call = functools.partial(context.run, function, *args, **kwargs)
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool(), call)
    except asyncio.CancelledError:
        cancelled.set()
        raise


@functools.cache
def _pool() -> ThreadPoolExecutor:
    look_while_waiting(_end_if_cancelled)
    return ThreadPoolExecutor(_N_THREADS, thread_name_prefix="polars_rasteret-handle")


def _end_if_cancelled() -> None:
    cancelled = _cancelled.get()
    if cancelled is not None and cancelled.is_set():
        raise CancelledError


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
