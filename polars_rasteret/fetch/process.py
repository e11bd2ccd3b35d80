"""Is this process the one that made the connections and threads?

After a ``fork`` the child has the parent's locks and sockets but none of its threads: whatever waits there waits for ever. So
whoever makes a resource calls `claim`, and whoever uses one calls `check`.
"""

from __future__ import annotations

import os

from polars_rasteret.errors import UsageError

_owner: int | None = None


def claim() -> None:
    """Say that this process now holds connections or threads; refuse if a parent did."""
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
        In such a child.
    """
    if _owner is not None and _owner != os.getpid():
        raise UsageError(
            f"process {os.getpid()} was forked from {_owner}, which had already opened connections and threads; they do not "
            "survive a fork. Start workers with multiprocessing.get_context('spawn') or 'forkserver'."
        )


def is_mine() -> bool:
    """Tell whether this process owns what was claimed, or nothing was."""
    return _owner is None or _owner == os.getpid()
