"""What do tests do inside of worker processes: kill them at drawn moments, note what they read, configure their stores?

Functions that a query holds travel by value where their module is the main one, else by name: workers import this module.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import polars as pl

import polars_rasteret as pr

STEPS = ("read", "draft", "part", "note", "end")
"""Moments of a part, in order: while it is read; when its file is about to appear; has appeared; when its note is about to be
written; to appear."""


def log(folder, **at):
    """Return a function for `map_batches` that writes a line with the process id, and may kill the process.

    Parameters
    ----------
    folder
        A folder of files that the function may write.
    at
        ``pid`` (a value of the series of the part in which to kill), ``step`` (a moment of `STEPS`), and ``times`` (how often);
        ``gate``: a file, while which is there a part is not read on.
    """
    return lambda series: _log(series, str(folder), **at)


def _log(series, folder, *, pid=-1, step="", times=1, gate=None):
    if len(series):
        with Path(folder, "log").open("a") as sink:
            sink.write(f"{os.getpid()} {series.min()}\n")
    while len(series) and gate is not None and Path(gate).exists():
        time.sleep(0.01)
    if pid in series.to_list():
        deaths = Path(folder, "deaths")
        n_deaths = len(deaths.read_text()) if deaths.exists() else 0
        if n_deaths < times:
            _arm(step, deaths)
    return series


def parts_read(folder):
    """Return what `log` wrote: the process id of the worker, and the least value, of each read of a part that has rows."""
    path = Path(folder, "log")
    return {tuple(map(int, line.split())) for line in path.read_text().splitlines()} if path.exists() else set()


def _die(deaths):
    with deaths.open("a") as sink:
        sink.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(step, deaths):
    """Kill this process at a moment of the part at hand."""
    if step == "read":
        _die(deaths)

    def hook(event, args):
        path = (
            os.fsdecode(args[1] if event == "os.rename" else args[0]) if args and event in ("os.rename", "open") else ""
        )
        is_note = "/writing/" in path if event == "open" else "/done/" in path
        moment = {
            ("os.rename", False): "draft" if path.endswith(".parquet") else "",
            ("open", False): "part" if path.endswith("/out") else "",
            ("open", True): "note" if path.rpartition("/")[2].count(".json.") else "",
            ("os.rename", True): "end",
        }.get((event, is_note))
        if moment == step:
            _die(deaths)

    sys.addaudithook(hook)


def option_in_force(name):
    """Return a function for `map_batches` that gives an option of the process in which it runs."""
    return lambda series: pl.Series([getattr(pr.options, name)] * len(series), dtype=pl.Int64)


def configure():
    """Configure the store of `PART_WORLD`, as a set-up function of workers."""
    from obstore.store import LocalStore

    folder = os.environ["PART_WORLD"]
    pr.configure_store(folder, store=LocalStore(folder))


def configure_wrong():
    """Raise an error whose text holds what must not come out."""
    raise KeyError(os.environ["PART_SECRET"])
