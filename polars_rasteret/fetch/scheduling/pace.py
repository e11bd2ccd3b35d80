"""At which pace does one store serve requests: how many at once, how many a second, and how fast?

All is learned from the requests of this process. Pure arithmetic; the scheduler's lock guards each `Throttle` and `Speed`.
"""

from __future__ import annotations

import math

_ROUNDS_PER_STEP = 4
"""Rounds of requests without a complaint, after which one more may run at once: each test of the limit costs one refused
request."""
_SURPLUS = 5
"""Refusals more than answers from which on time passes between two requests, while one runs at a time. A store that fails now and
then hardly ever gets there, whatever our pace; one that is asked twice as often as it allows does at once."""
_SLOWER = 2.0
"""Factor on the time between two requests then."""
_FASTER = 0.02
"""Part by which each answer raises the rate again: some thirty answers undo one step down."""
_FASTER_EACH_S = 1.0
"""Requests a second by which the rate rises each second besides, so that processes that share a store come to share it evenly."""
_MOST_FASTER = 0.125
"""Largest part by which one answer raises the rate."""
_LEAST_INTERVAL_S = 0.01
"""Shortest time between two requests once they are spaced in time."""
_FIRST_STEP = 1 / 16
"""Weight of one request in the share of requests whose first attempt is refused."""
_CROWDED = 0.1
"""That share from which on the store is crowded, and the request is not to blame. Further attempts do not count: a file that is
always refused makes many of them."""
_DOWN_AFTER_S = 5.0
"""Refusals for so long, and no answer, mean that the store is down: then time between requests wins nothing."""
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
    as much whenever refusals outnumber answers, and a little less after each answer.

    Times are monotonic seconds.

    Examples
    --------
    >>> throttle = Throttle()
    >>> for _ in range(8):
    ...     throttle.started(0.0)
    >>> throttle.slow_down(throttle.n_cuts)
    >>> throttle.limit
    4.0
    >>> throttle.opens_at(0.1)
    inf
    """

    __slots__ = (
        "__weakref__",
        "_first_refused",
        "_next_at",
        "_refused_since",
        "_surplus",
        "interval_s",
        "limit",
        "n_cuts",
        "n_running",
        "speed",
    )

    def __init__(self) -> None:
        self.limit = math.inf
        self.interval_s = 0.0
        """Least time between the starts of two requests; 0 where only `limit` counts."""
        self._next_at = -math.inf
        self._surplus = 0
        """Refusals more than answers since the pace was lowered."""
        self._first_refused = 0.0
        """Share of requests whose first attempt is refused, of late."""
        self._refused_since: float | None = None
        """When the first of the refusals came after which there was no answer."""
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

    def slow_down(self, n_cuts: int) -> None:
        """Halve the limit after the store had too much to do.

        Parameters
        ----------
        n_cuts
            How often the pace had been cut when the request started. So all complaints about one burst count once.
        """
        if n_cuts == self.n_cuts:
            self.limit = max(1.0, min(self.limit, self.n_running) / 2)
            self.n_cuts += 1
            self._surplus = 0

    def refused(self, n_cuts: int, *, now: float, seconds: float, is_first: bool) -> None:
        """Lower the pace after the store refused a request as too many.

        Parameters
        ----------
        n_cuts
            As in `slow_down`.
        now, seconds
            When the answer came, and how long it took.
        is_first
            Whether it was the first attempt of the request.
        """
        if is_first:
            self._first_refused += _FIRST_STEP * (1 - self._first_refused)
        if self._refused_since is None:
            self._refused_since = now
        if self._is_down(now):
            self.interval_s, self._next_at = 0.0, now
        elif self.limit > 1:
            self.slow_down(n_cuts)
        elif n_cuts == self.n_cuts:
            self._surplus += 1
            if self._surplus >= _SURPLUS:
                self.n_cuts += 1
                self._surplus = 0
                self.interval_s = _SLOWER * max(self.interval_s, seconds, _LEAST_INTERVAL_S)
                self._next_at = now + self.interval_s

    def went_well(self, most: int, *, seconds: float, is_first: bool) -> None:
        """Raise the pace a little after a request went well.

        Parameters
        ----------
        most
            Requests that the process allows at once; from there on there is no limit.
        seconds
            How long the request took.
        is_first
            Whether it was the first attempt of the request.
        """
        self._refused_since = None
        self._surplus = max(self._surplus - 1, 0)
        if is_first:
            self._first_refused -= _FIRST_STEP * self._first_refused
        if self.interval_s:
            faster = min(_FASTER + _FASTER_EACH_S * self.interval_s**2, _MOST_FASTER)
            self.interval_s /= 1 + faster
            if self.interval_s <= max(seconds, _LEAST_INTERVAL_S):  # one after another, they are no faster
                self.interval_s = 0.0
        elif self.limit < math.inf:
            self.limit += 1 / (_ROUNDS_PER_STEP * self.limit)
            if self.limit >= most:
                self.limit = math.inf

    def is_crowded(self, now: float) -> bool:
        """Return whether the store refuses many requests, and answers others: then a refused request is as good as a new one."""
        return (self.interval_s > 0 or self._first_refused > _CROWDED) and not self._is_down(now)

    def _is_down(self, now: float) -> bool:
        return self._refused_since is not None and now - self._refused_since > _DOWN_AFTER_S


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
