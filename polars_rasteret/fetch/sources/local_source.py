"""How do bytes of a local file get here?

By ``pread`` on a descriptor that lives for one request. Opening a file costs about 5 microseconds, so no file is kept open. Every
answer is checked against the size and time of the very file that it came from.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.failures import MissingFileError, TransientFetchError, range_words
from polars_rasteret.fetch.sources.byte_source import Answer, GetByRead
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable

_READ_LIMIT = 1 << 30
"""Most bytes of one read. Linux gives at most 2 GiB, so a longer range takes several reads."""


def local_path(href: str) -> str:
    """Return the path of a ``file:`` URL (percent-decoded), or a plain path unchanged (but with ``~`` expanded).

    Raises
    ------
    FetchError
        For a ``file:`` URL of another host.
    """
    if href[:5].lower() != "file:":
        return str(Path(href).expanduser()) if href.startswith("~") else href
    # Not urlsplit: it would cut a name at "#" or "?", which people leave as they are in file URLs.
    host, slash, path = href[5:].removeprefix("//").partition("/") if href[5:7] == "//" else ("", "", href[5:])
    if host not in ("", "localhost"):
        raise FetchError(f"{shown(href)}: a file URL of another host; mount it and give its path, or use file:///path")
    from urllib.request import url2pathname  # here, because it brings the whole client of HTTP

    return url2pathname(slash + path)


def _seek_and_read(descriptor: int, n_bytes: int, byte_start: int) -> bytes:
    os.lseek(descriptor, byte_start, os.SEEK_SET)
    return os.read(descriptor, n_bytes)


_pread: Callable[[int, int, int], bytes] = getattr(os, "pread", _seek_and_read)  # Windows has none


class LocalSource(GetByRead):
    """Reads files of this machine."""

    def read(
        self,
        href: str,
        byte_start: int,
        byte_stop: int,
        *,
        etag: str | None,  # noqa: ARG002 - a local file has none
        timeout_s: float,  # noqa: ARG002
        attempt: int,  # noqa: ARG002
    ) -> Answer:
        """Return one range of a file, with the size and modification time of the file."""
        try:
            # Not blocking: opening a pipe would wait for a process that writes into it.
            descriptor = os.open(
                local_path(href),
                os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0),
            )
            try:
                status = os.fstat(descriptor)
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise FetchError(
                        f"{shown(href)} is not a regular file, so it has no byte ranges; copy it into a file first"
                    )
                first = _pread(descriptor, min(byte_stop - byte_start, _READ_LIMIT), byte_start)
                short = 0 < len(first) < byte_stop - byte_start
                data = _rest(descriptor, first, byte_start, byte_stop) if short else first
            finally:
                os.close(descriptor)
        except FetchError:
            raise
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            error.filename = shown(href)
            raise MissingFileError(
                f"{range_words(href, byte_start, byte_stop)}, but there is no such file ({error.strerror}). "
                "Check the path; if it moved, index it again."
            ) from error
        except (PermissionError, ValueError) as error:
            if isinstance(error, OSError):
                error.filename = shown(href)
            raise FetchError(f"{range_words(href, byte_start, byte_stop)}, but cannot open it: {error}") from error
        except OSError as error:
            # Without the path, which the sentence begins with.
            kind = FetchError if error.errno == errno.ENAMETOOLONG else TransientFetchError
            raise kind(
                f"{range_words(href, byte_start, byte_stop)}, reading failed: {error.strerror}. Check the disk or the mount."
            ) from error
        modified = dt.datetime.fromtimestamp(0, tz=dt.UTC) + dt.timedelta(microseconds=status.st_mtime_ns // 1000)
        return Answer(data, status.st_size, None, modified)


def _rest(descriptor: int, data: bytes, byte_start: int, byte_stop: int) -> bytearray:
    whole = bytearray(data)
    while len(whole) < byte_stop - byte_start:
        more = _pread(descriptor, min(byte_stop - byte_start - len(whole), _READ_LIMIT), byte_start + len(whole))
        if not more:
            break
        whole += more
    return whole
