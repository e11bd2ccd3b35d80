"""How many requests does one store get at once?

As many as the process may make, until the store says that they are too many. Then the limit is half of the requests that were
running, and rises slowly while all goes well (additive increase, multiplicative decrease). Pure arithmetic; the scheduler's lock
guards each `Throttle`.
"""

from __future__ import annotations

import math

from polars_rasteret.fetch.scheduling.speed import Speed

_ROUNDS_PER_STEP = 4
"""Rounds of requests without a complaint, after which one more may run at once: each test of the limit costs one refused
request."""


class Throttle:
    """The limit on requests that one store gets at once.

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
