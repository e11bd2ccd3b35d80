"""Which datasets are in the user's own file, and how is the file changed while others change it, too?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from polars_rasteret.catalog.descriptor_toml import descriptors_of, toml_of
from polars_rasteret.collection.storage.durable_writes import clear_failures, sync_folder, write_text
from polars_rasteret.collection.storage.writer_lock import only_writer
from polars_rasteret.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from polars_rasteret.catalog.descriptor import DatasetDescriptor

VARIABLE = "POLARS_RASTERET_DATASETS"
"""Environment variable that names the file."""


def local_path() -> Path:
    """Return the path of the file of local datasets, whether or not it is there."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    # expanduser leaves the "~" where a user has no home, as in some containers; Path.home() would raise.
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(folder) / "polars_rasteret" / "datasets.toml"


def local_datasets() -> dict[str, DatasetDescriptor]:
    """Return the datasets of the local file by id; empty where there is no file.

    Raises
    ------
    UsageError
        When the file is not in order; the message names line, dataset and field.
    FetchError
        When the file cannot be read.
    """
    path = local_path()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise FetchError(f"{path}: the file of local datasets could not be read: {error}") from error
    return descriptors_of(text, str(path))


def change_local(
    change: Callable[[dict[str, DatasetDescriptor]], dict[str, DatasetDescriptor]], *, wait_s: float
) -> None:
    """Write the local file anew with the datasets that a function makes of those that are there.

    The file is replaced in one step, under a lock. So changes of several processes are made one after the other, and a reader
    or a killed writer leaves a whole file.

    Raises
    ------
    UsageError
        When another process holds the lock for longer than `wait_s`, or the file is not in order.
    FetchError
        When the file cannot be written.
    """
    path = local_path()
    with clear_failures(path, "the file of local datasets"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link is followed, so that a file that several places share stays one file.
        path = path.resolve()
    with only_writer(path, is_file=True, wait_s=wait_s):
        before = local_datasets()
        after = change(dict(before))
        if after != before:
            write_toml(path, after)


def write_toml(path: Path, descriptors: dict[str, DatasetDescriptor]) -> None:
    """Write datasets to a file, which appears whole or not at all.

    Raises
    ------
    FetchError
        When it cannot be written.
    """
    with clear_failures(path, "the file of datasets"):
        file, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(file)
        new = Path(name)
        try:
            write_text(new, toml_of(descriptors.values()))
            new.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
        sync_folder(path.parent)
