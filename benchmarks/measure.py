"""One measurement, in a process of its own: ``measure.py run`` times one read, ``measure.py prepare`` builds one
index.

Prints one line of JSON. Runs under any interpreter that has the engine's package, NumPy and pyproj. Nothing is
compared here.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import engines
from engines.interface import Context
from workloads import digest, workload


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _prepare(given: argparse.Namespace, context: Context) -> dict[str, Any]:
    engine = engines.load(given.engine)
    started = time.perf_counter()
    engine.prepare(given.base_url, context)
    return {"wall_s": time.perf_counter() - started}


def _run(given: argparse.Namespace, context: Context) -> dict[str, Any]:
    engine = engines.load(given.engine)
    timed = workload(given.workload, quick=given.quick)
    cpu_before = _cpu_s()
    result = engine.run(timed, given.base_url, context)
    cpu_s = _cpu_s() - cpu_before
    if result.answer.shape != timed.answer_shape or result.answer.dtype.name != "uint16":
        raise SystemExit(
            f"{given.engine}, {given.workload}: expected uint16 of shape {timed.answer_shape}, "
            f"got {result.answer.dtype} of shape {result.answer.shape}"
        )
    if given.save:
        import numpy as np

        np.save(given.save, result.answer)
    return {
        "wall_s": result.wall_s,
        "cpu_s": cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "digest": digest(result.answer),
        "notes": dict(result.notes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("prepare", "run"):
        action = actions.add_parser(name)
        action.add_argument("engine", choices=engines.NAMES)
        action.add_argument("base_url")
        action.add_argument("index_dir", type=Path)
        action.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a knob of the engine")
        if name == "run":
            action.add_argument("workload")
            action.add_argument("--quick", action="store_true")
            action.add_argument("--save", type=Path, help="write the answer here (.npy), to look at a difference")
    given = parser.parse_args()
    context = Context(index_dir=given.index_dir, options=dict(one.split("=", 1) for one in given.option))
    try:
        result = (_prepare if given.action == "prepare" else _run)(given, context)
    except ImportError as error:
        result = {"skipped": f"{type(error).__name__}: {error}"}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
