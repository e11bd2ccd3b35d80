"""A loopback server that Polars can read Parquet from: it asks for the end of a file by a suffix range."""

from __future__ import annotations

from tests.support.range_server import RangeServer


class ParquetServer(RangeServer):
    """Serve a collection, and tell what a query reads of it."""

    def __init__(self, files):
        super().__init__(files)
        handler = self._server.RequestHandlerClass
        owner = self

        class Suffixes(handler):
            def do_GET(self):  # noqa: N802 - the name http.server asks for
                suffix = self.headers.get("Range", "")
                if suffix.startswith("bytes=-"):
                    size = len(owner.files[self.path.lstrip("/")])
                    first = max(0, size - int(suffix.removeprefix("bytes=-")))
                    self.headers.replace_header("Range", f"bytes={first}-{size - 1}")
                super().do_GET()

        self._server.RequestHandlerClass = Suffixes
