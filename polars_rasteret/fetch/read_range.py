"""How is one byte range read, once?

Every byte of every file, header or pixel, comes through `read_range`. What one attempt of a request may do belongs here. When a
request is made, how often and by which thread belongs in `fetch.scheduling`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.access import check_href, check_peer
from polars_rasteret.fetch.failures import BeyondEndError, RedirectedError, foreign_failure
from polars_rasteret.fetch.places import origin
from polars_rasteret.fetch.signing import as_signed
from polars_rasteret.fetch.sources.byte_source import Answer, PlainSource, checked
from polars_rasteret.fetch.sources.httpx_source import HttpSource
from polars_rasteret.fetch.sources.stores import resolve
from polars_rasteret.hrefs import shown
from polars_rasteret.profile import is_open, record

if TYPE_CHECKING:
    from polars_rasteret.fetch.access import Redirects
    from polars_rasteret.fetch.sources.byte_source import FileKey, RangeReader


def read_range(
    source: RangeReader,
    file: FileKey,
    byte_start: int,
    byte_stop: int,
    *,
    timeout_s: float,
    attempt: int,
    redirects: Redirects,
    may_end: bool = False,
) -> Answer:
    """Return the answer for one range of a file, checked against the index, and count the request.

    Redirects are followed here. The place of a redirect is checked like the href itself, and asked with the configuration of that
    place: the headers and clients configured for one host never reach another.

    Parameters
    ----------
    source
        The source that reads the file.
    file, byte_start, byte_stop
        The file as indexed, and the half-open range.
    timeout_s
        Seconds for this attempt.
    attempt
        Number of the attempt, from 0.
    redirects
        The redirects that all attempts together may still follow.
    may_end
        Whether the file may end before `byte_stop`, because its size is not known; then fewer bytes, or none, are an answer.

    Returns
    -------
    Answer
        With `data` as a flat memoryview.

    Raises
    ------
    FetchError
        For any failure, also inside a caller's source; a `TransientFetchError` where another attempt makes sense.
    """
    deadline = time.monotonic() + timeout_s
    href, terms = file.href, file.terms
    check_href(href, terms)
    while True:
        # Allowed prefixes are checked for every redirect, and obstore hides redirects.
        if terms is not None and terms.allowed is not None and isinstance(source, HttpSource):
            source = source.thorough
        try:
            return _read_once(source, href, file, byte_start, byte_stop, timeout_s, attempt, may_end=may_end)
        except RedirectedError as error:
            location = error.location
        href = redirects.followed(href, location, terms)
        source, _ = resolve(href)
        timeout_s, attempt = max(deadline - time.monotonic(), 0.01), max(attempt, 1)


def _read_once(  # noqa: PLR0917 - only called once
    source: RangeReader,
    href: str,
    file: FileKey,
    byte_start: int,
    byte_stop: int,
    timeout_s: float,
    attempt: int,
    *,
    may_end: bool,
) -> Answer:
    """Read the range from one place, without following a redirect, and count the request."""
    began = time.monotonic()
    n_requests, n_bytes, n_failures = 1, 0, 0
    failure: FetchError | None = None
    try:
        answer = source.read(
            as_signed(href), byte_start, byte_stop, etag=file.etag, timeout_s=timeout_s, attempt=attempt
        )
        n_requests, n_bytes = answer.n_requests, memoryview(answer.data).nbytes
        if answer.peer is not None:
            check_peer(href, answer.peer, file.terms)
        if (
            may_end
            and answer.file_size is None
            and n_bytes < byte_stop - byte_start
            and isinstance(source, PlainSource)
        ):
            answer.file_size = byte_start + n_bytes
        answer.data = checked(file, byte_start, byte_stop, answer, may_end=may_end)
    except BeyondEndError as error:
        n_requests = getattr(error, "n_requests", 1)
        if not may_end:
            n_failures = 1
            raise
        answer = Answer(memoryview(b""), error.file_size)
    except FetchError as error:
        n_requests = max(n_requests, getattr(error, "n_requests", 1))
        n_failures = int(not isinstance(error, RedirectedError))
        raise
    except BaseException as error:  # noqa: BLE001 - raised below, in the package's words
        # Any error of a source must reach the calls that wait, not end the thread; a panic of obstore is no Exception.
        n_failures = 1
        failure = foreign_failure(href, byte_start, byte_stop, error)
    finally:
        # Counted before anybody is told: a profile may end with the last tile.
        if is_open():
            record(
                host=shown(origin(href)),
                requests=n_requests,
                bytes=n_bytes,
                failures=n_failures,
                request_s=time.monotonic() - began,
            )
    if failure is not None:
        raise failure
    return answer
