"""A loopback HTTP server that answers byte ranges, keeps a log, and misbehaves on request.

Tests of any layer may use it::

    with RangeServer({"a.tif": b"..."}) as server:
        server.url("a.tif")                # http://127.0.0.1:port/a.tif
        server.fault = lambda seen: Fault(status=503, headers={"Retry-After": "1"}) if seen.number == 0 else None
        server.requests, server.n_bytes    # what came, what was sent
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it came; `byte_start`/`byte_stop` are None without a Range header.

    The range of a request for the last bytes (``bytes=-100``) or for all from some byte on (``bytes=100-``) is told by the
    size of the file.
    """

    number: int
    method: str
    target: str
    path: str
    byte_start: int | None
    byte_stop: int | None
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """How to misbehave; the fields combine."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    """Wait before the head is sent."""
    stall_after: int | None = None
    """Send this many body bytes, then nothing until the server closes."""
    cut_after: int | None = None
    """Send this many body bytes, then close the connection."""
    shorten_to: int | None = None
    """Answer honestly formatted, but with only this many bytes."""
    lengthen_by: int = 0
    """Send this many bytes more than the head says of the range."""
    shift: int = 0
    """Answer another range, this many bytes further on."""
    reset: bool = False
    """Reset the connection before any answer."""
    reason: str | None = None
    """What stands beside the status."""
    body: bytes = b"said no"
    """Of an answer that is no file."""
    ignore_range: bool = False
    """Answer 200 with the whole file."""
    page: bytes | None = None
    """Answer 200 with this, whatever was asked for."""
    without: tuple[str, ...] = ()
    """Leave these headers out; without Content-Length, the body ends with the connection."""
    chunked: bool = False
    """Send the body in chunks, without Content-Length."""
    keeps_end: bool = False
    """Refuse ranges that reach beyond the end of the file."""


_NO_FAULT = Fault()


def etag_of(data: bytes) -> str:
    """Return the ETag that the server tells of a file with these bytes."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    """Answer the requests of one connection; each server has a subclass that knows its `owner`."""

    owner: RangeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, *_args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        with self.owner.lock:
            self.owner.connections.add(self.connection)

    def finish(self) -> None:
        with self.owner.lock:
            self.owner.connections.discard(self.connection)
        # Where the client is gone, closing what was to be written fails, and would leave the socket open.
        with contextlib.closing(self.rfile), contextlib.suppress(OSError):
            super().finish()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.running() as seen:
            self._answer(seen)

    @contextlib.contextmanager
    def running(self) -> Iterator[Seen]:
        """Note a request, and count it among those that run until its answer is on its way."""
        owner = self.owner
        path = unquote(self.path.split("?")[0]).lstrip("/")
        start, stop = self._range(path)
        with owner.lock:
            seen = Seen(len(owner.requests), self.command, self.path, path, start, stop, dict(self.headers))
            owner.requests.append(seen)
            owner.n_running += 1
            owner.most_running = max(owner.most_running, owner.n_running)
        self._is_running = True
        try:
            yield seen
        finally:
            self._ends()

    def _range(self, path: str) -> tuple[int, int] | tuple[None, None]:
        """Return the half-open range that a request names."""
        found = re.fullmatch(r"bytes=(?!-$)(\d*)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return None, None
        first, last = found.groups()
        if first and last:
            return int(first), int(last) + 1
        file = self.owner.files.get(path, b"")
        size = file.stat().st_size if isinstance(file, Path) else len(file)
        return (int(first) if first else max(size - int(last), 0)), size

    def _ends(self) -> None:
        """Count the request no more: its client may send the next one as soon as the answer is on its way."""
        with self.owner.lock:
            self.owner.n_running -= self._is_running
            self._is_running = False

    def _answer(self, seen: Seen) -> None:
        owner = self.owner
        fault = owner.fault(seen) or _NO_FAULT
        if wait_s := fault.delay_s + owner.latency_s:
            owner.closing.wait(wait_s) if wait_s > 1 else time.sleep(wait_s)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault.page is not None:
            self.send(200, fault.page, {"Content-Type": "text/html", **fault.headers}, fault)
            return
        data = owner.files.get(seen.path)
        if isinstance(data, Path):
            data = data.read_bytes()
        if fault.status is not None or data is None:
            self.send(fault.status or 404, fault.body, dict(fault.headers), fault)
            return
        headers = {"Accept-Ranges": "bytes"}
        etag = etag_of(data)
        if owner.etag:
            headers["ETag"] = etag
        if owner.last_modified is not None:
            headers["Last-Modified"] = format_datetime(owner.last_modified, usegmt=True)
        headers |= fault.headers
        if owner.if_match and "If-Match" in self.headers and etag not in self.headers["If-Match"]:
            self.send(412, b"", headers, fault)
        elif seen.byte_start is None or fault.ignore_range:
            self.send(200, data, headers, fault)
        elif seen.byte_start >= len(data) or (fault.keeps_end and seen.byte_stop > len(data)):
            self.send(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"}, fault)
        else:
            start = seen.byte_start + fault.shift
            body = data[start : seen.byte_stop + fault.shift][: fault.shorten_to]
            said = {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(data)}", **headers}
            self.send(206, body + b"!" * fault.lengthen_by, said, fault)

    def send(self, status: int, body: bytes, headers: Mapping[str, str], fault: Fault = _NO_FAULT) -> None:
        self._ends()
        self.send_response(status, fault.reason)
        length = {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(body))}
        for name, value in {"Content-Type": "application/octet-stream", **length, **headers}.items():
            if name not in fault.without:
                self.send_header(name, value)
        if "Content-Length" in fault.without:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = min((n for n in (fault.stall_after, fault.cut_after) if n is not None), default=None)
        body = body[:limit]
        if fault.chunked:
            parts = (body[at : at + 1000] for at in range(0, len(body), 1000))
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        self.wfile.write(body)
        self.wfile.flush()
        with self.owner.lock:
            self.owner.n_bytes += len(body)
        if fault.stall_after is not None:
            self.owner.closing.wait()
        if limit is not None:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False
    used_ports: ClassVar[set[int]] = set()

    def server_bind(self) -> None:
        """Bind to a port that no server of this process had: clients remember how an origin answers."""
        super().server_bind()
        refused = []
        while self.server_address[1] in self.used_ports:
            refused.append(self.socket)  # kept open meanwhile, so that the system gives another one
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_address = ("127.0.0.1", 0)
            super().server_bind()
        for one in refused:
            one.close()
        self.used_ports.add(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that go away are part of the tests


class RangeServer:
    """Serve ``files`` (bytes, or paths of files) on loopback until the ``with`` block ends."""

    handler = Handler

    def __init__(
        self,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        etag: bool = True,
        last_modified: dt.datetime | None = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC),
        if_match: bool = True,
        latency_s: float = 0.0,
        protocol: str = "HTTP/1.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.files: dict[str, bytes | Path] = dict(files or {})
        self.etag, self.if_match, self.last_modified, self.latency_s = etag, if_match, last_modified, latency_s
        self.fault: Callable[[Seen], Fault | None] = lambda _seen: None
        self.requests: list[Seen] = []
        self.n_bytes = 0
        self.n_running = 0
        self.most_running = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (self.handler,), {"owner": self, "protocol_version": protocol})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            # The handshake is made by the thread of the connection, so that a slow client does not block the others.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.origin = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"

    def url(self, name: str) -> str:
        return f"{self.origin}/{quote(name)}"

    def clear(self) -> None:
        with self.lock:
            self.requests.clear()
            self.n_bytes = self.most_running = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        # Clients keep connections for the next request. Each that stays open would keep a thread here and two sockets.
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
