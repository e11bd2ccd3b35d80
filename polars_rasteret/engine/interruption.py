"""How does our code end early, when the interpreter ends or the user presses Ctrl-C while Polars still runs it?

Polars' streaming engine answers ``head`` as soon as it has its rows, and leaves the thread of a Python source or callback
running. If the interpreter ends meanwhile, CPython (before 3.14) ends that thread when it asks for the GIL. Unwinding through
Rust then aborts the process (measured: exit code 134 in 7 of 8 runs). So callbacks and sources are counted while they run. At
exit they are told to stop, and the interpreter waits for them briefly. https://github.com/python/cpython/issues/87135 is the
fault; ``tests/upstream`` has a script that shows it. A wait for pixels also looks for Ctrl-C, by the functions that the layers
above registered with `look_while_waiting`. Nothing else belongs here.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_RUNNING_S = 5.0
"""How long the exit waits for callbacks and sources that are running."""
_SUSPENDED_S = 0.2
"""How long the exit waits for a source that Polars may pull once more, or never."""
_POLL_S = 0.002


class _Runs:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = 0
        self.suspended = 0
        self.generation = 0
        """Number that `end_sources` raises; a source of an earlier generation ends when Polars pulls it again."""
        self.is_stopping = False


_runs = _Runs()


_looks: list[Callable[[], object]] = []
_n_interrupts = 0


def look_while_waiting(look: Callable[[], object]) -> None:
    """Register a function that every wait for pixels calls now and then; it raises to end the wait.

    It is called on the thread that waits, but never on the main thread, where Python raises `KeyboardInterrupt` by itself.
    """
    _looks.append(look)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yield a function that a waiting thread calls now and then; it raises when the read is no longer needed.

    Ctrl-C ends every wait that had begun when the first thread noticed it. Polars forgets Ctrl-C as soon as the query has
    returned, which may be before the other threads of the query have looked.

    Raises
    ------
    FetchError
        From the yielded function, when the interpreter is ending.
    KeyboardInterrupt
        From the yielded function, when Ctrl-C was pressed.
    """
    global _n_interrupts  # noqa: PLW0603 - a fact of the process
    before = _n_interrupts
    # On the main thread Python raises by itself; asking there, too, would raise twice, the second time amid the tidying up.
    looks = [] if threading.current_thread() is threading.main_thread() else _looks

    def check() -> None:
        if _runs.is_stopping:
            raise FetchError(
                "the interpreter is ending; the read was stopped. Wait for queries before the script ends."
            )
        if _n_interrupts != before:
            raise KeyboardInterrupt
        for look in looks:
            look()

    try:
        yield check
    except KeyboardInterrupt:
        _n_interrupts += 1
        raise


@contextmanager
def running() -> Iterator[None]:
    """Count a callback as running until the block ends; refuse in a forked child, where queries hang."""
    process.check()
    with _runs.lock:
        _runs.running += 1
    try:
        yield
    finally:
        with _runs.lock:
            _runs.running -= 1


def guarded(frames: Iterator[T]) -> Iterator[T]:
    """Yield the frames of a source, and end early at exit.

    The source is counted while it runs, and while Polars may pull it again.
    """
    with _runs.lock:
        _runs.suspended += 1
        generation = _runs.generation
    try:
        while generation == _runs.generation:
            with running():
                try:
                    frame = next(frames)
                except StopIteration:
                    return
            yield frame
    finally:
        with _runs.lock:
            _runs.suspended -= 1


def end_sources() -> None:
    """Make every source that has begun end at its next pull.

    Polars may still pull a source that it left running after the ``head`` of a query.
    """
    with _runs.lock:
        _runs.generation += 1


def is_running() -> bool:
    """Return whether a source or a callback is running now."""
    return _runs.running > 0


def _wait() -> None:
    _runs.is_stopping = True
    end_sources()
    started = time.monotonic()
    while (waited := time.monotonic() - started) < _RUNNING_S:
        if not _runs.running and (not _runs.suspended or waited > _SUSPENDED_S):
            return
        time.sleep(_POLL_S)  # other threads get the GIL


def _forget() -> None:
    global _runs  # noqa: PLW0603 - threads do not survive a fork
    _runs = _Runs()


atexit.register(_wait)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
