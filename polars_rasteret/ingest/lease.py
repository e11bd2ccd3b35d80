"""Which build holds this folder, and which parts did it find there?

The lease is a small file in the folder that names the parts from before the build. It outlives a killed build, so the next build
can tell which parts the killed one wrote. A bucket has no locks, so there the lease also names the process that builds. That
process renews the lease with each part, and stops when another process has taken it. A collection that is one file grows in a
folder beside it, which readers do not see.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polars_rasteret.collection.reading.part_rows import read_about, read_part
from polars_rasteret.collection.storage.durable_writes import clear_failures, sync_folder, write_text
from polars_rasteret.collection.storage.object_store import (
    ListedObject,
    PutRefusedError,
    StoredObject,
    delete_objects,
    get_object,
    put_object,
)
from polars_rasteret.collection.storage.parts import Part, is_one_file, is_remote, parts_at
from polars_rasteret.collection.storage.staging import staging
from polars_rasteret.collection.storage.untrusted_files import (
    checked_part_names,
    not_ours,
    parsed_json,
    read_json_file,
    why_not_plain,
)
from polars_rasteret.collection.storage.writer_lock import only_writer
from polars_rasteret.collection.writing.publishing import LEASE_FILE, NewPart, recover
from polars_rasteret.collection.writing.sink import changeable_file, write_parts
from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BUILDING = ".building"
LEASE_TIME = dt.timedelta(minutes=10)
"""A build in a bucket that has not renewed its lease for so long is taken for dead."""
_PROCESS = secrets.token_hex(8)
"""A token that tells this process from an earlier one with the same process number."""


@dataclass(slots=True, kw_only=True)
class Build:
    """A build under way."""

    folder: str
    """Folder that the parts of the build are in."""
    before: frozenset[str]
    """Names of the parts that were there before."""
    of: Any
    """Identity of the single file that grows; None where there was none, or the folder itself is the collection."""
    over: Sequence[Part]
    """The single file that grows, as it was found; empty where there is none."""
    options: Mapping[str, Any]
    lease: StoredObject | None = field(default=None)

    @property
    def is_for_one_file(self) -> bool:
        """Whether the parts become one file at the end."""
        return self.folder.endswith(_BUILDING)

    def is_from_before(self, part: Part) -> bool:
        """Return whether a part was there before this build, or before the interrupted build that it continues."""
        return _name(part, self.folder) in self.before

    def renew(self) -> None:
        """Renew the lease of this build.

        Raises
        ------
        UsageError
            When another build has taken the lease.
        """
        if self.lease is not None:
            self._write(_this_process())

    def release(self) -> None:
        """Return the lease before its time is over: this build has stopped before its end."""
        if self.lease is not None:
            with contextlib.suppress(FetchError, UsageError):
                self._write(None)

    def text(self, holder: Mapping[str, Any] | None) -> bytes:
        """Return the content of the lease: JSON with the parts from before, the single file, and the holder."""
        return json.dumps({"before": sorted(self.before), "of": self.of, "by": holder}).encode()

    def _write(self, holder: Mapping[str, Any] | None) -> None:
        try:
            self.lease = put_object(_href(self.folder), self.text(holder), over=self.lease, **self.options)
        except PutRefusedError:
            self.lease = None
            raise UsageError(
                f"{self.folder}: another build has taken the place of this one; one at a time can grow a collection"
            ) from None


@contextlib.contextmanager
def building(target: str, options: Mapping[str, Any], *, wait_s: float) -> Iterator[Build]:
    """Hold the lease of a collection until the block ends; after an error the lease stays for the next build.

    A collection of one file is a folder of parts until the block ends; the caller joins the parts.

    Raises
    ------
    UsageError
        When another build, or another writer, is at work there for longer than `wait_s`.
    FileFormatError
        When the journal or lease in the folder was not written by this package.
    """
    file = target if is_one_file(target) else None
    folder = target if file is None else _working_folder(target)
    if is_remote(target):
        parts_at(folder, **options)  # for its complaint about a scheme that Parquet cannot be written to
        build = _begun_in_bucket(folder, file, options)
        try:
            yield build
        except BaseException:
            build.release()
            raise
        _end(folder, file, options)
        return
    where = Path(folder)
    if where.is_file():
        raise UsageError(
            f"into={target!r} is a file; a path without .parquet is a folder of parts. Choose another name."
        )
    collection = where if file is None else changeable_file(file)
    if file is None:
        _make(where)
    try:
        with only_writer(collection, is_file=file is not None, wait_s=wait_s):
            recover(collection, is_file=file is not None, is_build=True)
            _make(where)
            yield _begun(where, file, options)
            _end(folder, file, options)
            if file is not None:
                _drop(where)
    finally:
        if file is None:
            _drop(where)


def _make(folder: Path) -> None:
    if folder.is_symlink() and folder.name.endswith(_BUILDING):
        raise UsageError(f"{folder} is a link to {folder.readlink()}; a build empties this folder. Delete the link.")
    with clear_failures(folder, "the folder"):
        folder.mkdir(parents=True, exist_ok=True)


def _drop(folder: Path) -> None:
    """Remove an empty folder; it stays when parts are left for the next build."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _end(folder: str, file: str | None, options: Mapping[str, Any]) -> None:
    # The lease goes before the parts that have become a single file. Without a lease the parts are made anew; with one, the
    # parts that are left would be taken for the whole file.
    left = parts_at(folder, **options) if file else []
    if is_remote(folder):
        delete_objects([_href(folder)], **options)
    else:
        Path(folder, LEASE_FILE).unlink(missing_ok=True)
        sync_folder(Path(folder))
    _remove(left, options)


def _working_folder(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"{folder}/.{name}{_BUILDING}"


def _begun(folder: Path, file: str | None, options: Mapping[str, Any]) -> Build:
    if file is not None:
        recover(folder, is_file=False, is_build=True)
    file_of_lease = folder / LEASE_FILE
    over = parts_at(file) if file else []
    told = _checked(read_json_file(file_of_lease), str(file_of_lease))
    if told is not None and told["of"] == _identity(over):
        return Build(folder=str(folder), before=frozenset(told["before"]), of=told["of"], over=over, options=options)
    build = _new_build(str(folder), over, options, is_file=file is not None)
    with staging(folder, is_file=False) as stage, clear_failures(folder, "the lease of a build"):
        draft = stage / "lease"
        write_text(draft, build.text(None).decode())
        draft.replace(file_of_lease)
        sync_folder(folder)
    return build


def _begun_in_bucket(folder: str, file: str | None, options: Mapping[str, Any]) -> Build:
    held = get_object(_href(folder), **options)
    told = None if held is None else _checked(parsed_json(held.data, _href(folder)), _href(folder))
    if held is not None and told is not None:
        _refuse_unexpired(folder, told["by"], held.modified)
    over = parts_at(file, **options) if file else []
    if told is not None and told["of"] == _identity(over):
        build = Build(folder=folder, before=frozenset(told["before"]), of=told["of"], over=over, options=options)
    else:
        build = _new_build(folder, over, options, is_file=file is not None)
    try:
        build.lease = put_object(_href(folder), build.text(_this_process()), over=held, **options)
    except PutRefusedError:
        raise UsageError(f"{folder}: another build has begun just now; call again when it is done") from None
    return build


def _checked(said: Any, where: str) -> dict[str, Any] | None:
    """Return the content of a lease, checked: the file may be a stranger's."""
    if said is None:
        return None
    if not isinstance(said, dict) or said.keys() != {"before", "of", "by"}:
        raise not_ours(where, 'it is not {"before": [names], "of": ..., "by": ...}')
    checked_part_names(said["before"], where)
    of, by = said["of"], said["by"]
    if of is not None and not (isinstance(of, list) and all(isinstance(one, int | str | None) for one in of)):
        raise not_ours(where, "its 'of' is no size and time of a file")
    if by is None:
        return said
    if not isinstance(by, dict) or by.keys() != {"pid", "host", "process"}:
        raise not_ours(where, "its 'by' is no process")
    is_process = isinstance(by["pid"], int) and not isinstance(by["pid"], bool) and 0 < by["pid"] < 2**31
    if not is_process or not all(isinstance(by[word], str) and len(by[word]) < 1_000 for word in ("host", "process")):
        raise not_ours(where, "its 'by' is no process")
    return said


def _new_build(folder: str, over: Sequence[Part], options: Mapping[str, Any], *, is_file: bool) -> Build:
    """Return a build that begins; the records of a single file become its first part."""
    if is_file:
        _remove(parts_at(folder, **options), options)
        pieces = [NewPart("", read_part(part, **options), read_about([part], **options)) for part in over]
        if pieces:
            write_parts(pieces, folder, [], **options)
    before = [_name(part, folder) for part in parts_at(folder, **options)]
    for name in before:
        if (why := why_not_plain(name)) is not None:
            raise UsageError(f"{folder}: the part {name!r} {why}; rename it before the collection grows")
    return Build(folder=folder, before=frozenset(before), of=_identity(over), over=over, options=options)


def _identity(over: Sequence[Part]) -> Any:
    """Return the identity of a single file, by which a changed file is noticed; as JSON values, because a lease holds it."""
    identity = over[0].identity if over else None
    if isinstance(identity, ListedObject):
        return [identity.size, identity.etag]
    return list(identity) if isinstance(identity, tuple) else None


def _remove(parts: Sequence[Part], options: Mapping[str, Any]) -> None:
    remote = [part.path for part in parts if is_remote(part.path)]
    delete_objects(remote, **options)
    for part in parts:
        if not is_remote(part.path):
            Path(part.path).unlink(missing_ok=True)


def _refuse_unexpired(target: str, holder: Mapping[str, Any] | None, renewed: dt.datetime) -> None:
    if holder is None or renewed + LEASE_TIME < dt.datetime.now(dt.UTC):
        return
    if holder["host"] == platform.node() and holder["process"] != _PROCESS and not _is_running(holder["pid"]):
        return
    raise UsageError(
        f"{target} is being built by process {holder['pid']} on {holder['host']}, which gave a sign of life at "
        f"{renewed:%H:%M:%S} UTC; call again when it is done. If it was killed: after {renewed + LEASE_TIME:%H:%M:%S} UTC, or "
        f"when you have deleted {_href(target)}"
    )


def _is_running(pid: int) -> bool:
    if pid == os.getpid():
        # An earlier process, as in a container that was started again.
        return False
    if os.name == "nt":
        # There a signal 0 is Ctrl-C.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "process": _PROCESS}


def _href(target: str) -> str:
    return f"{target.rstrip('/')}/{LEASE_FILE}"


def _name(part: Part, target: str) -> str:
    if is_remote(target):
        return part.path.removeprefix(target).strip("/")
    return Path(part.path).relative_to(target).as_posix()
