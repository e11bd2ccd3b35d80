"""How are the files of a run in parts read and written, on a disk or in an object store, so that only whole ones are seen?

Polars reads every file below a folder, whatever its name; it passes over empty ones only. So what is no part of the answer lies
in a folder beside it, whose name ends in ``.job``. What the files hold must not be put here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from polars.exceptions import ComputeError

from polars_rasteret.collection.storage.durable_writes import clear_failures, sync_folder
from polars_rasteret.collection.storage.object_store import (
    PutRefusedError,
    delete_objects,
    get_object,
    list_objects,
    put_file,
    put_large_file,
)
from polars_rasteret.collection.storage.parts import is_remote
from polars_rasteret.distribute.jobs.answer_place import answer_place
from polars_rasteret.errors import FetchError, FileFormatError, UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

JOB_SUFFIX = ".job"
_WRITING = "writing"
_NO_RUN = "job"
_OF_THE_DISK = re.compile(
    "|".join(rf"\(os error {one}\)" for one in (errno.EFBIG, errno.ENOSPC, errno.EROFS, errno.EDQUOT))
)
"""What Polars says where a file cannot be written; nothing that is read fails so."""
_unfinished: set[Path] = set()
"""Files that this process is writing."""
_PART = re.compile(r"part-(\d{6,})\.parquet")
_END = b"PAR1"
"""Last bytes of a Parquet file."""


def part_name(number: int) -> str:
    """Return the name of the file of a part.

    Examples
    --------
    >>> part_name(12)
    'part-000012.parquet'
    """
    return f"part-{number:06d}.parquet"


def run_token() -> str:
    """Return a new name of one run, which is in the names of its unfinished files."""
    return secrets.token_hex(6)


def delete_unfinished() -> None:
    """Delete what this process is writing, because the process ends."""
    for draft in list(_unfinished):
        with contextlib.suppress(OSError):
            draft.unlink()


class JobFiles(Protocol):
    """The folder of the answer, and that of the job beside it."""

    @property
    def into(self) -> str:
        """Path or URL of the folder of the answer."""

    def make(self) -> None:
        """Make both folders where they are missing.

        Raises
        ------
        UsageError
            When a file could not be moved from one to the other.
        """

    def numbers(self) -> set[int]:
        """Return the numbers of parts whose files are there.

        Raises
        ------
        UsageError
            When other files are there, too.
        FileFormatError
            When a part is not whole any more.
        """

    def has_part(self, number: int) -> bool:
        """Return whether the file of a part is there."""

    def part_path(self, number: int) -> str:
        """Return the path or URL of the file of a part."""

    def writing(self, number: int, token: str) -> contextlib.AbstractContextManager[str | IO[bytes]]:
        """Return a block that yields where to write a part; the part appears, whole, when the block ends without an error."""

    def sweep(self, token: str) -> None:
        """Delete unfinished files that killed workers of a run left."""

    def job_path(self, name: str) -> str:
        """Return the path or URL of a file of the job."""

    def read(self, name: str) -> bytes | None:
        """Return what a file of the job holds; None when it is not there."""

    def write(self, name: str, data: bytes, *, token: str = _NO_RUN, is_new: bool = False) -> bool:
        """Write a file of the job, so that it is seen whole or not at all; return False where `is_new` and one is there."""

    def write_frame(self, name: str, frame: pl.DataFrame, row_group_size: int) -> None:
        """Write a frame as a Parquet file of the job, so that it is seen whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete a file of the job, if it is there."""


def job_files(into: Any) -> JobFiles:
    """Return the files of the run whose answer is in a folder.

    Raises
    ------
    UsageError
        For what is no path of a folder.
    """
    place = answer_place(into)
    return _InStore(place) if is_remote(place) else _OnDisk(place)


def _numbers_of(names: list[str], into: str) -> set[int]:
    found = set()
    for name in names:
        if (part := _PART.fullmatch(name)) is None:
            raise UsageError(
                f"{shown(into)} holds {name!r}, which is no part of a query; pl.scan_parquet would read it as one. Choose a "
                "folder that is empty or new."
            )
        found.add(int(part[1]))
    return found


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _check_whole(path: Path) -> None:
    """Refuse a file that does not end as a Parquet file does: parts appear whole, but copies of them may not."""
    with path.open("rb") as part:
        part.seek(max(part.seek(0, os.SEEK_END) - len(_END), 0))
        if part.read() != _END:
            raise FileFormatError(
                f"{path} is no whole Parquet file: it was cut or changed after it was written. Delete it; the same call then "
                "reads that part again."
            )


@dataclass(frozen=True, slots=True)
class _OnDisk:
    into: str

    @property
    def _job(self) -> Path:
        return Path(self.into + JOB_SUFFIX)

    def make(self) -> None:
        for folder in (self._job, Path(self.into)):
            with clear_failures(folder, "a folder"):
                folder.mkdir(parents=True, exist_ok=True)
        if self._job.stat().st_dev != Path(self.into).stat().st_dev:
            raise UsageError(
                f"{self.into} is on another file system than {self._job}, so parts could not appear whole; choose a folder in it"
            )

    def numbers(self) -> set[int]:
        try:
            there = sorted(Path(self.into).iterdir())
        except FileNotFoundError:
            return set()
        # A folder is no part, whatever its name; Polars passes over files that are empty.
        names = [one.name if one.is_file() else f"{one.name}/" for one in there if not _is_empty(one)]
        found = _numbers_of(names, self.into)
        for number in sorted(found):
            _check_whole(Path(self.part_path(number)))
        return found

    def has_part(self, number: int) -> bool:
        path = Path(self.part_path(number))
        return path.is_file() and not _is_empty(path)

    def part_path(self, number: int) -> str:
        return str(Path(self.into, part_name(number)))

    @contextlib.contextmanager
    def writing(self, number: int, token: str) -> Iterator[str | IO[bytes]]:
        final = Path(self.part_path(number))
        with self._drafted(final, token) as draft:
            try:
                yield str(draft)
            except ComputeError as error:
                if not _OF_THE_DISK.search(str(error)):
                    raise  # the query's own
                with clear_failures(final, "a part"):
                    raise
            with clear_failures(final, "a part"):
                try:
                    draft.replace(final)
                except FileNotFoundError:
                    # Another worker finished the part meanwhile, and swept what it took for the rest of a killed one.
                    if not final.is_file():
                        raise
                sync_folder(final.parent)

    @contextlib.contextmanager
    def _drafted(self, final: Path, token: str) -> Iterator[Path]:
        """Yield a path on the file system of a file for its draft, which is gone when the block ends."""
        draft = self._job / _WRITING / f"{token}.{final.name}.{os.getpid()}-{secrets.token_hex(3)}"
        with clear_failures(final, "a file"):
            for folder in (draft.parent, final.parent):
                folder.mkdir(parents=True, exist_ok=True)
        _unfinished.add(draft)
        try:
            yield draft
        finally:
            draft.unlink(missing_ok=True)
            _unfinished.discard(draft)

    def sweep(self, token: str) -> None:
        folder = self._job / _WRITING
        for left in folder.glob(f"{token}.*"):
            left.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are writing
            folder.rmdir()

    def job_path(self, name: str) -> str:
        return str(self._job / name)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._job / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FetchError(f"{self._job / name} could not be read: {error}") from error

    def write(self, name: str, data: bytes, *, token: str = _NO_RUN, is_new: bool = False) -> bool:
        with self._draft(name, token) as (draft, final):
            draft.write_bytes(data)
            if not is_new:
                draft.replace(final)
                return True
            try:
                os.link(draft, final)
            except FileExistsError:
                return False
        return True

    def write_frame(self, name: str, frame: pl.DataFrame, row_group_size: int) -> None:
        with self._draft(name, _NO_RUN) as (draft, final):
            frame.write_parquet(draft, row_group_size=row_group_size)
            draft.replace(final)

    @contextlib.contextmanager
    def _draft(self, name: str, token: str) -> Iterator[tuple[Path, Path]]:
        """Yield the path of a draft of a file of the job, and that of the file."""
        final = self._job / name
        with self._drafted(final, token) as draft, clear_failures(final, "a file of the job"):
            yield draft, final

    def delete(self, name: str) -> None:
        (self._job / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _InStore:
    into: str

    def make(self) -> None:
        """Do nothing: stores have no folders."""

    def numbers(self) -> set[int]:
        return _numbers_of([one.href[len(self.into) + 1 :] for one in list_objects(self.into) if one.size], self.into)

    def has_part(self, number: int) -> bool:
        return any(one.size for one in list_objects(self.part_path(number)))

    def part_path(self, number: int) -> str:
        return f"{self.into}/{part_name(number)}"

    @contextlib.contextmanager
    def writing(self, number: int, token: str) -> Iterator[str | IO[bytes]]:  # noqa: ARG002 - nothing unfinished has a name
        with tempfile.TemporaryFile() as draft:
            yield draft
            draft.seek(0)
            put_large_file(self.part_path(number), draft)

    def sweep(self, token: str) -> None:
        """Do nothing: a file without a name goes with its process."""

    def job_path(self, name: str) -> str:
        return f"{self.into}{JOB_SUFFIX}/{name}"

    def read(self, name: str) -> bytes | None:
        found = get_object(self.job_path(name))
        return None if found is None else found.data

    def write(self, name: str, data: bytes, *, token: str = _NO_RUN, is_new: bool = False) -> bool:  # noqa: ARG002
        try:
            put_file(self.job_path(name), data, over=None, whatever_is_there=not is_new)
        except PutRefusedError:
            return False
        return True

    def write_frame(self, name: str, frame: pl.DataFrame, row_group_size: int) -> None:
        with tempfile.TemporaryFile() as draft:
            frame.write_parquet(draft, row_group_size=row_group_size)
            draft.seek(0)
            put_large_file(self.job_path(name), draft)

    def delete(self, name: str) -> None:
        delete_objects([self.job_path(name)])
