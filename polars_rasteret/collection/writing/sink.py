"""How is a frame of records written as a collection?

A collection is one GeoParquet file, or a folder of immutable parts, whose records are sorted along the Hilbert curve. Files are
written to a stage without the lock of the collection. Just before they are published, the parts that are there are checked under
the lock. How files take their place belongs in `publishing`.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from polars_rasteret.collection.reading.part_rows import read_about, read_unread
from polars_rasteret.collection.reading.rasteret_parts import refuse_rasteret
from polars_rasteret.collection.reading.scan import scan_parts, storage_dtype
from polars_rasteret.collection.reading.schemas import Columns, united_schema
from polars_rasteret.collection.storage.about import About, about_of_caller
from polars_rasteret.collection.storage.durable_writes import clear_failures
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.storage.parts import (
    Part,
    is_all_null,
    is_one_file,
    is_remote,
    parts_at,
    plain_path,
    read_schemas,
)
from polars_rasteret.collection.storage.staging import staging
from polars_rasteret.collection.storage.writer_lock import only_writer
from polars_rasteret.collection.writing.layout import RECORDS_PER_PART, in_hilbert_order, laid_out, placed
from polars_rasteret.collection.writing.native_rasters import with_native_rasters
from polars_rasteret.collection.writing.noted_parts import note_parts
from polars_rasteret.collection.writing.publishing import (
    ChangedMeanwhileError,
    NewPart,
    publish_file,
    publish_parts,
    recover,
    stage_parts,
    write_remote_file,
    write_remote_parts,
)
from polars_rasteret.collection.writing.rasteret_sink import sink_rasteret
from polars_rasteret.collection.writing.signed_hrefs import with_keys_kept_back
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import pixel_dtype, raster_columns, raster_dtype

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence


ROW_GROUP_SIZE = 512
"""Rows of a row group: a few hundred, so that spatial filters read little more than the rows they select."""
_PUTS = 50
"""How often an append to one object is tried again after another writer was faster."""


def sink_collection(
    lf: pl.LazyFrame | pl.DataFrame,
    path: str | os.PathLike[str],
    *,
    mode: Literal["error", "overwrite", "append"] = "error",
    partition_by: str | Sequence[str] | None = None,
    row_group_size: int = ROW_GROUP_SIZE,
    format: Literal["native", "rasteret"] = "native",  # noqa: A002 - Polars' word
    description: str | None = None,
    source: str | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Write records as a collection: GeoParquet 1.1, neighbours on Earth next to each other, small row groups.

    Parameters
    ----------
    lf
        Records with an ``id`` and at least one raster column. Missing ``geometry`` and ``bbox`` are made from the rasters.
    path
        A path that ends in ``.parquet`` is one file, any other one a folder of parts, of 100,000 to 200,000 records where there
        are as many. Local or an object store.
    mode
        What happens when a collection is there: ``"error"`` refuses, ``"overwrite"`` replaces it, ``"append"`` adds the records
        (a folder gets parts, a file is replaced by a longer one).
    partition_by
        Columns that become hive folders ``column=value``. ``year`` and ``month`` are made from ``datetime`` (else
        ``start_datetime``) when there are no such columns.
    row_group_size
        Rows per row group.
    format
        ``"rasteret"``: a local collection that rasteret 0.4.1 opens, in folders ``year=YYYY/month=M`` if `partition_by` is None.
        Rasters that it would not read right are null there; one warning counts them by reason.
    description, source
        What the collection is, and where its records come from: texts that its files carry, for `list_collections`. None: an
        append keeps those that are there; else the source is the column ``collection``, where there is one.
    wait_s
        Seconds to wait for another writer of a local collection. Parts are written before the wait.
    storage_options, credential_provider
        As in `polars.LazyFrame.sink_parquet`.

    Raises
    ------
    UsageError
        When a collection is there (``mode="error"``), the frame is no collection, an appended column has a dtype that does not
        fit the parts that are there, or another writer is at work for longer than `wait_s`.

    Notes
    -----
    In an object store each part of a folder is one PUT, so appends beside each other are safe; an append in several parts that
    is interrupted leaves some of them. An append to one object is a conditional PUT: it happens, or is tried again.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> sink_collection(pr.testing.example_scenes(), f"{folder.name}/scenes", partition_by="month")
    >>> pr.scan_collection(f"{folder.name}/scenes").select("id", "month").collect().rows()
    [('first', 5), ('second', 6)]
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    _check_words(mode, row_group_size, format)
    about = about_of_caller(description, source)
    target = plain_path(path)
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by or [])
    if keys and is_one_file(target):
        raise UsageError(
            f"partition_by={keys} makes a folder of parts; {target} names one file, so leave out its suffix"
        )
    if format == "rasteret":
        sink_rasteret(
            with_keys_kept_back(_checked(lf.lazy().collect(), target)),
            target,
            mode=mode,
            keys=None if partition_by is None else keys,
            row_group_size=row_group_size,
            about=about,
            wait_s=wait_s,
        )
        return
    settled = _settled_keys(parts_at(target, **options), target, mode, keys)
    frame = with_native_rasters(with_keys_kept_back(_checked(lf.lazy().collect(), target)))
    write = _sink_remote if is_remote(target) else _sink_file if is_one_file(target) else _sink_folder
    write(frame, _Sink(target, mode, settled, row_group_size, about, wait_s, options))


@dataclass(frozen=True, slots=True)
class _Sink:
    """The place that a frame is written to, and the options of the write."""

    target: str
    mode: str
    keys: Sequence[str]
    row_group_size: int
    about: About
    wait_s: float
    options: Mapping[str, Any]

    def pieces(self, frame: pl.DataFrame, there: Sequence[Part]) -> list[NewPart]:
        """Return the parts of a frame; an append to the parts that are there keeps what they say."""
        about = self.about
        if there and self.mode == "append":
            said = read_about(there, **self.options)
            about = About(description=about.description or said.description, source=about.source or said.source)
        most = None if is_one_file(self.target) else RECORDS_PER_PART
        return [NewPart(*piece, about) for piece in laid_out(frame, self.keys, records_per_part=most)]


def _sink_folder(frame: pl.DataFrame, to: _Sink) -> None:
    folder = Path(to.target)
    if folder.is_file():
        raise UsageError(f"{folder} is a file; a path without .parquet is a folder of parts. Choose another name.")
    try:
        with staging(folder, is_file=False) as stage:
            pieces = to.pieces(frame, parts_at(folder))
            staged = stage_parts(pieces, stage, to.target, row_group_size=to.row_group_size)
            with only_writer(folder, is_file=False, wait_s=to.wait_s):
                recover(folder, is_file=False)
                there = parts_at(folder)
                _refuse_what_does_not_fit(frame, there, to)
                if frame.is_empty() and to.mode == "append" and there:
                    return
                publish_parts(staged, folder, there if to.mode == "overwrite" else [], draft=stage / "journal")
                note_parts(to.target, draft=stage / "manifest", **to.options)
    except BaseException:
        # A new folder goes when nothing has come of it.
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def _sink_file(frame: pl.DataFrame, to: _Sink) -> None:
    file = changeable_file(to.target)
    with staging(file, is_file=True) as stage, only_writer(file, is_file=True, wait_s=to.wait_s):
        recover(file, is_file=True)
        there = parts_at(file)
        _refuse_what_does_not_fit(frame, there, to)
        if there and to.mode == "append":
            if frame.is_empty():
                return
            frame = _appended(frame, there, to.options)
        staged = stage_parts(to.pieces(frame, there), stage, to.target, row_group_size=to.row_group_size)
        publish_file(staged[0], file)


def _sink_remote(frame: pl.DataFrame, to: _Sink) -> None:
    for left in reversed(range(_PUTS)):
        there = parts_at(to.target, **to.options)
        _refuse_what_does_not_fit(frame, there, to)
        if there and to.mode == "append" and frame.is_empty():
            return
        if not is_one_file(to.target):
            old = there if to.mode == "overwrite" else []
            write_remote_parts(to.pieces(frame, there), to.target, old, to.row_group_size, to.options)
            note_parts(to.target, **to.options)
            return
        whole = _appended(frame, there, to.options) if there and to.mode == "append" else frame
        over = there[0] if there else None
        try:
            write_remote_file(
                to.pieces(whole, there)[0],
                to.target,
                over,
                row_group_size=to.row_group_size,
                options=to.options,
                whatever_is_there=to.mode == "overwrite",
            )
        except ChangedMeanwhileError:
            if not left:
                raise
        else:
            return


def changeable_file(target: str) -> Path:
    """Return the path of a local collection that is one file, if that file may be replaced.

    Raises
    ------
    UsageError
        When the path is a folder, or a link.
    """
    file = Path(target)
    if file.is_dir():
        raise UsageError(f"{file} is a folder; its suffix says that it is one file. Choose another name.")
    if file.is_symlink():
        raise UsageError(
            f"{file} is a link to {file.readlink()}; a changed collection takes the place of its file, so name the file itself"
        )
    with clear_failures(file, "the folder"):
        file.parent.mkdir(parents=True, exist_ok=True)
    return file


def write_parts(
    pieces: Iterable[NewPart | tuple[str, pl.DataFrame]],
    target: str,
    old: Sequence[Part],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Write new parts in the place of `old` ones, in one step; without old ones, beside the parts that are there.

    Parameters
    ----------
    pieces
        The folder of each part below the collection, its records with ``geometry`` and ``bbox``, and what the caller said of the
        collection; each is sorted along the curve here, and written before the next one is asked for.
    target
        The collection, as `plain_path` returns it. For a single file there is one piece. If local, the caller holds its lock.
    old
        Parts of this collection that go. For a single object: the object as it was read, or no part if there was none.

    Raises
    ------
    UsageError
        When another writer has changed a single object since it was read.
    """
    rows = (
        NewPart(below, in_hilbert_order(placed(frame)), about)
        for below, frame, about in itertools.starmap(NewPart, pieces)
    )
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    path, is_file = Path(target), is_one_file(target)
    if is_remote(target):
        if is_file:
            for piece in rows:
                write_remote_file(
                    piece, target, old[0] if old else None, row_group_size=ROW_GROUP_SIZE, options=options
                )
        else:
            write_remote_parts(rows, target, old, ROW_GROUP_SIZE, options)
            note_parts(target, **options)
        return
    with staging(path, is_file=is_file) as stage:
        staged = stage_parts(rows, stage, target, row_group_size=ROW_GROUP_SIZE)
        if is_file:
            publish_file(staged[0], path)
        else:
            publish_parts(staged, path, old, draft=stage / "journal")
            note_parts(target, draft=stage / "manifest", **options)


def _settled_keys(there: Sequence[Part], target: str, mode: str, keys: Sequence[str]) -> Sequence[str]:
    """Return the hive keys of new parts; refuse keys that differ from those of the parts that are there."""
    if there and mode == "error":
        raise UsageError(f"{target} exists already; say mode='overwrite' to replace it or mode='append' to add to it")
    if there and mode == "append" and (known := [key for key, _ in there[0].hive]) != list(keys):
        if keys:
            raise UsageError(
                f"{target} is partitioned by {known or 'nothing'}, not by {list(keys)}; append with the same partition_by"
            )
        return known
    return keys


def _refuse_what_does_not_fit(frame: pl.DataFrame, there: Sequence[Part], to: _Sink) -> None:
    """Check again, now under the lock, that the frame fits the parts that are there."""
    if list(_settled_keys(there, to.target, to.mode, to.keys)) != list(to.keys):
        raise UsageError(f"{to.target} was partitioned by another writer meanwhile; call again")
    if there and to.mode == "append":
        _united_with(frame, there, to.options)


def _appended(frame: pl.DataFrame, there: Sequence[Part], options: Mapping[str, Any]) -> pl.DataFrame:
    """Return the records of a collection and of a frame as one frame."""
    united = _united_with(frame, there, options)
    before = scan_parts(there, there[0].path, **options).collect()
    unread = pl.concat([read_unread(part, **options) for part in there])
    if unread[UNREAD].null_count() < unread.height:
        before = before.with_columns(unread)
    # Places are made before: beside rows that have theirs, missing ones would look like rows without a place.
    return pl.concat([_widened(before, united), _widened(placed(frame), united)], how="diagonal_relaxed")


def _check_words(mode: str, row_group_size: int, format_: str) -> None:
    if mode not in ("error", "overwrite", "append"):
        raise UsageError(f"mode is {mode!r}; expected 'error', 'overwrite' or 'append'")
    if format_ not in ("native", "rasteret"):
        raise UsageError(f"format is {format_!r}; expected 'native' or 'rasteret'")
    if isinstance(row_group_size, bool) or not isinstance(row_group_size, int) or row_group_size < 1:
        raise UsageError(f"row_group_size is {row_group_size!r}; expected rows, 1 or more")


def _checked(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    if not raster_columns(frame.schema):
        raise UsageError(
            f"{target}: the frame has no raster column, so it is not a collection; it has {', '.join(frame.columns)}. "
            "For other frames use sink_parquet."
        )
    if "id" not in frame.columns:
        raise UsageError(
            f"{target}: the frame has no column 'id', which a collection needs; it has {', '.join(frame.columns)}"
        )
    extensions = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.BaseExtension)]
    # Tables of other programs hold the fields of a raster in dtypes of their own: a list for the transform.
    rasters = {name: raster_dtype(pixel_dtype(frame.schema[name])) for name in raster_columns(frame.schema)}
    odd = {name: dtype for name, dtype in rasters.items() if _is_as_wide(frame.schema[name], dtype)}
    return frame.with_columns(pl.col(name).ext.storage() for name in extensions).cast(odd)  # type: ignore[arg-type]


def _is_as_wide(dtype: pl.DataType, other: pl.Struct) -> bool:
    """Return whether two Structs differ, but not in the names of their fields."""
    assert isinstance(dtype, pl.Struct)
    return dtype != other and [field.name for field in dtype.fields] == [field.name for field in other.fields]


def _united_with(frame: pl.DataFrame, there: Sequence[Part], options: Mapping[str, Any]) -> Columns:
    """Return the columns of a collection with a frame appended; refuse dtypes that a scan could not unite."""
    schemas = read_schemas(there, **options)
    columns = [{name: storage_dtype(dtype) for name, dtype in schema.items()} for schema in schemas]
    refuse_rasteret(there, columns)
    hive = {key for part in there for key, _ in part.hive}
    new = {name: dtype for name, dtype in frame.schema.items() if name not in hive}

    def nothing(part: int, band: str) -> bool:
        if part == len(there):
            return frame[band].null_count() == frame.height
        return is_all_null(there[part], band, **options)

    return united_schema([*columns, new], [*(part.path for part in there), "what is to be appended"], nothing)


def _widened(frame: pl.DataFrame, united: Columns) -> pl.DataFrame:
    """Return the frame with each band cast to the dtype that it has in the whole collection."""
    bands = [name for name in raster_columns(frame.schema) if frame.schema[name] != united[name]]
    return frame.with_columns(
        pl.lit(None, dtype=united[name]).alias(name)
        if frame[name].null_count() == frame.height
        else pl.col(name).cast(united[name])
        for name in bands
    )
