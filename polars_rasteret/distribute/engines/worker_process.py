"""What does a worker process do: read tasks from its pipe, do them, and end when its driver does?

The main module of the driver is not imported here, so a script needs no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import threading

from polars_rasteret.distribute.jobs.job_files import delete_unfinished
from polars_rasteret.distribute.jobs.tasks import run_task

START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop()); "
    "from polars_rasteret.distribute.engines.worker_process import serve; serve()"
)
"""Program of a worker process; its argument is where to import from."""
READY = "ready"
_LOOK_S = 1.0
"""How often a worker looks whether its driver lives, beside its pipe: a process that the driver forked may hold the pipe open."""


def serve() -> None:
    """Answer each line of the standard input, which is a task, with a line that is its result; never return.

    What functions of the query print goes to the standard error stream, and they find nothing to read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    tasks, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, lines, os.getppid()), daemon=True).start()
    _answer(answers, json.dumps(READY))
    while True:
        _answer(answers, run_task(lines.get()))


def _listen(tasks: int, lines: queue.SimpleQueue[str], driver: int) -> None:
    """Pass on lines of the pipe, and end the process when the pipe or its driver ends, whatever it is doing."""
    rest = b""
    while os.getppid() == driver:
        if not select.select([tasks], [], [], _LOOK_S)[0]:
            continue
        if not (data := os.read(tasks, 1 << 16)):
            break
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            lines.put(line.decode())
    delete_unfinished()
    os._exit(0)


def _answer(answers: int, text: str) -> None:
    data = memoryview(text.encode() + b"\n")
    try:
        while data:
            data = data[os.write(answers, data) :]
    except BrokenPipeError:
        os._exit(0)  # nobody listens
