"""How does a child process find this package and the tests?"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds `tests` and the package."""


def environment(**changes: str) -> dict[str, str]:
    """Return this process' environment with `ROOT` first among the places to import from, and `changes`."""
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **changes}
