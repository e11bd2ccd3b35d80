"""How is a collection changed in place: records removed, small parts joined?

Parts are immutable. A change writes the parts concerned anew, and these take the place of the old ones in one step, so a killed
or failed writer leaves the old parts. No header and no pixel is read.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.collection.queries.extent import bounds_array, place_expression
from polars_rasteret.collection.reading.part_rows import n_records, read_about, read_part, read_unread
from polars_rasteret.collection.reading.rasteret_parts import refuse_rasteret
from polars_rasteret.collection.reading.scan import scan_collection, scan_parts
from polars_rasteret.collection.storage.parts import Part, is_one_file, is_remote, parts_at, plain_path, read_schemas
from polars_rasteret.collection.storage.writer_lock import only_writer
from polars_rasteret.collection.writing.hilbert import hilbert_order
from polars_rasteret.collection.writing.layout import RECORDS_PER_PART, part_slices
from polars_rasteret.collection.writing.publishing import NewPart, recover
from polars_rasteret.collection.writing.sink import changeable_file, write_parts
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

_ROW = "__row"


def remove(
    path: str | os.PathLike[str],
    predicate: pl.Expr,
    *,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Remove the records for which a predicate is true; only the parts that hold some are written anew.

    Parameters
    ----------
    path
        A collection: a Parquet file or a folder of parts.
    predicate
        An expression over the columns of the collection; where it is null the record stays.
    wait_s
        Seconds to wait for another writer of a local collection.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    LazyFrame
        The collection, as `scan_collection` returns it.

    Raises
    ------
    UsageError
        When no collection is there, another writer is at work, or `predicate` is not an expression.

    Notes
    -----
    In an object store nothing keeps a second writer off a folder: call this while no other process compacts, removes or refreshes
    there. One object is replaced by a conditional PUT.

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
    with changing(path, wait_s=wait_s, **options) as (target, parts):
        rows = scan_parts(parts, target, **options).with_row_index(_ROW).filter(predicate).select(_ROW).collect()
        gone = rows[_ROW].to_numpy().astype(np.int64)
        starts = np.cumsum([0, *(n_records(part, **options) for part in parts)])
        number = np.searchsorted(starts, gone, side="right") - 1
        concerned = np.unique(number).tolist()
        emptied = [which for which in concerned if (number == which).sum() == starts[which + 1] - starts[which]]
        # The columns of a collection without records are told by an empty part.
        dropped = set(emptied if len(emptied) < len(parts) else emptied[1:])

        def pieces() -> Iterator[NewPart]:
            for which in concerned:
                if which not in dropped:
                    frame = read_part(parts[which], **options)
                    kept = np.ones(frame.height, dtype=bool)
                    kept[gone[number == which] - starts[which]] = False
                    about = read_about([parts[which]], **options)
                    yield NewPart(folder_of(parts[which], target), frame.filter(pl.Series(kept)), about)

        if concerned:
            write_parts(pieces(), target, [parts[which] for which in concerned], **options)
    return scan_collection(target, **options)


def compact(
    path: str | os.PathLike[str],
    *,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Join the parts of a collection into few, sorted in space as a whole, so that filters skip more of them.

    The records stay the same; their order changes. Hive folders stay, each with parts of its own. Readers see the old parts
    or the new ones.

    Parameters
    ----------
    path
        A collection: a folder of parts (a single file is left as it is).
    wait_s
        Seconds to wait for another writer of a local collection.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    LazyFrame
        The collection, as `scan_collection` returns it.

    Raises
    ------
    UsageError
        When no collection is there, or another writer is at work.

    Notes
    -----
    In an object store nothing keeps a second writer off a folder: call this while no other process compacts, removes or refreshes
    there.

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
    with changing(path, wait_s=wait_s, **options) as (target, parts):
        starts = np.cumsum([0, *(n_records(part, **options) for part in parts)])
        scan = scan_parts(parts, target, **options)
        hive = list(dict.fromkeys(key for part in parts for key, _ in part.hive))
        bounds = bounds_array(scan.select(place_expression(scan)).collect().to_series())
        folders: dict[str, list[int]] = {}
        for which, part in enumerate(parts):
            folders.setdefault(folder_of(part, target), []).append(which)
        joined = {below: held for below, held in folders.items() if len(held) > 1}

        def pieces() -> Iterator[NewPart]:
            for below, held in joined.items():
                rows = np.concatenate([np.arange(starts[which], starts[which + 1]) for which in held])
                rows = rows[hilbert_order(bounds[rows])]
                about = read_about([parts[which] for which in held], **options)
                unread = pl.concat([read_unread(parts[which], **options) for which in held])
                unread = unread.with_columns(pl.Series(_ROW, np.sort(rows), dtype=pl.UInt32)).drop_nulls()
                for piece in part_slices(len(rows), RECORDS_PER_PART):
                    some = pl.Series(_ROW, rows[piece], dtype=pl.UInt32)
                    frame = scan.with_row_index(_ROW).filter(pl.col(_ROW).is_in(some.to_list())).collect()
                    frame = frame.join(unread, on=_ROW, how="left", maintain_order="left").drop([_ROW, *hive])
                    yield NewPart(below, frame, about)

        if joined:
            write_parts(pieces(), target, [parts[which] for held in joined.values() for which in held], **options)
    return scan_collection(target, **options)


@contextlib.contextmanager
def changing(
    path: str | os.PathLike[str], *, wait_s: float, may_be_rasteret: bool = False, **options: Any
) -> Iterator[tuple[str, list[Part]]]:
    """Keep a collection from being changed by others until the block ends, and yield its plain path and its parts.

    An interrupted change is finished first.

    Parameters
    ----------
    path
        A folder or a file; local ones are locked until the block ends.
    wait_s
        Seconds to wait for another writer.
    may_be_rasteret
        Whether the collection may have parts that rasteret wrote.

    Raises
    ------
    UsageError
        When nothing is there, another writer is at work, or rasteret wrote the collection.
    FileFormatError
        When the journal in the folder was not written by this package.
    """
    target = plain_path(path)
    if any(mark in target for mark in "*?[") and (is_remote(target) or not Path(target).exists()):
        raise UsageError(f"{target} is a glob; a collection that is to be changed is one file or one folder")
    is_file = is_one_file(target)
    with contextlib.ExitStack() as stack:
        if not is_remote(target):
            if not Path(target).exists():
                raise _nothing(target)
            if not is_file and not Path(target).is_dir():
                raise UsageError(f"{target} is a file without the suffix .parquet; rename it before it is changed")
            where = changeable_file(target) if is_file else Path(target)
            stack.enter_context(only_writer(where, is_file=is_file, wait_s=wait_s))
            recover(where, is_file=is_file)
        parts = parts_at(target, **options)
        if not parts:
            raise _nothing(target)
        if not may_be_rasteret:
            refuse_rasteret(parts, read_schemas(parts, **options))
        yield target, parts


def _nothing(target: str) -> UsageError:
    return UsageError(f"nothing is at {target}: expected a collection, a Parquet file or a folder that holds some")


def folder_of(part: Part, target: str) -> str:
    """Return the folder of a part below its collection; empty for a part directly in it."""
    if is_one_file(target):
        return ""
    if is_remote(target):
        return part.path.removeprefix(target).strip("/").rpartition("/")[0]
    return Path(part.path).relative_to(target).as_posix().rpartition("/")[0]
