"""How do parts take their place on a disk or in a bucket, whole or not at all?

The docstring of `polars_rasteret.collection` lists the steps, and what a kill between two of them leaves. A caller that publishes
on a disk holds the lock of the collection.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import itertools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from polars_rasteret.collection.queries.extent import bounds_array
from polars_rasteret.collection.queries.periods import begin_and_end
from polars_rasteret.collection.storage.about import NOTHING_SAID, About, about_metadata
from polars_rasteret.collection.storage.durable_writes import clear_failures, sync_folder
from polars_rasteret.collection.storage.geoparquet import UNREAD, arrow_schema, file_metadata, some_hrefs
from polars_rasteret.collection.storage.journal import discard_left_out, left_out, write_journal
from polars_rasteret.collection.storage.object_store import ListedObject, PutRefusedError, delete_objects, put_file
from polars_rasteret.collection.storage.parts import Part, collection_name, polars_options
from polars_rasteret.collection.storage.staging import sweep
from polars_rasteret.collection.storage.untrusted_files import path_inside, why_not_plain
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.sources.place_hints import hints_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LEASE_FILE = "_build.json"
"""Name of the file that stays in a folder while a build grows it; `ingest.lease` defines its content."""


class NewPart(NamedTuple):
    """A part to be written."""

    below: str
    """Folder of the part below the collection."""
    frame: pl.DataFrame
    about: About = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class Staged:
    """A part that is written to a stage, but has not taken its place."""

    below: str
    """Folder of the part below the collection."""
    file: Path


def _part_name() -> str:
    """Return a new name for a part. Names sort in the order in which parts are written, and none is used twice."""
    return f"part-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.parquet"


def _write_parquet(frame: pl.DataFrame, file: Any, row_group_size: int, about: dict[str, str], **options: Any) -> None:
    unread = frame[UNREAD] if UNREAD in frame.columns else None
    frame = frame.drop(UNREAD, strict=False)
    frame.write_parquet(
        file,
        compression="zstd",
        statistics=True,
        row_group_size=row_group_size,
        metadata=file_metadata(frame, bounds_array(frame["bbox"]), unread, hints_of(some_hrefs(frame, unread))) | about,
        arrow_schema=arrow_schema(frame),
        **options,
    )


def part_bytes(frame: pl.DataFrame, metadata: dict[str, str]) -> bytes:
    """Return the bytes of a part that is small, with some metadata beside that of every part."""
    file = io.BytesIO()
    _write_parquet(frame, file, 1, metadata)
    return file.getvalue()


def _about_part(frame: pl.DataFrame, about: About, target: str) -> dict[str, str]:
    """Return what a part says of the collection at `target`, where it is going to lie."""
    times = begin_and_end(frame.schema)
    start, end = (
        (None, None) if times is None else frame.select(times[0].min().alias("0"), times[1].max().alias("1")).row(0)
    )
    return about_metadata(
        about,
        name=collection_name(target),
        collections=_texts(frame, "collection"),
        times=None if start is None or end is None else (start, end),
    )


def _texts(frame: pl.DataFrame, column: str) -> list[str]:
    if frame.schema.get(column) != pl.String:
        return []
    return frame[column].drop_nulls().unique().sort().to_list()


def stage_parts(
    pieces: Iterable[NewPart | tuple[str, pl.DataFrame]], stage: Path, target: str, *, row_group_size: int
) -> list[Staged]:
    """Write parts of the collection `target` to a stage; each is written before the next piece is asked for."""
    staged: list[Staged] = []
    for below, frame, about in itertools.starmap(NewPart, pieces):
        file = stage / str(len(staged))
        with clear_failures(stage.parent, f"a part of {frame.height} records"), file.open("wb") as sink:
            _write_parquet(frame, sink, row_group_size, _about_part(frame, about, target))
            sink.flush()
            os.fsync(sink.fileno())
        staged.append(Staged(below, file))
    return staged


def recover(target: Path, *, is_file: bool, is_build: bool = False) -> None:
    """Finish the change that an interrupted writer had decided, and delete the stages that dead writers left.

    Parameters
    ----------
    target, is_file
        The collection, whose lock is held.
    is_build
        Whether the caller continues an interrupted build. Any other change ends that build: its parts do not count as parts of
        the build, and the next build looks at every file again.

    Raises
    ------
    FileFormatError
        When the journal is not one of ours.
    """
    if not is_file:
        with clear_failures(target, "what an interrupted change had decided"):
            discard_left_out(target)
            if not is_build:
                (target / LEASE_FILE).unlink(missing_ok=True)
    sweep(target, is_file=is_file)


def publish_file(staged: Staged, file: Path) -> None:
    """Move a staged file to its place, over the file that may be there."""
    with clear_failures(file, "the collection"):
        staged.file.replace(file)
        sync_folder(file.parent)


def publish_parts(staged: Sequence[Staged], folder: Path, old: Sequence[Part], *, draft: Path) -> None:
    """Add parts to a folder, or put them in the place of `old` ones, in one step.

    Parameters
    ----------
    staged, folder, old
        The new parts, the folder of the collection, and the parts that go.
    draft
        Path on a stage where the new journal is written before it takes its place.

    Raises
    ------
    UsageError
        When an old part has a name that a journal cannot hold.
    FileFormatError
        When a link in the folder leads out of it.
    """
    gone = [Path(part.path).relative_to(folder).as_posix() for part in old]
    come = ["/".join(filter(None, [one.below, _part_name()])) for one in staged]
    for name in [*gone, *come]:
        if (why := why_not_plain(name)) is not None:
            raise UsageError(f"{folder}: the part {name!r} {why}; rename it before the collection is changed")
    places = [path_inside(folder, name) for name in come]
    if not staged and not gone:
        return
    with clear_failures(folder, f"a change of {len(come)} new and {len(gone)} old parts"):
        if not gone and len(come) == 1:
            _move(staged[0].file, places[0], folder)
            return
        # What could not be deleted last time, because a reader on Windows had it open, stays left out.
        still = left_out(folder)
        try:
            write_journal(folder, [*still, *come], draft)
            for one, place in zip(staged, places, strict=True):
                _move(one.file, place, folder)
            # From this step on, readers see the new parts and not the old ones.
            write_journal(folder, [*still, *gone], draft)
        finally:
            discard_left_out(folder)


def _move(file: Path, place: Path, folder: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    file.replace(place)
    sync_folder(place.parent)
    if place.parent != folder:
        sync_folder(folder)


def write_remote_parts(
    pieces: Iterable[NewPart | tuple[str, pl.DataFrame]],
    target: str,
    old: Sequence[Part],
    row_group_size: int,
    options: Mapping[str, Any],
) -> None:
    """Write parts with one PUT each, then delete the old ones; when a PUT fails, the new parts are deleted again."""
    written: list[str] = []
    try:
        for below, frame, about in itertools.starmap(NewPart, pieces):
            name = "/".join(filter(None, [target.rstrip("/"), below, _part_name()]))
            with clear_failures(name, f"a part of {frame.height} records"):
                said = _about_part(frame, about, target)
                _write_parquet(frame, name, row_group_size, said, **polars_options(**options))
            written.append(name)
    except BaseException:
        with contextlib.suppress(FetchError):
            delete_objects(written, **options)
        raise
    delete_objects([part.path for part in old], **options)


def write_remote_file(
    piece: NewPart,
    target: str,
    over: Part | None,
    *,
    row_group_size: int,
    options: Mapping[str, Any],
    whatever_is_there: bool = False,
) -> None:
    """Write the one object of a collection where none is, or in the place of the very object that was read.

    Raises
    ------
    ChangedMeanwhileError
        When another object is there by now.
    UsageError
        When the store cannot tell whether another object is there.
    """
    data = io.BytesIO()
    _write_parquet(piece.frame, data, row_group_size, _about_part(piece.frame, piece.about, target))
    listed = over.identity if over is not None and isinstance(over.identity, ListedObject) else None
    try:
        put_file(target, data.getvalue(), over=listed, whatever_is_there=whatever_is_there, **options)
    except PutRefusedError:
        raise ChangedMeanwhileError(
            f"{target} was changed by another writer meanwhile, and is as that one left it; call again"
        ) from None


class ChangedMeanwhileError(UsageError):
    """Another writer has changed the object since it was read."""
