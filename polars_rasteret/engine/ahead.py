"""What does a thread load while a first query still looks for its records?

The first read of a process loads codecs and tries out one of them; Polars imports `numpy.ma` to make columns of arrays. That
takes some 15 ms. From the moment a query is collected until its first rows are there, Polars plans and scans, and Python has
nothing to do. What fails here is loaded again where it is needed, and fails there.
"""

from __future__ import annotations

import os
import threading
import time

from polars_rasteret.module_loading import loading
from polars_rasteret.tiff.codecs.inflate import load_common_codecs

_UNTIL_COLLECTED_S = 0.001
"""How long a script has to go on from making a query to collecting it."""
_FORK_WAITS_S = 5.0

_lock = threading.Lock()
_thread: threading.Thread | None = None


def load_ahead() -> None:
    """Begin to load what the first read of this process needs, and return at once; later calls do nothing."""
    global _thread  # noqa: PLW0603 - one per process
    if _thread is None:
        with _lock:
            if _thread is None:
                # No daemon: the exit of the interpreter waits for it, because threads that end amid an import may crash.
                thread = threading.Thread(target=_load, name="polars_rasteret ahead")
                thread.start()
                _thread = thread


def wait() -> None:
    """Wait until all is loaded, where that has begun."""
    if _thread is not None:
        _thread.join(_FORK_WAITS_S)


def _load() -> None:
    time.sleep(_UNTIL_COLLECTED_S)
    try:
        with loading():
            import numpy.ma  # noqa: F401 - Polars needs it to make columns of arrays
        load_common_codecs()
    except Exception:  # noqa: BLE001, S110 - whoever needs it gets the error
        pass


if hasattr(os, "register_at_fork"):
    # A child would wait for ever for a module that this thread was importing.
    os.register_at_fork(before=wait)
