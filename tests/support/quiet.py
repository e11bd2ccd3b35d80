"""When has the process read all that its queries began?"""

from __future__ import annotations

import time

from polars_rasteret.engine import interruption
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler

_DEADLINE_S = 60.0


def end_all_reads() -> None:
    """End what queries left behind, and return when nothing runs.

    Polars' streaming engine leaves a source running when a limit has its rows, and may pull it again after the answer.
    """
    interruption.end_sources()
    wait_until_idle()


def wait_until_idle() -> None:
    """Return when nothing runs; nothing is ended."""
    deadline = time.monotonic() + _DEADLINE_S
    while interruption.is_running() or process_scheduler().state().n_running:
        assert time.monotonic() < deadline, f"still running: {process_scheduler().state()}"
        time.sleep(0.001)
