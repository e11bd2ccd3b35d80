"""Do the workers of Ray and Dask read what one process reads, whatever happens to them?

One cluster of each kind serves all tests here; they stay on one process of pytest-xdist (`xdist_group`), or each has its own.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.distribute.engines.ray_engine import _workers
from polars_rasteret.errors import FetchError, RasteretError, UsageError
from tests.support.child_process import ROOT, environment
from tests.support.part_queries import KEYS, MATCHES, VERBS, logged, notes, points, verb_query
from tests.support.part_workers import option_in_force, parts_read
from tests.support.part_world import part_world

KINDS = {"Ray": "ray", "Dask": "distributed"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return part_world(tmp_path_factory.mktemp("parts"))


def of_ray():
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=100 << 20,
            log_to_driver=False,
            configure_logging=False,
        )
    try:
        yield pr.RayEngine(num_cpus=1, min_parts=8)
    finally:
        ray.shutdown()


def of_dask():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        client.run(sys.path.insert, 0, str(ROOT))
        yield pr.DaskEngine(client, min_parts=8)


@pytest.fixture(scope="module", params=KINDS)
def engine(request):
    if find_spec(KINDS[request.param]) is None:
        pytest.skip(f"{KINDS[request.param]} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from {"Ray": of_ray, "Dask": of_dask}[request.param]()


def cases():
    """Every verb, and every match and unmatched once by default; all of them together among the slow tests."""
    quick = {("read_windows", "all", "null"), ("zonal_stats", "latest", "drop"), ("pixels", "all", "drop")}
    quick |= {("sample_points", match, "null") for match in ("all", "earliest", "nearest")}
    for case in itertools.product(VERBS, MATCHES, ("null", "drop")):
        yield pytest.param(*case, marks=() if case in quick else pytest.mark.slow)


@pytest.mark.parametrize(("verb", "match", "unmatched"), [*cases()])
def test_every_verb_gives_in_a_cluster_what_it_gives_in_one_process(world, engine, tmp_path, verb, match, unmatched):
    (query, keys), into = verb_query(world, verb, match, unmatched), tmp_path / "out"
    found = pr.run(query, into=into, engine=engine).collect()
    assert_frame_equal(found.sort(keys, maintain_order=True), query.collect().sort(keys, maintain_order=True))
    done = notes(into)
    assert len(done) >= 8
    workers = {one["worker"].rpartition(":")[2] for one in done}
    assert len(workers) == 2
    assert str(os.getpid()) not in workers
    assert sum(one["rows"] for one in done) == found.height


def test_polars_own_verbs_take_the_engine(world, engine, tmp_path):
    query = points(world)
    expected = query.collect().sort(KEYS)
    assert_frame_equal(query.collect(engine=engine).sort(KEYS), expected)
    query.sink_parquet(tmp_path / "out", engine=engine)
    assert_frame_equal(pl.scan_parquet(tmp_path / "out").collect().sort(KEYS), expected)


def by_ray_data(engine, into, numbers):
    import ray

    ray.data.from_items(numbers).map(lambda row: {"file": pr.run_part(into, row["item"])}).materialize()


def by_dask(engine, into, numbers):
    engine.client.gather(engine.client.map(lambda number: pr.run_part(into, number), numbers))


def test_parts_are_read_by_what_has_no_engine_here(world, engine, tmp_path):
    into = str(tmp_path / "out")
    numbers = list(pr.plan_parts(points(world), min_parts=8, into=into)["part"])
    recipe = by_ray_data if isinstance(engine, pr.RayEngine) else by_dask
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipe(engine, into, numbers)
    assert_frame_equal(pl.scan_parquet(into).collect().sort(KEYS), points(world).collect().sort(KEYS))
    workers = {one["worker"].rpartition(":")[2] for one in notes(into)}
    assert workers
    assert str(os.getpid()) not in workers


def test_workers_of_one_machine_share_what_belongs_to_it(world, engine):
    names = ("max_concurrency", "max_bytes_in_flight", "cache_bytes", "disk_cache_bytes")
    query = points(world).with_columns(
        pl.col("pid").map_batches(option_in_force(name), pl.Int64, is_elementwise=True).alias(name) for name in names
    )
    with pr.options(max_concurrency=9, max_bytes_in_flight=1_000_001, cache_bytes=600, disk_cache_bytes=77):
        found = query.collect(engine=engine)
    assert found.select(names).unique().rows() == [(4, 500_000, 300, 77)]


@pytest.mark.parametrize("step", ["read", "note"])
def test_a_worker_that_is_killed_loses_its_part_alone(world, engine, tmp_path, step):
    """``note`` is the moment between the file of a part and what the manifest says of it."""
    query, into = points(world), tmp_path / "out"
    found = pr.run(logged(query, tmp_path, pid=17, step=step), into=into, engine=engine).collect()
    assert (tmp_path / "deaths").read_text() == "x"
    assert_frame_equal(found.sort(KEYS), query.collect().sort(KEYS))
    read = parts_read(tmp_path)
    assert len(read) - len({least for _, least in read}) == (step == "read")
    assert len(notes(into)) == len(list(into.iterdir()))
    left = [str(one) for one in tmp_path.rglob("*") if "writing" in str(one) or one.name.startswith(".")]
    assert left == []


def test_a_failed_fetch_is_raised_as_what_it_is_with_its_text_and_the_part_and_resumed(world, engine, tmp_path):
    query, into = points(world), tmp_path / "out"
    gone = world.folder / "s1_0.tif"
    kept = gone.rename(world.folder / "kept")
    try:
        with pr.options(cache_bytes=0):
            with pytest.raises(FetchError) as alone:
                query.collect()
            with pytest.raises(FetchError) as caught:
                pr.run(query, into=into, engine=engine)
    finally:
        kept.rename(gone)
    assert type(caught.value) is FetchError
    where = str(alone.value).partition(" bytes ")[0]
    assert "s1_0.tif" in where
    assert str(caught.value).startswith(where)
    failed, done = notes(into, "failed"), notes(into)
    assert f"(part {failed[0]['part']} of {len(failed) + len(done)}" in str(caught.value)
    assert done
    before = {file: file.stat().st_mtime_ns for file in into.iterdir()}
    found = pr.run(query, into=into, engine=engine)
    assert len(list(into.iterdir())) == len(before) + len(failed)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert_frame_equal(found.collect().sort(KEYS), query.collect().sort(KEYS))


def test_a_set_up_function_is_called_in_workers(world, engine, tmp_path):
    cls = type(engine)
    words = {"num_cpus": 1} if cls is pr.RayEngine else {"client": engine.client}
    with pytest.raises(UsageError, match="configure_wrong' raised KeyError"):
        pr.run(
            points(world),
            into=tmp_path / "out",
            engine=cls(**words, min_parts=8, setup="tests.support.part_workers:configure_wrong"),
        )
    assert list((tmp_path / "out").iterdir()) == []


def wait_until(condition):
    """Wait until something is so; a test that waits for a minute has failed."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("nothing happened within a minute")


def test_ctrl_c_takes_back_the_tasks_and_the_same_call_reads_the_rest(world, engine, tmp_path):
    query, into, main = points(world), tmp_path / "out", threading.main_thread().ident
    gate = tmp_path / "gate"
    gate.touch()

    def press():
        wait_until(lambda: len(parts_read(tmp_path)) >= 2)
        signal.pthread_kill(main, signal.SIGINT)

    waiting = logged(query, tmp_path, gate=gate)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            pr.run(waiting, into=into, engine=engine)
    finally:
        presser.join()
        gate.unlink()
    n_parts = len(json.loads(Path(f"{into}.job/job.json").read_text())["parts"])
    n_at_most = 2
    if isinstance(engine, pr.DaskEngine):
        # A part at work is read to its end, and a worker has one more at hand, which it may begin before it is told.
        n_at_most = 4
        busy = lambda dask_worker: len(dask_worker.state.executing) + len(dask_worker.state.ready)  # noqa: E731 - travels by value
        wait_until(lambda: not any(engine.client.run(busy).values()))
    assert 2 <= len(parts_read(tmp_path)) <= n_at_most < n_parts
    before = {file: file.stat().st_mtime_ns for file in into.iterdir()}
    assert len(before) <= n_at_most
    found = pr.run(waiting, into=into, engine=engine)
    assert_frame_equal(found.collect().sort(KEYS), query.collect().sort(KEYS))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert len(list(into.iterdir())) == n_parts
    assert [*Path(f"{into}.job").glob("writing/*")] == []


def test_a_part_is_run_once_more_where_its_worker_died_and_given_up_at_last(world, engine, tmp_path):
    into = tmp_path / "out"
    query = logged(points(world), tmp_path, pid=17, step="read", times=10)
    with pytest.raises(RasteretError, match=r"the worker process .*memory.*part \d+ of \d+") as caught:
        pr.run(query, into=into, engine=engine)
    (failed,) = notes(into, "failed")
    assert f"(part {failed['part']} of " in str(caught.value)
    assert len((tmp_path / "deaths").read_text()) in (3, 4)  # Dask counts by itself
    n_parts = len(json.loads(Path(f"{into}.job/job.json").read_text())["parts"])
    assert len(notes(into)) == len(list(into.iterdir())) == n_parts - 1


def test_wrong_arguments_are_told_before_anything_is_read():
    for wrong in (0, -1, "2"):
        with pytest.raises(UsageError, match=f"num_cpus is {wrong!r}"):
            pr.RayEngine(num_cpus=wrong)
    with pytest.raises(UsageError, match=r"num_cpus is 5, and the largest machine of the Ray cluster has 4"):
        _workers([2.0, 4.0], 5)
    with pytest.raises(UsageError, match=r"setup is 'nothing'; expected 'module:function'"):
        pr.RayEngine(setup="nothing")
    if find_spec("distributed") is not None:
        with pytest.raises(UsageError, match=r"client is 'scheduler:8786'; expected a dask.distributed.Client"):
            pr.DaskEngine("scheduler:8786")


@pytest.mark.parametrize(
    ("machines", "num_cpus", "expected"),
    [
        ([8.0, 8.0, 8.0], None, (3, 1, 3)),
        ([8.0, 16.0], None, (3, 2, 2)),
        ([8.0, 2.0], 4, (2, 2, 2)),
        ([2.0], 0.5, (4, 4, 1)),
    ],
)
def test_a_task_of_ray_reserves_a_machine_or_the_stated_cpus(machines, num_cpus, expected):
    assert _workers(machines, num_cpus) == expected


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    place = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})
    query = pr.testing.example_scenes().raster.sample_points(place, ["red"], crs=32632)
    with pytest.raises(UsageError, match=r'pip install "polars-rasteret\[ray\]"'):
        query.collect(engine=pr.RayEngine())
    with pytest.raises(UsageError, match=r'pip install "polars-rasteret\[dask\]"'):
        pr.DaskEngine(None)


def test_naming_the_engines_imports_neither_library():
    code = (
        "import sys, polars_rasteret as pr; pr.RayEngine, pr.DaskEngine; "
        "print({'ray', 'distributed', 'dask'} & set(sys.modules))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout == "set()\n"
