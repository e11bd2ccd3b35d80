"""What does ``import polars_rasteret`` cost on top of ``import polars``? Medians of fresh processes, interleaved."""

from __future__ import annotations

import argparse
import importlib
import json
import time

from fresh_process import once, summary

MODULES = ("polars", "polars_rasteret")


def measure(module: str) -> dict[str, float]:
    started = time.perf_counter()
    importlib.import_module(module)
    return {"import_s": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--once", metavar="MODULE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.once)))
        return
    for module in MODULES:
        once(__file__, module)  # bytecode and page cache
    rows: dict[str, list[dict[str, float]]] = {module: [] for module in MODULES}
    for _ in range(given.rounds):
        for module in MODULES:
            rows[module].append(once(__file__, module))
    print("| import | median s (min-max) |\n|---|---:|")
    for module in MODULES:
        print(f"| {module} | {summary(rows[module], 'import_s')} |")


if __name__ == "__main__":
    main()
