"""Do processes of this machine read what one process reads, whatever happens to them?"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.distribute.engines.supervisor import MOST_DEATHS
from polars_rasteret.distribute.jobs.part_results import PartFailure
from polars_rasteret.errors import (
    BudgetError,
    FetchError,
    FileFormatError,
    QueryTimeoutError,
    RasteretError,
    UsageError,
)
from tests.support.child_process import environment
from tests.support.part_queries import KEYS, MATCHES, VERBS, logged, notes, points, verb_query
from tests.support.part_workers import STEPS, option_in_force, parts_read
from tests.support.part_world import CRS, part_world
from tests.support.planted_secrets import planted, secrets_in, secrets_in_file


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return part_world(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def engine():
    with pr.ProcessEngine(workers=2, min_parts=8) as engine:
        yield engine


def cases():
    """Every verb, match and unmatched; in the default run every verb, and all of one verb."""
    for verb, match, unmatched in itertools.product(VERBS, MATCHES, ("null", "drop")):
        is_quick = verb == "sample_points" or (match, unmatched) == ("all", "null")
        yield pytest.param(verb, match, unmatched, marks=() if is_quick else pytest.mark.slow)


@pytest.mark.parametrize(("verb", "match", "unmatched"), [*cases()])
def test_every_verb_gives_in_two_processes_what_it_gives_in_one(world, engine, tmp_path, verb, match, unmatched):
    (query, keys), into = verb_query(world, verb, match, unmatched), tmp_path / "out"
    found = pr.run(query, into=into, engine=engine).collect()
    assert_frame_equal(found.sort(keys, maintain_order=True), query.collect().sort(keys, maintain_order=True))
    done = notes(into)
    assert len(done) >= 8
    assert {one["worker"].rpartition(":")[2] for one in done} == set(map(str, engine._supervisor.pids))
    assert sum(one["rows"] for one in done) == found.height


def test_polars_own_verbs_take_the_engine(world, engine, tmp_path):
    query = points(world)
    expected = query.collect().sort(KEYS)
    assert_frame_equal(query.collect(engine=engine).sort(KEYS), expected)
    query.sink_parquet(tmp_path / "out", engine=engine, compression="snappy", row_group_size=7)
    assert_frame_equal(pl.scan_parquet(tmp_path / "out").collect().sort(KEYS), expected)


def test_the_engine_may_be_the_default_of_polars(world, engine, tmp_path):
    query, plain = points(world), pl.LazyFrame({"a": [1, 2]})
    expected, cost = query.collect().sort(KEYS), pr.estimate(query)
    with pl.Config(engine_affinity=engine):
        assert_frame_equal(query.collect().sort(KEYS), expected)
        assert (pr.estimate(query).bytes, pr.estimate(query).bound) == (cost.bytes, cost.bound)
        for polars_own in ("in-memory", "streaming"):
            assert_frame_equal(query.collect(engine=polars_own).sort(KEYS), expected)
        assert pr.plan_parts(query, into=tmp_path / "out")["rows"].sum() == len(expected)
        assert Path(pr.run_part(tmp_path / "out", 0)).is_file()
        # What reads no pixels has no parts.
        assert plain.filter(pl.col("a") > 1).collect().rows() == [(2,)]
        assert world.scenes.collect().height == 8
        with pytest.raises(UsageError, match="no verb"):
            world.scenes.select(pl.col("red").raster.sample_points(500_005, 4_999_995, crs=CRS)).collect()


def test_a_profile_counts_what_workers_read(world, engine):
    query = points(world)
    with pr.options(cache_bytes=0):
        with pr.profile() as together:
            query.collect(engine=engine)
        estimate = pr.plan_parts(query, min_parts=8)
    assert together.summary()["bytes"].item() == estimate["bytes"].sum()
    assert together.by_host["requests"].to_list() == [estimate["requests"].sum()]


def test_each_worker_has_its_share_of_the_options_of_the_process(world, engine):
    names = ("max_concurrency", "max_bytes_in_flight", "cache_bytes", "disk_cache_bytes")
    query = points(world).with_columns(
        pl.col("pid").map_batches(option_in_force(name), pl.Int64, is_elementwise=True).alias(name) for name in names
    )
    with pr.options(max_concurrency=9, max_bytes_in_flight=1_000_001, cache_bytes=600, disk_cache_bytes=77):
        found = query.collect(engine=engine)
    assert found.select(names).unique().rows() == [(4, 500_000, 300, 77)]


@pytest.mark.parametrize("step", [*STEPS[:3], *(pytest.param(one, marks=pytest.mark.slow) for one in STEPS[3:])])
def test_a_worker_that_is_killed_loses_its_part_alone(world, engine, tmp_path, step):
    query, into = points(world), tmp_path / "out"
    before = set(engine._supervisor.pids)
    found = pr.run(logged(query, tmp_path, pid=17, step=step), into=into, engine=engine).collect()
    assert (tmp_path / "deaths").read_text() == "x"
    assert_frame_equal(found.sort(KEYS), query.collect().sort(KEYS))
    # Its file may have been there when it died: then it is not read again.
    read = parts_read(tmp_path)
    n_again = len(read) - len({least for _, least in read})
    assert n_again == (STEPS.index(step) < STEPS.index("part"))
    left = [str(one) for one in tmp_path.rglob("*") if "writing" in str(one) or one.name.startswith(".")]
    assert left == []
    assert len(before - set(engine._supervisor.pids)) <= 1


@pytest.mark.parametrize("name", ["workers", "part_bytes", "min_parts"])
@pytest.mark.parametrize("value", [0, -1, 1.0, "1", True])
def test_a_wrong_number_is_told_when_the_engine_is_made(name, value):
    with pytest.raises(UsageError, match=f"{name} is {value!r}; expected a whole number, 1 or more"):
        pr.ProcessEngine(**{name: value})


def test_threads_that_share_an_engine_take_turns(world, engine, tmp_path):
    leaving = pr.ProcessEngine(workers=1, min_parts=2)  # its workers end with each run, not in the midst of another
    expected = points(world).collect().sort(KEYS)

    def found(number):
        return pr.run(points(world), into=tmp_path / f"{number}", engine=(engine, leaving)[number % 2]).collect()

    with ThreadPoolExecutor(6) as threads:
        for one in threads.map(found, range(6)):
            assert_frame_equal(one.sort(KEYS), expected)
    assert leaving._supervisor.pids == []


SURROUNDED = """
import os, sys
from pathlib import Path
import polars as pl
import polars_rasteret as pr

scenes, points = sys.argv[1:]
sys.path.append(Path("no-text"))  # Python passes over it
query = pr.scan_collection(scenes).raster.sample_points(pl.read_parquet(points), ["red"], crs=32632)
with pr.ProcessEngine(workers=1, min_parts=2) as engine:
    for folder in ("first", "second"):
        os.chdir(f"../{folder}")
        known = query.join(pl.scan_parquet("weights.parquet"), on="record_id")
        out = pr.run(known, into="out", engine=engine)
        assert Path("out").is_dir()
        print(folder, *out.select(pl.col("weight").unique()).collect()["weight"])
"""


def test_workers_work_where_their_driver_does_whatever_lies_or_is_printed_there(world, tmp_path):
    world.points.write_parquet(tmp_path / "points.parquet")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("print('hello'); print('hello', end='')")
    for weight, name in enumerate(("first", "second")):
        (tmp_path / name).mkdir()
        pl.DataFrame({"record_id": ["s0_0"], "weight": [weight]}).write_parquet(tmp_path / name / "weights.parquet")
        for module in ("json", "selectors", "queue", "polars"):
            (tmp_path / name / f"{module}.py").write_text("raise SystemExit('a module of the working folder')")
    (tmp_path / "script.py").write_text(SURROUNDED)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", world.folder / "scenes", tmp_path / "points.parquet"],
        cwd=tmp_path / "first",
        env={**environment(), "PYTHONPATH": f"{tmp_path / 'site'}:{environment()['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["hello", "hellofirst 0", "second 1"]


@pytest.mark.parametrize(
    ("how", "why"),
    [("was killed by SIGKILL, 3 times", "memory is short"), ("ended with exit code 1, 3 times", "sys.exit")],
)
def test_the_likely_reason_for_the_end_of_workers_is_told(how, why):
    assert why in PartFailure.lost(3, how).text


def test_a_part_whose_workers_always_die_fails_and_others_are_read(world, engine, tmp_path):
    into = tmp_path / "out"
    query = logged(points(world), tmp_path, pid=17, step="read", times=10)
    with pytest.raises(RasteretError, match=rf"was killed by SIGKILL, {MOST_DEATHS} times.*part \d+ of \d+") as caught:
        pr.run(query, into=into, engine=engine)
    (failed,) = notes(into, "failed")
    assert f"(part {failed['part']} of " in str(caught.value)
    n_parts = len(json.loads(Path(f"{into}.job/job.json").read_text())["parts"])
    assert len(notes(into)) == len(list(into.iterdir())) == n_parts - 1


def test_a_failed_fetch_is_raised_at_the_end_as_what_it_is_and_resumed(world, engine, tmp_path):
    query, into = points(world), tmp_path / "out"
    gone = world.folder / "s1_0.tif"
    kept = gone.rename(world.folder / "kept")
    try:
        with pr.options(cache_bytes=0):
            with pytest.raises(FetchError) as alone:
                query.collect()
            with pytest.raises(FetchError) as caught:
                pr.run(logged(query, tmp_path), into=into, engine=engine)
    finally:
        kept.rename(gone)
    where = str(alone.value).partition(" bytes ")[0]
    assert "s1_0.tif" in where
    assert str(caught.value).startswith(where)
    failed, done = notes(into, "failed"), notes(into)
    assert f"(part {failed[0]['part']} of {len(failed) + len(done)}" in str(caught.value)
    assert done
    assert {one["error"] for one in failed} == {"FetchError"}
    before = {file: file.stat().st_mtime_ns for file in into.iterdir()}
    found = pr.run(logged(query, tmp_path), into=into, engine=engine)
    assert len(list(into.iterdir())) == len(before) + len(failed)
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert_frame_equal(found.collect().sort(KEYS), query.collect().sort(KEYS))
    assert notes(into, "failed") == []


def test_a_budget_holds_over_all_parts(world, engine, tmp_path):
    cost = pr.plan_parts(points(world), min_parts=8)["bytes"].sum()
    with pr.options(cache_bytes=0):
        with pr.options(budget_bytes=cost):
            enough = points(world)
        with pr.options(budget_bytes=cost - 1):
            too_little = points(world)
        pr.run(enough, into=tmp_path / "enough", engine=engine)
        with pytest.raises(BudgetError, match=f"budget_bytes allows {cost - 1:,}.*Nothing was fetched"):
            pr.run(too_little, into=tmp_path / "little", engine=engine)
        assert list((tmp_path / "little").iterdir()) == []
    # Where pixels decide what is read, the estimate is no more than a bound, and each part is held to its share.
    chosen = {"match": "latest", "valid": pl.col("nir") > 3000}
    with pr.options(cache_bytes=0):
        alone = points(world, **chosen)
        with pr.profile() as counted:
            alone.collect(engine=engine)
        needed = counted.summary()["bytes"].item()
        with pr.options(budget_bytes=needed // 2):
            chosen = points(world, **chosen)
        with pr.profile() as counted, pytest.raises(BudgetError, match=r"part \d+ of"):
            pr.run(chosen, into=tmp_path / "chosen", engine=engine)
    assert counted.summary()["bytes"].item() <= needed // 2
    assert notes(tmp_path / "chosen", "failed")


def test_the_same_query_with_other_options_goes_on_with_these(world, engine, tmp_path):
    into = tmp_path / "out"
    for error, name, value in (
        (BudgetError, "budget_bytes", 1),
        (FileFormatError, "max_tile_bytes", 1),
        (FetchError, "allowed_hrefs", ["/elsewhere/"]),
        (QueryTimeoutError, "query_timeout_s", 1e-9),
    ):
        with pr.options(**{name: value}):
            query = points(world)
        with pr.options(cache_bytes=0), pytest.raises(error, match=name):
            pr.run(query, into=into, engine=engine)
    found = pr.run(points(world), into=into, engine=engine)
    assert_frame_equal(found.collect().sort(KEYS), points(world).collect().sort(KEYS))
    next(into.iterdir()).unlink()
    with pr.options(budget_bytes=1):
        query = points(world)
    with pytest.raises(BudgetError, match="budget_bytes allows 1"):
        pr.run(query, into=into, engine=engine)


def test_only_allowed_hrefs_are_read_by_workers(world, engine, tmp_path):
    with pr.options(allowed_hrefs=["/elsewhere/"]):
        query = points(world)
    with pytest.raises(FetchError, match=r"allowed_hrefs.*part 0 of"):
        pr.run(query, into=tmp_path / "out", engine=engine)


def test_a_secret_never_leaves_the_process_and_a_set_up_function_takes_its_place(world, tmp_path, monkeypatch):
    from obstore.store import LocalStore

    prefix, into = str(world.folder), tmp_path / "out"
    secret = planted("a-key-that-stays-here")
    monkeypatch.setenv("PART_WORLD", prefix)
    monkeypatch.setenv("PART_SECRET", planted("another-key-that-stays"))
    try:
        pr.configure_store(prefix, storage_options={"aws_secret_access_key": secret, "aws_region": "eu-west-1"})
        with pytest.raises(UsageError, match=r"aws_secret_access_key.*setup=.my_module:my_function"):
            pr.run(points(world), into=into, engine=pr.ProcessEngine(workers=1))
        pr.configure_store(prefix, store=LocalStore(prefix))
        with pytest.raises(UsageError, match="a store object"):
            pr.run(points(world), into=into, engine=pr.ProcessEngine(workers=1))
        assert not into.exists()
        with pytest.raises(UsageError, match="configure_wrong' raised KeyError") as caught:
            pr.run(
                points(world), into=into, engine=pr.ProcessEngine(setup="tests.support.part_workers:configure_wrong")
            )
        assert secrets_in(str(caught.value)) == []
        with pr.ProcessEngine(setup="tests.support.part_workers:configure") as engine:
            found = pr.run(points(world), into=into, engine=engine).collect()
            assert_frame_equal(found.sort(KEYS), points(world).collect().sort(KEYS))
    finally:
        pr.configure_store(prefix)
    assert [one for file in tmp_path.rglob("*") if file.is_file() for one in secrets_in_file(file)] == []


SCRIPT = """
import os, sys, time
import polars as pl
import polars_rasteret as pr

folder, scenes, points = sys.argv[1:]

def wait(series):
    if len(series):  # where parts are planned, functions see no rows
        open(f"{folder}/at-work-{os.getpid()}", "w").close()
        time.sleep(600)
    return series

def twice(series):
    return series * 2

read = pr.scan_collection(scenes).raster.sample_points(pl.read_parquet(points), ["red"], crs=32632)
with pr.ProcessEngine(workers=2, min_parts=8) as engine:
    double = read.with_columns(double=pl.col("pid").map_batches(twice, pl.Int64, is_elementwise=True))
    print(double.collect(engine=engine)["double"].sum(), flush=True)
    slow = read.with_columns(pl.col("pid").map_batches(wait, pl.Int64, is_elementwise=True))
    pr.run(slow, into=f"{folder}/out", engine=engine)
"""


def wait_for(condition):
    """Wait until something is so; a test that waits for a minute has failed."""
    for _ in range(6000):
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("nothing happened within a minute")


def has_ended(pid):
    """Return whether a process is gone, or only waits for its parent to notice its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "a kill"])
def test_workers_end_with_their_driver_whatever_they_do(world, tmp_path, end):
    """The script is read from the standard input, and has no guard of its main module."""
    world.points.write_parquet(tmp_path / "points.parquet")
    driver = subprocess.Popen(
        [sys.executable, "-", tmp_path, world.folder / "scenes", tmp_path / "points.parquet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    with driver:
        try:
            driver.stdin.write(SCRIPT)
            driver.stdin.close()
            assert int(driver.stdout.readline()) == points(world).select(pl.col("pid").sum() * 2).collect().item()
            workers = wait_for(lambda: (found := list(tmp_path.glob("at-work-*"))) and len(found) == 2 and found)
            pids = [int(one.name.rpartition("-")[2]) for one in workers]
            started = time.monotonic()
            driver.send_signal(end)
            driver.wait(60)
            wait_for(lambda: all(map(has_ended, pids)))
            assert time.monotonic() - started < 30  # seconds, for what takes one on a machine that is idle
            told = driver.stderr.read()
        finally:
            driver.kill()
    assert driver.returncode == -end
    assert ("KeyboardInterrupt" in told) == (end == signal.SIGINT)
    assert list((tmp_path / "out").glob("*")) == []
    assert list((tmp_path / "out.job").glob("writing/*")) == []


def test_workers_without_a_block_end_with_the_run(world, tmp_path):
    engine = pr.ProcessEngine(workers=1, min_parts=2)
    pr.run(logged(points(world), tmp_path), into=tmp_path / "out", engine=engine)
    assert engine._supervisor.pids == []
    (worker,) = {pid for pid, _ in parts_read(tmp_path)}
    assert worker != os.getpid()
    assert has_ended(worker)
