"""What is the shape of a source of bytes, and does its answer belong to the indexed file?

`ByteSource` is the public shape: one method. The scheduler asks a `RangeReader`, which also tells the file's size, ETag and time,
so that a file that changed since indexing is noticed. Only `checked` compares an answer with the index.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.failures import (
    BeyondEndError,
    changed,
    changed_size,
    changed_time,
    foreign_failure,
    not_the_file,
    not_told,
    range_words,
    short_body,
)
from polars_rasteret.hrefs import Provenance

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TIFF_BEGINS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF: classic and BigTIFF, in both byte orders."""
_LONGEST_ETAG = 1_024
N_BEGIN_BYTES = 4
"""How many first bytes of a file `Answer.begins_with` holds."""
UNKNOWN_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The time that obstore gives when a server sends no Last-Modified."""


@runtime_checkable
class ByteSource(Protocol):
    """Any object that returns byte ranges of files: a server, a bucket, a folder, a dict in a test."""

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Return bytes ``byte_start`` to ``byte_stop`` (half-open) of `href`; fewer only where the file ends.

        With a strong `etag`, a file that now has another one should raise `StaleIndexError`.
        """
        ...


@bundle(kw_only=False, eq=True)
class Terms:
    """The conditions under which a file may be read."""

    allowed: tuple[str, ...] | None = None
    """Prefixes of the hrefs that may be read; None: all hrefs that are not refused for another reason."""
    provenance: Provenance = Provenance.HERE
    """Who named the href."""

    @classmethod
    def of(cls, allowed: tuple[str, ...] | None, provenance: Provenance = Provenance.HERE) -> Terms | None:
        """Return the terms, or None where they refuse nothing."""
        return None if allowed is None and provenance is Provenance.HERE else cls(allowed, provenance)


@bundle(kw_only=False, eq=True)
class FileKey:
    """A file as it was when it was indexed; None is unknown."""

    href: str
    etag: str | None = None
    file_size: int | None = None
    last_modified: dt.datetime | None = None
    terms: Terms | None = None
    """Terms of the reader. Only readers with equal terms share answers."""
    is_tiff: bool = True
    """Whether the file must begin as a TIFF where an answer holds it whole; False for documents."""


@dataclass(slots=True, eq=False, repr=False)
class Answer:
    """The bytes of one range, and what the answer tells of the whole file."""

    data: Buffer
    file_size: int | None = None
    etag: str | None = None
    last_modified: dt.datetime | None = None
    n_requests: int = 1
    begins_with: bytes | None = None
    """First bytes of the file, where the answer held the whole file instead of the range."""
    is_plain: bool = True
    """Whether obstore would have understood the answer."""
    peer: str | None = None
    """The address that the answer came from, where it is known."""


class RangeReader(Protocol):
    """The shape of the sources that the scheduler asks: a `ByteSource` that also keeps deadlines and describes the file."""

    def read(
        self, href: str, byte_start: int, byte_stop: int, *, etag: str | None, timeout_s: float, attempt: int
    ) -> Answer:
        """Return the answer for one range, or raise `FetchError` (`TransientFetchError` where another attempt makes sense)."""
        ...

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Return the bytes of one range."""
        ...


class GetByRead:
    """The public `get` of every `RangeReader`."""

    def get(self: RangeReader, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Return bytes ``byte_start`` to ``byte_stop`` (half-open) of `href`; fewer where the file ends."""
        try:
            return self.read(href, byte_start, byte_stop, etag=etag, timeout_s=30.0, attempt=0).data
        except BeyondEndError:
            return b""


class PlainSource(GetByRead):
    """Reads a caller's `ByteSource` as a `RangeReader`; its answers hold nothing but bytes."""

    def __init__(self, inner: ByteSource) -> None:
        self.inner = inner

    def read(
        self,
        href: str,
        byte_start: int,
        byte_stop: int,
        *,
        etag: str | None,
        timeout_s: float,  # noqa: ARG002 - the shape has no deadline; the scheduler's clock keeps it
        attempt: int,  # noqa: ARG002
    ) -> Answer:
        """Return the answer for one range."""
        try:
            data = self.inner.get(href, byte_start, byte_stop, etag=etag)
        except FetchError:
            raise
        except Exception as error:  # noqa: BLE001 - a caller's code may raise anything
            failure = foreign_failure(href, byte_start, byte_stop, error)
        else:
            return Answer(data)
        raise failure  # here, because the exception may hold a key


def is_strong(etag: str | None) -> bool:
    """Return whether an ETag stands for exactly one sequence of bytes (RFC 9110 section 8.8.1)."""
    return etag is not None and not etag.startswith("W/")


def is_sendable(etag: str | None) -> bool:
    """Return whether a strong ETag can be sent as a condition; one with characters that no header may hold is only compared."""
    return etag is not None and is_strong(etag) and etag.isascii() and etag.isprintable() and len(etag) <= _LONGEST_ETAG


def checked(file: FileKey, byte_start: int, byte_stop: int, answer: Answer, *, may_end: bool = False) -> memoryview:
    """Return the bytes of an answer if it is complete and comes from the indexed file.

    Parameters
    ----------
    file, byte_start, byte_stop
        The file as indexed, and the range that was asked for.
    answer
        The answer for that range.
    may_end
        Whether the size of the file was not known. Then fewer bytes are complete where the file ends, or where the answer does
        not tell its size.

    Raises
    ------
    StaleIndexError
        When size, strong ETag or, without strong ETags, modification time differ from the index.
    TransientFetchError
        When fewer (or more) bytes came than were asked for, or the answer to a range holds something else than the file.
    """
    href = file.href
    size = answer.file_size
    if file.is_tiff and answer.begins_with is not None and not answer.begins_with.startswith(_TIFF_BEGINS):
        raise not_the_file(href, byte_start, byte_stop, begins_with=answer.begins_with)
    if size is not None and file.file_size is not None and size != file.file_size:
        raise changed_size(href, byte_start, byte_stop, indexed=file.file_size, came=size)
    if is_strong(file.etag) and is_strong(answer.etag):
        if file.etag != answer.etag:
            raise changed(href, byte_start, byte_stop, f"its ETag is {answer.etag} where {file.etag} was indexed")
    elif file.last_modified is not None and answer.last_modified is not None:
        indexed, came = file.last_modified, answer.last_modified
        if not _same_time(indexed, came):
            raise changed_time(href, byte_start, byte_stop, indexed=indexed, came=came)
    if answer.begins_with is not None and not _is_told(file, answer):
        raise not_told(href, byte_start, byte_stop)
    data = memoryview(answer.data)
    if data.format != "B" or data.ndim != 1:
        data = data.cast("B")
    n_missing = byte_stop - byte_start - len(data)
    if n_missing and not (may_end and n_missing > 0 and (size is None or byte_start + len(data) >= size)):
        if size is not None and byte_stop > size and not may_end:
            raise BeyondEndError.of_size(
                f"{range_words(href, byte_start, byte_stop)}, but the file has {size} bytes. "
                "It is shorter than its indexed header says; it is damaged, or index it again: pr.refresh(path).",
                size,
            )
        raise short_body(href, byte_start, byte_stop, n_bytes=len(data))
    return data


def _is_told(file: FileKey, answer: Answer) -> bool:
    """Return whether an answer without a Content-Range tells the size or strong ETag that was indexed, if any was.

    `checked` has compared these values before.
    """
    if file.file_size is None and not is_strong(file.etag):
        return True
    has_size = file.file_size is not None and answer.file_size is not None
    return has_size or (is_strong(file.etag) and is_strong(answer.etag))


def _same_time(indexed: dt.datetime, came: dt.datetime) -> bool:
    if indexed.tzinfo is None:
        indexed = indexed.replace(tzinfo=dt.UTC)
    if UNKNOWN_TIME in (indexed, came):
        return True
    if indexed.microsecond == 0 or came.microsecond == 0:  # HTTP dates have whole seconds
        return indexed.replace(microsecond=0) == came.replace(microsecond=0)
    return abs(indexed - came) < dt.timedelta(milliseconds=1)
