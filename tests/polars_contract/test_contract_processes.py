"""What hangs, and what needs a process of its own to be seen? Rules 2, 6, 12 and 13 (cleanup).

Scripts run in subprocesses. Those that must hang are started together and judged after one common wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills whole process groups and forks")

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)

HANGS_AFTER_S = 7
GIVE_UP_AFTER_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    finished: bool
    printed: str
    errors: str


def start(script, *args, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        start_new_session=True,  # so that a forked child can be killed with its parent
    )


def judge(process, timeout_s):
    finished = True
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        finished = False
        os.killpg(process.pid, signal.SIGKILL)
    printed, errors = process.communicate()
    return Outcome(finished=finished and process.returncode == 0, printed=printed, errors=errors)


def run(script, *args, **environment):
    return judge(start(script, *args, **environment), GIVE_UP_AFTER_S)


# Rule 2: no Polars calls on engine threads.

WAIT_FOR_A_THREAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np, polars as pl
from polars.io.plugins import register_io_source

where, work, engine, n_callbacks = sys.argv[1:4] + [int(sys.argv[4])]
pool = ThreadPoolExecutor(8)
frame = pl.DataFrame({"a": [1, 2, 3]})
WORK = {
    "polars": lambda: frame.filter(pl.col("a") > 1),
    "construct": lambda: pl.DataFrame({"a": np.arange(5)}),
    "numpy": lambda: np.arange(1000).sum(),
}

def wait(values=None):
    print("waiting", flush=True)
    pool.submit(WORK[work]).result()
    return values

columns = [
    pl.col("a").map_batches(wait, return_dtype=pl.Int64, is_elementwise=True).alias(f"b{i}") for i in range(n_callbacks)
]
query = pl.LazyFrame({"a": range(10)}).with_columns(columns)

def source(with_columns, predicate, n_rows, batch_size):
    wait()
    yield pl.DataFrame({"a": range(10)})

def nested(with_columns, predicate, n_rows, batch_size):
    yield from query.select("a", "b0", "b1").collect_batches(chunk_size=3)

match where:
    case "expression":
        query.collect(engine=engine)
    case "io source":
        register_io_source(source, schema={"a": pl.Int64}).collect(engine=engine)
    case "nested":
        schema = {"a": pl.Int64, "b0": pl.Int64, "b1": pl.Int64}
        assert register_io_source(nested, schema=schema).collect(engine=engine).height == 10
print("done", flush=True)
"""

# Rule 12: fork after Polars has run.

FORK = """
import os, sys
import polars as pl

def query():
    frame = pl.LazyFrame({"a": range(1000)}).filter(pl.col("a") > 5).group_by("a").len()
    return frame.collect(engine=sys.argv[2]).height

if sys.argv[1] == "after":
    query()
print("forking", flush=True)
child = os.fork()
if child == 0:
    query()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0
print("done", flush=True)
"""

# Without the pause the read sometimes works: only an idle thread of the parent is missed by the child.
FORK_OBSTORE = """
import os, time
import obstore
from obstore.store import LocalStore

store = LocalStore(os.path.dirname(os.__file__))
assert obstore.get(store, "os.py").bytes()
time.sleep(0.3)
print("forking", flush=True)
child = os.fork()
if child == 0:
    obstore.get(store, "os.py").bytes()
    os._exit(0)
os.waitpid(child, 0)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def after_a_while():
    """Outcomes of the scripts that hang today, all given the same time."""
    processes = {
        "two callbacks": start(WAIT_FOR_A_THREAD, "expression", "polars", "in-memory", 2, POLARS_MAX_THREADS="2"),
        "fork streaming": start(FORK, "after", "streaming"),
        "fork in-memory": start(FORK, "after", "in-memory"),
        "fork obstore": start(FORK_OBSTORE),
    }
    timeouts = [HANGS_AFTER_S, *[0.1] * (len(processes) - 1)]
    return {name: judge(one, wait) for (name, one), wait in zip(processes.items(), timeouts, strict=True)}


def test_in_memory_callbacks_that_wait_for_a_thread_that_runs_polars_deadlock(after_a_while):
    outcome = after_a_while["two callbacks"]
    assert "waiting" in outcome.printed, outcome.errors
    assert not outcome.finished


@pytest.mark.parametrize(
    ("where", "work", "engine", "n_callbacks"),
    [
        # It takes as many callbacks at once as Polars has threads (two here).
        ("expression", "polars", "in-memory", 1),
        ("expression", "polars", "streaming", 2),
        ("expression", "construct", "in-memory", 2),
        ("expression", "numpy", "in-memory", 2),
        ("expression", "numpy", "streaming", 2),
        ("io source", "polars", "in-memory", 0),
        ("io source", "polars", "streaming", 0),
        ("nested", "numpy", "in-memory", 2),
        ("nested", "numpy", "streaming", 2),
    ],
)
def test_waiting_for_a_thread_is_safe(where, work, engine, n_callbacks):
    outcome = run(WAIT_FOR_A_THREAD, where, work, engine, n_callbacks, POLARS_MAX_THREADS="2")
    assert outcome.finished, outcome.errors
    assert outcome.printed.endswith("done\n")


@both_engines
def test_a_query_in_a_process_forked_after_polars_has_run_hangs(after_a_while, engine):
    outcome = after_a_while[f"fork {engine}"]
    assert "forking" in outcome.printed, outcome.errors
    assert not outcome.finished


def test_a_read_in_a_process_forked_after_obstore_has_run_hangs(after_a_while):
    pytest.importorskip("obstore")
    outcome = after_a_while["fork obstore"]
    assert "forking" in outcome.printed, outcome.errors
    assert not outcome.finished


@both_engines
def test_a_query_in_a_process_forked_before_polars_has_run_works(engine):
    outcome = run(FORK, "before", engine)
    assert outcome.finished, outcome.errors


OTHER_START_METHODS = """
import multiprocessing, sys
import polars as pl

def query(_):
    return pl.LazyFrame({"a": range(1000)}).filter(pl.col("a") > 5).group_by("a").len().collect().height

if __name__ == "__main__":
    assert query(0) == 994
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        assert pool.map(query, [0]) == [994]
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_query_in_a_process_started_another_way_works(tmp_path, method):
    path = tmp_path / "script.py"
    path.write_text(OTHER_START_METHODS)
    outcome = run("import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')", path, method)
    assert outcome.finished, outcome.errors


# Rule 6: cloudpickle is a hard dependency.

WITHOUT_CLOUDPICKLE = """
import sys
if sys.argv[1] == "missing":
    sys.modules["cloudpickle"] = None
import polars as pl
from polars.io.plugins import register_io_source

def source(with_columns, predicate, n_rows, batch_size):
    frame = pl.DataFrame({"a": [1, 2]})
    yield frame if predicate is None else frame.filter(predicate)

scan = register_io_source(source, schema={"a": pl.Int64})
udf = pl.col("a").map_batches(lambda values: values > 1, return_dtype=pl.Boolean, is_elementwise=True)
queries = {
    "native filter": lambda engine: scan.filter(pl.col("a") > 1).collect(engine=engine),
    "udf column": lambda engine: scan.with_columns(v=udf).filter("v").collect(engine=engine),
    "udf filter": lambda engine: scan.filter(udf).collect(engine=engine),
    "serialize": lambda engine: scan.serialize(),
}
for name, query in queries.items():
    for engine in ("streaming", "in-memory"):
        try:
            query(engine)
            print(name, "works")
        except pl.exceptions.ComputeError as error:
            print(name, "fails", "cloudpickle" in str(error))
"""


@pytest.mark.parametrize("cloudpickle", ["missing", "installed"])
def test_a_udf_in_a_filter_on_an_io_source_needs_cloudpickle(cloudpickle):
    outcome = run(WITHOUT_CLOUDPICKLE, cloudpickle)
    assert outcome.finished, outcome.errors
    verdict = "works" if cloudpickle == "installed" else "fails True"
    words = {"native filter": "works", "udf column": "works", "udf filter": verdict, "serialize": verdict}
    assert outcome.printed.splitlines() == [f"{name} {word}" for name, word in words.items() for _ in ENGINES]


# Rule 13, second half: cleanup may run late.

ABANDON = """
import gc, time
import polars as pl
from polars.io.plugins import register_io_source

def source(with_columns, predicate, n_rows, batch_size):
    try:
        for i in range(1000):
            yield pl.DataFrame({"a": [i]})
    finally:
        print("cleaned up", flush=True)

batches = iter(register_io_source(source, schema={"a": pl.Int64}).collect_batches(engine="streaming"))
next(batches)
del batches
gc.collect()
time.sleep(0.5)
print("end of script", flush=True)
"""


def test_cleanup_of_an_abandoned_streaming_generator_does_not_run_before_the_end_of_the_process():
    outcome = run(ABANDON)
    assert outcome.finished, outcome.errors
    assert outcome.printed.splitlines()[0] == "end of script"
