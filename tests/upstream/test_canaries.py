"""Which faults of libraries does this package still work around?

Each test shows a fault as it is. One that fails says that the library was mended: write the release into `MENDED_IN`. The
workaround goes when ``pyproject.toml`` asks for that release at least; a test says so. A fault that may end the process has a
script beside this file.
"""

from __future__ import annotations

import lzma
import resource
import subprocess
import sys
import threading
import tomllib
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import imagecodecs
import numpy as np
import obstore
import obstore.exceptions
import pytest
from obstore.store import HTTPStore
from packaging.requirements import Requirement
from packaging.version import Version

HERE = Path(__file__).parent
MENDED_IN = {
    "imagecodecs": "2026.10.10",  # for `tiff.codecs.lzw_check`
    "pyproj": "3.8",  # for `proj_thread`
}
"""Releases without the fault; both need Python 3.12."""
CLIENT = {"allow_http": True}
ONCE = {"max_retries": 0}


def ran(script: str) -> subprocess.CompletedProcess[str]:
    def without_core_file() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    command = [sys.executable, str(HERE / script)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=without_core_file
    )


def is_mended(package: str) -> bool:
    return Version(version(package)) >= Version(MENDED_IN[package])


def test_imagecodecs_takes_any_lzw_code_after_clear():
    assert ran("lzw_code_after_clear.py").stdout.strip() == ("refused" if is_mended("imagecodecs") else "decoded")


def test_pyproj_crashes_on_threads_of_polars():
    is_fine = all(ran("pyproj_on_foreign_threads.py").stdout.strip() == "fine" for _ in range(3))
    assert is_fine == is_mended("pyproj")


@pytest.mark.parametrize("package", MENDED_IN)
def test_what_works_around_a_fault_goes_when_no_release_with_the_fault_is_supported(package):
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    declared = next(one for one in map(Requirement, project["dependencies"]) if one.name == package)
    lowest = min(Version(one.version) for one in declared.specifier if one.operator == ">=")
    assert lowest < Version(MENDED_IN[package]), "see `MENDED_IN` for the module that can go"


@pytest.mark.slow  # by chance; the process ends well in one of eight runs
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 lets such threads hang")
def test_the_process_aborts_when_the_interpreter_ends_while_polars_runs_python():
    """Mended: what `engine.interruption` does at the end of the interpreter can go."""
    assert any(ran("exit_while_polars_runs_python.py").returncode != 0 for _ in range(10))


@pytest.mark.parametrize("codec", ["deflate", "zstd", "packbits"])
def test_imagecodecs_gives_no_beginning_of_a_tile(codec):
    """Mended: the marks and slacks of `tiff.codecs.inflate` can go.

    libdeflate has no streams: https://github.com/ebiggers/libdeflate/issues/73. The others could stop, but are not asked to.
    """
    pixels = np.arange(100_000, dtype=np.uint8) % 7
    data = zlib.compress(pixels) if codec == "deflate" else getattr(imagecodecs, f"{codec}_encode")(pixels)
    decode, error = getattr(imagecodecs, f"{codec}_decode"), getattr(imagecodecs, f"{codec.title()}Error")
    with pytest.raises(error):
        decode(data, out=np.empty(1_000, np.uint8))


def test_imagecodecs_goes_on_into_the_xz_stream_that_follows():
    """Mended: `tiff.codecs.inflate` can decode LZMA with imagecodecs in place of the standard library."""
    streams = lzma.compress(b"tile") + lzma.compress(b"what follows")
    assert bytes(imagecodecs.lzma_decode(streams, out=100)) == b"tilewhat follows"


class _Answers(BaseHTTPRequestHandler):
    """Answers by the path that is asked for, and notes it."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(429 if self.path.startswith("/busy") else 200)
        self.send_header("Retry-After", "1234")
        self.send_header("Last-Modified", "Wed, 01 May 2024 00:00:00 GMT")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _server():
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.paths = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            store = HTTPStore(f"http://127.0.0.1:{server.server_port}", client_options=CLIENT, retry_config=ONCE)
            yield server, store
        finally:
            server.shutdown()
            thread.join()


def test_obstore_does_not_give_a_whole_file_for_a_range():
    """Mended: `fetch.sources.httpx_source` need not ask again after a 200.

    https://github.com/apache/arrow-rs-object-store/issues/806
    """
    with _server() as (_, store), pytest.raises(obstore.exceptions.BaseError, match="Range request"):
        obstore.get(store, "whole", options={"range": (0, 4)})


def test_obstore_does_not_tell_when_to_come_again():
    """Mended: `fetch.sources.httpx_source` need not ask again after a 429 or 503 to see Retry-After."""
    with _server() as (_, store), pytest.raises(obstore.exceptions.BaseError) as failure:
        obstore.get(store, "busy")
    assert "1234" not in repr(failure.value)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        pytest.param("signed?key=1", "/signed%3Fkey=1", id="https://github.com/apache/arrow-rs/issues/6532"),
        pytest.param("a%20b", "/a%2520b", id="https://github.com/apache/arrow-rs/issues/3651"),
    ],
)
def test_obstore_encodes_a_path_that_is_encoded(path, asked):
    """Mended: `httpx_source.needs_exact_url` and `decoded_path` can go."""
    with _server() as (server, store):
        obstore.get(store, path)
        assert server.paths == [asked]


def test_obstore_follows_redirects_without_being_asked():
    """Mended, by an option against it: the proxy that nobody can be in `fetch.sources.stores` can go."""
    with _server() as (server, store):
        obstore.get(store, "moved")
        assert server.paths == ["/moved", "/whole"]
    for option in ("follow_redirects", "max_redirects", "redirect", "redirects"):
        with pytest.raises(ValueError, match="Invalid key"):
            HTTPStore("http://127.0.0.1", client_options={option: "false"})


def test_obstore_panics_at_a_path_that_is_too_long():
    """Mended: `obstore_source.unaskable` can go where the error is an `Exception`.

    https://github.com/seanmonstar/reqwest/issues/668
    """
    with _server() as (_, store), pytest.raises(BaseException, match="TooLong") as failure:
        obstore.get(store, "a" * 70_000)
    assert not isinstance(failure.value, Exception)
