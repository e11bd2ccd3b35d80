"""Which byte sources need no network?

`MemorySource` holds files, `RecordingSource` writes down what was asked, `FaultySource` fails by plan. Each has the shape of a
`ByteSource`, so each goes into ``pr.configure_store(prefix, store=...)``. No content of files is made here.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.failures import MissingFileError, TransientFetchError, range_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Buffer

    from polars_rasteret.fetch.sources.byte_source import ByteSource


class MemorySource:
    """Files that are dictionary entries.

    Parameters
    ----------
    files
        Content by href. Later changes of the mapping are seen.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> from polars_rasteret.testing import MemorySource
    >>> source = MemorySource({"memory://x/a.tif": b"0123456789"})
    >>> pr.configure_store("memory://x/", store=source)
    >>> bytes(source.get("memory://x/a.tif", 2, 5, etag=None))
    b'234'
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:  # noqa: ARG002
        """Return bytes ``byte_start`` to ``byte_stop`` (half-open), fewer where the file ends.

        Raises
        ------
        FetchError
            When there is no such file.
        """
        try:
            data = self.files[href]
        except KeyError:
            known = ", ".join(sorted(self.files)[:5]) or "none"
            raise MissingFileError(
                f"{range_words(href, byte_start, byte_stop)}, but there is no such file; there are: {known}"
            ) from None
        return memoryview(data)[byte_start:byte_stop]


class RecordingSource:
    """Another source, with a list of what it was asked.

    Parameters
    ----------
    inner
        Who answers.

    Attributes
    ----------
    requests
        ``(href, byte_start, byte_stop)`` of every request, in order.
    bytes
        Sum of the bytes given.

    Examples
    --------
    >>> from polars_rasteret.testing import MemorySource, RecordingSource
    >>> source = RecordingSource(MemorySource({"memory://x/a.tif": b"0123456789"}))
    >>> _ = source.get("memory://x/a.tif", 2, 5, etag=None)
    >>> source.requests, source.bytes
    ([('memory://x/a.tif', 2, 5)], 3)
    >>> source.clear()
    >>> source.requests, source.bytes
    ([], 0)
    """

    def __init__(self, inner: ByteSource) -> None:
        self.inner = inner
        self.requests: list[tuple[str, int, int]] = []
        self.bytes = 0
        self._lock = threading.Lock()

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Ask the inner source, and write down that it was asked."""
        with self._lock:
            self.requests.append((href, byte_start, byte_stop))
        data = self.inner.get(href, byte_start, byte_stop, etag=etag)
        with self._lock:
            self.bytes += memoryview(data).nbytes
        return data

    def clear(self) -> None:
        """Forget what was asked."""
        with self._lock:
            self.requests.clear()
            self.bytes = 0


class FaultySource:
    """Another source that fails now and then, the same way for the same seed and order of requests.

    Parameters
    ----------
    inner
        Who answers when nothing goes wrong.
    seed
        Of the random choices.
    error_rate, short_rate, stall_rate
        Parts (0..1) of the requests that raise an error that may pass, give fewer bytes than asked, or take `stall_s` longer.
    stall_s
        Seconds.
    fatal
        Make the errors ones that do not pass.

    Attributes
    ----------
    n_faults
        How often something went wrong.

    Examples
    --------
    >>> from polars_rasteret.testing import FaultySource, MemorySource
    >>> source = FaultySource(MemorySource({"memory://x/a.tif": b"0123456789"}), seed=1, short_rate=1.0)
    >>> len(bytes(source.get("memory://x/a.tif", 0, 8, etag=None))) < 8
    True
    """

    def __init__(
        self,
        inner: ByteSource,
        seed: int = 0,
        *,
        error_rate: float = 0.0,
        short_rate: float = 0.0,
        stall_rate: float = 0.0,
        stall_s: float = 0.05,
        fatal: bool = False,
    ) -> None:
        self.inner = inner
        self.error_rate, self.short_rate, self.stall_rate = error_rate, short_rate, stall_rate
        self.stall_s = stall_s
        self.fatal = fatal
        self.n_faults = 0
        self._chance = random.Random(seed)  # noqa: S311 - faults by plan, not secrets
        self._lock = threading.Lock()

    def get(self, href: str, byte_start: int, byte_stop: int, *, etag: str | None) -> Buffer:
        """Ask the inner source, unless a fault is due."""
        with self._lock:
            error, short, stall, part = (self._chance.random() for _ in range(4))
            faulty = error < self.error_rate or short < self.short_rate or stall < self.stall_rate
            self.n_faults += faulty
        if stall < self.stall_rate:
            time.sleep(self.stall_s)
        if error < self.error_rate:
            kind = FetchError if self.fatal else TransientFetchError
            raise kind(f"{range_words(href, byte_start, byte_stop)}, a fault was due. It was injected by FaultySource.")
        data = memoryview(self.inner.get(href, byte_start, byte_stop, etag=etag))
        return data[: int(part * len(data))] if short < self.short_rate else data
