"""How do bytes get here where obstore is not enough?

httpx shows every status and header, sends a URL as it is written, takes a deadline per request, and callers can bring their own
client. It costs 20 to 40 times the CPU of obstore. So it is asked only in these cases: hrefs with a query or an empty path
segment, requests that failed before, servers that ignore Range, requests whose every redirect must be seen, and once a minute a
plain http server that goes by a name. Tests in ``tests/upstream`` fail once obstore can do one of these. No redirect is followed
here: `read_range` follows redirects.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import weakref
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.addresses import REMEMBERED_S
from polars_rasteret.fetch.client_logs import without_keys_in_logs
from polars_rasteret.fetch.failures import (
    BeyondEndError,
    RedirectedError,
    TransientFetchError,
    UnparsedAnswerError,
    httpx_failure,
    range_words,
    short_body,
    status_failure,
    wrong_range,
)
from polars_rasteret.fetch.sources.byte_source import N_BEGIN_BYTES, Answer, GetByRead, is_sendable
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from polars_rasteret.fetch.sources.obstore_source import ObstoreSource

_PLAIN_HOST = pattern(r"(?:[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
"""Origins in which all parsers find the same host."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = pattern(r"(?i)bytes (\d+)-(\d+)/(\d+|\*)")
_SIZE = pattern(r"(?i)bytes \*/(\d+)")
"""The file size in the Content-Range of a 416."""
_PLAIN_TIME = pattern(r"\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d GMT")
"""The form of a date that obstore reads; it reads no other."""


class HttpxSource(GetByRead):
    """Reads through httpx, with a caller's client or one of our own.

    Parameters
    ----------
    client
        The caller's client, used as it is configured (headers, authentication, proxies), and never closed here.
    make_client
        Makes the client on first use where none is given; that client is closed with this source.
    check_peer
        Called with the href and the address of a new connection before a request is sent; raises to refuse. None: no check.
    """

    def __init__(
        self,
        client: httpx.Client | None = None,
        make_client: Callable[[], httpx.Client] | None = None,
        check_peer: Callable[[str, str], None] | None = None,
    ) -> None:
        self._client = client
        self._check_peer = check_peer
        self._make_client = make_client or plain_client
        self._lock = threading.Lock()

    def read(
        self,
        href: str,
        byte_start: int,
        byte_stop: int,
        *,
        etag: str | None,
        timeout_s: float,
        attempt: int,  # noqa: ARG002 - every attempt is alike
    ) -> Answer:
        """Return the answer for one range.

        Of a 200 with the whole file, the range is taken and the connection closed. After a 416 that tells the file size, the part
        of the range inside the file is asked for.
        """
        deadline = time.monotonic() + timeout_s
        try:
            return self._read(href, byte_start, byte_stop, etag, deadline)
        except BeyondEndError as error:
            if error.file_size is None or not byte_start < error.file_size < byte_stop:
                raise
            answer = self._read(href, byte_start, error.file_size, etag, deadline)
            answer.n_requests = 2
            return answer

    def _read(self, href: str, byte_start: int, byte_stop: int, etag: str | None, deadline: float) -> Answer:
        import httpx  # here, because most processes do without it

        timeout_s = max(deadline - time.monotonic(), 0.001)
        # As for obstore: a connection that gives nothing for half of the time is given up, so that another one has the rest.
        half_s = max(timeout_s / 2, 0.05)
        timeout = httpx.Timeout(timeout_s, connect=min(half_s, 10.0), read=half_s)
        headers = {"Range": f"bytes={byte_start}-{byte_stop - 1}", "Accept-Encoding": "identity"}
        if etag is not None and is_sendable(etag):
            headers["If-Match"] = etag
        try:
            extensions = {} if self._check_peer is None else {"trace": self._on_connect(href, self._check_peer)}
            with (
                without_keys_in_logs(),
                self._opened().stream(
                    "GET", href, headers=headers, timeout=timeout, extensions=extensions, follow_redirects=False
                ) as response,
            ):
                # Asked now: a stream that has been read to its end may be closed.
                stream = None if self._check_peer is None else response.extensions.get("network_stream")
                peer = None
                if stream is not None:
                    with suppress(OSError):  # the connection has ended since; what it gave may be whole
                        peer = _peer(stream)
                answer = _answer(href, byte_start, byte_stop, response, deadline)
                answer.peer = peer
                return answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            failure = httpx_failure(href, byte_start, byte_stop, error)
        raise failure  # here, because the exception knows the request, with all its headers

    @staticmethod
    def _on_connect(href: str, check: Callable[[str, str], None]) -> Callable[[str, Mapping[str, Any]], None]:
        import httpx

        def trace(event: str, info: Mapping[str, Any]) -> None:
            if event != "connection.connect_tcp.complete":
                return
            stream = info["return_value"]
            try:
                if (peer := _peer(stream)) is not None:
                    check(href, peer)
            except FetchError:
                stream.close()
                raise
            except OSError as error:  # it was reset before it could be asked whose it is; nobody else closes it
                stream.close()
                raise httpx.ConnectError(str(error)) from error

        return trace

    def _opened(self) -> httpx.Client:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    process.claim()
                    self._client = client = self._make_client()
                    weakref.finalize(self, client.close)
        return self._client


def _peer(stream: Any) -> str | None:
    """Return the address of a connection; raises `OSError` where the connection has ended."""
    address = stream.get_extra_info("server_addr")
    return str(address[0]) if isinstance(address, tuple) else None


def plain_client(**how: Any) -> httpx.Client:
    """Return an httpx client for many requests at once."""
    import httpx

    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
    return httpx.Client(limits=limits, **how)


class HttpSource(GetByRead):
    """Reads one HTTP origin: through obstore first, through httpx where obstore is not enough.

    Parameters
    ----------
    quick
        The source through obstore. None: obstore may not look up the name of this origin, or is not enough for any request.
    thorough
        The source through httpx, which sees every redirect.
    quick_at
        Makes a source through obstore for an address instead of the name. It is used for a minute after `thorough` has connected
        to that address.
    """

    def __init__(
        self,
        quick: ObstoreSource | None,
        thorough: HttpxSource,
        quick_at: Callable[[str], ObstoreSource] | None = None,
    ) -> None:
        self._quick = quick
        self.thorough = thorough
        self._quick_at = quick_at
        self._found: _Found | None = None
        self._is_odd = False

    def read(
        self, href: str, byte_start: int, byte_stop: int, *, etag: str | None, timeout_s: float, attempt: int
    ) -> Answer:
        """Return the answer for one range."""
        n_before = 0
        began = time.monotonic()
        found = self._found
        if found is not None and began >= found.until:
            found = None
        quick = self._quick if found is None else found.quick
        if quick is not None and attempt == 0 and not self._is_odd and not needs_exact_url(href):
            try:
                answer = quick.read(href, byte_start, byte_stop, etag=etag, timeout_s=timeout_s, attempt=0)
            except (UnparsedAnswerError, BeyondEndError):
                n_before = 1
            except TransientFetchError:
                self._found = None  # the name may lead to another address, too
                raise
            else:
                answer.peer = None if found is None else found.peer
                return answer
        left_s = max(timeout_s - (time.monotonic() - began), 0.001)
        try:
            answer = self.thorough.read(href, byte_start, byte_stop, etag=etag, timeout_s=left_s, attempt=attempt)
        except FetchError as error:
            self._is_odd = self._is_odd or isinstance(error, RedirectedError)
            error.n_requests = getattr(error, "n_requests", 1) + n_before  # type: ignore[attr-defined]
            raise
        # Once is no rule: one machine of many may answer so, or one that is busy.
        self._is_odd = not answer.is_plain
        answer.n_requests += n_before
        if self._quick_at is not None and answer.peer is not None and found is None:
            known = self._found
            quick = known.quick if known is not None and known.peer == answer.peer else self._quick_at(answer.peer)
            self._found = _Found(answer.peer, quick, time.monotonic() + REMEMBERED_S)
        return answer


@bundle(kw_only=False)
class _Found:
    """The address that a name led to, and the time (monotonic seconds) until which the address is used."""

    peer: str
    quick: ObstoreSource
    until: float


def needs_exact_url(href: str) -> bool:
    """Return whether obstore, which encodes a decoded path anew, would ask for another URL than `href`."""
    if "?" in href:
        return True
    host, _, path = href.split("#", 1)[0].split("://", 1)[-1].partition("/")
    if not _PLAIN_HOST.fullmatch(host):
        return True
    if "%" in path:
        if "%2f" in path.lower():
            return True
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return True
    return any(part in ("", ".", "..") for part in path.split("/"))


def decoded_path(href: str) -> str:
    """Return the path of an http(s) URL as obstore takes it: without the origin, and percent-decoded."""
    return unquote(urlsplit(href).path).lstrip("/")


def _answer(href: str, byte_start: int, byte_stop: int, response: httpx.Response, deadline: float) -> Answer:
    status = response.status_code
    headers = response.headers
    etag = headers.get("ETag")
    modified = _time(headers.get("Last-Modified"))
    if status == 206:
        found = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
        if found is None or int(found[1]) != byte_start or int(found[2]) >= byte_stop:
            if found is not None and found[3] != "*" and int(found[3]) <= byte_start:
                raise status_failure(href, byte_start, byte_stop, status=416, file_size=int(found[3]))
            raise wrong_range(href, byte_start, byte_stop, came=headers.get("Content-Range", "(none)"))
        size = None if found[3] == "*" else int(found[3])
        data, _ = _body(href, byte_start, byte_stop, response, deadline, skip=0)
        if len(data) < int(found[2]) + 1 - byte_start:
            raise short_body(href, byte_start, byte_stop, n_bytes=len(data))
        time_text = headers.get("Last-Modified")
        is_dated_plainly = time_text is None or _PLAIN_TIME.fullmatch(time_text) is not None
        is_plain = size is not None and "Content-Length" in headers and is_dated_plainly
        return Answer(data, size, etag, modified, is_plain=is_plain)
    if status == 200:
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdigit() and "Content-Encoding" not in headers else None
        data, begin = _body(href, byte_start, byte_stop, response, deadline, skip=byte_start)
        return Answer(data, size, etag, modified, begins_with=begin, is_plain=False)
    if status in _REDIRECTS and (location := headers.get("Location")):
        raise RedirectedError.to(f"{range_words(href, byte_start, byte_stop)}, the server answered {status}.", location)
    told = _SIZE.match(headers.get("Content-Range", ""))
    raise status_failure(
        href,
        byte_start,
        byte_stop,
        status=status,
        retry_after_s=_wait_s(headers),
        file_size=None if told is None else int(told[1]),
    )


def _body(
    href: str, byte_start: int, byte_stop: int, response: httpx.Response, deadline: float, *, skip: int
) -> tuple[bytearray, bytes]:
    """Return the wanted bytes, which follow `skip` other bytes, and the first bytes of the body.

    The body of a whole file is read no further than the wanted bytes.
    """
    data = bytearray()
    begin = b""
    is_part = response.status_code == 206
    # A part that is longer than it says is not to be trusted: one byte more is kept, as proof.
    n_wanted = byte_stop - byte_start + is_part
    # A range is one of the encoded bytes, as they are stored; those of obstore are.
    for chunk in response.iter_raw() if is_part else response.iter_bytes():
        if time.monotonic() > deadline:
            raise TransientFetchError(
                f"{range_words(href, byte_start, byte_stop)}, no complete answer in time "
                f"({len(data)} bytes came). Try again, or raise timeout_s."
            )
        if len(begin) < N_BEGIN_BYTES:
            begin += chunk[: N_BEGIN_BYTES - len(begin)]
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        data += memoryview(chunk)[skip : skip + n_wanted - len(data)]
        skip = 0
        if len(data) == n_wanted:
            break
    return data, begin


def _time(text: str | None) -> dt.datetime | None:
    if text is None:
        return None
    try:
        time_ = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return time_ if time_.tzinfo is not None else time_.replace(tzinfo=dt.UTC)


def _wait_s(headers: httpx.Headers) -> float | None:
    """Return the seconds that a Retry-After header asks for: it holds seconds or a date (RFC 9110 section 10.2.3)."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    until = _time(text)
    return None if until is None else max(0.0, (until - dt.datetime.now(dt.UTC)).total_seconds())
