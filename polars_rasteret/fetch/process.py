"""Is this process the one that made the connections and threads?

After a ``fork`` the child has the locks and sockets of its parent, but none of its threads: a wait in the child never ends. So
code that makes a resource calls `claim`, and code that uses one calls `check`.
"""

from __future__ import annotations

import os

from polars_rasteret.errors import UsageError

_owner: int | None = None


def claim() -> None:
    """Note that this process now holds connections or threads; refuse where its parent already did."""
    global _owner  # noqa: PLW0603 - a fact of the process
    if _owner is None:
        _owner = os.getpid()
    else:
        check()


def check() -> None:
    """Refuse to go on in a forked child of a process that had begun to read.

    Raises
    ------
    UsageError
        In a forked child of a process that held connections or threads.
    """
    if _owner is not None and _owner != os.getpid():
        raise UsageError(
            f"process {os.getpid()} was forked from {_owner}, which had already opened connections and threads; they do not "
            "survive a fork. Start workers with multiprocessing.get_context('spawn') or 'forkserver'."
        )


def is_mine() -> bool:
    """Return whether this process may use connections and threads: it claimed them itself, or no process has."""
    return _owner is None or _owner == os.getpid()
