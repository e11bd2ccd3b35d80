"""How is a frame of records written as a collection that rasteret opens?

Parts are published as those of this package are, so a killed writer leaves a collection as it was. What is in them is said in
``rasteret_format``.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars_rasteret.collection.storage.durable_writes import clear_failures
from polars_rasteret.collection.storage.parts import (
    Part,
    collection_name,
    is_one_file,
    is_remote,
    parts_at,
    read_schema,
)
from polars_rasteret.collection.storage.staging import staging
from polars_rasteret.collection.storage.writer_lock import only_writer
from polars_rasteret.collection.writing.layout import folders_of_rows, placed
from polars_rasteret.collection.writing.native_rasters import with_native_rasters
from polars_rasteret.collection.writing.noted_parts import forget_parts
from polars_rasteret.collection.writing.publishing import Staged, publish_file, publish_parts, recover
from polars_rasteret.errors import UsageError
from polars_rasteret.rasteret_format.band_columns import is_rasteret
from polars_rasteret.rasteret_format.their_records import their_file_metadata, their_table, their_times

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.collection.storage.about import About

_LEVEL = 3
"""Level of Zstandard, as rasteret has it."""


def sink_rasteret(
    frame: pl.DataFrame,
    target: str,
    *,
    mode: str,
    keys: Sequence[str] | None,
    row_group_size: int,
    about: About,
    wait_s: float,
) -> None:
    """Write records as a collection of rasteret, in folders ``year=YYYY/month=M`` where `keys` are None.

    Raises
    ------
    UsageError
        For a place that is not local, and where another collection is, or one of another kind.
    """
    if is_remote(target):
        raise UsageError(f"{target}: format='rasteret' writes to local folders; write there, and copy the files")
    is_file = is_one_file(target)
    place = Path(target)
    _refuse_what_is_there(parts_at(target), target, mode, is_file=is_file)
    frame = with_native_rasters(placed(frame), is_quiet=True)
    reasons: Counter[str] = Counter()
    whole = their_table(frame, reasons)
    metadata = their_file_metadata(
        whole, name=collection_name(target), description=about.description or "", source=about.source or ""
    )
    whole = whole.replace_schema_metadata(metadata)
    folders = _folders(frame, [] if is_file else ["year", "month"] if keys is None else keys)
    if is_file:
        place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with staging(place, is_file=is_file) as stage:
            staged: list[Staged] = []
            for (below, gone), rows in folders.items():
                part = whole.take(rows).drop_columns([name for name in gone if name in whole.column_names])
                staged.append(
                    Staged(below, _written(part.replace_schema_metadata(metadata), stage, len(staged), row_group_size))
                )
            with only_writer(place, is_file=is_file, wait_s=wait_s):
                recover(place, is_file=is_file)
                there = parts_at(target)
                _refuse_what_is_there(there, target, mode, is_file=is_file)
                if is_file:
                    publish_file(staged[0], place)
                else:
                    publish_parts(staged, place, there if mode == "overwrite" else [], draft=stage / "journal")
                    forget_parts(target)
    except BaseException:
        if not is_file:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise
    _warn(reasons)


def _refuse_what_is_there(there: Sequence[Part], target: str, mode: str, *, is_file: bool) -> None:
    if not there or mode == "overwrite":
        return
    if mode == "error":
        raise UsageError(f"{target} exists already; say mode='overwrite' to replace it or mode='append' to add to it")
    if is_file:
        raise UsageError(f"{target}: format='rasteret' appends to folders only; write a file of its own beside it")
    if not all(is_rasteret(read_schema(part)) for part in there):
        raise UsageError(f"{target} is a collection of this package; append with format='native', or write elsewhere")


def _folders(frame: pl.DataFrame, keys: Sequence[str]) -> dict[tuple[str, tuple[str, ...]], list[int]]:
    """Return the rows of each folder below the collection, with the columns that its name says."""
    if not keys or frame.is_empty():
        return {("", ()): list(range(frame.height))}
    timed = frame.drop("start_datetime", strict=False).with_columns(their_times(frame))
    found: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for row, below in enumerate(folders_of_rows(timed, keys)):
        found.setdefault((below, tuple(keys)), []).append(row)
    return found


def _written(table: Any, stage: Path, number: int, row_group_size: int) -> Path:
    import pyarrow.parquet as pq

    file = stage / str(number)
    with clear_failures(stage.parent, f"a part of {table.num_rows} records"), file.open("wb") as sink:
        pq.write_table(table, sink, compression="zstd", compression_level=_LEVEL, row_group_size=row_group_size)
        sink.flush()
        os.fsync(sink.fileno())
    return file


def _warn(reasons: Counter[str]) -> None:
    if reasons:
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        warnings.warn(
            f"format='rasteret': {reasons.total()} rasters are null there, because rasteret would not read them right: {told}",
            RuntimeWarning,
            stacklevel=4,
        )
