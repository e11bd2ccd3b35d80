"""How do parts take their place on a disk or in a bucket, whole or not at all?

A part is written under a name that no reader takes for a part, then renamed. New parts take the place of old ones by one rename
of a journal, so a killed writer, or a full disk, leaves what was there or what was to come, never both.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars.exceptions import ComputeError

from polars_rasteret.collection.extent import bounds_array
from polars_rasteret.collection.geoparquet import UNREAD, arrow_schema, file_metadata
from polars_rasteret.collection.listing import delete_objects
from polars_rasteret.collection.parts import JOURNAL, Part, is_one_file, parts_at, polars_options
from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl


def _part_name() -> str:
    """Name a part so that parts sort in the order in which they were written."""
    return f"part-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}.parquet"


def _write_parquet(frame: pl.DataFrame, file: Any, row_group_size: int, **options: Any) -> None:
    unread = frame[UNREAD] if UNREAD in frame.columns else None
    frame = frame.drop(UNREAD, strict=False)
    frame.write_parquet(
        file,
        compression="zstd",
        statistics=True,
        row_group_size=row_group_size,
        metadata=file_metadata(frame, bounds_array(frame["bbox"]), unread),
        arrow_schema=arrow_schema(frame),
        **options,
    )


def _temporary_name(folder: Path) -> Path:
    """Give a name for a file to be that no reader takes for a part."""
    with clear_failures(folder, "a part"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f".{secrets.token_hex(8)}.writing"


def _write_whole(frame: pl.DataFrame, file: Path, row_group_size: int) -> None:
    with clear_failures(file.parent, f"a part of {frame.height} records"), file.open("wb") as sink:
        _write_parquet(frame, sink, row_group_size)
        sink.flush()
        os.fsync(sink.fileno())


@contextlib.contextmanager
def clear_failures(where: Path | str, what: str) -> Iterator[None]:
    """Say where `what` could not be written, and what to do about it.

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


def write_file(frame: pl.DataFrame, file: Path, *, replace: bool, row_group_size: int) -> None:
    """Write the one file of a collection; without `replace` only where none is."""
    if file.is_dir():
        raise UsageError(f"{file} is a folder; its suffix says that it is one file. Choose another name.")
    temporary = _temporary_name(file.parent)
    try:
        _write_whole(frame, temporary, row_group_size)
        if replace:
            temporary.replace(file)
            return
        try:
            # Unlike a rename, a link refuses to replace what another writer put there meanwhile.
            file.hardlink_to(temporary)
        except FileExistsError as error:
            raise UsageError(f"{file} exists already; another writer was faster") from error
        except OSError:
            temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(
    pieces: Sequence[tuple[str, pl.DataFrame]], folder: Path, *, overwrite: bool, row_group_size: int
) -> None:
    """Add parts to a folder, or put them in the place of all that are there."""
    if folder.is_file():
        raise UsageError(f"{folder} is a file; a path without .parquet is a folder of parts. Choose another name.")
    finish_overwrite(folder)
    old = [Path(part.path) for part in parts_at(folder)] if overwrite else []
    replace_parts(pieces, folder, old, row_group_size=row_group_size)


def replace_parts(
    pieces: Iterable[tuple[str, pl.DataFrame]], folder: Path, old: Sequence[Path], *, row_group_size: int
) -> None:
    """Add parts to a folder, or put them in the place of `old` ones, in one step."""
    moves: list[tuple[Path, Path]] = []
    journal = _temporary_name(folder)
    decided = False
    try:
        for below, frame in pieces:
            moves.append((_temporary_name(folder / below), folder / below / _part_name()))
            _write_whole(frame, moves[-1][0], row_group_size)
        if len(moves) == 1 and not old:
            moves[0][0].replace(moves[0][1])
            return
        words = {
            "remove": [str(file.relative_to(folder)) for file in old],
            "add": [[str(one.relative_to(folder)) for one in move] for move in moves],
        }
        with clear_failures(folder, f"the list of {len(moves)} new parts"):
            write_text(journal, json.dumps(words))
            # From this rename on, readers see the new parts and not the old ones.
            journal.replace(folder / JOURNAL)
        decided = True
    finally:
        if not decided:
            for file in (journal, *(temporary for temporary, _ in moves)):
                file.unlink(missing_ok=True)
    finish_overwrite(folder)


def write_text(file: Path, text: str) -> None:
    """Write a small file to the disk itself."""
    with file.open("w") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())


def finish_overwrite(folder: Path) -> None:
    """Do what the journal of an overwrite has decided; nothing when there is none."""
    journal = folder / JOURNAL
    try:
        decided = json.loads(journal.read_text())
    except FileNotFoundError:
        return
    for temporary, final in decided["add"]:
        if (folder / temporary).exists():
            (folder / temporary).replace(folder / final)
    for name in decided["remove"]:
        (folder / name).unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def write_remote(
    pieces: Iterable[tuple[str, pl.DataFrame]],
    target: str,
    old: Sequence[Part],
    row_group_size: int,
    options: Mapping[str, Any],
) -> None:
    """Write parts with one PUT each, new ones before old ones go; when one fails, the new ones go again."""
    written: list[str] = []
    try:
        for below, frame in pieces:
            name = target if is_one_file(target) else "/".join(filter(None, [target.rstrip("/"), below, _part_name()]))
            with clear_failures(name, f"a part of {frame.height} records"):
                _write_parquet(frame, name, row_group_size, **polars_options(**options))
            written.append(name)
    except BaseException:
        with contextlib.suppress(FetchError):
            delete_objects([name for name in written if name != target], **options)
        raise
    delete_objects([part.path for part in old if part.path != target], **options)
