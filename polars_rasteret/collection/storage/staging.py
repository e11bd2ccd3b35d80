"""Where are files written before they take their place, and which stages has a dead writer left?

Each writer has a stage: a hidden folder on the disk of its collection, whose lock the writer holds while it lives. A stage whose
lock is free was left by a killed writer.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from polars_rasteret.collection.storage.durable_writes import clear_failures
from polars_rasteret.collection.storage.writer_lock import taken
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

SUFFIX = ".writing"
_LOCK = "lock"


@contextlib.contextmanager
def staging(target: Path, *, is_file: bool) -> Iterator[Path]:
    """Make a stage for the files of one writer, and yield its folder; the stage is deleted when the block ends.

    Parameters
    ----------
    target, is_file
        The folder of a collection, which is made if missing, or the one file that a collection is.
    """
    folder, prefix = _place(target, is_file=is_file)
    stage, lock = _made(folder, prefix)
    try:
        yield stage
    finally:
        _clear(stage, lock)


def sweep(target: Path, *, is_file: bool) -> None:
    """Delete the stages that dead writers of a collection left; only the holder of its lock may call this."""
    folder, prefix = _place(target, is_file=is_file)
    for where, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if name.startswith(prefix) and name.endswith(SUFFIX):
                _sweep_one(Path(where, name))
        # Only a folder of parts has folders, and none below a stage.
        folders[:] = [] if is_file else [name for name in folders if name[0] not in "._"]


def _place(target: Path, *, is_file: bool) -> tuple[Path, str]:
    return (target.parent, f".{target.name}.") if is_file else (target, ".")


def _made(folder: Path, prefix: str) -> tuple[Path, BaseFileLock]:
    while True:
        stage = folder / f"{prefix}{secrets.token_hex(8)}{SUFFIX}"
        with clear_failures(folder, "a part"):
            stage.mkdir(parents=True)
        try:
            lock = taken(stage / _LOCK)
        except UsageError:
            if stage.exists():
                shutil.rmtree(stage, ignore_errors=True)
                raise
        else:
            if lock is not None:
                return stage, lock
        # A sweep came between the folder and its lock, and took it for a dead writer's.


def _sweep_one(found: Path) -> None:
    with contextlib.suppress(OSError):
        if found.is_symlink() or not found.is_dir():
            found.unlink(missing_ok=True)
            return
    with contextlib.suppress(UsageError):
        lock = taken(found / _LOCK)
        if lock is not None:
            _clear(found, lock)


def _clear(stage: Path, lock: BaseFileLock) -> None:
    shutil.rmtree(stage, ignore_errors=True)
    lock.release()
    # On Windows the lock kept its folder until then. If another writer has the name by now, the folder is not empty.
    with contextlib.suppress(OSError):
        stage.rmdir()
