"""Is this checkout slower than another one?

Both run the same drivers and workloads in the same rounds. The answer is the median of the ratios within rounds and its
distribution-free interval, since a shared machine drifts by more than the differences that are looked for.
"""

from __future__ import annotations

import math
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

BEFORE = "before"
"""The engine that is the package of the other checkout."""
ALLOWED = 1.03
"""A workload is slower when even the lower end of its interval is above this."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedRatios:
    """Median of wall times here / there, paired by round, and the interval of that median."""

    n_rounds: int
    median: float
    low: float
    high: float
    confidence: float
    """Chance that the interval holds the true median; below 0.95 with fewer than six rounds."""

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Self:
        """Take order statistics as the interval: the number of ratios below the true median is binomial.

        >>> PairedRatios.of([1.0, 1.2, 0.9, 1.1, 1.0, 1.3])
        PairedRatios(n_rounds=6, median=1.05, low=0.9, high=1.3, confidence=0.96875)
        """
        n, ordered = len(ratios), sorted(ratios)
        tails = [2 * sum(math.comb(n, k) for k in range(cut + 1)) / 2**n for cut in range((n + 1) // 2)]
        cut = max((cut for cut, tail in enumerate(tails) if 1 - tail >= _CONFIDENCE), default=0)
        return cls(
            n_rounds=n,
            median=statistics.median(ordered),
            low=ordered[cut],
            high=ordered[n - 1 - cut],
            confidence=max(0.0, 1 - tails[cut]),
        )

    @property
    def verdict(self) -> str:
        return "slower" if self.low > ALLOWED else "faster" if self.high < 1 / ALLOWED else ""


def described(checkout: Path) -> str:
    """Return the commit of a checkout, as git tells it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or checkout.name


def table(ratios: dict[tuple[str, str], list[float]], commit: str) -> list[str]:
    """Give the lines of a Markdown table; `ratios` are those of each (workload, link)."""
    lines = [
        (
            f"Median over rounds of the wall time of this checkout divided by that of {commit}, and the interval of the median. "
            f"*slower*: the whole interval is above {ALLOWED}.\n"
        ),
        "| workload | link | rounds | here / before | interval | confidence % | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for (workload, link), found in ratios.items():
        one = PairedRatios.of(found)
        lines.append(
            f"| {workload} | {link} | {one.n_rounds} | {one.median:.3f} | {one.low:.3f}-{one.high:.3f} "
            f"| {100 * one.confidence:.0f} | {one.verdict} |"
        )
    return lines
