"""Which parts were in this folder before the build, and is the build alone there?

A marker in the folder names the parts from before; it outlives a killed build, so that the next one can tell what the killed one
wrote. In a bucket, which has no locks, it also says who is building: the builder renews it part by part, and stops when somebody
else has. A collection that is one file grows in a folder beside it, which readers do not see.
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

from polars_rasteret.collection.listing import PutRefusedError, Stored, delete_objects, get_object, put_object
from polars_rasteret.collection.part_files import clear_failures, finish_overwrite, write_text
from polars_rasteret.collection.parts import Part, is_one_file, is_remote, parts_at
from polars_rasteret.collection.sink import write_parts
from polars_rasteret.collection.turns import only_writer
from polars_rasteret.collection.upkeep import read_part
from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MARKER = "_build.json"
LEASE = dt.timedelta(minutes=10)
"""A build in a bucket that has not renewed its marker for so long is taken for dead."""
_PROCESS = secrets.token_hex(8)
"""Tells this process from an earlier one with the same number."""


@dataclass(slots=True, kw_only=True)
class Build:
    """A build under way."""

    folder: str
    """Where its parts are."""
    before: frozenset[str]
    """Names of the parts that were there before."""
    of: Any
    """What the single file was that grows, None: there was none, or the folder itself is the collection."""
    options: Mapping[str, Any]
    marker: Stored | None = field(default=None)

    def is_from_before(self, part: Part) -> bool:
        """Say whether a part was there before this build, or before the interrupted one that it goes on with."""
        return _name(part, self.folder) in self.before

    def renew(self) -> None:
        """Say that this build is alive.

        Raises
        ------
        UsageError
            When another build has taken its place.
        """
        if self.marker is not None:
            self._tell(_us())

    def release(self) -> None:
        """Say that this build has stopped before its end."""
        if self.marker is not None:
            with contextlib.suppress(FetchError, UsageError):
                self._tell(None)

    def words(self, builder: Mapping[str, Any] | None) -> bytes:
        """Give what the marker says."""
        return json.dumps({"before": sorted(self.before), "of": self.of, "by": builder}).encode()

    def _tell(self, builder: Mapping[str, Any] | None) -> None:
        try:
            self.marker = put_object(_href(self.folder), self.words(builder), over=self.marker, **self.options)
        except PutRefusedError:
            self.marker = None
            raise UsageError(
                f"{self.folder}: another build has taken the place of this one; one at a time can grow a collection"
            ) from None


@contextlib.contextmanager
def building(target: str, options: Mapping[str, Any]) -> Iterator[Build]:
    """Mark a collection as being built until the block ends; where it ends with an error, the marker stays for the next build.

    A single file is a folder of parts until then: the caller puts them together.

    Raises
    ------
    UsageError
        When another build, or another writer, is at work there.
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
        _remove(parts_at(folder, **options) if file else [], options)
        delete_objects([_href(folder)], **options)
        return
    where = Path(folder)
    if where.is_file():
        raise UsageError(
            f"into={target!r} is a file; a path without .parquet is a folder of parts. Choose another name."
        )
    if file is not None and Path(file).is_dir():
        raise UsageError(f"into={target!r} is a folder; its suffix says that it is one file. Choose another name.")
    with clear_failures(where, "the folder"):
        where.mkdir(parents=True, exist_ok=True)
    try:
        with only_writer(where):
            yield _begun(where, file, options)
            _remove(parts_at(folder) if file else [], options)
            (where / MARKER).unlink(missing_ok=True)
    finally:
        # It stays when it is not empty: parts are left for the next build, or that has begun.
        with contextlib.suppress(OSError):
            where.rmdir()


def _working_folder(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"{folder}/.{name}.building"


def _begun(folder: Path, file: str | None, options: Mapping[str, Any]) -> Build:
    finish_overwrite(folder)
    for left in folder.rglob(".*.writing"):
        left.unlink(missing_ok=True)
    marker = folder / MARKER
    of = _identity(file, options)
    if marker.exists() and (told := json.loads(marker.read_text())).get("of") == of:
        return Build(folder=str(folder), before=frozenset(told["before"]), of=of, options=options)
    before = _seeded(str(folder), file, options)
    build = Build(folder=str(folder), before=before, of=of, options=options)
    temporary = folder / f".{secrets.token_hex(8)}.writing"
    try:
        with clear_failures(folder, "the marker of a build"):
            write_text(temporary, build.words(None).decode())
            temporary.replace(marker)
    finally:
        temporary.unlink(missing_ok=True)
    return build


def _begun_in_bucket(folder: str, file: str | None, options: Mapping[str, Any]) -> Build:
    held = get_object(_href(folder), **options)
    told = {} if held is None else json.loads(held.data)
    if held is not None:
        _refuse_alive(folder, told.get("by"), held.modified)
    of = _identity(file, options)
    goes_on = held is not None and told.get("of") == of
    before = frozenset(told["before"]) if goes_on else _seeded(folder, file, options)
    build = Build(folder=folder, before=before, of=of, options=options)
    try:
        build.marker = put_object(_href(folder), build.words(_us()), over=held, **options)
    except PutRefusedError:
        raise UsageError(f"{folder}: another build has begun just now; call again when it is done") from None
    return build


def _seeded(folder: str, file: str | None, options: Mapping[str, Any]) -> frozenset[str]:
    """Give the names of the parts that are there; for a single file its records become the first part."""
    if file is not None:
        _remove(parts_at(folder, **options), options)
        pieces = [("", read_part(part, **options)) for part in parts_at(file, **options)]
        if pieces:
            write_parts(pieces, folder, [], **options)
    return frozenset(_name(part, folder) for part in parts_at(folder, **options))


def _identity(file: str | None, options: Mapping[str, Any]) -> Any:
    found = [] if file is None else parts_at(file, **options)
    return list(found[0].identity) if found and isinstance(found[0].identity, tuple) else None


def _remove(parts: Sequence[Part], options: Mapping[str, Any]) -> None:
    remote = [part.path for part in parts if is_remote(part.path)]
    delete_objects(remote, **options)
    for part in parts:
        if not is_remote(part.path):
            Path(part.path).unlink(missing_ok=True)


def _refuse_alive(target: str, builder: Mapping[str, Any] | None, renewed: dt.datetime) -> None:
    if builder is None or renewed + LEASE < dt.datetime.now(dt.UTC):
        return
    if builder["host"] == platform.node() and builder["process"] != _PROCESS and not _is_running(builder["pid"]):
        return
    raise UsageError(
        f"{target} is being built by process {builder['pid']} on {builder['host']}, which gave a sign of life at "
        f"{renewed:%H:%M:%S} UTC; call again when it is done. If it was killed: after {renewed + LEASE:%H:%M:%S} UTC, or when "
        f"you have deleted {_href(target)}"
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


def _us() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "process": _PROCESS}


def _href(target: str) -> str:
    return f"{target.rstrip('/')}/{MARKER}"


def _name(part: Part, target: str) -> str:
    return part.path.removeprefix(target).strip("/")
