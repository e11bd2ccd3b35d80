"""At which pace does one store serve requests: how many at once, how many a second, and how fast?

Both are learned from the requests of this process. Pure arithmetic; the scheduler's lock guards each `Throttle` and `Speed`.
"""

from __future__ import annotations

import math

_ROUNDS_PER_STEP = 4
"""Rounds of requests without a complaint, after which one more may run at once: each test of the limit costs one refused
request."""
_LEAST_INTERVAL_S = 0.01
"""Shortest time between two requests once they are spaced in time."""
_LONGEST_INTERVAL_S = 10.0
_RATE_STEP = 8
"""Requests without a complaint in which a low rate doubles, about; high ones grow by one request a second in each second, so that
processes that share a store come to share it evenly."""
_MOST_CUTS = 5
"""Refusals of one request that lower the pace: a file that is always refused must not slow down the others for good."""
_DOWN_AFTER_S = 30.0
"""Refusals for so long, and nothing else, mean that the store is down; then nothing is won by time between requests."""
_SMALL_BYTES = 65_536
"""Requests up to this size show the latency: waiting takes most of their time."""
_LARGE_BYTES = 262_144
"""Requests from this size on show the rate: the transfer takes most of their time."""
_STEP = 0.1
"""Weight of one request in the running mean."""
_LEAST_TRANSFER = 0.1
"""Least part of the time of a large request that counts as transfer."""


class Throttle:
    """The limit on requests that one store gets at once, and the time between two of them.

    A store gets as many as the process may make, until the store says that they are too many. Then the limit is half of the
    requests that were running, and rises slowly while all goes well (additive increase, multiplicative decrease). Where one
    request at a time is too many, as beside other processes that read the same store, time passes between two requests: twice
    as much after each complaint, and slowly less while all goes well.

    Times are monotonic seconds.

    Examples
    --------
    >>> throttle = Throttle()
    >>> for _ in range(8):
    ...     throttle.started(0.0)
    >>> throttle.slow_down(throttle.n_cuts), throttle.limit
    (True, 4.0)
    >>> throttle.opens_at(0.1)
    inf
    """

    __slots__ = (
        "__weakref__",
        "_next_at",
        "_refused_at",
        "interval_s",
        "limit",
        "n_cuts",
        "n_running",
        "refused_since",
        "speed",
    )

    def __init__(self) -> None:
        self.limit = math.inf
        self.interval_s = 0.0
        """Least time between the starts of two requests; 0 where only `limit` counts."""
        self.refused_since: float | None = None
        """Since when the store refused every request as too many; None where it served the last one."""
        self._refused_at = self._next_at = -math.inf
        self.n_running = 0
        self.n_cuts = 0
        self.speed = Speed()
        """Latency and rate that were seen of the store."""

    def opens_at(self, now: float) -> float:
        """Return when one more request may start: `now` or later; infinity until one of those running ends."""
        return max(now, self._next_at) if self.n_running + 1 <= self.limit else math.inf

    def started(self, now: float) -> None:
        """Count a request that starts."""
        self.n_running += 1
        self._next_at = now + self.interval_s

    def ended(self) -> None:
        """Count a request that ended."""
        self.n_running -= 1

    def slow_down(self, n_cuts: int) -> bool:
        """Halve the limit after the store had too much to do; return False where one request at a time was too many.

        Parameters
        ----------
        n_cuts
            How often the pace had been cut when the request started. So all complaints about one burst count once.
        """
        if n_cuts != self.n_cuts:
            return True
        self.n_cuts += 1
        is_one = self.limit <= 1
        self.limit = max(1.0, min(self.limit, self.n_running) / 2)
        return not is_one

    def refused(self, n_cuts: int, *, now: float, seconds: float, n_refused: int) -> None:
        """Lower the pace after the store refused a request as too many.

        Parameters
        ----------
        n_cuts
            As in `slow_down`.
        now, seconds
            When the answer came, and how long it took.
        n_refused
            How often the same request had been refused before.
        """
        if self.refused_since is None or now - self._refused_at > _DOWN_AFTER_S:
            self.refused_since = now
        self._refused_at = now
        if now - self.refused_since > _DOWN_AFTER_S:
            self.interval_s = 0.0
        elif n_refused < _MOST_CUTS and not self.slow_down(n_cuts):
            self.interval_s = min(2 * max(self.interval_s, seconds, _LEAST_INTERVAL_S), _LONGEST_INTERVAL_S)
        self._next_at = now + self.interval_s

    def went_well(self, most: int, seconds: float) -> None:
        """Raise the pace a little after a request that went well.

        Parameters
        ----------
        most
            Requests that the process allows at once; from there on there is no limit.
        seconds
            How long the request took.
        """
        self.refused_since = None
        if self.interval_s:
            rate = 1 / self.interval_s
            self.interval_s = 1 / (rate + min(1 / rate, rate / _RATE_STEP))
            if self.interval_s <= max(seconds, _LEAST_INTERVAL_S):  # one after another, they are no faster
                self.interval_s = 0.0
        elif self.limit < math.inf:
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
