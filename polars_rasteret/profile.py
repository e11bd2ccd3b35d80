"""What does this process read inside a ``profile`` block?

Stages of a read report amounts with `record`; every open `profile` block adds them up. Nothing here influences a read.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Self

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_lock = threading.Lock()
_open: list[profile] = []

_COUNTS = (
    "requests",
    "bytes",
    "tiles",
    "cache_hits",
    "disk_hits",
    "shared_tiles",
    "retries",
    "decoded_tiles",
    "decoded_bytes",
)
_SECONDS = ("plan_s", "wait_s", "decode_s")
_HOST_COUNTS = ("requests", "bytes", "retries", "failures")


def is_open() -> bool:
    """Return whether any profile is open."""
    return bool(_open)


def record(*, host: str | None = None, **amounts: float) -> None:
    """Add amounts (counts or seconds, by name) to every open profile, and to its amounts of `host`."""
    if not _open:
        return
    with _lock:
        for one in _open:
            for name, amount in amounts.items():
                one.amounts[name] += amount
                if host is not None:
                    one.hosts[host][name] += amount


def record_error(reason: str) -> None:
    """Add the reason of one failed value to every open profile."""
    if not _open:
        return
    with _lock:
        for one in _open:
            one.reasons.append(reason)


def record_profile(told: Mapping[str, Any]) -> None:
    """Add what a profile of another process counted (`profile.told`) to every open profile."""
    if not _open:
        return
    record(**told["amounts"])
    for host, amounts in told["hosts"].items():
        with _lock:
            for one in _open:
                for name, amount in amounts.items():
                    one.hosts[host][name] += amount
    for reason, n_values in told["reasons"].items():
        with _lock:
            for one in _open:
                one.reasons += [reason] * n_values


class profile:  # noqa: N801 - reads as a verb: with pr.profile() as p
    """Count what this process reads inside a ``with`` block.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> with pr.profile() as p:
    ...     pass
    >>> p.summary()["requests"].item()
    0
    """

    def __init__(self) -> None:
        self.amounts: defaultdict[str, float] = defaultdict(float)
        self.hosts: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.reasons: list[str] = []
        self._started = 0.0
        self._elapsed: float | None = None

    def __enter__(self) -> Self:
        with _lock:
            _open.append(self)
        self._started = time.perf_counter()
        self._elapsed = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._elapsed = time.perf_counter() - self._started
        with _lock:
            _open.remove(self)

    @property
    def errors(self) -> list[str]:
        """Reasons of values that became null through ``on_error="null"``, one per value."""
        return list(self.reasons)

    def summary(self) -> pl.DataFrame:
        """Return one row with counts (Int64) and seconds (Float64) of everything read inside the block.

        Returns
        -------
        polars.DataFrame
            ``requests``, ``bytes``, ``tiles`` (distinct tiles that reads need), ``cache_hits`` (in memory), ``disk_hits``,
            ``shared_tiles`` (tiles that another read was already fetching), ``retries``, ``decoded_tiles``, ``decoded_bytes``,
            ``errors``; ``elapsed_s``, ``plan_s``, ``wait_s`` (summed over callers) and ``decode_s`` (summed over decode threads).
        """
        elapsed = self._elapsed if self._elapsed is not None else time.perf_counter() - self._started
        with _lock:
            counts = {name: [int(self.amounts[name])] for name in _COUNTS}
            seconds = {name: [float(self.amounts[name])] for name in _SECONDS}
        return pl.DataFrame({**counts, "errors": [len(self.reasons)], "elapsed_s": [elapsed], **seconds})

    def told(self) -> dict[str, Any]:
        """Return what was counted, for `record_profile` of another process; JSON can hold it."""
        with _lock:
            return {
                "amounts": dict(self.amounts),
                "hosts": {host: dict(amounts) for host, amounts in self.hosts.items()},
                "reasons": dict(Counter(self.reasons)),
            }

    @property
    def by_host(self) -> pl.DataFrame:
        """Table of one row per host or bucket that requests went to, sorted by bytes, most first.

        Columns: ``host`` (``https://host``, ``s3://bucket``, ``file``); ``requests``, ``bytes``, ``retries`` and ``failures``
        (requests without usable bytes, whether tried again or not), all Int64; ``request_s``, the seconds of all requests,
        summed also where requests ran at the same time.
        """
        with _lock:
            rows = [
                {
                    "host": host,
                    **{name: int(amounts[name]) for name in _HOST_COUNTS},
                    "request_s": float(amounts["request_s"]),
                }
                for host, amounts in self.hosts.items()
            ]
        schema = {"host": pl.String(), **dict.fromkeys(_HOST_COUNTS, pl.Int64()), "request_s": pl.Float64()}
        return pl.DataFrame(rows, schema=schema).sort("bytes", "host", descending=[True, False])
