"""Which Parquet files make up the collection at this path, and what columns does each have?

A collection is one file or a folder of immutable parts. A file that the journal of a writer leaves out is no part. How the
columns of parts are united belongs in `schemas`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import polars as pl
from polars.exceptions import ComputeError

from polars_rasteret.arguments import first_line
from polars_rasteret.bundles import bundle
from polars_rasteret.collection.storage.journal import JOURNAL, left_out
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.hints import HINTS_KEY, parsed_hints, register_hints
from polars_rasteret.fetch.places import BUCKET_SCHEMES
from polars_rasteret.fetch.redaction import reworded
from polars_rasteret.fetch.sources.credentials import polars_provider
from polars_rasteret.fetch.sources.local_source import local_path
from polars_rasteret.hrefs import shown, shown_text

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from polars_rasteret.collection.storage.part_facts import PartFacts

T = TypeVar("T")
_TRIES = 200
"""Most looks at a folder that writers keep changing; each of their steps waits for the disk."""
_CACHE_SIZE = 10_000
_FOOTERS_AT_ONCE = 16
_schemas: dict[Hashable, dict[str, pl.DataType]] = {}


@bundle(eq=True)
class Part:
    """One Parquet file of a collection."""

    path: str
    hive: tuple[tuple[str, str], ...] = ()
    """``key=value`` folders between the collection and this file."""
    identity: Hashable | None = None
    """A value that changes when the file does; None: unknown."""
    n_bytes: int | None = None
    root: str = ""
    """Folder of the collection that the file was found in; empty: the folder of the file."""
    facts: PartFacts | None = field(default=None, compare=False)
    """What is known of it without opening it; see `parts_manifest`."""

    @property
    def folder(self) -> str:
        """Folder of the collection."""
        return self.root or self.path.rpartition("/")[0] or "/"


def is_remote(path: str) -> bool:
    """Return whether a path is a URL of something that is not a local file."""
    return "://" in path and not path.startswith("file://")


def plain_path(path: str | os.PathLike[str]) -> str:
    """Return a path as text: absolute if local (also for ``file://``), a URL unchanged."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise UsageError(f"path is {path!r}; expected a path or URL of a collection")
    if is_remote(text):
        return text
    if text.startswith("file://"):
        text = local_path(text)
    return str(Path(text).expanduser().absolute())


def is_one_file(path: str) -> bool:
    """Return whether a path names a single Parquet file rather than a folder of parts."""
    return path.lower().endswith((".parquet", ".geoparquet", ".pq"))


def collection_name(path: str) -> str:
    """Return the name of a collection: that of its folder, or that of its file without the suffix."""
    name = path.rstrip("/").rpartition("/")[2]
    return name.rpartition(".")[0] or name if is_one_file(name) else name


def parts_at(
    path: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> list[Part]:
    """Return the parts of a file, a folder (to the bottom, hive folders included) or a glob, in a stable order.

    Returns
    -------
    list of Part
        Empty when nothing is there. Names that begin with ``.`` or ``_`` are not parts.
    """
    text = plain_path(path)
    if is_remote(text):
        return _remote_parts(text, storage_options, credential_provider)
    where = Path(text)
    if where.is_dir():
        return _parts_below(where, lambda: _files_below(where))
    if where.is_file():
        return [_local(where, where.parent)]
    if glob.has_magic(os.fspath(path)):
        root = Path(text[: re.search(r"[*?\[]", text).start()].rpartition("/")[0] or "/")  # type: ignore[union-attr]
        return _parts_below(root, lambda: _files_of_glob(text, root))
    return []


def read_schema(
    part: Part, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> dict[str, pl.DataType]:
    """Read the columns (without hive keys) of one part; remembered while the file stays the same.

    What the part tells of the places of its files is remembered for reading them.

    Raises
    ------
    UsageError
        When the part is not a Parquet file.
    FetchError
        When the part is gone.
    """
    if part.facts is not None:
        register_hints(parsed_hints(part.facts.hints))
        return part.facts.columns
    known = _schemas.get(_key(part))
    return _noted(part, *_columns_and_hints(part, storage_options, credential_provider)) if known is None else known


def read_schemas(
    parts: Sequence[Part], *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> list[dict[str, pl.DataType]]:
    """Read the columns of several parts as `read_schema` does; footers in a store are read side by side.

    Each takes a round trip or two. One on a disk takes a quarter of a millisecond, and threads do not read it faster.
    """
    options = {"storage_options": storage_options, "credential_provider": credential_provider}
    unread = [one for one in parts if is_remote(one.path) and one.facts is None and _key(one) not in _schemas]
    footers = side_by_side(lambda part: _columns_and_hints(part, **options), unread)
    # In the order of the parts, whichever answered first: what they tell of one place may differ.
    read = {part.path: _noted(part, *footer) for part, footer in zip(unread, footers, strict=True)}
    return [known if (known := read.get(part.path)) is not None else read_schema(part, **options) for part in parts]


def side_by_side(read: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
    """Return what a function reads of each part; of parts in a store, several at once."""
    if len(parts) < 2 or not is_remote(parts[0].path):
        return [read(part) for part in parts]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_FOOTERS_AT_ONCE, len(parts))) as pool:
        return list(pool.map(read, parts))


def _key(part: Part) -> Hashable:
    """Return the name under which the columns of a part are remembered; None is under no name."""
    return None if part.identity is None else (part.path, part.identity)


def _columns_and_hints(
    part: Part, storage_options: Mapping[str, Any] | None, credential_provider: Any
) -> tuple[dict[str, pl.DataType], str]:
    """Read the columns of a part, and the text in which it tells of the places of its files."""
    options = polars_options(storage_options, credential_provider)
    with _clear_errors(part):
        columns = dict(pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **options).collect_schema())
        return columns, pl.read_parquet_metadata(part.path, **options).get(HINTS_KEY, "")


def _noted(part: Part, columns: dict[str, pl.DataType], hints: str) -> dict[str, pl.DataType]:
    """Remember what a part tells of the places of its files, and its columns, which are returned."""
    register_hints(parsed_hints(hints))
    if (key := _key(part)) is not None:
        if len(_schemas) >= _CACHE_SIZE:
            _schemas.clear()
        _schemas[key] = columns
    return columns


def read_metadata(
    part: Part, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> dict[str, str]:
    """Read the key-value metadata of one part.

    Raises
    ------
    UsageError
        When the part is not a Parquet file.
    FetchError
        When the part is gone.
    """
    with _clear_errors(part):
        return pl.read_parquet_metadata(part.path, **polars_options(storage_options, credential_provider))


def is_all_null(
    part: Part, band: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> bool:
    """Return whether a part has no value in a band.

    The metadata of the part tells; in a part of another writer, the column does.
    """
    from polars_rasteret.collection.storage.geoparquet import bands_without_values

    if part.facts is not None:
        return band in part.facts.empty_bands
    options = polars_options(storage_options, credential_provider)
    with _clear_errors(part):
        told = bands_without_values(pl.read_parquet_metadata(part.path, **options))
        if told is not None:
            return band in told
        column = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **options)
        return bool(column.select(pl.col(band).is_null().all()).collect().item())


def polars_options(storage_options: Mapping[str, Any] | None, credential_provider: Any) -> dict[str, Any]:
    """Return the keyword arguments for Polars' readers and writers; an option that the caller left out is left to Polars."""
    options: dict[str, Any] = {}
    if storage_options is not None:
        # Headers are for the servers of the files; Polars takes texts only.
        options["storage_options"] = {key: one for key, one in storage_options.items() if not isinstance(one, Mapping)}
    if (provider := polars_provider(credential_provider)) is not None:
        options["credential_provider"] = provider
    return options


@contextlib.contextmanager
def _clear_errors(part: Part) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        words = shown_text(str(error), part.path)
        raise FetchError(f"{shown(part.path)} is not there: {words}") from reworded(error, words)
    except OSError as error:
        # Of a store: it names the place of the object also without its host.
        words = shown_text(first_line(error), part.path, part.path.partition("://")[2].partition("/")[2] or part.path)
        raise FetchError(f"{shown(part.path)} cannot be read: {words}") from reworded(error, words)
    except ComputeError as error:
        words = shown_text(str(error), part.path)
        if "LogicalType union has no variant" in words:
            words += " (perhaps Parquet's type for geometries, which Polars does not read: write the column as binary)"
        if part.path.lower().endswith((".tif", ".tiff")):
            words = "GeoTIFFs become a collection by pr.build_from_files"
        raise UsageError(f"{shown(part.path)} cannot be opened as a Parquet file: {words}") from reworded(error, words)


def _hidden(relative: Path) -> bool:
    return any(piece.startswith((".", "_")) for piece in relative.parts)


def _parts_below(root: Path, look: Callable[[], tuple[list[str], dict[str, list[str]]]]) -> list[Part]:
    """Return the parts below a folder as they were at one moment, also while a writer is changing them.

    Parameters
    ----------
    root
        A folder.
    look
        ``look()`` returns the names of files below the folder, and the names that each journal there leaves out, read afterwards.

    Raises
    ------
    FetchError
        When the folder cannot be listed.
    """
    try:
        for _ in range(_TRIES):
            # Names of parts are never used again. So when nothing that lists before and after differs, and the journal was the
            # same before, between and after, no writer took a step that mixes old parts with new ones in a listing.
            with contextlib.suppress(FileNotFoundError):
                before = left_out(root)
                names, journals = look()
                if journals.get("", before) == before and look() == (names, journals):
                    gone = {f"{folder}{name}" for folder, left in journals.items() for name in left}
                    return [_local(root / name, root) for name in names if name not in gone]
    except FetchError:
        raise
    except OSError as error:
        raise FetchError(f"{root} could not be listed: {error}") from error
    raise FetchError(f"{root} changed while it was listed, {_TRIES} times; call again when its writers are done")


def _files_below(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the Parquet files below a folder that are not hidden, and the names in each journal there.

    Names of files and folders are relative to `root`, names in a journal to its own folder.
    """
    names: list[list[str]] = []
    folders = {""}
    for where, below, files in os.walk(root, onerror=_refused):
        below[:] = [name for name in below if name[0] not in "._"]
        above = list(Path(where).relative_to(root).parts)
        names += [[*above, name] for name in files if name[0] not in "._" and name.endswith(".parquet")]
        if JOURNAL in files:
            folders.add("".join(f"{piece}/" for piece in above))
    return ["/".join(pieces) for pieces in sorted(names)], {
        folder: left_out(root / folder) for folder in sorted(folders)
    }


def _files_of_glob(pattern: str, root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the files that a glob matches, and the names in each journal of their folders.

    Names of files and folders are relative to `root`, names in a journal to its own folder.
    """
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True))  # noqa: PTH207 - ** as in the shell
    names = [one.relative_to(root).as_posix() for one in found if one.is_file() and not _hidden(Path(one.name))]
    folders = {""}
    for name in names:
        pieces = name.split("/")
        folders |= {"/".join(pieces[:stop]) + "/" for stop in range(1, len(pieces))}
    return names, {folder: left_out(root / folder) for folder in sorted(folders)}


def _refused(error: OSError) -> None:
    raise error


def _local(file: Path, root: Path) -> Part:
    try:
        stat = file.stat()
    except FileNotFoundError:
        if file.is_symlink():
            raise FetchError(f"{file} is a link to a file that is not there") from None
        raise
    return Part(
        path=str(file),
        hive=_hive(file.relative_to(root).parts[:-1]),
        identity=(stat.st_size, stat.st_mtime_ns, stat.st_ino),
        n_bytes=stat.st_size,
        root=str(root),
    )


def _hive(folders: Sequence[str]) -> tuple[tuple[str, str], ...]:
    pairs = (folder.partition("=") for folder in folders)
    return tuple((key, unquote(value)) for key, equals, value in pairs if equals and key)


def _remote_parts(url: str, storage_options: Mapping[str, Any] | None, credential_provider: Any) -> list[Part]:
    from polars_rasteret.collection.storage.object_store import list_objects

    scheme = url.partition("://")[0]
    wild = any(mark in url for mark in "*?[")
    if scheme in ("http", "https"):
        return [Part(path=url)]
    if scheme == "hf":
        return _hub_parts(url, storage_options)
    if scheme not in BUCKET_SCHEMES:
        raise UsageError(
            f"{shown(url)}: Polars reads and writes no Parquet at {scheme}://; expected a local path, s3, gs, az, hf or https "
            "(files whose pixels are read may be anywhere that configure_store knows)"
        )
    found = list_objects(url, storage_options=storage_options, credential_provider=credential_provider)
    if [one.href for one in found] == [url]:
        return [Part(path=url, identity=found[0], n_bytes=found[0].size)]
    root = url.rstrip("/") if not wild else re.split(r"[*?\[]", url)[0].rpartition("/")[0]
    parts = []
    for one in found:
        relative = Path(one.href.removeprefix(root).lstrip("/"))
        if one.href.lower().endswith(".parquet") and not _hidden(relative):
            hive = _hive(relative.parts[:-1])
            parts.append(Part(path=one.href, hive=hive, identity=one, n_bytes=one.size, root=root))
    return parts


def _hub_parts(url: str, storage_options: Mapping[str, Any] | None) -> list[Part]:
    """Return the parts of a dataset at Hugging Face, by their https addresses."""
    from polars_rasteret.collection.storage.hugging_face import parquet_files

    return [
        Part(
            path=one.url,
            hive=_hive(one.path.split("/")[:-1]),
            identity=one.oid and one,
            n_bytes=one.n_bytes,
            root=one.url.removesuffix(one.path).rstrip("/") if one.url.endswith(f"/{one.path}") else "",
        )
        for one in parquet_files(url, storage_options=storage_options)
    ]
