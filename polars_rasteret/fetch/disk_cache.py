"""How are compressed tiles kept on disk, so that another process need not fetch them?

One file per tile, in 256 folders: a checksum, then the bytes of the tile. A file is written under another name and renamed, so
a process that is killed leaves no half tile. The checksum covers the name of the tile, too, and is compared whenever a tile is
read: bytes that a disk or a copy changed are no tile. There is no index to corrupt, to lock or to migrate; libraries for such
caches keep one (`diskcache` an SQLite database, which every read writes to).

Least recently used tiles leave first, by the time of the file. What may be kept belongs in `fetch.scheduling.kept_tiles`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_N_CHECKSUM = 4
_SHARE = 16
"""A process looks at the size of the cache after it has written 1/16 of the limit; a larger tile is not kept."""
_FILLED = 7 / 8
"""The part of the limit to which the cache is emptied, so that two processes that write at once stay below the limit."""
_TOUCH_AFTER_S = 600.0
"""A tile that is read counts as used now, unless it did less than ten minutes ago."""
_STALE_S = 3_600.0
"""Age of unfinished files after which their writer is taken for dead."""
_VERSION = "tiles-1"


class DiskCache:
    """The tiles in one folder, which any number of processes share. Thread-safe.

    Parameters
    ----------
    folder
        The folder, which is made, for its owner only.

    Raises
    ------
    UsageError
        When the folder cannot be made.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) / _VERSION
        self._lock = threading.Lock()
        self._n_unseen: int | None = None
        """Bytes that this process has written since it last looked at the size of the cache; None: it has not looked yet."""
        try:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            for part in (self._folder, *self._parts()):
                part.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cache_dir {folder} cannot be used: {error}. Name a folder that you may write to: pr.options(cache_dir=...)."
            ) from error

    def holds(self, name: str) -> bool:
        """Return whether there is a file of that name; `read` may still find that it is no tile."""
        return self._path(name).exists()

    def read(self, name: str, n_bytes: int) -> memoryview | None:
        """Return the bytes of a tile; None when they are not there, not as many, or not those that were written."""
        path = self._path(name)
        try:
            with path.open("rb", buffering=0) as file:
                found = os.fstat(file.fileno())
                content = memoryview(file.read() if found.st_size == _N_CHECKSUM + n_bytes else b"")
        except OSError:
            return None
        data = content[_N_CHECKSUM:]
        if len(data) != n_bytes or content[:_N_CHECKSUM] != _checksum(name, data):
            _remove(path)
            return None
        if time.time() - found.st_mtime > _TOUCH_AFTER_S:
            with contextlib.suppress(OSError):
                os.utime(path)
        return data

    def write(self, name: str, data: memoryview, *, limit: int) -> None:
        """Keep the bytes of a tile, in a cache of at most `limit` bytes. A disk that is full or gone is no error."""
        size = _N_CHECKSUM + len(data)
        if size * _SHARE > limit:
            return
        path = self._path(name)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
        try:
            with unfinished.open("xb") as file:
                file.write(_checksum(name, data))
                file.write(data)
            unfinished.replace(path)
        except OSError:
            _remove(unfinished)
            return
        with self._lock:
            is_due = self._n_unseen is None or self._n_unseen + size > limit // _SHARE
            self._n_unseen = 0 if is_due else (self._n_unseen or 0) + size
        if is_due:
            self.shrink(limit)

    def shrink(self, limit: int) -> None:
        """Remove the tiles that were not used for longest, and what killed writers left, until the others fit into the limit.

        One process does so at a time; the others leave it to that one.
        """
        import filelock  # not at the top: it would lengthen the first query of a process that keeps nothing on disk

        lock = filelock.FileLock(self._folder / "shrink.lock", timeout=0, mode=0o600)
        with contextlib.suppress(OSError, NotImplementedError, filelock.Timeout), lock:
            now, tiles = time.time(), []
            for path, found in self._files():
                if not path.suffix:
                    tiles.append((found.st_mtime, found.st_size, path))
                elif now - found.st_mtime > _STALE_S:
                    _remove(path)
            total = sum(size for _, size, _ in tiles)
            if total > limit * _FILLED:
                for _, size, path in sorted(tiles):
                    _remove(path)
                    total -= size
                    if total <= limit * _FILLED:
                        break

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for part in self._parts():
            for path in part.iterdir():
                with contextlib.suppress(OSError):  # another process removed it
                    yield path, path.lstat()

    def _parts(self) -> Iterator[Path]:
        return (self._folder / f"{first:02x}" for first in range(256))

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]


def _checksum(name: str, data: memoryview) -> bytes:
    """Return a CRC-32, as ZIP and PNG have: it finds any change of up to 32 neighbouring bits, four times as fast as a digest."""
    return zlib.crc32(data, zlib.crc32(name.encode())).to_bytes(_N_CHECKSUM, "big")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


@lru_cache(maxsize=16)
def disk_cache(folder: str) -> DiskCache:
    """Return the cache in a folder; a process has one per folder."""
    return DiskCache(folder)
