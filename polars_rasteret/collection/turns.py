"""Is somebody else changing this folder of parts right now?

A local folder is locked by the system, which takes the lock back when its holder dies, however it dies and on whatever machine.
The file only says whose it is. Readers need no lock: parts appear and go in one step.
"""

from __future__ import annotations

import contextlib
import os
import platform
from typing import TYPE_CHECKING, Any

from polars_rasteret.collection.part_files import clear_failures
from polars_rasteret.errors import UsageError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "_writer.lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Keep other writers, processes and threads, off a local folder until the block ends.

    Raises
    ------
    UsageError
        When another writer is at work.
    """
    if fcntl is None:
        yield
        return
    path = folder / LOCK
    with clear_failures(folder, "a lock"):
        file = _locked(path)
    try:
        # On a full disk the lock holds without words.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path) -> int:
    """Open the lock file and take its lock; where the file system has no locks, go on without."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 1_000).decode(errors="replace") or "another process"
            os.close(file)
            raise UsageError(
                f"{path.parent} is being changed by {holder}; call again when that is done (its lock ends with it)"
            ) from None
        except OSError:
            return file
        # The holder before us may have removed the file between our opening and locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)
