"""How does a benchmark repeat a measurement in fresh processes?

A script that measures calls itself with ``--once`` and prints one JSON line; `repeat` runs that several times.
Nothing of what is measured is imported here.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any


def once(script: str, *arguments: str) -> dict[str, Any]:
    """Run ``script --once ...`` in a new interpreter and give the JSON of its last line."""
    command = [sys.executable, script, "--once", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def repeat(n: int, script: str, *arguments: str) -> list[dict[str, Any]]:
    return [once(script, *arguments) for _ in range(n)]


def summary(rows: list[dict[str, Any]], name: str) -> str:
    """Give median, least and most of one amount."""
    values = [float(row[name]) for row in rows]
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
