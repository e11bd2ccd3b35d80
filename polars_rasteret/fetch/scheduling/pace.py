"""At which pace does one store serve requests: how many at once, and how fast?

Both are learned from the requests of this process. Pure arithmetic; the scheduler's lock guards each `Throttle` and `Speed`.
"""

from __future__ import annotations

import math

_ROUNDS_PER_STEP = 4
"""Rounds of requests without a complaint, after which one more may run at once: each test of the limit costs one refused
request."""
_SMALL_BYTES = 65_536
"""Requests up to this size show the latency: waiting takes most of their time."""
_LARGE_BYTES = 262_144
"""Requests from this size on show the rate: the transfer takes most of their time."""
_STEP = 0.1
"""Weight of one request in the running mean."""
_LEAST_TRANSFER = 0.1
"""Least part of the time of a large request that counts as transfer."""


class Throttle:
    """The limit on requests that one store gets at once.

    A store gets as many as the process may make, until the store says that they are too many. Then the limit is half of the
    requests that were running, and rises slowly while all goes well (additive increase, multiplicative decrease).

    Examples
    --------
    >>> throttle = Throttle()
    >>> for _ in range(8):
    ...     throttle.started()
    >>> throttle.slow_down(throttle.n_cuts)
    >>> throttle.limit
    4.0
    >>> throttle.has_room()
    False
    """

    __slots__ = ("__weakref__", "limit", "n_cuts", "n_running", "speed")

    def __init__(self) -> None:
        self.limit = math.inf
        self.n_running = 0
        self.n_cuts = 0
        self.speed = Speed()
        """Latency and rate that were seen of the store."""

    def has_room(self) -> bool:
        """Return whether one more request may start."""
        return self.n_running + 1 <= self.limit

    def started(self) -> None:
        """Count a request that starts."""
        self.n_running += 1

    def ended(self) -> None:
        """Count a request that ended."""
        self.n_running -= 1

    def slow_down(self, n_cuts: int) -> None:
        """Halve the limit after the store refused a request as too many.

        Parameters
        ----------
        n_cuts
            How often the limit had been cut when the request started. So all complaints about one burst count once.
        """
        if n_cuts == self.n_cuts:
            self.limit = max(1.0, min(self.limit, self.n_running) / 2)
            self.n_cuts += 1

    def went_well(self, most: int) -> None:
        """Raise the limit a little after a request went well; from `most`, which the process allows, there is no limit."""
        if self.limit < math.inf:
            self.limit += 1 / (_ROUNDS_PER_STEP * self.limit)
            if self.limit >= most:
                self.limit = math.inf


class Speed:
    """Latency and rate of one store.

    They are learned from requests that went well: small ones show the latency, large ones the rate.

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
        """Best rate that small requests proved, waiting included."""

    def latency_s(self, unseen: float) -> float:
        """Return the mean seconds until a small answer came, beside other requests; `unseen` before the first answer."""
        return unseen if self._latency_s is None else self._latency_s

    def bytes_per_s(self, unseen: float) -> float:
        """Return the bytes per second of all requests together.

        Before the first large request: `unseen`, or the rate that small requests proved if that is higher.
        """
        return max(unseen, self._least_rate) if self._rate is None else self._rate

    def observe(self, n_bytes: int, seconds: float, *, at_once: int) -> None:
        """Learn from one request that brought `n_bytes`, while ``at_once - 1`` others of its store ran."""
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
