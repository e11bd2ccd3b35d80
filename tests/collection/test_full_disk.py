"""Does a disk that is full, or a limit on the size of files, leave every collection as it was?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.collection.writing.publishing as part_files_module
from polars_rasteret.errors import FetchError
from polars_rasteret.testing import make_cog
from tests.support.collection_frames import grid_of_scenes
from tests.support.object_server import ObjectServer

LIMITED = """
    import resource, signal, sys
    import polars as pl
    import polars_rasteret as pr
    import polars_rasteret.collection.writing.upkeep as upkeep_module
    folder, *limits = sys.argv[1:]
    upkeep_module.RECORDS_PER_PART = 60
    more = pr.scan_collection(folder + "/more").collect()
    into = {{"id": "id", "bands": {{"b1": "href"}}}}
    table = pl.read_parquet(folder + "/table.pq_")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), 10**9))
        try:
            {action}
        except pr.errors.FetchError as error:
            print(error)
        else:
            print("done")
"""
ACTIONS = {
    "first build": 'pr.build_from_table(table, into=folder + "/new", **into)',
    "first build of one file": 'pr.build_from_table(table, into=folder + "/new.parquet", **into)',
    "second build": 'pr.build_from_table(table, into=folder + "/c", **into)',
    "second build of one file": 'pr.build_from_table(table, into=folder + "/c.parquet", **into)',
    "refresh": 'pr.refresh(folder + "/c")',
    "refresh of one file": 'pr.refresh(folder + "/c.parquet")',
    "compact": 'pr.compact(folder + "/c")',
    "remove": 'pr.remove(folder + "/c", pl.col("id").str.ends_with("0"))',
    "overwrite": 'pr.raster(more).sink_collection(folder + "/c", mode="overwrite")',
    "overwrite one file": 'pr.raster(more).sink_collection(folder + "/c.parquet", mode="overwrite")',
    "overwrite by hive folders": 'pr.raster(more).sink_collection(folder + "/c", mode="overwrite", partition_by="id")',
    "append": 'pr.raster(more).sink_collection(folder + "/c", mode="append")',
    "append to one file": 'pr.raster(more).sink_collection(folder + "/c.parquet", mode="append")',
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Give two collections of 80 records of small files, one record to append to them, and 100 files to build."""
    folder: Path = tmp_path_factory.mktemp("full")
    files = folder / "files"
    files.mkdir()
    for n in range(100):
        place = (10.0, 0.0, 300_000.0 + 1_000 * n, 0.0, -10.0, 5_000_000.0)
        (files / f"{n:02}.tif").write_bytes(make_cog(np.full((1, 64, 64), n, dtype="uint8"), transform=place))
    names = sorted(files.iterdir())
    table = pl.DataFrame({"id": [one.stem for one in names], "href": [str(one) for one in names]})
    table.write_parquet(folder / "table.pq_")
    built = pr.build_from_table(table.head(80), bands={"b1": "href"})
    for start in range(0, 80, 40):
        built.slice(start, 40).raster.sink_collection(folder / "c", mode="append")
    built.raster.sink_collection(folder / "c.parquet")
    pr.build_from_table(table.tail(20), bands={"b1": "href"}).raster.sink_collection(folder / "more")
    # So that a refresh has something to write.
    names[5].write_bytes(make_cog(np.full((1, 96, 96), 5, dtype="uint8")))
    return folder


def listing(folder: Path) -> set[str]:
    return {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file() and one.name != "_build.json"}


def told(folder: Path, action: str, *limits: int) -> list[str]:
    """Do it in a process of its own under each limit; one line per limit."""
    code = textwrap.dedent(LIMITED).format(action=ACTIONS[action])
    command = [sys.executable, "-c", code, str(folder), *map(str, limits)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("action", ACTIONS)
def test_a_limit_on_the_size_of_files_leaves_what_was_there(world, action):
    before = {name: pr.scan_collection(world / name).collect() for name in ("c", "c.parquet")}
    files = listing(world)
    # With the first limit not even a marker or a journal can be written, with the second they can.
    lines = told(world, action, 0, 3_000)
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(str(world))
        assert "could not be written" in line
        assert "call again" in line
    for name, frame in before.items():
        assert_frame_equal(pr.scan_collection(world / name).collect(), frame)
    assert listing(world) == files, "stray files"


@pytest.mark.parametrize("action", ["second build", "second build of one file", "compact"])
def test_what_failed_for_want_of_room_succeeds_with_it(world, tmp_path, action):
    copied = shutil.copytree(world, tmp_path / "w", ignore=shutil.ignore_patterns(".*", "_*"))
    failed, done = told(copied, action, 3_000, 10**9)
    assert "could not be written" in failed
    assert done == "done"
    found = pr.scan_collection(copied / ("c.parquet" if "one file" in action else "c")).select("id").collect()
    assert found["id"].sort().to_list() == [f"{n:02}" for n in range(80 if action == "compact" else 100)]
    assert not list(copied.rglob(".*"))
    assert not list(copied.rglob("_*"))


def test_a_bucket_that_takes_no_more_leaves_what_was_there(monkeypatch):
    scenes = grid_of_scenes(6, 4)
    with ObjectServer() as server:
        options = {"storage_options": server.options}
        for start in range(0, 24, 8):
            pr.raster(scenes[start : start + 8]).sink_collection("s3://bucket/c", mode="append", **options)
        before = pr.scan_collection("s3://bucket/c", **options).collect()
        objects = dict(server.files)
        write, left = part_files_module._write_parquet, [1]

        def full(*args, **words):
            if not left[0]:
                raise OSError("503 no more room")
            left[0] -= 1
            write(*args, **words)

        for change in (
            lambda: pr.raster(scenes).sink_collection("s3://bucket/c", mode="append", **options),
            lambda: pr.raster(scenes).sink_collection("s3://bucket/c", mode="overwrite", **options),
            lambda: pr.compact("s3://bucket/c", **options),
            lambda: pr.remove("s3://bucket/c", pl.col("id").is_in(before["id"].gather([0, 9, 18])), **options),
        ):
            for n_good in (0, 1):
                left[0] = n_good
                with monkeypatch.context() as patch:
                    patch.setattr(part_files_module, "_write_parquet", full)
                    patch.setattr("polars_rasteret.collection.writing.upkeep.RECORDS_PER_PART", 10)
                    patch.setattr("polars_rasteret.collection.writing.sink.ROW_GROUP_SIZE", 10)
                    if n_good and change.__code__.co_names[-1] == "sink_collection":
                        continue  # one part only: it is there, or not
                    with pytest.raises(
                        FetchError, match=r"s3://bucket/c/part-.* could not be written: 503 no more room"
                    ):
                        change()
                assert server.files == objects
                assert_frame_equal(pr.scan_collection("s3://bucket/c", **options).collect(), before)
