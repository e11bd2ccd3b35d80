"""Does a writer that is killed at any step leave every row once, and does the next writer put things in order?"""

from __future__ import annotations

import datetime as dt
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
import polars_rasteret.collection
from polars_rasteret.collection.storage.parts_manifest import MANIFEST
from polars_rasteret.testing import make_cog
from tests.support.killed_writers import Writers, actions, set_fewest_parts, with_small_manifests

BASE = [f"{n:02}" for n in range(12)]
NEW = [f"{n:02}" for n in range(12, 16)]
MORE = [f"m{n}" for n in NEW]
SECOND = [f"s{n}" for n in NEW]
GONE = ["02", "05"]
SAID = {"description": "squares in a row", "source": "made here"}

KILLED = [name for name in actions() if not name.startswith("second")]


@pytest.fixture(scope="module", autouse=True)
def small_manifests():
    before = with_small_manifests()
    yield
    set_fewest_parts(before)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Give three collections of 12 records, a file that changed since, and records to add."""
    world: Path = tmp_path_factory.mktemp("killed") / "template"
    (world / "files").mkdir(parents=True)
    for n in range(16):
        place = (10.0, 0.0, 300_000.0 + 1_000 * n, 0.0, -10.0, 5_000_000.0)
        (world / f"files/{n:02}.tif").write_bytes(make_cog(np.full((1, 32, 32), n, dtype="uint8"), transform=place))
    files = sorted((world / "files").iterdir())
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 1, 16), eager=True)
    table = pl.DataFrame({"id": [one.stem for one in files], "href": [str(one) for one in files], "datetime": days})
    table.write_parquet(world / "table.pq_")
    built = pr.build_from_table(table, bands={"b1": "href"}).collect()
    for start in range(0, 12, 4):
        built[start : start + 4].lazy().raster.sink_collection(world / "c", mode="append", **SAID)
    built[:12].lazy().raster.sink_collection(world / "c.parquet", **SAID)
    built[:12].lazy().raster.sink_collection(world / "hive", partition_by="id", **SAID)
    for name, ids in (("more", MORE), ("second", SECOND)):
        built[12:].with_columns(id=pl.Series(ids)).write_parquet(world / f"{name}.pq_")
    files[5].write_bytes(make_cog(np.full((1, 48, 48), 5, dtype="uint8")))
    return world


@pytest.fixture(scope="module")
def writers():
    with Writers() as running:
        yield running


@pytest.fixture(scope="module")
def steps(template, writers, tmp_path_factory) -> dict[str, list[str]]:
    """Give the steps that each action takes when nobody kills it."""
    folder = tmp_path_factory.mktemp("steps")
    taken = {}
    for number, action in enumerate(KILLED):
        world = shutil.copytree(template, folder / str(number), ignore=shutil.ignore_patterns("files"))
        [answer] = writers.run(world, (action, None, None))
        assert answer["said"] == "done", action
        taken[action] = answer["steps"]
        check(world, action, finished=True)
    return taken


def target_of(action: str) -> str:
    if action == "write":
        return "new"
    return "c.parquet" if "one file" in action else "hive" if "hive" in action else "c"


def after(action: str) -> list[str]:
    """Give the ids that an action leaves."""
    match action.split(" ", maxsplit=1)[0]:
        case "append":
            return BASE + MORE
        case "overwrite" | "write":
            return MORE
        case "remove":
            return [one for one in BASE if one not in GONE]
        case "into":
            return BASE + NEW
        case _:
            return BASE


def records(world: Path, action: str) -> pl.DataFrame:
    path = world / target_of(action)
    if not path.exists() or (path.is_dir() and not list(path.rglob("part-*"))):
        return pl.DataFrame({"id": []}, schema={"id": pl.String})
    scan = pr.scan_collection(path)
    found = scan.select("datetime", pl.col("id").cast(pl.String), pl.col("b1").struct.unnest()).collect()
    for day in (dt.datetime(2024, 1, 3, tzinfo=dt.UTC), dt.datetime(2024, 1, 14, tzinfo=dt.UTC)):
        wanted = pl.col("datetime") == day
        some = scan.filter(wanted).select(pl.col("id").cast(pl.String)).collect()["id"]
        assert some.to_list() == found.filter(wanted)["id"].to_list(), "a part was passed over"
    return found


def check(world: Path, action: str, *, finished: bool, second: bool = False) -> None:
    found = records(world, action)
    ids = found["id"].to_list()
    allowed = [after(action)]
    if not finished:
        allowed.append([] if action == "write" else BASE)
        if action.startswith("into"):
            allowed += [BASE + NEW[:2]]
    if second:
        # An overwrite may come before it or after it.
        allowed = [ids + SECOND for ids in allowed] + (allowed if action.startswith("overwrite") else [])
    assert sorted(ids) in [sorted(one) for one in allowed], Counter(ids)
    check_what_is_said(world, action, ids, keeps=not action.startswith(("overwrite", "write")))
    if "href" in found.columns:
        names = [one[-2:] for one in ids]
        assert [Path(href).stem for href in found["href"]] == names, "a record has the pixels of another one"
        if finished and action.startswith(("refresh", "into")):
            assert found.filter(pl.col("id") == "05")["width"].to_list() == [48]


def check_what_is_said(world: Path, action: str, ids: list[str], *, keeps: bool) -> None:
    """The files say what was said when the collection was made, and the days of the records that are there."""
    if ids:
        row = pr.list_collections(world).filter(name=target_of(action)).row(0, named=True)
        days = [dt.datetime(2024, 1, 1 + int(one[-2:]), tzinfo=dt.UTC) for one in ids]
        assert (row["records"], row["start"], row["end"]) == (len(ids), min(days), max(days))
        if keeps:
            assert {word: row[word] for word in SAID} == SAID


def kill(template: Path, tmp_path: Path, writers: Writers, steps: dict[str, list[str]], seed: int) -> str:
    """Kill one writer, look at what it left, let it resume, and look again; says what was done."""
    chance = random.Random(seed)
    action = KILLED[seed % len(KILLED)]
    world = shutil.copytree(template, tmp_path / "world", ignore=shutil.ignore_patterns("files"))
    # Every fourth in the middle of a step, whenever that is.
    at = None if seed % 4 == 3 else chance.randrange(len(steps[action]))
    seconds = chance.uniform(0.001, 0.4) if at is None else None
    wishes = [(action, at, seconds)]
    has_second = seed % 3 == 0 and action != "write"
    if has_second:
        at_target = {"c.parquet": "second to one file", "hive": "second in hive folders"}
        wishes.append((at_target.get(target_of(action), "second"), None, None))
    first, *others = writers.run(world, *wishes)
    told = f"{action} killed {f'at step {at} ({steps[action][at]})' if seconds is None else f'after {seconds:.3f} s'}"
    assert [one["said"] for one in others] in ([], ["done"]), told
    check(world, action, finished=first["said"] == "done", second=has_second)
    ids = set(records(world, action)["id"])
    if not (action.startswith(("append", "overwrite", "write")) and set(MORE) <= ids):
        [resumed] = writers.run(world, (action, None, None))
        assert resumed["said"] == "done", told
    check(world, action, finished=True, second=has_second)
    # Any next writer sweeps what the killed one left.
    pr.remove(world / target_of(action), pl.lit(value=False))
    left = [str(one.relative_to(world)) for one in world.rglob("*") if one.name[0] in "._" and one.name != MANIFEST]
    assert left == [], told
    check(world, action, finished=True, second=has_second)
    return told


def test_the_protocol_names_every_step_that_a_writer_takes(steps):
    page = polars_rasteret.collection.__doc__
    table = page.partition("step  ")[2].partition("\n\n")[0]
    named = set(re.findall(r"^    ([a-z][a-z ]*?)  +\S", table, re.MULTILINE))
    assert {step for taken in steps.values() for step in taken} == named


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_writer_loses_nothing_doubles_nothing_and_resumes(template, tmp_path, writers, steps, seed):
    kill(template, tmp_path, writers, steps, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 220))
def test_two_hundred_killed_writers_lose_nothing(template, tmp_path, writers, steps, seed):
    kill(template, tmp_path, writers, steps, seed)


@pytest.mark.slow
@pytest.mark.parametrize("action", KILLED)
def test_a_writer_killed_at_each_of_its_steps_loses_nothing(template, tmp_path, writers, steps, action):
    for at in range(len(steps[action])):
        world = shutil.copytree(template, tmp_path / str(at), ignore=shutil.ignore_patterns("files"))
        [first] = writers.run(world, (action, at, None))
        assert first["said"] == "killed"
        check(world, action, finished=False)
        if not (action.startswith(("append", "overwrite", "write")) and set(MORE) <= set(records(world, action)["id"])):
            assert writers.run(world, (action, None, None))[0]["said"] == "done"
        check(world, action, finished=True)
        shutil.rmtree(world)
