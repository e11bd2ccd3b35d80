"""How does the server of these tests misbehave? The same way for the same seed and order of requests."""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections import deque
from email.utils import format_datetime
from typing import TYPE_CHECKING

from tests.support.range_server import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.range_server import RangeServer, Seen


def http_date(seconds_from_now: float) -> str:
    return format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds_from_now), usegmt=True)


KINDS: dict[str, Callable[[], Fault]] = {
    "500": lambda: Fault(status=500),
    "502": lambda: Fault(status=502),
    "503": lambda: Fault(status=503),
    "503 with seconds": lambda: Fault(status=503, headers={"Retry-After": "0"}),
    "429 with a date": lambda: Fault(status=429, headers={"Retry-After": http_date(1)}),
    "reset": lambda: Fault(reset=True),
    "no answer": lambda: Fault(delay_s=60),
    "stall in the body": lambda: Fault(stall_after=5),
    "cut": lambda: Fault(cut_after=7),
    "short": lambda: Fault(shorten_to=9),
    "long": lambda: Fault(lengthen_by=11),
    "wrong range": lambda: Fault(shift=16),
    "whole file": lambda: Fault(ignore_range=True),
    "late": lambda: Fault(delay_s=0.05),
}
SLOW = {"no answer": 0.1, "stall in the body": 0.1}
"""Kinds that cost half of the time a request has: chosen less often."""


class Faults:
    """Goes into ``RangeServer.fault``."""

    def __init__(self, seed: int, *, rate: float = 0.2, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        self.rate, self.kinds = rate, kinds
        self.n: dict[str, int] = dict.fromkeys(kinds, 0)
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, _seen: Seen) -> Fault | None:
        with self._lock:
            if self._chance.random() >= self.rate:
                return None
            (kind,) = self._chance.choices(self.kinds, [SLOW.get(kind, 1.0) for kind in self.kinds])
            self.n[kind] += 1
        return KINDS[kind]()


def refuse_above(server: RangeServer, n: int, fault: Fault) -> Callable[[Seen], Fault | None]:
    """Give the fault while more than `n` requests are being answered."""
    return lambda _seen: fault if server.n_running > n else None


class RateLimit:
    """Goes into ``RangeServer.fault``: refuses what comes after `most` answers within a second, whoever asks."""

    def __init__(self, most: int, *, status: int = 503, within_s: float = 1.0) -> None:
        self.most, self.status, self.within_s = most, status, within_s
        self.n_served = self.n_refused = 0
        self._served_at: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self, _seen: Seen) -> Fault | None:
        now = time.monotonic()
        with self._lock:
            while self._served_at and self._served_at[0] <= now - self.within_s:
                self._served_at.popleft()
            if len(self._served_at) < self.most:
                self._served_at.append(now)
                self.n_served += 1
                return None
            self.n_refused += 1
        return Fault(status=self.status)
