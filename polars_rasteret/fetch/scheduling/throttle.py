"""How many requests does one store get at once?

As many as the process may make, until the store says that they are too many: then half of what was running, and slowly more
again while all goes well (additive increase, multiplicative decrease). Pure arithmetic; the scheduler's lock guards it.
"""

from __future__ import annotations

import math

from polars_rasteret.fetch.scheduling.speed import Speed

_ROUNDS_PER_STEP = 4
"""One more request at once after so many rounds without a complaint: testing a limit costs one refused request each time."""


class Throttle:
    """The limit of one store.

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
        """What was seen of the store."""

    def has_room(self) -> bool:
        """Tell whether one more request may start."""
        return self.n_running + 1 <= self.limit

    def started(self) -> None:
        """Count a request in."""
        self.n_running += 1

    def ended(self) -> None:
        """Count a request out."""
        self.n_running -= 1

    def slow_down(self, n_cuts: int) -> None:
        """Halve the limit, as a request that still runs was refused.

        Parameters
        ----------
        n_cuts
            How often the limit had been cut when the request started; the complaints about one burst count once.
        """
        if n_cuts == self.n_cuts:
            self.limit = max(1.0, min(self.limit, self.n_running) / 2)
            self.n_cuts += 1

    def went_well(self, most: int) -> None:
        """Raise the limit a little, until it is no limit: `most` requests may run anyway."""
        if self.limit < math.inf:
            self.limit += 1 / (_ROUNDS_PER_STEP * self.limit)
            if self.limit >= most:
                self.limit = math.inf
