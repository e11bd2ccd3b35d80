"""An object store on loopback: enough of HTTP and of S3 (path style, unsigned) for Polars and obstore."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectServer:
    """Objects by ``bucket/key``; `n_bytes` counts what was sent, `log` holds ``(method, path)``."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.n_bytes = 0
        self.lock = threading.Lock()
        self.log: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.options = {
            "aws_endpoint_url": self.origin,
            "aws_region": "us-east-1",
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_virtual_hosted_style_request": "false",
        }

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    owner: ObjectServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def log_message(self, *_args: object) -> None:
        pass

    def _key(self) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(self.path)
        key = unquote(parts.path).lstrip("/")
        self.owner.log.append((self.command, key))
        return key, parse_qs(parts.query, keep_blank_values=True)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        length = headers.get("Content_Length")
        if length is None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.owner.n_bytes += len(body)

    def do_HEAD(self) -> None:
        key, _ = self._key()
        data = self.owner.objects.get(key)
        if data is None:
            self._answer(404)
        else:
            self._answer(200, Content_Length=str(len(data)), **_tells(data))

    def do_GET(self) -> None:
        key, query = self._key()
        if "list-type" in query:
            self._list(key, query)
            return
        data = self.owner.objects.get(key)
        if data is None:
            self._answer(404)
            return
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, data, **_tells(data))
            return
        first, last = wanted[1], wanted[2]
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        body = data[start:stop]
        self._answer(206, body, Content_Range=f"bytes {start}-{start + len(body) - 1}/{len(data)}", **_tells(data))

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        rows = "".join(
            f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(data)}</Size><ETag>{_tells(data)['ETag']}</ETag>"
            "<LastModified>2024-05-01T00:00:00.000Z</LastModified></Contents>"
            for key, data in sorted(self.owner.objects.items())
            if key.startswith(f"{bucket.rstrip('/')}/{prefix}")
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        self._answer(200, body.encode(), Content_Type="application/xml")

    def do_PUT(self) -> None:
        key, query = self._key()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "partNumber" in query:
            key = f"{key}?{query['uploadId'][0]}?{int(query['partNumber'][0]):05d}"
        with self.owner.lock:
            there = self.owner.objects.get(key)
            etag = None if there is None else _tells(there)["ETag"]
            wanted = self.headers.get("If-Match")
            if (wanted is not None and wanted != etag) or (self.headers.get("If-None-Match") == "*" and etag):
                self._answer(412)
                return
            self.owner.objects[key] = body
        self._answer(200, **_tells(body))

    def do_POST(self) -> None:
        key, query = self._key()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if "delete" in query:
            names = re.findall(r"<Key>(.*?)</Key>", body)
            for name in names:
                self.owner.objects.pop(f"{key.rstrip('/')}/{name}", None)
            done = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            self._answer(200, f"<DeleteResult>{done}</DeleteResult>".encode())
        elif "uploads" in query:
            self._answer(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
        else:
            pieces = sorted(name for name in self.owner.objects if name.startswith(f"{key}?"))
            self.owner.objects[key] = b"".join(self.owner.objects.pop(name) for name in pieces)
            self._answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:
        key, _ = self._key()
        self.owner.objects.pop(key, None)
        self._answer(204)


def _tells(data: bytes) -> dict[str, str]:
    return {
        "ETag": f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"',
        "Last_Modified": "Wed, 01 May 2024 00:00:00 GMT",
        "Accept_Ranges": "bytes",
    }
