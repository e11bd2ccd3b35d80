"""Stores that seem far or near, whatever the clock of this machine says: how far ahead rounds are fetched depends on it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from polars_rasteret.engine import fetching_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


@contextmanager
def seen_speed(latency_s: float, bytes_per_s: float) -> Iterator[None]:
    """Let every store answer after this latency, and with this rate, as far as rounds are concerned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching_ahead, "speed_of", lambda _href: (latency_s, bytes_per_s))
        yield


def near() -> AbstractContextManager[None]:
    """Let every store be so near that nothing is fetched ahead."""
    return seen_speed(0.0, 1e12)


def far() -> AbstractContextManager[None]:
    """Let every store be so far that everything is fetched ahead that may be needed."""
    return seen_speed(1e6, 1e12)
