"""What went wrong with one byte range, can it pass, and what should the caller do?

Every exception of a transport becomes a `FetchError` here, in the words of the package. Nothing here waits or tries again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import obstore.exceptions

from polars_rasteret.errors import FetchError, StaleIndexError
from polars_rasteret.fetch.advice import next_step
from polars_rasteret.fetch.redaction import STATUS, content_range_words, status_words, store_words, without_key
from polars_rasteret.hrefs import shown, shown_text
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    import datetime as dt

# 408 timeout, 425 too early, 429 slow down; every 5xx but "not implemented" may pass.
_PASSING_STATUS = frozenset({408, 425, 429}) | (frozenset(range(500, 600)) - {501, 505})
_OVERLOAD_STATUS = frozenset({429, 503})

_ENDS_BEFORE = pattern(r"Wanted range starting at \d+, but object was only \d+ bytes long")
_UNPARSED = pattern(r"source: (?:Header \{|ParseContentRange|NoContentRange)|redirect without LOCATION")
_SENT_ELSEWHERE = pattern(r'"tcp connect error",\s*127\.0\.0\.1:0,|kind: Redirect,')
"""What obstore says when it was redirected to a host, or to plain http, that it may not ask."""
MOST_REDIRECTS = 10
"""Most redirects of one request, all its attempts together; obstore has the same limit."""
_OTHER_RANGE = pattern(r"Requested \d+\.\.\d+, got (\d+)\.\.(\d+)")


class TransientFetchError(FetchError):
    """A failure that may pass: another attempt makes sense.

    Attributes
    ----------
    retry_after_s
        Seconds that the server asked to wait; None where it did not ask.
    is_overload
        Whether the server said that it has too much to do, or did not take the connection. Then it should get fewer requests at
        once.
    is_refusal
        Whether the server said so itself (429, 503): the request is as good as one that was never made.
    """

    retry_after_s: float | None = None
    is_overload = False
    is_refusal = False

    @classmethod
    def after(cls, message: str, retry_after_s: float | None) -> TransientFetchError:
        """Return the error with the wait that the server asked for."""
        error = cls(message)
        error.retry_after_s = retry_after_s
        return error

    @classmethod
    def overload(cls, message: str, retry_after_s: float | None = None) -> TransientFetchError:
        """Return the error of a server that should get fewer requests at once."""
        error = cls.after(message, retry_after_s)
        error.is_overload = True
        return error

    @classmethod
    def refusal(cls, message: str, retry_after_s: float | None = None) -> TransientFetchError:
        """Return the error of a server that says that it gets too many requests."""
        error = cls.overload(message, retry_after_s)
        error.is_refusal = True
        return error


class UnparsedAnswerError(TransientFetchError):
    """An answer that obstore does not understand and gives nothing of: a 200 with the whole file, or unusual headers."""


class MissingFileError(FetchError):
    """There is no such file. No other failure means that a file is gone."""


class RefusedHrefError(FetchError):
    """The file lies in a place where this process may not read."""


class RedirectedError(FetchError):
    """The server sends the request on to another place.

    Attributes
    ----------
    location
        The place, as the server wrote it.
    """

    location = ""

    @classmethod
    def to(cls, message: str, location: str) -> RedirectedError:
        """Return the error with the place that the server names."""
        error = cls(message)
        error.location = location
        return error


class BeyondEndError(StaleIndexError):
    """The range reaches beyond the end of the file.

    Attributes
    ----------
    file_size
        Size of the file where the answer told it, else None.
    """

    file_size: int | None = None

    @classmethod
    def of_size(cls, message: str, file_size: int | None) -> BeyondEndError:
        """Return the error with the size of the file."""
        error = cls(message)
        error.file_size = file_size
        return error


def range_words(href: str, byte_start: int, byte_stop: int) -> str:
    """Return the words for a range of a file that every message begins with."""
    return f"{shown(href)}: asked for bytes {byte_start}..{byte_stop} ({byte_stop - byte_start} bytes)"


def status_failure(
    href: str,
    byte_start: int,
    byte_stop: int,
    *,
    status: int,
    detail: str | None = None,
    retry_after_s: float | None = None,
    file_size: int | None = None,
) -> FetchError:
    """Return the error for an HTTP status without data; it keeps the wait or the file size that the answer tells."""
    where = range_words(href, byte_start, byte_stop)
    came = f"the server answered {detail or status_words(status)}"
    if status in _PASSING_STATUS:
        make = TransientFetchError.refusal if status in _OVERLOAD_STATUS else TransientFetchError.after
        return make(f"{where}, {came}. It may pass: try again, or lower max_concurrency.", retry_after_s)
    if status == 412:
        return changed(href, byte_start, byte_stop, "the server answered 412, its ETag is another one")
    if status == 416:
        return BeyondEndError.of_size(
            f"{where}, {came}: the range lies beyond the end of the file. "
            "The file changed after it was indexed; index it again: pr.refresh(path).",
            file_size,
        )
    if status in (401, 403, 409):  # Azure answers 409 where a container is not public
        return FetchError(f"{where}, {came}: reading it needs other rights. {next_step(href, detail or '')}")
    if status in (404, 410):
        return MissingFileError(f"{where}, {came}: there is no such file. Check the URL; if it moved, index it again.")
    return FetchError(f"{where}, {came}. Check the URL and pr.configure_store for this prefix.")


def changed(href: str, byte_start: int, byte_stop: int, what: str) -> StaleIndexError:
    """Return the error for a file that is not the one that was indexed."""
    return StaleIndexError(
        f"{range_words(href, byte_start, byte_stop)}, but {what}: the file changed after it was indexed. "
        "Its index is stale; index it again: pr.refresh(path)."
    )


def changed_size(href: str, byte_start: int, byte_stop: int, *, indexed: int, came: int) -> StaleIndexError:
    """Return the error for a file whose size differs from the index."""
    return changed(href, byte_start, byte_stop, f"the file has {came} bytes where {indexed} were indexed")


def changed_time(
    href: str, byte_start: int, byte_stop: int, *, indexed: dt.datetime, came: dt.datetime
) -> StaleIndexError:
    """Return the error for a file whose modification time differs from the index."""
    return changed(href, byte_start, byte_stop, f"it was modified at {came} where {indexed} was indexed")


def short_body(href: str, byte_start: int, byte_stop: int, *, n_bytes: int) -> TransientFetchError:
    """Return the error for an answer with another number of bytes than asked for."""
    return TransientFetchError(
        f"{range_words(href, byte_start, byte_stop)}, received {n_bytes}. The answer was cut off, "
        "or the file is shorter than indexed: try again, or index it again with pr.refresh(path)."
    )


def wrong_range(href: str, byte_start: int, byte_stop: int, *, came: str) -> TransientFetchError:
    """Return the error for an answer that carries another range.

    It may pass: another machine behind the same name may answer the next attempt.
    """
    return TransientFetchError(
        f"{range_words(href, byte_start, byte_stop)}, the server answered with the range {content_range_words(came)}. "
        "Its Range support is broken; serve the file from another place."
    )


def not_the_file(href: str, byte_start: int, byte_stop: int, *, begins_with: bytes) -> TransientFetchError:
    """Return the error for an answer that holds no TIFF: a log-in page, or one page that a server sends for every path."""
    return TransientFetchError(
        f"{range_words(href, byte_start, byte_stop)}, the server answered 200 with something else than a TIFF (it begins with "
        f"{begins_with!r}). It may be a log-in or error page: check the URL and its credentials (pr.configure_store)."
    )


def not_told(href: str, byte_start: int, byte_stop: int) -> TransientFetchError:
    """Return the error for an answer without size or ETag, by which the indexed file could be known."""
    return TransientFetchError(
        f"{range_words(href, byte_start, byte_stop)}, the server answered 200 without the size or the strong ETag that was "
        "indexed, so this may be another file. Try again, or index it again from this server: pr.refresh(path)."
    )


def sent_on_too_often(href: str) -> FetchError:
    """Return the error for a request that was redirected too often."""
    return FetchError(
        f"{shown(href)}: the server sent the request on more than {MOST_REDIRECTS} times. Its redirects go in a circle, or it "
        "wants a log-in: check the URL and pr.configure_store for this prefix."
    )


def obstore_failure(href: str, byte_start: int, byte_stop: int, error: Exception) -> FetchError:
    """Return the package's error for an exception of obstore.

    obstore 0.12 tells the kind of a failure only in words: the status as ``status code: 503``, the transport's kind in the
    debug text as ``kind: Timeout``. Its ``FileNotFoundError`` and ``PreconditionError`` are 404 and 412.
    """
    where = range_words(href, byte_start, byte_stop)
    text = str(error)
    summary, words = text.split("\n\nDebug source", 1)[0], store_words(error)
    if "TooManyRedirects" in text:
        return sent_on_too_often(href)
    if _SENT_ELSEWHERE.search(text):
        return UnparsedAnswerError(f"{where}, the server sent the request on to another place.")
    if found := STATUS.search(summary):
        if found[1].startswith("3"):
            return UnparsedAnswerError(f"{where}, the server sent the request on to something else than http.")
        return status_failure(href, byte_start, byte_stop, status=int(found[1]), detail=words)
    if isinstance(error, FileNotFoundError):
        return status_failure(href, byte_start, byte_stop, status=404)
    if isinstance(error, obstore.exceptions.PreconditionError):
        return status_failure(href, byte_start, byte_stop, status=412)
    if isinstance(error, obstore.exceptions.PermissionDeniedError | obstore.exceptions.UnauthenticatedError):
        return status_failure(href, byte_start, byte_stop, status=403, detail=f"403 ({words})")
    if isinstance(error, obstore.exceptions.NotSupportedError) and "Range" in summary:
        return UnparsedAnswerError(f"{where}, the server answered without a range. Serve the file from another place.")
    if found := _OTHER_RANGE.search(summary):
        if int(found[1]) == byte_start and int(found[2]) < byte_stop:
            return short_body(href, byte_start, byte_stop, n_bytes=int(found[2]) - byte_start)
        return wrong_range(href, byte_start, byte_stop, came=f"{found[1]}..{found[2]}")
    if _UNPARSED.search(text):
        return UnparsedAnswerError(f"{where}, the answer was not understood. Check the server.")
    if _ENDS_BEFORE.search(summary):
        return status_failure(href, byte_start, byte_stop, status=416)
    if "kind: Timeout" in text:
        return TransientFetchError(f"{where}, no complete answer in time. Try again, or raise timeout_s.")
    if isinstance(error, obstore.exceptions.GenericError) and "HttpError" in text:
        return _broken(where, words, before_answer="kind: Request" in text)
    return FetchError(f"{where}, the store failed: {words}. Check pr.configure_store for this prefix.")


def httpx_failure(href: str, byte_start: int, byte_stop: int, error: Exception) -> FetchError:
    """Return the package's error for an exception of httpx."""
    import httpx  # here, because it is half the cost of opening a local collection

    where = range_words(href, byte_start, byte_stop)
    if isinstance(error, httpx.TimeoutException):
        return TransientFetchError(f"{where}, no complete answer in time. Try again, or raise timeout_s.")
    # Those of the connection are the system's words; others quote what was sent, or what came.
    is_systems = isinstance(error, httpx.ConnectError | httpx.ReadError | httpx.WriteError)
    detail = f"{type(error).__name__}: {shown_text(str(error), href)}" if is_systems else type(error).__name__
    if isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol):
        # h11 says so in words only.
        silent = isinstance(error, httpx.ConnectError | httpx.ReadError) or "without sending a response" in str(error)
        return _broken(where, detail, before_answer=silent)
    return FetchError(f"{where}, the request failed: {detail}. Check the URL.")


def _broken(where: str, detail: str, *, before_answer: bool) -> TransientFetchError:
    # Servers with a limit on connections refuse or reset those beyond it.
    make = TransientFetchError.overload if before_answer else TransientFetchError
    return make(f"{where}, the connection failed: {detail}. Check the host name and the network.")


def foreign_failure(href: str, byte_start: int, byte_stop: int, error: BaseException) -> FetchError:
    """Return the package's error for any other exception: of a source that the caller brought, or a panic of obstore."""
    where = range_words(href, byte_start, byte_stop)
    detail = f"its source raised {type(error).__name__}: {shown_text(str(error), href)}"
    if isinstance(error, FileNotFoundError | KeyError):
        failure: FetchError = MissingFileError(f"{where}, {detail}. Check the path.")
    elif isinstance(error, PermissionError):
        failure = FetchError(f"{where}, {detail}. Check the path.")
    elif isinstance(error, TimeoutError | ConnectionError):
        failure = TransientFetchError(f"{where}, {detail}. It may pass: try again.")
    else:
        failure = FetchError(f"{where}, {detail}.")
    failure.__cause__ = without_key(error, href)
    return failure


def gave_up(error: TransientFetchError, *, n_attempts: int, spent_s: float) -> FetchError:
    """Return the final error when a transient failure did not pass."""
    final = FetchError(f"{error} Gave up after {n_attempts} attempt(s) in {spent_s:.1f} s.")
    final.__cause__ = error
    return final


def too_late(
    href: str, byte_start: int, byte_stop: int, timeout_s: float, n_attempts: int, *, n_refused: int
) -> FetchError:
    """Return the error for a deadline that passed while the source had not answered."""
    refused = f", {n_refused} of them refused as too many requests" if n_refused else ""
    return FetchError(
        f"{range_words(href, byte_start, byte_stop)}, no complete answer within timeout_s={timeout_s:g} "
        f"({n_attempts} attempt(s){refused}). Try again, or raise it: pr.options(timeout_s=...)."
    )
