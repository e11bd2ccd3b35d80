"""Who can give the bytes of a file, and what does an answer say?

`ByteSource` is the public shape: one method. Inside, a `RangeReader` is asked, which also tells the file's size, ETag and time,
so that a file that changed since indexing is noticed. `checked` is the one place that compares an answer with what was wanted.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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
"""The files of this package are TIFFs; classic and BigTIFF, in both byte orders."""
_LONGEST_ETAG = 1_024
N_BEGIN_BYTES = 4
"""Of a file that begins as one of these, to be given as `Answer.begins_with`."""
_UNKNOWN_TIME = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""What obstore says when a server sends no Last-Modified."""


@runtime_checkable
class ByteSource(Protocol):
    """Anything that gives byte ranges: a server, a bucket, a folder, a dict in a test."""

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Give bytes ``byte_start`` to ``byte_stop`` (half-open) of `href`; fewer only where the file ends.

        With a strong `etag`, a file that now has another one should raise `StaleIndexError`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What a file may be read under."""

    allowed: tuple[str, ...] | None = None
    """Prefixes of hrefs; None: all that are not refused for another reason."""
    provenance: Provenance = Provenance.HERE
    """Who named the href."""

    @classmethod
    def of(cls, allowed: tuple[str, ...] | None, provenance: Provenance = Provenance.HERE) -> Terms | None:
        """Give the terms, or None where they ask for nothing."""
        return None if allowed is None and provenance is Provenance.HERE else cls(allowed, provenance)


@dataclass(frozen=True, slots=True)
class FileKey:
    """A file as it was when it was indexed; None is unknown."""

    href: str
    etag: str | None = None
    file_size: int | None = None
    last_modified: dt.datetime | None = None
    terms: Terms | None = None
    """Answers are shared by readers with the same terms alone."""


@dataclass(slots=True)
class Answer:
    """What came for one range, and what the answer told of the whole file."""

    data: Buffer
    file_size: int | None = None
    etag: str | None = None
    last_modified: dt.datetime | None = None
    n_requests: int = 1
    begins_with: bytes | None = None
    """Of an answer that holds the whole file instead of the range: the first bytes of that file."""
    is_plain: bool = True
    """Whether obstore would have understood it."""
    peer: str | None = None
    """The address that gave it, where that is known."""


class RangeReader(Protocol):
    """What the scheduler asks: a `ByteSource` that also knows deadlines and describes the file."""

    def read(
        self, href: str, byte_start: int, byte_stop: int, *, etag: str | None, timeout_s: float, attempt: int
    ) -> Answer:
        """Give one range, or raise `FetchError` (`TransientFetchError` where another attempt makes sense)."""
        ...

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Give the bytes alone."""
        ...


class GetByRead:
    """The public `get` of every `RangeReader`."""

    def get(self: RangeReader, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Give bytes ``byte_start`` to ``byte_stop`` (half-open) of `href`; fewer where the file ends."""
        try:
            return self.read(href, byte_start, byte_stop, etag=etag, timeout_s=30.0, attempt=0).data
        except BeyondEndError:
            return b""


class PlainSource(GetByRead):
    """A caller's `ByteSource`, asked as a `RangeReader`; it tells nothing but the bytes."""

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
        """Give one range."""
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
    """Tell whether an ETag stands for exactly one sequence of bytes (RFC 9110 section 8.8.1)."""
    return etag is not None and not etag.startswith("W/")


def is_sendable(etag: str | None) -> bool:
    """Tell whether a strong ETag can be sent as a condition; one with characters that no header may hold is only compared."""
    return etag is not None and is_strong(etag) and etag.isascii() and etag.isprintable() and len(etag) <= _LONGEST_ETAG


def checked(file: FileKey, byte_start: int, byte_stop: int, answer: Answer, *, may_end: bool = False) -> memoryview:
    """Give the bytes of an answer if it is for the indexed file and complete.

    Parameters
    ----------
    file, byte_start, byte_stop
        What was asked for.
    answer
        What came.
    may_end
        The end of the file was not known: fewer bytes are complete where the file ends, or does not tell its size.

    Raises
    ------
    StaleIndexError
        When size, strong ETag or, without strong ETags, modification time differ from the index.
    TransientFetchError
        When fewer (or more) bytes came than were asked for, or what came instead of the range is not the file.
    """
    href = file.href
    size = answer.file_size
    if answer.begins_with is not None and not answer.begins_with.startswith(_TIFF_BEGINS):
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
    """Tell whether an answer without a Content-Range says something by which the indexed file is known, if anything was indexed.

    Whatever it says has been compared.
    """
    if file.file_size is None and not is_strong(file.etag):
        return True
    has_size = file.file_size is not None and answer.file_size is not None
    return has_size or (is_strong(file.etag) and is_strong(answer.etag))


def _same_time(indexed: dt.datetime, came: dt.datetime) -> bool:
    if indexed.tzinfo is None:
        indexed = indexed.replace(tzinfo=dt.UTC)
    if _UNKNOWN_TIME in (indexed, came):
        return True
    if indexed.microsecond == 0 or came.microsecond == 0:  # HTTP dates have whole seconds
        return indexed.replace(microsecond=0) == came.replace(microsecond=0)
    return abs(indexed - came) < dt.timedelta(milliseconds=1)
