"""Do forked children say what to do, and do other workers read?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.range_server import RangeServer

BEGIN = """
import concurrent.futures, io, json, multiprocessing, os, pickle, sys, warnings
import polars as pl
import polars_rasteret as pr

LEFT, TOP, STEP = 600_000.0, 5_000_000.0, 10.0
points = pl.DataFrame({"x": [LEFT + STEP * (n + 0.5) for n in range(40)], "y": [TOP - STEP * 70.5] * 40})

def records(origin):
    table = pl.DataFrame({"id": ["a", "b"], "red": [f"{origin}/{n}/red.tif" for n in range(2)]})
    return pr.build_from_table(table, bands={"red": "red"})

def asked(origin):
    return records(origin).raster.sample_points(points, ["red"], crs="native")

def expression(origin):
    pairs = records(origin).raster.pair(points, crs="native").collect()
    return pairs.lazy().with_columns(red=pl.col("red").raster.sample_points("x", "y", crs="native"))

def run_pickled(data, engine):
    return pickle.loads(data).collect(engine=engine)["red"].to_list()

def run_serialized(data, engine):
    return pl.LazyFrame.deserialize(io.BytesIO(data)).collect(engine=engine)["red"].to_list()

def build_and_run(origin):
    return asked(origin).collect()["red"].to_list()
"""

WORKERS = """
if __name__ == "__main__":
    origin, method = sys.argv[1:3]
    told = {}
    truth = asked(origin).collect()["red"].to_list()  # the parent has used everything before
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = {"built there": pool.submit(build_and_run, origin)}
        for engine in ("streaming", "in-memory"):
            for name, query in (("verb", asked(origin)), ("expression", expression(origin))):
                jobs[f"{name} pickled {engine}"] = pool.submit(run_pickled, pickle.dumps(query), engine)
                jobs[f"{name} serialized {engine}"] = pool.submit(run_serialized, query.serialize(), engine)
        told = {name: job.result(60) == truth for name, job in jobs.items()}
    print(json.dumps({"n": len(truth), **told}))
"""

FORK = """
if __name__ == "__main__":
    origin, face = sys.argv[1:3]
    warnings.simplefilter("ignore")
    query = {"expression": expression}.get(face, asked)(origin)
    lf = records(origin)
    query.collect()
    child = os.fork()
    if not child:
        try:
            if face == "written before":
                query.collect(engine=sys.argv[3])
            elif face == "verb":
                lf.raster.sample_points(points, ["red"], crs="native").collect()
            else:
                pl.LazyFrame({"red": [None]}).with_columns(pl.col("red").raster.sample_points("x", "y", crs="native"))
        except (pr.errors.UsageError, pl.exceptions.ComputeError) as error:
            print(error, flush=True)
        except BaseException as error:
            print("another error", repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent", query.collect().height)
"""


def run(tmp_path: Path, program: str, *arguments: str, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "program.py"  # children of spawn import it
    script.write_text(BEGIN + program)
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.mark.parametrize(
    "method", ["spawn", pytest.param("forkserver", marks=pytest.mark.skipif(os.name == "nt", reason="no fork"))]
)
def test_workers_read_queries_of_the_parent(archive, tmp_path, method):
    with RangeServer(archive.files) as server:
        done = run(tmp_path, WORKERS, server.origin, method)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("n") == 80
    assert len(told) == 9
    assert all(told.values()), told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("face", ["verb", "expression"])
def test_a_query_in_a_forked_child_is_refused_at_once(archive, tmp_path, face):
    with RangeServer(archive.files) as server:
        done = run(tmp_path, FORK, server.origin, face, timeout_s=30)
    assert done.returncode == 0, done.stderr
    assert "was forked from" in done.stdout
    assert "spawn" in done.stdout
    assert "parent 80" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_verb_written_before_the_fork_is_refused_before_polars_hangs(archive, tmp_path, engine):
    """Of an expression Polars asks nothing before it waits for threads that the child does not have: it hangs, as any query."""
    with RangeServer(archive.files) as server:
        done = run(tmp_path, FORK, server.origin, "written before", engine, timeout_s=30)
    assert done.returncode == 0, done.stderr
    assert "was forked from" in done.stdout
    assert "spawn" in done.stdout
    assert "parent 80" in done.stdout
