"""On which thread does PROJ run?

PROJ contexts belong to threads, and Polars calls this package on threads of its own that come and go. Measured with pyproj 3.7.2:
a transformer created on one such thread and another on the next thread crash the interpreter, even when they share nothing.
https://github.com/pyproj4/pyproj/issues/1622 explains why; pyproj 3.8 (Python 3.12) is without the fault. A test in
``tests/upstream`` says when this module can go. So every call into pyproj runs on one thread that lives as long as the process.
That thread never calls Polars, so a Polars callback may wait for it. Nothing else belongs here.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
_executor: ThreadPoolExecutor | None = None
_here = threading.local()


def on_proj_thread(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return the result of a function that uses pyproj, run on the PROJ thread; its exceptions are raised here."""
    if getattr(_here, "is_proj_thread", False):
        return call(*args, **kwargs)
    return _pool().submit(call, *args, **kwargs).result()


def _pool() -> ThreadPoolExecutor:
    global _executor  # noqa: PLW0603 - the one thread of the process
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(1, thread_name_prefix="polars-rasteret-proj", initializer=_mark)
        return _executor


def _mark() -> None:
    _here.is_proj_thread = True


def _forget() -> None:
    # Threads do not survive a fork.
    global _executor, _lock, _here
    _executor, _lock, _here = None, threading.Lock(), threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
