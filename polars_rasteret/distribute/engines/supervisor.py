"""How are worker processes started, given tasks, and replaced when one dies, so that only its own task is done again?

Each worker has one task at a time, and pipes of its own: a worker that is killed harms no other. Workers are of a process group
of their own, so Ctrl-C reaches the driver alone, which ends them. What a task is must not be put here.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from polars_rasteret.distribute.engines.worker_process import READY, START
from polars_rasteret.errors import RasteretError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOST_DEATHS = 3
"""How many workers may die of one task, or while they start, before it is given up."""


_IS_READY = json.dumps(READY).encode()


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    surroundings: tuple[str | None, list[str]]
    """Working folder, and where to import from, with which it was started."""
    task: int | None = None
    """Index of the task at hand."""
    is_ready: bool = False
    received: bytearray = field(default_factory=bytearray)

    @property
    def answers(self) -> int:
        """File descriptor of the pipe of answers."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()


class Supervisor:
    """Worker processes that stay until `close`."""

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._workers: list[_Worker] = []
        self._n_failed_starts = 0

    def results(self, tasks: Sequence[Callable[[], str]]) -> Iterator[tuple[int, str | None, str]]:
        """Yield the index of each task, and its answer; None for a task that is given up, and how its workers died.

        Parameters
        ----------
        tasks
            Functions that make the text of a task when it is sent.

        Raises
        ------
        RasteretError
            When no worker can be started.
        """
        # A path that is relative now would be another one where this process was when a worker was started.
        now = _surroundings()
        self._end([worker for worker in self._workers if worker.surroundings != now])
        waiting = collections.deque(range(len(tasks)))
        n_deaths: collections.Counter[int] = collections.Counter()
        n_left = len(tasks)
        try:
            while n_left:
                self._employ(waiting, tasks, n_left)
                for worker in self._ready():
                    if data := os.read(worker.answers, 1 << 16):
                        for answer in self._lines(worker, data):
                            done, worker.task = worker.task, None
                            assert done is not None
                            n_left -= 1
                            yield done, answer, ""
                        continue
                    lost, how = self._buried(worker)
                    if lost is None:
                        continue
                    n_deaths[lost] += 1
                    if n_deaths[lost] < MOST_DEATHS:
                        waiting.appendleft(lost)
                    else:
                        n_left -= 1
                        yield lost, None, f"{how}, {MOST_DEATHS} times"
        finally:
            self._end([worker for worker in self._workers if worker.task is not None])

    def close(self) -> None:
        """End all workers."""
        self._end(list(self._workers))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def _employ(self, waiting: collections.deque[int], tasks: Sequence[Callable[[], str]], n_left: int) -> None:
        """Start workers that are missing, and send a task to each worker that has none."""
        while len(self._workers) < min(self.n_workers, n_left):
            self._workers.append(_started())
        for worker in self._workers:
            if worker.task is None and waiting:
                worker.task = waiting.popleft()
                assert worker.process.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # it died: its other pipe tells
                    worker.process.stdin.write(tasks[worker.task]().encode() + b"\n")
                    worker.process.stdin.flush()

    def _ready(self) -> list[_Worker]:
        """Return workers that have answered or died, after a wait."""
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.answers, selectors.EVENT_READ, worker)
            return [key.data for key, _ in selector.select()]

    def _lines(self, worker: _Worker, data: bytes) -> Iterator[str]:
        """Yield the answers that are complete with some more bytes."""
        worker.received += data
        *whole, rest = bytes(worker.received).split(b"\n") if b"\n" in data else (worker.received,)
        worker.received = bytearray(rest)
        for line in whole:
            if worker.is_ready:
                yield line.decode()
            elif line.endswith(_IS_READY):  # whatever is printed while Python starts comes before
                worker.is_ready, self._n_failed_starts = True, 0

    def _buried(self, worker: _Worker) -> tuple[int | None, str]:
        """Return the task that a dead worker had, and how it died; the worker is no longer among ours."""
        code = worker.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        self._end([worker])
        if not worker.is_ready:
            self._n_failed_starts += 1
            if self._n_failed_starts >= MOST_DEATHS:
                self._n_failed_starts = 0
                raise RasteretError(
                    f"a worker process {how} before it began, {MOST_DEATHS} times; what it wrote to the standard error stream "
                    f"says why. It was started with {sys.executable}."
                )
        return worker.task, how

    def _end(self, workers: Sequence[_Worker]) -> None:
        for worker in workers:
            worker.process.kill()  # parts appear whole or not at all, so nothing is lost that a resume would miss
        for worker in workers:
            worker.process.wait()
            for pipe in (worker.process.stdin, worker.process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self._workers.remove(worker)


def _surroundings() -> tuple[str | None, list[str]]:
    try:
        folder = str(Path.cwd())
    except FileNotFoundError:  # somebody deleted it
        folder = None
    return folder, [one for one in sys.path if isinstance(one, str)]  # Python passes over what is none, such as a Path


def _started() -> _Worker:
    if not sys.executable:
        raise UsageError("this Python does not know its own program (sys.executable), so it cannot start workers")
    surroundings = _surroundings()
    flags = ["-P"]  # modules in the working folder must not come before those of Python
    flags += ["-E"] if sys.flags.ignore_environment else []
    flags += ["-s"] if sys.flags.no_user_site else []
    process = subprocess.Popen(  # noqa: S603 - this Python, and a program of ours
        [sys.executable, *flags, "-c", START, json.dumps(surroundings[1])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    return _Worker(process, surroundings)
