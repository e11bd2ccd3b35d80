"""What must a driver offer?

A driver is a module with the two functions of `Engine`. `run` makes one tiny read of a warm-up file first, so that
imports, threads and connections are there for everyone, unless the context says no; its clock then covers everything
from the query to the canonical answer. A driver imports at its top what a script would that makes its reads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a driver finds its index, and knobs for trying out other configurations."""

    index_dir: Path
    """A folder for this engine and this base URL."""
    options: Mapping[str, str] = field(default_factory=dict)
    warm: bool = True
    """False: nothing precedes the read, as in the first query of a script."""

    def number(self, name: str, default: int) -> int:
        return int(self.options.get(name, default))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one timed read gave."""

    wall_s: float
    answer: NDArray[np.generic]
    notes: Mapping[str, float] = field(default_factory=dict)
    """Seconds or counts the engine tells about itself."""
    ended: float = field(default_factory=time.perf_counter)
    """When the answer was complete, by the clock of `time.perf_counter`."""


class Engine(Protocol):
    def prepare(self, base_url: str, context: Context) -> None:
        """Build the index of the corpus, if the engine has one (not timed with the reads)."""

    def run(self, workload: Workload, base_url: str, context: Context) -> Run:
        """Warm up, then read the workload under the clock."""
