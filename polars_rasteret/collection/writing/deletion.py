"""How is a whole collection deleted, and nothing else?

Only its own files go: parts, and what writers leave beside them. A file that is not of the collection stays, with its folders.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.durable_writes import clear_failures, sync_folder
from polars_rasteret.collection.storage.object_store import delete_objects
from polars_rasteret.collection.storage.parts import is_one_file, is_remote
from polars_rasteret.collection.storage.staging import staging
from polars_rasteret.collection.writing.noted_parts import forget_parts
from polars_rasteret.collection.writing.publishing import publish_parts
from polars_rasteret.collection.writing.upkeep import changing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def delete_collection(
    path: str | os.PathLike[str],
    *,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> int:
    """Delete a collection, and return the number of its parts.

    Readers see all of it or nothing of it, on a local disk.

    Parameters
    ----------
    path
        A collection: a Parquet file or a folder of parts.
    wait_s
        Seconds to wait for another writer of a local collection.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Raises
    ------
    UsageError
        When no collection is there, or another writer is at work.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> delete_collection(f"{folder.name}/scenes"), pr.list_collections(folder.name).height
    (1, 0)
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    with changing(path, wait_s=wait_s, **options) as (target, parts):
        scan_collection(target, **options)  # raises where Parquet files lie that are no collection
        if not is_one_file(target):
            forget_parts(target, **options)
        if is_remote(target):
            delete_objects([part.path for part in parts], **options)
            return len(parts)
        file = Path(target)
        if is_one_file(target):
            with clear_failures(file, "the collection"):
                file.unlink()
                sync_folder(file.parent)
            return len(parts)
        with staging(file, is_file=False) as stage:
            publish_parts([], file, parts, draft=stage / "journal")
    if not is_one_file(target):
        folders = {folder for part in parts for folder in Path(part.path).parents if folder.is_relative_to(file)}
        for folder in sorted(folders, reverse=True):  # those below before those above
            with contextlib.suppress(OSError):
                folder.rmdir()
    return len(parts)
