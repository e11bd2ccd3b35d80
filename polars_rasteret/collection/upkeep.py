"""How is a collection changed in place: records removed, small parts joined, collections of a folder listed?

Parts are immutable: the parts concerned are written anew and take the place of the old ones in one step, so a killed or failed
writer leaves what was there. Reads no header and no pixel.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.collection.curve import curve_order
from polars_rasteret.collection.extent import bounds_array, place_expression
from polars_rasteret.collection.geoparquet import unread_files
from polars_rasteret.collection.listing import list_objects
from polars_rasteret.collection.part_files import finish_overwrite
from polars_rasteret.collection.parts import Part, is_one_file, is_remote, parts_at, plain_path, polars_options
from polars_rasteret.collection.scan import scan_collection
from polars_rasteret.collection.sink import write_parts
from polars_rasteret.collection.turns import only_writer
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

RECORDS_PER_PART = 100_000
"""Most records in a part that `compact` writes."""
_ROW = "__row"


def remove(
    path: str | os.PathLike[str],
    predicate: pl.Expr,
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Remove the records for which a predicate is true; only the parts that hold some are written anew.

    Parameters
    ----------
    path
        A collection: a Parquet file or a folder of parts.
    predicate
        An expression over its columns; where it is null the record stays.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    LazyFrame
        The collection, as `scan_collection` gives it.

    Raises
    ------
    UsageError
        When no collection is there, or `predicate` is not an expression.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> pr.remove(f"{folder.name}/scenes", pl.col("id") == "first").select("id").collect().rows()
    [('second',)]
    >>> folder.cleanup()
    """
    if not isinstance(predicate, pl.Expr):
        raise UsageError(f"predicate is a {type(predicate).__name__}; expected an expression, like pl.col('id') == 'a'")
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    with changing(path, **options) as (target, parts):
        rows = scan_collection(target, **options).with_row_index(_ROW).filter(predicate).select(_ROW).collect()
        gone = rows[_ROW].to_numpy().astype(np.int64)
        starts = np.cumsum([0, *(n_records(part, **options) for part in parts)])
        number = np.searchsorted(starts, gone, side="right") - 1
        concerned = np.unique(number).tolist()
        emptied = [which for which in concerned if (number == which).sum() == starts[which + 1] - starts[which]]
        # The columns of a collection without records are told by an empty part.
        dropped = set(emptied if len(emptied) < len(parts) else emptied[1:])

        def pieces() -> Iterator[tuple[str, pl.DataFrame]]:
            for which in concerned:
                if which not in dropped:
                    frame = read_part(parts[which], **options)
                    kept = np.ones(frame.height, dtype=bool)
                    kept[gone[number == which] - starts[which]] = False
                    yield folder_of(parts[which], target), frame.filter(pl.Series(kept))

        if concerned:
            write_parts(pieces(), target, [parts[which] for which in concerned], **options)
    return scan_collection(target, **options)


def compact(
    path: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Join the parts of a collection into few, sorted in space as a whole, so that filters skip more of it.

    The records stay the same; their order changes. Hive folders stay, each with parts of its own. Readers see the old parts
    or the new ones.

    Parameters
    ----------
    path
        A collection: a folder of parts (a single file is left as it is).
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    LazyFrame
        The collection, as `scan_collection` gives it.

    Raises
    ------
    UsageError
        When no collection is there.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> for _ in range(3):
    ...     pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes", mode="append")
    >>> pr.compact(f"{folder.name}/scenes").collect().height, pr.list_collections(folder.name)["parts"].item()
    (6, 1)
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    with changing(path, **options) as (target, parts):
        starts = np.cumsum([0, *(n_records(part, **options) for part in parts)])
        scan = scan_collection(target, **options)
        hive = list(dict.fromkeys(key for part in parts for key, _ in part.hive))
        bounds = bounds_array(scan.select(place_expression(scan)).collect().to_series())
        folders: dict[str, list[int]] = {}
        for which, part in enumerate(parts):
            folders.setdefault(folder_of(part, target), []).append(which)
        joined = {below: held for below, held in folders.items() if len(held) > 1}

        def pieces() -> Iterator[tuple[str, pl.DataFrame]]:
            for below, held in joined.items():
                rows = np.concatenate([np.arange(starts[which], starts[which + 1]) for which in held])
                rows = rows[curve_order(bounds[rows])]
                unread = pl.concat([read_unread(parts[which], **options) for which in held])
                unread = unread.with_columns(pl.Series(_ROW, np.sort(rows), dtype=pl.UInt32)).drop_nulls()
                for start in range(0, max(len(rows), 1), RECORDS_PER_PART):
                    some = pl.Series(_ROW, rows[start : start + RECORDS_PER_PART], dtype=pl.UInt32)
                    frame = scan.with_row_index(_ROW).filter(pl.col(_ROW).is_in(some.to_list())).collect()
                    yield below, frame.join(unread, on=_ROW, how="left", maintain_order="left").drop([_ROW, *hive])

        if joined:
            write_parts(pieces(), target, [parts[which] for held in joined.values() for which in held], **options)
    return scan_collection(target, **options)


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
        Local, or a folder of an object store.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    DataFrame
        ``name``, ``path``, ``records`` (Int64), ``bands`` (List(String)), ``parts`` (Int64) and ``bytes`` (Int64, null where
        unknown), sorted by name. What is not a collection is left out.

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
        except UsageError:
            continue
        if bands:
            sizes = [part.identity[0] if isinstance(part.identity, tuple) else None for part in parts]
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


@contextlib.contextmanager
def changing(path: str | os.PathLike[str], **options: Any) -> Iterator[tuple[str, list[Part]]]:
    """Give plain path and parts of a collection that nobody else changes meanwhile; an interrupted overwrite is finished first.

    Raises
    ------
    UsageError
        When nothing is there, or another writer is at work (local folders only).
    """
    target = plain_path(path)
    is_folder = not is_remote(target) and Path(target).is_dir()
    with only_writer(Path(target)) if is_folder else contextlib.nullcontext():
        if is_folder:
            finish_overwrite(Path(target))
        parts = parts_at(target, **options)
        if not parts:
            raise UsageError(
                f"nothing is at {target}: expected a collection, a Parquet file or a folder that holds some"
            )
        if any(mark in target for mark in "*?[") and not Path(target).exists():
            raise UsageError(f"{target} is a glob; a collection that is to be changed is one file or one folder")
        yield target, parts


def read_part(part: Part, **options: Any) -> pl.DataFrame:
    """Read all columns of one part as they are stored, geometry as plain WKB, and `UNREAD`."""
    frame = pl.read_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    extensions = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.BaseExtension)]
    frame = frame.with_columns(pl.col(name).ext.storage() for name in extensions)
    return frame.with_columns(
        unread_files(pl.read_parquet_metadata(part.path, **polars_options(**options)), frame.height)
    )


def read_unread(part: Part, **options: Any) -> pl.DataFrame:
    """Read the files of one part that gave no raster: column `UNREAD`, one row per record."""
    metadata = pl.read_parquet_metadata(part.path, **polars_options(**options))
    return unread_files(metadata, n_records(part, **options)).to_frame()


def n_records(part: Part, **options: Any) -> int:
    """Count the records of one part by its footer."""
    scan = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    return int(scan.select(pl.len()).collect().item())


def folder_of(part: Part, target: str) -> str:
    """Give the folder of a part below its collection."""
    if is_one_file(target):
        return ""
    return part.path.removeprefix(target).strip("/").rpartition("/")[0]


def _children(target: str, options: Mapping[str, Any]) -> list[str]:
    if is_remote(target):
        found = list_objects(target, **options)
        return sorted({one.href.removeprefix(target).strip("/").partition("/")[0] for one in found} - {""})
    if not Path(target).is_dir():
        raise UsageError(f"{target} is not a folder; expected one that holds collections")
    return sorted(one.name for one in Path(target).iterdir() if not one.name.startswith((".", "_")))
