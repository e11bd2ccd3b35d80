"""How do bytes and file names reach the disk itself, and what does a failed write say?

A write that has returned outlives a loss of power. Nothing here knows what a collection is.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from polars.exceptions import ComputeError

from polars_rasteret.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def clear_failures(where: Path | str, what: str) -> Iterator[None]:
    """Turn a failed write inside the block into an error that says where `what` could not be written, and the next step.

    Raises
    ------
    FetchError
        When the system or the store refuses.
    """
    try:
        yield
    except FetchError:
        raise
    except (OSError, ComputeError) as error:
        raise FetchError(
            f"{where}: {what} could not be written: {error}. What was there stays as it was; make room (or mend the permissions) "
            "and call again, a build goes on where it was."
        ) from error


def write_text(file: Path, text: str) -> None:
    """Write a small text file, and wait until its bytes are on the disk itself."""
    with file.open("w", encoding="utf-8") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk itself; Windows does so without being asked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
