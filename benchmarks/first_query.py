"""What does the first query of a process cost: a script, a fresh notebook?

The other benchmarks warm every engine up. Here each read is the first one of a new process: no import beyond those that a script
has at its top, no thread, no connection, no header. Two clocks end when the pixels are one array: one starts with the
interpreter, one with the call that asks. Every engine must give the same pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import engines
from corpus import default_data_dir, ensure_corpus
from engines.interface import Context
from servers import latency_proxy, static_server
from workloads import TITLES, digest, workload

HERE = Path(__file__).parent
SHOWN = ("series", "series_one_band", "big", "sparse")
NAMES = ("ours", *engines.PEERS)
LINKS = {"direct": "direct", "latency": "20-40 ms"}


def measure(name: str, question: str, url: str, index: str, spawned: str) -> dict[str, Any]:
    """Make the first read of this process; ``spawned`` is when its parent started it."""
    engine = engines.load(name)
    asked = pickle.loads(Path(question).read_bytes())
    called, known, cpu_s = time.perf_counter(), len(sys.modules), time.process_time()
    run = engine.run(asked, url, Context(index_dir=Path(index), warm=False))
    return {
        # Linux has one such clock for all processes.
        "from_start_s": run.ended - float(spawned),
        "from_call_s": run.ended - called,
        "cpu_s": time.process_time() - cpu_s,
        "modules": len(sys.modules) - known,
        "digest": digest(run.answer),
    }


class FirstQueries:
    """Where the processes of each engine run, and with what."""

    def __init__(self, given: argparse.Namespace, urls: dict[str, str], folder: Path) -> None:
        self.given, self.urls, self.folder = given, urls, folder
        for name in given.workload:
            (folder / name).write_bytes(pickle.dumps(workload(name)))

    def _python(self, engine: str) -> str:
        return str(
            self.given.rasteret_python if engine == "rasteret" and self.given.rasteret_python else sys.executable
        )

    def _index(self, engine: str, link: str) -> str:
        return str(self.folder / f"{engine}-{link}")

    def _environment(self) -> dict[str, str]:
        """Return the environment of a process: with bytecode, as where packages are installed, whatever this shell says of it."""
        kept = {name: word for name, word in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(self.given.package), "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode")}

    def prepare(self, engine: str) -> bool:
        """Build the indexes of an engine; False where it is not installed."""
        for link, url in self.urls.items():
            command = [
                self._python(engine),
                str(HERE / "measure.py"),
                "prepare",
                engine,
                url,
                self._index(engine, link),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
            if done.returncode or "skipped" in done.stdout:
                print(f"{engine} is left out: {done.stdout.strip() or done.stderr.strip()[-500:]}", file=sys.stderr)
                return False
        return True

    def once(self, engine: str, name: str, link: str) -> dict[str, Any]:
        command = [self._python(engine), __file__, "--once", engine, str(self.folder / name), self.urls[link]]
        command += [self._index(engine, link), str(time.perf_counter())]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment())
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer


def table(rows: dict[tuple[str, str, str], list[dict[str, Any]]], present: list[str]) -> list[str]:
    """Write medians of both clocks, and ours over each peer's, paired by round."""
    lines = [
        "| workload | link | engine | start s | call s | CPU of call s | ours / engine: start | call | CPU | modules |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, link in dict.fromkeys((name, link) for name, link, _ in rows):
        ours = rows[name, link, "ours"]
        for engine in present:
            runs = rows[name, link, engine]
            clocks = ("from_start_s", "from_call_s", "cpu_s")
            cells = [f"{statistics.median(run[clock] for run in runs):.3f}" for clock in clocks]
            for clock in clocks:
                ratio = statistics.median(a[clock] / b[clock] for a, b in zip(ours, runs, strict=True))
                cells.append("" if engine == "ours" else f"{ratio:.2f}")
            imported = int(statistics.median(run["modules"] for run in runs))
            lines.append(f"| {TITLES[name]} | {LINKS[link]} | {engine} | {' | '.join(cells)} | {imported} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workload", nargs="+", default=list(SHOWN), choices=list(TITLES))
    parser.add_argument("--engine", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--link", nargs="+", default=list(LINKS), choices=list(LINKS))
    parser.add_argument("--rasteret-python", metavar="PATH", help="an interpreter (3.12 or later) that has rasteret")
    parser.add_argument("--package", type=Path, default=HERE.parent, help="the checkout whose package is `ours`")
    parser.add_argument("--once", nargs=5, metavar="WORD", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(*given.once)), flush=True)
        return
    ensure_corpus(given.data)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(static_server(given.data))
        urls = {"direct": server.url, "latency": stack.enter_context(latency_proxy(server))}
        urls = {link: urls[link] for link in given.link}
        first = FirstQueries(given, urls, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-first-"))))
        present = [engine for engine in dict.fromkeys(["ours", *given.engine]) if first.prepare(engine)]
        rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        # Round -1 fills page caches and bytecode, and does not count.
        for number in range(-1, given.rounds):
            order = present[number % len(present) :] + present[: number % len(present)]
            for name in given.workload:
                for link in urls:
                    for engine in order:
                        done = first.once(engine, name, link)
                        if number >= 0:
                            rows.setdefault((name, link, engine), []).append(done)
    for name in given.workload:
        if len({run["digest"] for key, runs in rows.items() if key[0] == name for run in runs}) != 1:
            raise SystemExit(f"{name}: the engines do not give the same pixels")
    print(f"{given.rounds} interleaved rounds; load {os.getloadavg()[0]:.1f}.\n")
    print("\n".join(table(rows, present)))


if __name__ == "__main__":
    main()
