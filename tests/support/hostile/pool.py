"""How are many hostile cases run, each where it can do no harm? In worker processes that may die, and are then replaced."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.child_process import environment

_N_CHUNK = 50


class Worker:
    """One process of ``tests.support.hostile.worker``; ``ours`` has the package in it, ``gdal`` has GDAL."""

    def __init__(self, folder: Path, which: str) -> None:
        self._folder, self._which = folder, which
        self._start()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hostile.worker", str(self._folder), self._which],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env=environment(),
        )  # fmt: skip
        first = self._process.stdout.readline()
        assert first == "ready\n", (first, self._stderr())

    def ask(self, job: str, case: str) -> dict:
        """Run one case; ``died`` when it ended the process: then a new one is there for the next."""
        self._process.stdin.write(f"{job} {case}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"> {job} {case}\n"
        answer = self._process.stdout.readline()
        if answer:
            return {"job": job, "case": case, **json.loads(answer)}
        code = self._process.wait()
        died = {"job": job, "case": case, "status": "died", "told": f"exit code {code}: {self._stderr()[-3000:]}"}
        self.close()
        self._start()
        return died

    def _stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()


class Pool:
    """Workers that stay from call to call, because it takes seconds to start one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: dict[str, list[Worker]] = {"ours": [], "gdal": []}

    def run(self, cases: Iterable[tuple[str, str]], *, n_workers: int = 1) -> list[dict]:
        """Give what became of each (job, case), in order."""
        todo = list(cases)
        with ThreadPoolExecutor(n_workers) as threads:
            found = threads.map(self._run, [todo[at : at + _N_CHUNK] for at in range(0, len(todo), _N_CHUNK)])
            return [one for chunk in found for one in chunk]

    def _run(self, chunk: list[tuple[str, str]]) -> list[dict]:
        which = "gdal" if chunk[0][0] == "gdal" else "ours"
        worker = self._idle[which].pop() if self._idle[which] else Worker(self._folder, which)
        try:
            return [worker.ask(*one) for one in chunk]
        finally:
            self._idle[which].append(worker)

    def close(self) -> None:
        """End all processes."""
        for worker in (*self._idle["ours"], *self._idle["gdal"]):
            worker.close()


def harmful(found: Iterable[dict]) -> list[dict]:
    """Give the cases that ended in neither an answer nor a clear error, or took too long."""
    return [one for one in found if one["status"] not in {"read", "refused", "large"} or one["cpu_s"] > 2]
