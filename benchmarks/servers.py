"""Who serves the corpus on this machine, how slowly, and what was asked of him?

`static_server` is nginx where it is installed, else a small asyncio server; `latency_proxy` stands before it and
holds every request head for a while. Both are context managers on free loopback ports. Each server is a child
process that ends when its standard input closes, so nothing outlives the benchmark, however it dies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.utils
import getpass
import mmap
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_DELAY_MS, MAX_DELAY_MS = 20.0, 40.0
COPY_PREFIX = re.compile(r"^/copy-\d+/")
"""``/copy-7/scenes/...`` is ``/scenes/...`` under another name: as many distinct URLs as an index benchmark wants."""

# With `tcp_nopush`, nginx on the loopback device held the end of each answer of 64 to 131 kB until the client's delayed
# acknowledgement: 44 ms, for every client. Segments of a real network are small, so nothing waits there.
_NGINX_CONFIG = """\
{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  types {{ image/tiff tif; }}
  default_type application/octet-stream;
  log_format fields '$request_method $status $body_bytes_sent "$http_range" $request_uri';
  access_log {log} fields;
  sendfile on; tcp_nopush off; tcp_nodelay on;
  keepalive_timeout 300s; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  open_file_cache max=1000 inactive=300s;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root "{root}";
    etag on;
    rewrite "^/copy-[0-9]+/(.*)$" /$1;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One line of the access log."""

    method: str
    status: int
    n_bytes: int
    """Bytes of the body."""
    byte_range: str
    path: str


@dataclass(slots=True)
class StaticServer:
    """A running server of one folder."""

    port: int
    log: Path
    kind: str
    _read_to: int = field(default=0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def new_requests(self) -> list[LoggedRequest]:
        """Give the requests answered since the last call, those for the warm-up files left out."""
        time.sleep(0.1)  # the line is written after the answer
        with self.log.open("rb") as stream:
            stream.seek(self._read_to)
            text = stream.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._read_to += len(complete)
        requests = [_parse_log_line(line) for line in complete.decode().splitlines()]
        return [one for one in requests if not one.path.startswith("/warmup/")]


def _parse_log_line(line: str) -> LoggedRequest:
    head, byte_range, path = line.split('"')
    method, status, n_bytes = head.split()
    return LoggedRequest(method, int(status), int(n_bytes), byte_range.removeprefix("bytes="), path.strip())


def free_port() -> int:
    """Give a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _child(*arguments: str, port: int) -> Iterator[None]:
    """Run this file as a server until the block ends."""
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdin=subprocess.PIPE, start_new_session=True)
    try:
        _wait_for(port, process)
        yield
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"the server for port {port} ended with status {process.returncode}; see its message above"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing answers on port {port} after 15 s")


@contextlib.contextmanager
def static_server(root: Path, *, use_nginx: bool | None = None) -> Iterator[StaticServer]:
    """Serve a folder with Range, keep-alive, ETag and Last-Modified; nginx if it is there, unless told otherwise."""
    nginx = shutil.which("nginx") if use_nginx is not False else None
    if use_nginx and nginx is None:
        raise RuntimeError("nginx was asked for but is not on PATH; install it or leave the choice open")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-server-") as folder:
        log = Path(folder) / "access.log"
        log.touch()
        if nginx:
            config = Path(folder) / "nginx.conf"
            user = f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""
            config.write_text(_NGINX_CONFIG.format(user=user, folder=folder, log=log, port=port, root=root.resolve()))
            arguments = ("nginx", nginx, str(config))
        else:
            arguments = ("files", str(root.resolve()), str(port), str(log))
        with _child(*arguments, port=port):
            yield StaticServer(port, log, "nginx" if nginx else "asyncio")


@contextlib.contextmanager
def latency_proxy(
    upstream: StaticServer, *, min_ms: float = MIN_DELAY_MS, max_ms: float = MAX_DELAY_MS
) -> Iterator[str]:
    """Give the URL of a proxy that holds each request head for uniform(min_ms, max_ms).

    A new connection waits min_ms / 2. The answer's bytes pass at once: latency only, no cap on bandwidth.
    """
    port = free_port()
    with _child("delay", str(port), str(upstream.port), str(min_ms), str(max_ms), port=port):
        yield f"http://127.0.0.1:{port}"


# What follows runs in the child processes.


def _end_with_parent(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _serve_nginx(binary: str, config: str) -> None:
    process = subprocess.Popen([binary, "-c", config, "-e", str(Path(config).with_name("error.log"))])
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    stop = threading.Event()
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    while process.poll() is None and not stop.wait(0.2):
        pass
    if process.poll() is None:
        process.terminate()
    sys.exit(process.wait())


async def _until_parent_ends(server: asyncio.Server) -> None:
    stop = threading.Event()
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    await asyncio.to_thread(stop.wait)
    server.close()


def _run_loop(main: object) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)


class _Upstream(asyncio.Protocol):
    """The proxy's side towards the server: answers go straight to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.close()


class _Delay(asyncio.Protocol):
    """The proxy's side towards the client: each chunk (a request head) waits, in order, before it goes on."""

    def __init__(self, upstream_port: int, min_s: float, max_s: float, rng: random.Random) -> None:
        self.upstream_port, self.min_s, self.max_s, self.rng = upstream_port, min_s, max_s, rng
        self.upstream: asyncio.Transport | None = None
        self.waiting: deque[bytes] = deque()
        self.not_before = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.loop = asyncio.get_running_loop()
        self.client: asyncio.Transport = transport  # type: ignore[assignment]
        self.client.set_write_buffer_limits(high=1 << 20)
        self.opening = self.loop.create_task(self._open())

    async def _open(self) -> None:
        await asyncio.sleep(self.min_s / 2)
        self.upstream, _ = await self.loop.create_connection(
            lambda: _Upstream(self.client), "127.0.0.1", self.upstream_port
        )
        while self.waiting:
            self.upstream.write(self.waiting.popleft())

    def data_received(self, data: bytes) -> None:
        self.not_before = max(self.not_before, self.loop.time() + self.rng.uniform(self.min_s, self.max_s))
        self.loop.call_at(self.not_before, self._forward, data)

    def _forward(self, data: bytes) -> None:
        if self.upstream is None:
            self.waiting.append(data)
        else:
            self.upstream.write(data)

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.close()
        self.opening.cancel()


async def _serve_delay(port: int, upstream_port: int, min_ms: float, max_ms: float) -> None:
    rng = random.Random(1)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Delay(upstream_port, min_ms / 1e3, max_ms / 1e3, rng), "127.0.0.1", port, backlog=4096
    )
    await _until_parent_ends(server)


@dataclass(frozen=True, slots=True)
class _File:
    pixels: memoryview
    etag: str
    head: bytes


class _Files(asyncio.Protocol):
    """Just enough HTTP/1.1: GET and HEAD, one byte range, keep-alive, If-Match and If-None-Match."""

    def __init__(self, root: Path, log: object, opened: dict[str, _File | None]) -> None:
        self.root, self.log, self.opened = root, log, opened
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head, self.received = self.received[:end].decode("latin-1"), self.received[end + 4 :]
            self._answer(head)

    def _answer(self, head: str) -> None:
        request, *lines = head.split("\r\n")
        method, path, _ = request.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        file = self._open(path)
        wanted = headers.get("range", "")
        status, extra, body = "404 Not Found", b"", memoryview(b"")
        if method not in ("GET", "HEAD"):
            status = "405 Method Not Allowed"
        elif file is not None:
            status, extra, body = self._select(file, headers, wanted)
        self.transport.write(
            f"HTTP/1.1 {status}\r\nConnection: keep-alive\r\nContent-Length: {len(body)}\r\n".encode()
            + (file.head if file else b"")
            + extra
            + b"\r\n"
        )
        if method == "HEAD":
            body = memoryview(b"")
        if body:
            self.transport.write(body)
        self.log.write(f'{method} {status[:3]} {len(body)} "{wanted or "-"}" {path}\n')  # type: ignore[attr-defined]

    @staticmethod
    def _select(file: _File, headers: dict[str, str], wanted: str) -> tuple[str, bytes, memoryview]:
        size = len(file.pixels)
        if headers.get("if-match", file.etag) not in (file.etag, "*"):
            return "412 Precondition Failed", b"", memoryview(b"")
        if headers.get("if-none-match") in (file.etag, "*"):
            return "304 Not Modified", b"", memoryview(b"")
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if match is None or not any(match.groups()):
            return "200 OK", b"", file.pixels
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= stop:
            return "416 Range Not Satisfiable", f"Content-Range: bytes */{size}\r\n".encode(), memoryview(b"")
        return (
            "206 Partial Content",
            f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n".encode(),
            file.pixels[start:stop],
        )

    def _open(self, path: str) -> _File | None:
        if path not in self.opened:
            real = (self.root / COPY_PREFIX.sub("/", path).lstrip("/")).resolve()
            if not real.is_relative_to(self.root) or not real.is_file():
                return None
            status = real.stat()
            with real.open("rb") as stream:
                pixels = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            etag = f'"{int(status.st_mtime):x}-{status.st_size:x}"'
            modified = email.utils.formatdate(status.st_mtime, usegmt=True)
            head = f"ETag: {etag}\r\nLast-Modified: {modified}\r\nAccept-Ranges: bytes\r\n".encode()
            self.opened[path] = _File(pixels, etag, head)
        return self.opened[path]


async def _serve_files(root: Path, port: int, log: Path) -> None:
    opened: dict[str, _File | None] = {}
    with log.open("a", buffering=1) as stream:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Files(root, stream, opened), "127.0.0.1", port, backlog=4096
        )
        await _until_parent_ends(server)


def main() -> None:
    parser = argparse.ArgumentParser(description="One server as a child process; ends when standard input closes.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    nginx = kinds.add_parser("nginx")
    nginx.add_argument("binary")
    nginx.add_argument("config")
    files = kinds.add_parser("files")
    files.add_argument("root", type=Path)
    files.add_argument("port", type=int)
    files.add_argument("log", type=Path)
    delay = kinds.add_parser("delay")
    delay.add_argument("port", type=int)
    delay.add_argument("upstream_port", type=int)
    delay.add_argument("min_ms", type=float)
    delay.add_argument("max_ms", type=float)
    given = parser.parse_args()
    match given.kind:
        case "nginx":
            _serve_nginx(given.binary, given.config)
        case "files":
            _run_loop(_serve_files(given.root, given.port, given.log))
        case "delay":
            _run_loop(_serve_delay(given.port, given.upstream_port, given.min_ms, given.max_ms))


if __name__ == "__main__":
    main()
