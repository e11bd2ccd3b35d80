"""Writers that are killed just before one of their effects on the disk, each in a process of its own.

A parent that has imported the package, but has not run Polars, forks one child per writer: that costs milliseconds. Audit events
of Python name every effect on the file system, so every moment between two effects can be chosen.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.child_process import environment

WAIT_S = 300.0

_STAGE = re.compile(r"\.[^/]*\.writing(/|$)")


def actions() -> dict[str, Any]:
    """Give what writers do, by name; each takes a folder as `killed_world` made it."""
    import polars as pl

    import polars_rasteret as pr

    def scenes(world: Path, name: str) -> Any:
        return pl.read_parquet(world / f"{name}.pq_").lazy().raster

    def sink(name: str, target: str, **words: Any) -> Any:
        return lambda world: scenes(world, name).sink_collection(world / target, wait_s=WAIT_S, **words)

    def build(target: str) -> Any:
        def built(world: Path) -> None:
            import polars_rasteret.ingest.resumable_build as into_module

            into_module.RECORDS_PER_PART = 2
            importlib.import_module("polars_rasteret.ingest.joined_parts").RECORDS_PER_PART = 3
            table = pl.read_parquet(world / "table.pq_")
            pr.build_from_table(table, bands={"b1": "href"}, into=world / target, wait_s=WAIT_S, progress=False)

        return built

    def removed(target: str) -> Any:
        return lambda world: pr.remove(world / target, pl.col("id").is_in(["02", "05"]), wait_s=WAIT_S)

    return {
        "append": sink("more", "c", mode="append"),
        "append to one file": sink("more", "c.parquet", mode="append"),
        "append in hive folders": sink("more", "hive", mode="append", partition_by="id"),
        "overwrite": sink("more", "c", mode="overwrite"),
        "overwrite one file": sink("more", "c.parquet", mode="overwrite"),
        "write": sink("more", "new", mode="append"),
        "compact": lambda world: pr.compact(world / "c", wait_s=WAIT_S),
        "remove": removed("c"),
        "remove from one file": removed("c.parquet"),
        "refresh": lambda world: pr.refresh(world / "c", wait_s=WAIT_S, progress=False),
        "refresh one file": lambda world: pr.refresh(world / "c.parquet", wait_s=WAIT_S, progress=False),
        "into": build("c"),
        "into one file": build("c.parquet"),
        "second": sink("second", "c", mode="append"),
        "second to one file": sink("second", "c.parquet", mode="append"),
        "second in hive folders": sink("second", "hive", mode="append", partition_by="id"),
    }


def with_small_manifests() -> dict[str, int]:
    """Let collections of two parts have a manifest; gives the names of what is set to what it was."""
    before = {}
    for module in ("storage.parts_manifest", "writing.noted_parts"):
        name = f"polars_rasteret.collection.{module}"
        before[name] = importlib.import_module(name).FEWEST_PARTS
        set_fewest_parts({name: 2})
    return before


def set_fewest_parts(values: dict[str, int]) -> None:
    for name, value in values.items():
        importlib.import_module(name).FEWEST_PARTS = value


def point(event: str, args: tuple[Any, ...]) -> str | None:
    """Name the step that an audit event announces, as the protocol does; None for what is no effect."""
    if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        return None
    path = args[1] if event == "os.rename" else args[0]
    if isinstance(path, int) or (event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return None
    path = os.fsdecode(path)
    if event in ("os.remove", "os.rmdir") and args[-1] not in (-1, None):
        return "clear stage"
    if (event == "os.mkdir" and os.path.lexists(path)) or (event == "os.remove" and not os.path.lexists(path)):
        return None  # without effect
    name = path.rpartition("/")[2]
    verb = {"open": "write", "os.rename": "place", "os.remove": "delete", "os.mkdir": "make", "os.rmdir": "drop"}[event]
    if _STAGE.search(path):
        what = "stage lock" if name == "lock" else "stage" if event in ("os.mkdir", "os.rmdir") else "draft"
    elif name == "_overwrite.json":
        what = "journal"
    elif name == "_parts.parquet":
        what = "manifest"
    elif name == "_build.json":
        what = "lease"
    elif name.endswith(".lock"):
        what = "lock"
    elif name.endswith(".parquet") and event != "os.mkdir":
        what = "part"
    elif event in ("os.mkdir", "os.rmdir"):
        what = "folder"
    else:
        return None
    return f"{verb} {what}"


def run_child(job: dict[str, Any], answer: int) -> None:
    """Do one action, and end before effect number ``kill_at``; tell the steps taken, and how it ended."""
    steps: list[str] = []
    root = job["world"]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        step = point(event, args)
        if step is None or not on[0]:
            return
        if step != "clear stage" and root not in os.fsdecode(args[1] if event == "os.rename" else args[0]):
            return
        if len(steps) == job["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(step)

    with_small_manifests()
    on = [True]
    sys.addaudithook(hook)
    said = "done"
    try:
        if job["kill_after_s"] is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, job["kill_after_s"])
        actions()[job["action"]](Path(root))
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    on[0] = False
    os.write(answer, json.dumps({"said": said, "steps": steps}).encode())


def serve() -> None:
    """Fork a child for each job of a line of jobs, wait for all of them, and answer with a line."""

    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            source, sink = os.pipe()
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(source)
                    run_child(job, sink)
                finally:
                    os._exit(0)
            os.close(sink)
            children.append((pid, source))
        answers = []
        for pid, source in children:
            with os.fdopen(source) as told:
                text = told.read()
            os.waitpid(pid, 0)
            answers.append(json.loads(text) if text else {"said": "killed", "steps": []})
        print(json.dumps(answers), flush=True)


class Writers:
    """The parent process of writers."""

    def __enter__(self) -> Self:
        # Polars in a forked child warns; nothing of it runs in the parent.
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.killed_writers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(POLARS_MAX_THREADS="1"),
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, world: Path, *wishes: tuple[str, int | None, float | None]) -> list[dict[str, Any]]:
        """Let writers act at once; each wish is an action, the effect before which to kill it, and seconds after which to."""
        jobs = [{"world": str(world), "action": one, "kill_at": at, "kill_after_s": s} for one, at, s in wishes]
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


if __name__ == "__main__":
    serve()
