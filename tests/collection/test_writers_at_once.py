"""Do writers and readers of one collection at once lose nothing, double nothing and see nothing by halves?"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import polars_rasteret as pr
import polars_rasteret.collection.storage.parts as parts_module
import polars_rasteret.collection.writing.sink as sink_module
import polars_rasteret.collection.writing.upkeep as upkeep_module
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.collection.storage.writer_lock import lock_path, only_writer
from polars_rasteret.errors import FetchError, UsageError
from tests.support.collection_frames import grid_of_scenes
from tests.support.object_server import ObjectServer

SCENES = grid_of_scenes(6, 4).with_row_index("n")


def ids(path: Path | str, **options) -> list[str]:
    return pr.scan_collection(path, **options).select("id").collect()["id"].sort().to_list()


def piece(number: int) -> pl.LazyFrame:
    return SCENES.head(2).with_columns(id=pl.format("w{}-{}", pl.lit(number), "n")).lazy()


def piece_ids(numbers) -> list[str]:
    return sorted(f"w{number}-{n}" for number in numbers for n in (0, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for start in range(0, SCENES.height, 8):
        pr.raster(SCENES[start : start + 8].lazy()).sink_collection(tmp_path / "c", mode="append")
    return tmp_path / "c"


@pytest.mark.parametrize("change", ["compact", "remove"])
@pytest.mark.parametrize("moment", ["scan_parts", "write_parts"])
def test_a_part_that_lands_in_the_middle_of_a_change_stays(folder, tmp_path, monkeypatch, change, moment):
    """No writer of ours does that, because of the lock; other programs know none."""
    pr.raster(piece(1)).sink_collection(tmp_path / "other")
    [other] = parts_at(tmp_path / "other")
    original = getattr(upkeep_module, moment)

    def with_a_guest(*args, **words):
        # Sorts before all others, so that row numbers of one listing mean other rows in the next.
        shutil.copy(other.path, folder / "a-guest.parquet")
        return original(*args, **words)

    monkeypatch.setattr(upkeep_module, moment, with_a_guest)
    if change == "compact":
        pr.compact(folder)
        gone = set()
    else:
        pr.remove(folder, pl.col("n") == 3)
        gone = set(SCENES.filter(pl.col("n") == 3)["id"])
    assert ids(folder) == sorted({*SCENES["id"], *piece_ids([1])} - gone)


@pytest.mark.parametrize("name", ["new", "c", "new.parquet", "c.parquet"])
@pytest.mark.parametrize("wait_s", [120.0, 0.0])
def test_an_append_that_returned_is_there_once_and_no_other_one(tmp_path, name, wait_s):
    target = tmp_path / name
    before: list[str] = []
    if name[0] == "c":
        pr.raster(SCENES.lazy()).sink_collection(target)
        before = SCENES["id"].to_list()
    done = []

    def append(number: int) -> None:
        try:
            pr.raster(piece(number)).sink_collection(target, mode="append", wait_s=wait_s)
        except UsageError as error:
            assert "is being changed by" in str(error)  # noqa: PT017 - in a thread of a pool
            assert not wait_s
        else:
            done.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(24)))
    assert done
    assert not wait_s or len(done) == 24
    assert ids(target) == sorted(before + piece_ids(done))
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert target.is_file() or {one.suffix for one in target.iterdir()} == {".parquet"}


def test_appends_beside_changes_of_all_kinds_lose_nothing(folder):
    def change(number: int) -> None:
        match number % 4:
            case 0:
                pr.compact(folder, wait_s=120)
            case 1:
                pr.remove(folder, pl.col("id") == f"w{number - 3}-0", wait_s=120)
            case _:
                pr.raster(piece(number)).sink_collection(folder, mode="append", wait_s=120)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(change, range(20)))
    expected = {*SCENES["id"], *piece_ids(number for number in range(20) if number % 4 > 1)}
    found = ids(folder)
    assert len(found) == len(set(found))
    # A removal may have come before the append of what it would remove.
    assert expected - {f"w{number - 3}-0" for number in range(1, 20, 4)} <= set(found) <= expected


def test_one_object_takes_every_append_that_returned(monkeypatch):
    with ObjectServer() as server:
        options = {"storage_options": server.options}
        target = "s3://bucket/c.parquet"
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda n: pr.raster(piece(n)).sink_collection(target, mode="append", **options), range(12)))
        assert ids(target, **options) == piece_ids(range(12))
        # A change of another kind is told when it would undo an append.
        original = upkeep_module.write_parts

        def late(*args, **words):
            pr.raster(piece(50)).sink_collection(target, mode="append", **options)
            original(*args, **words)

        with monkeypatch.context() as patch:
            patch.setattr(upkeep_module, "write_parts", late)
            with pytest.raises(UsageError, match=r"c\.parquet was changed by another writer meanwhile.*call again"):
                pr.remove(target, pl.col("id") == "w3-0", **options)
        assert ids(target, **options) == piece_ids([*range(12), 50])
        pr.remove(target, pl.col("id") == "w3-0", **options)
        assert ids(target, **options) == sorted({*piece_ids([*range(12), 50])} - {"w3-0"})


def test_appends_to_a_folder_of_objects_are_safe():
    with ObjectServer() as server:
        options = {"storage_options": server.options}
        with ThreadPoolExecutor(6) as pool:
            list(
                pool.map(
                    lambda n: pr.raster(piece(n)).sink_collection("s3://bucket/c", mode="append", **options), range(8)
                )
            )
        assert ids("s3://bucket/c", **options) == piece_ids(range(8))


@pytest.mark.parametrize("name", ["c", "c.parquet"])
def test_a_second_writer_is_told_or_waits(tmp_path, name):
    target = tmp_path / name
    pr.raster(SCENES.lazy()).sink_collection(target)
    changes = {
        "append": lambda **words: pr.raster(piece(1)).sink_collection(target, mode="append", **words),
        "overwrite": lambda **words: pr.raster(SCENES.lazy()).sink_collection(target, mode="overwrite", **words),
        "remove": lambda **words: pr.remove(target, pl.col("n") < 0, **words),
        "compact": lambda **words: pr.compact(target, **words),
        "refresh": lambda **words: pr.refresh(target, **words),
        "into": lambda **words: pr.build_from_files(["memory://nothing/a.tif"], bands=["red"], into=target, **words),
    }
    for change in ("append", "overwrite", "remove", "compact", "refresh", "into"):
        with only_writer(target, is_file=name != "c", wait_s=0):
            with pytest.raises(UsageError, match=rf"{name} is being changed by process {os.getpid()} on .*wait_s"):
                changes[change]()
            assert ids(target) == sorted(SCENES["id"])
    for wrong in (-1, float("nan"), "soon", None, True):
        with pytest.raises(UsageError, match="wait_s"):
            pr.compact(target, wait_s=wrong)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with only_writer(target, is_file=name != "c", wait_s=0):
            inside.set()
            leave.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(60)
    waiter = threading.Thread(target=lambda: changes["append"](wait_s=float("inf")))
    waiter.start()
    leave.set()
    waiter.join(120)
    holder.join()
    assert ids(target) == sorted([*SCENES["id"], *piece_ids([1])])


def test_an_append_holds_the_lock_only_while_it_publishes(folder, monkeypatch):
    original = sink_module.stage_parts
    seen = []

    def slow(*args, **words):
        # Another writer comes and goes, and sweeps, while the parts are being written.
        staged = original(*args, **words)
        monkeypatch.setattr(sink_module, "stage_parts", original)
        seen.append(pr.compact(folder).collect().height)
        return staged

    monkeypatch.setattr(sink_module, "stage_parts", slow)
    pr.raster(piece(1)).sink_collection(folder, mode="append")
    assert seen == [SCENES.height]
    assert ids(folder) == sorted([*SCENES["id"], *piece_ids([1])])


def test_what_another_writer_did_while_the_parts_were_written_counts(tmp_path, monkeypatch):
    """What may be appended is decided under the lock, by what is there then."""
    original = sink_module.stage_parts
    folder = tmp_path / "c"

    def late(other):
        def write(*args, **words):
            monkeypatch.setattr(sink_module, "stage_parts", original)
            other()
            return original(*args, **words)

        monkeypatch.setattr(sink_module, "stage_parts", write)

    late(lambda: pr.raster(piece(1)).sink_collection(folder))
    with pytest.raises(UsageError, match="exists already"):
        pr.raster(piece(2)).sink_collection(folder)
    other_dtype = piece(3).with_columns(n=pl.lit("text"))
    late(lambda: pr.raster(other_dtype).sink_collection(folder, mode="overwrite"))
    with pytest.raises(UsageError, match="column 'n'"):
        pr.raster(piece(2)).sink_collection(folder, mode="append")
    late(lambda: pr.raster(piece(4)).sink_collection(folder, mode="overwrite", partition_by="n"))
    with pytest.raises(UsageError, match="partitioned by another writer"):
        pr.raster(piece(2)).sink_collection(folder, mode="append")
    assert ids(folder) == piece_ids([4])


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
@pytest.mark.parametrize("name", ["c", "c.parquet"])
def test_without_locks_nothing_is_changed(tmp_path, monkeypatch, name, number):
    target = tmp_path / name
    pr.raster(SCENES.lazy()).sink_collection(target)

    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for change in (
        lambda: pr.raster(piece(1)).sink_collection(target, mode="append"),
        lambda: pr.remove(target, pl.lit(value=True)),
        lambda: pr.compact(target),
        lambda: pr.refresh(target),
        lambda: pr.build_from_files(["memory://nothing/a.tif"], bands=["red"], into=target),
    ):
        with pytest.raises(UsageError, match="could not be locked"):
            change()
    assert ids(target) == sorted(SCENES["id"])
    monkeypatch.undo()
    pr.remove(target, pl.lit(value=False))
    assert not [one for one in tmp_path.rglob("*") if one.name.endswith((".writing", "_overwrite.json"))]


@pytest.mark.parametrize("name", ["c", "c.parquet"])
def test_the_next_writer_sweeps_what_dead_ones_left(tmp_path, name):
    target = tmp_path / name
    pr.raster(SCENES.lazy()).sink_collection(target)
    prefix = f"{target}/." if name == "c" else f"{tmp_path}/.c.parquet."
    for number, change in enumerate(
        (
            lambda: pr.raster(piece(1)).sink_collection(target, mode="append"),
            lambda: pr.remove(target, pl.lit(value=False)),
            lambda: pr.compact(target),
        )
    ):
        stage = Path(f"{prefix}dead{number}.writing")
        stage.mkdir()
        (stage / "0").write_bytes(b"PAR1 half a file")
        (stage / "lock").touch()
        Path(f"{prefix}file{number}.writing").write_bytes(b"PAR1")
        Path(f"{prefix}link{number}.writing").symlink_to(tmp_path, target_is_directory=True)
        if name == "c":
            (target / "year=2020").mkdir(exist_ok=True)
            (target / "year=2020/.x.writing").write_bytes(b"PAR1")
        assert ids(target)
        change()
        assert not list(tmp_path.rglob("*.writing"))
    assert set(SCENES["id"]) <= set(ids(target))


def test_the_lock_file_is_no_way_out(folder, tmp_path):
    """A stranger's folder may hold a lock file that is another name of a file of ours."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    lock = lock_path(folder, is_file=False)
    lock.symlink_to(victim)
    with pytest.raises(UsageError, match="could not be locked"):
        pr.compact(folder)
    lock.unlink()
    os.link(victim, lock)
    pr.compact(folder)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("keys", [None, "n"])
def test_a_reader_sees_a_change_whole_also_when_it_comes_while_the_folder_is_listed(tmp_path, monkeypatch, keys):
    """Every moment of a listing: some names come from before the change, and the rest from after it."""
    look = parts_module._files_below
    for n_early in range(4):
        folder = tmp_path / str(n_early)
        pr.raster(SCENES[:3].lazy()).sink_collection(folder, partition_by=keys)
        changes = [
            lambda: pr.raster(piece(1)).sink_collection(folder, mode="overwrite", partition_by=keys),
            lambda: pr.raster(piece(2)).sink_collection(folder, mode="overwrite", partition_by=keys),
        ]

        def mixed(where, n_early=n_early, changes=changes):
            early, journals = look(where)
            if not changes:
                return early, journals
            change = changes.pop()
            with monkeypatch.context() as patch:
                patch.setattr(parts_module, "_files_below", look)
                change()
            late, journals = look(where)
            return sorted([*early[:n_early], *late[n_early:]]), journals

        with monkeypatch.context() as patch:
            patch.setattr(parts_module, "_files_below", mixed)
            found = parts_at(folder)
        assert not changes
        assert len(found) == len(look(folder)[0])
        assert ids(folder) == piece_ids([1])


def test_globs_and_folders_of_collections_leave_out_what_a_journal_names(tmp_path):
    """As after a kill between the journal and the deletion of what it names."""
    for number in (0, 1):
        target = tmp_path / f"all/c{number}"
        pr.raster(piece(2 * number).with_columns(k=pl.lit(1))).sink_collection(target, partition_by="k")
        pr.raster(piece(2 * number + 1).with_columns(k=pl.lit(2))).sink_collection(
            target, mode="append", partition_by="k"
        )
        [old] = (target / "k=1").iterdir()
        (target / "_overwrite.json").write_text(json.dumps({"left_out": [f"k=1/{old.name}"]}))
    assert ids(tmp_path / "all/c0") == piece_ids([1])
    assert ids(tmp_path / "all") == piece_ids([1, 3])
    for pattern in ("all/**/*.parquet", "all/*/*/*.parquet", "a*/c*/k=*/part-*.parquet"):
        assert ids(tmp_path / pattern) == piece_ids([1, 3])
    assert ids(tmp_path / "all/c1/*/*.parquet") == piece_ids([3])


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_plan_from_before_a_change_fails_as_a_whole(folder, engine):
    before = pr.scan_collection(folder)
    assert before.select(pl.len()).collect(engine=engine).item() == SCENES.height
    pr.compact(folder)
    with pytest.raises(OSError, match=r"part-.*parquet"):
        before.collect(engine=engine)
    assert pr.scan_collection(folder).collect(engine=engine).height == SCENES.height


def test_what_a_reader_keeps_open_is_left_out_until_it_can_be_deleted(folder, monkeypatch):
    """As on Windows, where an open file cannot be deleted."""
    held = {Path(part.path).name for part in parts_at(folder)[:2]}
    unlink = Path.unlink

    def refuse(self, **words):
        if self.name in held:
            raise PermissionError(errno.EACCES, "in use")
        unlink(self, **words)

    monkeypatch.setattr(Path, "unlink", refuse)
    pr.compact(folder)
    assert held <= {one.name for one in folder.iterdir()}
    assert ids(folder) == sorted(SCENES["id"])
    pr.raster(piece(1)).sink_collection(folder, mode="append")
    pr.compact(folder)
    pr.remove(folder, pl.col("id") == "w1-0")
    expected = sorted([*SCENES["id"], "w1-1"])
    assert ids(folder) == expected
    monkeypatch.undo()
    pr.remove(folder, pl.lit(value=False))
    assert not held & {one.name for one in folder.iterdir()}
    assert not (folder / "_overwrite.json").exists()
    assert ids(folder) == expected


def test_a_link_to_nothing_is_named(folder):
    (folder / "gone.parquet").symlink_to(folder / "nothing")
    with pytest.raises(FetchError, match=r"gone\.parquet is a link to a file that is not there"):
        pr.scan_collection(folder)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(["append", "compact", "remove", "overwrite", "hive"]), min_size=1, max_size=5))
def test_any_row_of_changes_leaves_the_rows_that_they_say(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("changes") / "c"
    expected: list[str] = []
    keys = "n" if "hive" in changes else None
    for number, change in enumerate(["append", *changes]):
        match change:
            case "append" | "hive":
                pr.raster(piece(number)).sink_collection(folder, mode="append", partition_by=keys)
                expected = [*expected, *piece_ids([number])]
            case "overwrite":
                pr.raster(piece(number)).sink_collection(folder, mode="overwrite", partition_by=keys)
                expected = piece_ids([number])
            case "remove":
                pr.remove(folder, pl.col("id").str.ends_with("-0"))
                expected = [one for one in expected if not one.endswith("-0")]
            case _:
                pr.compact(folder)
        assert ids(folder) == sorted(expected)
