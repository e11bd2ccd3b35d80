"""How fast does one store answer?

Learned from the requests that went well: small ones show the latency, large ones the rate. Pure arithmetic; the scheduler's lock
guards it.
"""

from __future__ import annotations

_SMALL_BYTES = 65_536
"""Up to here the wait is what takes the time."""
_LARGE_BYTES = 262_144
"""From here on the bytes do."""
_STEP = 0.1
"""How far what is known follows one request."""
_LEAST_TRANSFER = 0.1
"""Part of a large request's time that is transfer at least."""


class Speed:
    """Latency and rate of one store.

    Examples
    --------
    >>> speed = Speed()
    >>> speed.observe(10_000, 0.03, at_once=4)
    >>> speed.latency_s(0.08), speed.bytes_per_s(60e6)
    (0.03, 60000000.0)
    >>> speed.observe(1_000_000, 0.04, at_once=4)
    >>> round(speed.bytes_per_s(60e6) / 1e6)
    400
    """

    __slots__ = ("_latency_s", "_least_rate", "_rate")

    def __init__(self) -> None:
        self._latency_s: float | None = None
        self._rate: float | None = None
        self._least_rate = 0.0
        """What came in spite of waiting."""

    def latency_s(self, unseen: float) -> float:
        """Give the mean wait for a small answer, beside whatever else ran; `unseen` before there was one."""
        return unseen if self._latency_s is None else self._latency_s

    def bytes_per_s(self, unseen: float) -> float:
        """Give the rate of all requests together; before a large one was seen, `unseen` or what small ones prove."""
        return max(unseen, self._least_rate) if self._rate is None else self._rate

    def observe(self, n_bytes: int, seconds: float, *, at_once: int) -> None:
        """Take note of one request that brought `n_bytes`, beside ``at_once - 1`` others of its store."""
        seconds = max(seconds, 1e-6)
        latency_s = self._latency_s
        if latency_s is None or n_bytes <= _SMALL_BYTES or seconds < latency_s:
            self._latency_s = seconds if latency_s is None else latency_s + _STEP * (seconds - latency_s)
        self._least_rate = max(self._least_rate, n_bytes * at_once / seconds)
        if n_bytes >= _LARGE_BYTES:
            # Before anything small was seen, the latency is not known to be less than the whole.
            transfer_s = max(seconds - (latency_s or 0.0), _LEAST_TRANSFER * seconds)
            rate = n_bytes * at_once / transfer_s
            self._rate = rate if self._rate is None else self._rate + _STEP * (rate - self._rate)
