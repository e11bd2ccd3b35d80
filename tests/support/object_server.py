"""A `RangeServer` that is also written to and listed, as S3 is (path style, signatures unchecked), for Polars and obstore.

It stays a class of its own, because no other test writes to a server: PUT, POST and DELETE change `files`, whose names are
``bucket/key``.
"""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from tests.support.range_server import Handler, RangeServer, etag_of


class _ObjectHandler(Handler):
    def do_GET(self) -> None:  # noqa: N802 - the name that http.server asks for
        query = self._query()
        if "list-type" not in query:
            super().do_GET()
            return
        with self.running() as seen:
            start = f"{seen.path.rstrip('/')}/{query.get('prefix', [''])[0]}"
            with self.owner.lock:
                found = sorted((key, data) for key, data in self.owner.files.items() if key.startswith(start))
            rows = "".join(
                f"<Contents><Key>{escape(key.partition('/')[2])}</Key><Size>{len(data)}</Size><ETag>{etag_of(data)}</ETag>"
                "<LastModified>2024-05-01T00:00:00.000Z</LastModified></Contents>"
                for key, data in found
            )
            self._send_xml(f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")

    def do_PUT(self) -> None:  # noqa: N802 - the name that http.server asks for
        query = self._query()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.running() as seen:
            key = seen.path
            if "partNumber" in query:
                key = f"{key}?{query['uploadId'][0]}?{int(query['partNumber'][0]):05d}"
            with self.owner.lock:
                there = self.owner.files.get(key)
                wanted = self.headers.get("If-Match")
                is_other = wanted is not None and (there is None or wanted != etag_of(there))
                is_refused = is_other or (self.headers.get("If-None-Match") == "*" and there is not None)
                if not is_refused:
                    self.owner.files[key] = body
            self.send(412 if is_refused else 200, b"", {} if is_refused else {"ETag": etag_of(body)})

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server asks for
        query = self._query()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with self.running() as seen:
            files = self.owner.files
            if "delete" in query:
                names = re.findall(r"<Key>(.*?)</Key>", body)
                for name in names:
                    files.pop(f"{seen.path.rstrip('/')}/{name}", None)
                done = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
                self._send_xml(f"<DeleteResult>{done}</DeleteResult>")
            elif "uploads" in query:
                upload = "<UploadId>u1</UploadId>"
                self._send_xml(f"<InitiateMultipartUploadResult>{upload}</InitiateMultipartUploadResult>")
            else:
                with self.owner.lock:
                    pieces = sorted(name for name in files if name.startswith(f"{seen.path}?"))
                    files[seen.path] = b"".join(files.pop(name) for name in pieces)
                etag = "<ETag>x</ETag>"
                self._send_xml(f"<CompleteMultipartUploadResult>{etag}</CompleteMultipartUploadResult>")

    def do_DELETE(self) -> None:  # noqa: N802 - the name that http.server asks for
        with self.running() as seen:
            self.owner.files.pop(seen.path, None)
            self.send(204, b"", {})

    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def _send_xml(self, text: str) -> None:
        self.send(200, text.encode(), {"Content-Type": "application/xml"})


class ObjectServer(RangeServer):
    """Serve the objects of buckets, at first none; `options` are the ``storage_options`` that lead to the server."""

    handler = _ObjectHandler

    def __init__(self) -> None:
        super().__init__(last_modified=dt.datetime(2024, 5, 1, tzinfo=dt.UTC))
        self.options = {
            "aws_endpoint_url": self.origin,
            "aws_region": "us-east-1",
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_virtual_hosted_style_request": "false",
        }
