"""Does the interpreter end cleanly while requests run, and is a fork refused rather than left hanging?"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.range_server import Fault, RangeServer
from tests.support.receiver import DATA

BEGIN = """
import sys, time, os
import numpy as np
from polars_rasteret.fetch.scheduling.scheduler import FileKey, process_scheduler
from polars_rasteret.options import ReadOptions
told = []
def fetch(n, **options):
    start = np.arange(n) * 90
    return process_scheduler().fetch([FileKey(sys.argv[1])], np.zeros(n, dtype=np.int64), start, start + 80,
        group=lambda f, a, b: np.arange(len(a)), deliver=lambda tile, data, done: (told.append(tile), done()),
        fail=lambda tile, error: told.append(error), options=ReadOptions(**options))
"""


def run(code, href):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code, href], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("n_times", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_the_interpreter_ends_cleanly_while_requests_run(server, n_times):
    server.latency_s = 0.002
    with ThreadPoolExecutor(4) as pool:
        codes = [f"fetch(1000); time.sleep({n % 20} * 0.004)" for n in range(n_times)]
        for done in pool.map(run, codes, [server.url("f.bin")] * n_times):
            assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_ends_soon_when_a_server_stalls(server):
    server.fault = lambda _seen: Fault(stall_after=10)
    done = run("fetch(5); time.sleep(0.2)", server.url("f.bin"))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_a_forked_child_is_told_to_use_spawn(server):
    code = """
fetch(3)
while len(told) < 3: time.sleep(0.01)
import warnings; warnings.simplefilter("ignore")
child = os.fork()
if not child:
    try:
        fetch(3)
    except ValueError as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    done = run(code, server.url("f.bin"))
    assert "spawn" in done.stdout
    assert done.returncode == 0


def test_a_spawned_child_reads():
    code = """
import concurrent.futures, multiprocessing
read = "from polars_rasteret.fetch.sources.stores import source_for; print(len(source_for({0!r}).get({0!r}, 0, 10, etag=None)))"
if __name__ == "__main__":
    fetch(3)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(exec, read.format(sys.argv[1])).result()
"""
    with RangeServer({"f.bin": DATA}) as server:
        done = run(code, server.url("f.bin"))
    assert (done.stdout.strip(), done.returncode) == ("10", 0), done.stderr
