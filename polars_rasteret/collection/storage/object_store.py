"""Which objects lie below an address of an object store, and how are small ones read and written?

For the files of collections only: bytes of pixels go through ``fetch``. HTTP has no listing.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import re
from typing import IO, TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError
from obstore.store import from_url

from polars_rasteret.bundles import bundle
from polars_rasteret.collection.storage.untrusted_files import MAX_BYTES, too_large
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.places import bucket_place
from polars_rasteret.fetch.redaction import reworded, store_words
from polars_rasteret.fetch.sources.cloud import credentials_of, split_options
from polars_rasteret.fetch.sources.credentials import AUTO, shared_credentials
from polars_rasteret.fetch.sources.obstore_source import unaskable
from polars_rasteret.fetch.sources.stores import store_to_list
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_WILD = re.compile(r"[*?\[]")


@bundle(kw_only=False, eq=True)
class ListedObject:
    """One object of a store."""

    href: str
    size: int
    etag: str | None
    version: str | None = None
    """Version of the object. Only stores whose conditional writes need it tell it, and for a single object only."""


def list_files(
    url: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> list[ListedObject]:
    """List files whose pixels are to be read, as `list_objects` does.

    Without options and provider, the configuration of `configure_store` is used. As for pixels, requests are signed only where
    there are credentials.
    """
    if unaskable(url) is None:
        store, path = store_to_list(url, storage_options, credential_provider)
        if store is not None:
            return _listed(store, path, url, url.removesuffix(path))
    return list_objects(url, storage_options=storage_options, credential_provider=credential_provider)


def list_objects(
    url: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> list[ListedObject]:
    """Return the objects below a folder, or those that a glob matches, or the one object of this name; sorted.

    Raises
    ------
    FetchError
        When the store refuses.
    UsageError
        For a scheme that cannot be listed.
    """
    root, path = split_url(url)
    return _listed(_store(root, storage_options, credential_provider), path, url, f"{root}/")


def _listed(store: Any, path: str, url: str, base: str) -> list[ListedObject]:
    wild = _WILD.search(path)
    prefix = path.rstrip("/") if wild is None else path[: wild.start()].rpartition("/")[0]
    try:
        found = [one for batch in obstore.list(store, prefix=prefix or None) for one in batch]
        if not found and wild is None and prefix:
            found = [obstore.head(store, prefix)]
        elif wild is None and base.startswith("gs://") and [one["path"] for one in found] == [prefix]:
            # A listing of Google's does not tell the generation, which its conditional writes ask for.
            found = [obstore.head(store, prefix)]
    except FileNotFoundError:
        return []
    except (BaseError, ValueError) as error:
        raise FetchError(f"{shown(url)}: could not be listed: {store_words(error)}") from reworded(
            error, store_words(error)
        )
    if wild is not None:
        pattern = glob_pattern(path)
        found = [one for one in found if pattern.fullmatch(one["path"])]
    listed = [ListedObject(base + one["path"], one["size"], one.get("e_tag"), one.get("version")) for one in found]
    return sorted(listed, key=lambda one: one.href)


def delete_objects(
    hrefs: list[str], *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> None:
    """Delete objects of one store.

    Raises
    ------
    FetchError
        When the store refuses.
    """
    if not hrefs:
        return
    root, _ = split_url(hrefs[0])
    store = _store(root, storage_options, credential_provider)
    try:
        obstore.delete(store, [href.removeprefix(f"{root}/") for href in hrefs])
    except BaseError as error:
        raise FetchError(
            f"{shown(root)}: {len(hrefs)} old parts could not be deleted: {store_words(error)}"
        ) from reworded(error, store_words(error))


def glob_pattern(path: str) -> re.Pattern[str]:
    """Return the regular expression of a glob, as in the shell: ``*`` stays in its folder, ``**`` does not."""
    made = ""
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", path, re.DOTALL):
        match piece:
            case "**/":
                made += "(?:.*/)?"
            case "**":
                made += ".*"
            case "*":
                made += "[^/]*"
            case "?":
                made += "[^/]"
            case _ if len(piece) > 1:
                made += f"[^{piece[2:]}" if piece[1] == "!" else piece
            case _:
                made += re.escape(piece)
    return re.compile(made, re.DOTALL)


def split_url(url: str) -> tuple[str, str]:
    """Return the root of a bucket, and the path in it.

    Raises
    ------
    UsageError
        For HTTP, and for addresses that no store can have.
    """
    scheme, _, rest = url.partition("://")
    if (reason := unaskable(url)) is not None:
        raise UsageError(f"{shown(url)}: {reason}; check the address")
    if scheme in ("http", "https"):
        raise UsageError(f"{shown(url)}: HTTP has no listing; name the files one by one")
    bucket, _, path = rest.partition("/")
    return f"{scheme}://{bucket}", path


def _store(root: str, storage_options: Mapping[str, Any] | None, credential_provider: Any) -> Any:
    client, config = split_options(storage_options or {})
    # An endpoint may be named by the environment, too, and is plain HTTP only where somebody says so.
    options: dict[str, Any] = {"config": config, "client_options": {"allow_http": True, **client}}
    place = bucket_place(f"{root}/")
    provider = (
        shared_credentials(credential_provider)
        if place is None
        else credentials_of(place, config, AUTO if credential_provider is None else credential_provider)
    )
    if provider is not None:
        options["credential_provider"] = provider
    open_store: Any = from_url
    try:
        return open_store(root, **options)
    except (BaseError, ValueError, TypeError) as error:
        raise UsageError(
            f"{shown(root)}: no store can be made of this address and its storage_options: {store_words(error)}"
        ) from reworded(error, store_words(error))


@bundle(kw_only=False, eq=True)
class StoredObject:
    """A small object as it was read, with the `etag` and the `modified` time that the store tells."""

    data: bytes
    etag: str | None
    modified: dt.datetime


class PutRefusedError(Exception):
    """The object is not, or no longer, the one that a conditional put expects."""


def put_object(
    href: str,
    data: bytes,
    *,
    over: StoredObject | None = None,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> StoredObject:
    """Write one small object where none is, or in the place of `over`.

    A store without conditional writes writes it in any case.

    Raises
    ------
    PutRefusedError
        When something else is there.
    FetchError
        When the store refuses.
    """
    root, path = split_url(href)
    store = _store(root, storage_options, credential_provider)
    mode: Any = "create" if over is None else "overwrite" if over.etag is None else {"e_tag": over.etag}
    try:
        try:
            result = obstore.put(store, path, data, mode=mode, use_multipart=False)
        except (NotSupportedError, NotImplementedError):
            result = obstore.put(store, path, data, use_multipart=False)
    except (AlreadyExistsError, PreconditionError) as error:
        raise PutRefusedError(href) from reworded(error, store_words(error))
    except BaseError as error:
        raise FetchError(f"{shown(href)}: could not be written: {store_words(error)}") from reworded(
            error, store_words(error)
        )
    return StoredObject(data, result["e_tag"], dt.datetime.now(dt.UTC))


def get_object(
    href: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> StoredObject | None:
    """Read one small object; None when it is not there.

    Raises
    ------
    FetchError
        When the store refuses.
    FileFormatError
        When the object is not small.
    """
    root, path = split_url(href)
    try:
        found = obstore.get(_store(root, storage_options, credential_provider), path)
        if found.meta["size"] > MAX_BYTES:
            raise too_large(href, found.meta["size"])
        return StoredObject(bytes(found.bytes()), found.meta["e_tag"], found.meta["last_modified"])
    except FileNotFoundError:
        return None
    except BaseError as error:
        raise FetchError(f"{shown(href)}: could not be read: {store_words(error)}") from reworded(
            error, store_words(error)
        )


def open_object(
    href: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> io.RawIOBase:
    """Return one object as a file; each read of it is a request for these bytes.

    Raises
    ------
    FetchError
        When the store refuses, also later when bytes are read.
    """
    root, path = split_url(href)
    store = _store(root, storage_options, credential_provider)
    with _clear_read(href):
        return _OpenObject(href, store, path, obstore.head(store, path)["size"])


class _OpenObject(io.RawIOBase):
    """One object of a store, read range by range."""

    def __init__(self, href: str, store: Any, path: str, size: int) -> None:
        self._href, self._store, self._path, self._size, self._at = href, store, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        n_bytes = max(min(len(into), self._size - self._at), 0)
        if n_bytes:
            with _clear_read(self._href):
                data = obstore.get_range(self._store, self._path, start=self._at, length=n_bytes)
            into[:n_bytes] = memoryview(data).cast("B")
        self._at += n_bytes
        return n_bytes


@contextlib.contextmanager
def _clear_read(href: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        raise FetchError(f"{shown(href)}: could not be read: {store_words(error)}") from reworded(
            error, store_words(error)
        )


def put_file(
    href: str,
    data: bytes,
    *,
    over: ListedObject | None,
    whatever_is_there: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Write one object where none is, or in the place of the very one that was listed.

    Raises
    ------
    PutRefusedError
        When something else is there.
    UsageError
        When the store cannot tell what is there.
    FetchError
        When the store refuses.
    """
    if over is not None and not _condition(over) and not whatever_is_there:
        raise _no_condition(href)
    root, path = split_url(href)
    store = _store(root, storage_options, credential_provider)
    mode: Any = "overwrite" if whatever_is_there else "create" if over is None else _condition(over)
    try:
        obstore.put(store, path, data, mode=mode, use_multipart=False)
    except (AlreadyExistsError, PreconditionError) as error:
        raise PutRefusedError(href) from reworded(error, store_words(error))
    except (NotSupportedError, NotImplementedError) as error:
        raise _no_condition(href) from reworded(error, store_words(error))
    except BaseError as error:
        raise FetchError(f"{shown(href)}: could not be written: {store_words(error)}") from reworded(
            error, store_words(error)
        )


def put_large_file(
    href: str, data: IO[bytes], *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> None:
    """Write one object of any size from a file, whatever is there; it is seen whole, or not at all.

    Raises
    ------
    FetchError
        When the store refuses.
    """
    root, path = split_url(href)
    store = _store(root, storage_options, credential_provider)
    try:
        obstore.put(store, path, data)
    except BaseError as error:
        raise FetchError(f"{shown(href)}: could not be written: {store_words(error)}") from reworded(
            error, store_words(error)
        )


def _condition(over: ListedObject) -> dict[str, str]:
    told = {"e_tag": over.etag, "version": over.version}
    return {name: value for name, value in told.items() if value is not None}


def _no_condition(href: str) -> UsageError:
    return UsageError(
        f"{shown(href)}: the store has no conditional writes, so what another writer puts there meanwhile could be lost. Make "
        "the collection a folder of parts (a path without .parquet), or say mode='overwrite'."
    )
