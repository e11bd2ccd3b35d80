"""Is another writer changing this collection right now?

The operating system holds the lock, and releases it when its holder dies, however it dies. The file only names the holder.
Readers need no lock. The docstring of `polars_rasteret.collection` lists the steps of a writer that holds the lock.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import stat
from typing import TYPE_CHECKING

import filelock

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = "_writer.lock"
"""Name of the lock file in a folder of parts; the lock file of a collection of one file lies beside it."""


def lock_path(target: Path, *, is_file: bool) -> Path:
    """Return the path of the lock file of a collection."""
    return target.parent / f".{target.name}.lock" if is_file else target / LOCK


@contextlib.contextmanager
def only_writer(target: Path, *, is_file: bool, wait_s: float) -> Iterator[None]:
    """Keep other writers (processes and threads) off a local collection until the block ends.

    Parameters
    ----------
    target, is_file
        A folder that exists, or one file whose folder exists.
    wait_s
        Seconds to wait for another writer.

    Raises
    ------
    UsageError
        When another writer is still at work, or the file system has no locks.
    """
    if isinstance(wait_s, bool) or not isinstance(wait_s, int | float) or not wait_s >= 0:
        raise UsageError(f"wait_s is {wait_s!r}; expected seconds to wait for another writer, 0 or more")
    path = lock_path(target, is_file=is_file)
    lock = taken(path, wait_s=wait_s)
    if lock is None:
        raise UsageError(
            f"{target} is being changed by {_holder(path)}; call again when that is done (its lock ends with it), or say how "
            "long to wait for it (wait_s)"
        )
    try:
        _tell_holder(path)
        yield
    finally:
        try:
            # Removed while it is held: a writer that waits for the lock sees that its file has gone, and opens a new one.
            with contextlib.suppress(OSError):
                path.unlink()
        finally:
            lock.release()


def taken(path: Path, *, wait_s: float = 0.0) -> filelock.BaseFileLock | None:
    """Return the lock of a file, held; None when another writer holds it.

    Raises
    ------
    UsageError
        When the file system has no locks.
    """
    if issubclass(filelock.FileLock, filelock.SoftFileLock):
        raise UsageError(f"{path.parent}: this system has no file locks, so collections cannot be changed safely on it")
    locked: list[os.stat_result] = []
    lock = filelock.FileLock(
        path,
        mode=0o666,
        thread_local=False,
        poll_interval=0.02,
        fallback_to_soft=False,
        on_acquired=lambda file: locked.append(os.fstat(file)),
    )
    while True:
        try:
            lock.acquire(timeout=-1 if math.isinf(wait_s) else wait_s)
        except filelock.Timeout:
            return None
        except (OSError, NotImplementedError) as error:
            raise UsageError(
                f"{path} could not be locked: {error}. A collection is changed under a lock only; change it where the file "
                "system has locks and you may write, and copy it here."
            ) from error
        # The holder before us has removed the file that we waited for. A network file system may still call it a file.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(locked[-1], path.lstat()):
                return lock
        lock.release()


def _tell_holder(path: Path) -> None:
    """Write the holder of the lock into its file. On a full disk, and on Windows, the lock holds without these words."""
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            found = os.fstat(file)
            # A lock file that came with a stranger's folder may be another name of a file of ours.
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.ftruncate(file, 0)
                os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
        finally:
            os.close(file)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            words = os.read(file, 200).decode(errors="replace")
            if words.startswith("process ") and words.isprintable():
                return words
        finally:
            os.close(file)
    return "another process"
