"""Which collections are in this folder?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_rows import n_records
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.object_store import list_objects
from polars_rasteret.collection.storage.parts import is_remote, parts_at, plain_path
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping


def list_collections(
    folder: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.DataFrame:
    """List the collections directly below a folder; only footers are read.

    Parameters
    ----------
    folder
        A local folder, or a folder of an object store.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    DataFrame
        ``name``, ``path``, ``records`` (Int64), ``bands`` (List(String)), ``parts`` (Int64) and ``bytes`` (Int64, null where
        unknown), sorted by name. Files and folders that are no collection are left out.

    Raises
    ------
    UsageError
        When there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> pr.list_collections(folder.name).select("name", "records", "bands").rows()
    [('scenes', 2, ['red', 'nir'])]
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    target = plain_path(folder).rstrip("/") or "/"
    rows = []
    for name in _children(target, options):
        child = f"{target.rstrip('/')}/{name}"
        try:
            parts = parts_at(child, **options)
            bands = raster_columns(scan_collection(child, **options).collect_schema()) if parts else []
        except (UsageError, FileFormatError):
            continue
        if bands:
            sizes = [part.n_bytes for part in parts]
            n_bytes = None if None in sizes else sum(size for size in sizes if size is not None)
            rows.append((name, child, sum(n_records(part, **options) for part in parts), bands, len(parts), n_bytes))
    return pl.DataFrame(
        rows,
        schema={
            "name": pl.String,
            "path": pl.String,
            "records": pl.Int64,
            "bands": pl.List(pl.String),
            "parts": pl.Int64,
            "bytes": pl.Int64,
        },
        orient="row",
    )


def _children(target: str, options: Mapping[str, Any]) -> list[str]:
    if is_remote(target):
        found = list_objects(target, **options)
        return sorted({one.href.removeprefix(target).strip("/").partition("/")[0] for one in found} - {""})
    if not Path(target).is_dir():
        raise UsageError(f"{target} is not a folder; expected one that holds collections")
    return sorted(one.name for one in Path(target).iterdir() if not one.name.startswith((".", "_")))
