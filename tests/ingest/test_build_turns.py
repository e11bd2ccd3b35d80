"""Do two builds keep out of each other's way, and does a build into a single file behave like one into a folder?"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.errors import UsageError
from polars_rasteret.ingest.indexed_files import N_CHECK_BYTES
from polars_rasteret.testing import make_cog
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene

BUILDER = """
    import json, sys
    import polars_rasteret as pr
    import polars_rasteret.ingest.resumable_build as into_module
    into_module.RECORDS_PER_PART = 10
    pr.build_from_files(json.loads(sys.argv[1]), into=sys.argv[2], bands=["red"])
"""


def scenes(n_files: int) -> dict[str, bytes]:
    return {
        f"{n:03}.tif": make_cog(
            np.full((1, 32, 32), n, dtype="uint8"),
            transform=(10.0, 0.0, 300_000.0 + 9_000 * n, 0.0, -10.0, 5_000_000.0),
        )
        for n in range(n_files)
    }


def content(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.drop("indexed_at").sort("id").collect()


def start_builder(hrefs: list[str], into: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(BUILDER), json.dumps(hrefs), str(into)])


def header_reads(server: RangeServer) -> list[str]:
    return sorted(one.path for one in server.requests if (one.byte_stop or 0) - (one.byte_start or 0) > N_CHECK_BYTES)


def wait_for_requests(server: RangeServer, n: int, process: subprocess.Popen[bytes]) -> None:
    while len(server.requests) < n:
        assert process.poll() is None
        time.sleep(0.005)


@pytest.mark.parametrize("name", ["c", "c.parquet"])
def test_of_two_builds_at_once_the_second_is_told_and_the_first_is_not_disturbed(tmp_path, name):
    with RangeServer(scenes(60), latency_s=0.02) as server, pr.options(max_concurrency=2):
        hrefs = [server.url(one) for one in sorted(server.files)]
        first = start_builder(hrefs, tmp_path / name)
        wait_for_requests(server, 5, first)
        with pytest.raises(UsageError, match=rf"is being changed by process {first.pid} on"):
            pr.build_from_files(hrefs, into=tmp_path / name, bands=["red"])
        assert first.wait() == 0
        assert header_reads(server) == sorted(server.files)
        assert_frame_equal(
            content(pr.scan_collection(tmp_path / name)), content(pr.build_from_files(hrefs, bands=["red"]))
        )
    assert [one.name for one in tmp_path.iterdir()] == [name]
    assert name == "c.parquet" or {one.suffix for one in (tmp_path / name).iterdir()} == {".parquet"}


def test_two_threads_and_other_writers_keep_off_too(tmp_path, monkeypatch):
    paths = [str(write_scene(tmp_path / f"{n}.tif")) for n in range(2)]
    folder = tmp_path / "c"
    pr.build_from_files(paths[:1], into=folder)
    inside, leave = threading.Event(), threading.Event()
    write = into_module.write_parts

    def slow(*args, **words):
        inside.set()
        assert leave.wait(20)
        write(*args, **words)

    monkeypatch.setattr(into_module, "write_parts", slow)
    builder = threading.Thread(target=lambda: pr.build_from_files(paths, into=folder))
    builder.start()
    try:
        assert inside.wait(20)
        for change in (
            lambda: pr.build_from_files(paths, into=folder),
            lambda: pr.refresh(folder),
            lambda: pr.compact(folder),
            lambda: pr.remove(folder, pl.col("id") == "0"),
        ):
            with pytest.raises(UsageError, match="is being changed by process"):
                change()
        assert pr.scan_collection(folder).collect().height == 1
    finally:
        leave.set()
        builder.join()
    assert pr.compact(folder).collect()["id"].sort().to_list() == ["0", "1"]
    assert [one.suffix for one in folder.iterdir()] == [".parquet"]


def test_a_single_file_is_there_whole_or_not_and_a_killed_build_goes_on(tmp_path):
    target = tmp_path / "c.parquet"
    with RangeServer(scenes(60), latency_s=0.02) as server:
        hrefs = [server.url(one) for one in sorted(server.files)]
        pr.build_from_files(hrefs[:15], into=target, bands=["red"])
        before = target.read_bytes()
        server.clear()
        process = start_builder(hrefs, target)
        while not process.poll() and len(parts_at(tmp_path / ".c.parquet.building")) < 3:
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert target.read_bytes() == before
        assert pr.scan_collection(target).collect().height == 15
        held = set(pr.scan_collection(tmp_path / ".c.parquet.building").select("id").collect()["id"])
        assert len(held) >= 35
        time.sleep(0.2)
        server.clear()
        found = pr.build_from_files(hrefs, into=target, bands=["red"])
        assert not {f"{one}.tif" for one in held} & set(header_reads(server))
        assert_frame_equal(content(found), content(pr.build_from_files(hrefs, bands=["red"])))
        after = target.read_bytes()
        server.clear()
        pr.build_from_files(hrefs, into=target, bands=["red"])
        assert header_reads(server) == []
        assert target.read_bytes() == after
        server.files["003.tif"] = make_cog(np.ones((1, 48, 48), dtype="uint16"))
        found = pr.build_from_files(hrefs, into=target, bands=["red"])
        assert header_reads(server) == ["003.tif"]
        assert_frame_equal(content(found), content(pr.build_from_files(hrefs, bands=["red"])))
    assert {one.name for one in tmp_path.iterdir()} == {"c.parquet"}


def test_what_a_killed_build_left_is_not_mixed_with_a_file_that_was_written_since(tmp_path):
    paths = [write_scene(tmp_path / f"{n}.tif") for n in range(3)]
    target = tmp_path / "c.parquet"
    pr.build_from_files(paths[:1], into=target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(into_module, "put_together", lambda *_args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pr.build_from_files(paths[:2], into=target)
    pr.build_from_files(paths[2], bands=["b1"]).raster.sink_collection(target, mode="overwrite")
    found = pr.build_from_files(paths[2], into=target)
    assert found.collect()["id"].to_list() == ["2"]
    assert pr.build_from_files(paths, into=target).collect()["id"].sort().to_list() == ["0", "1", "2"]


@pytest.mark.parametrize("change", ["compact", "append", "remove", "refresh"])
def test_a_change_after_a_killed_build_is_not_taken_for_what_that_build_wrote(tmp_path, change):
    """What the build wrote need not be asked again, but records of before do, also when they lie in new parts by now."""
    paths = [write_scene(tmp_path / f"{n}.tif") for n in range(4)]
    target = tmp_path / "c"
    pr.build_from_files(paths[0], into=target)
    pr.build_from_files(paths[1], bands=["b1"]).raster.sink_collection(target, mode="append")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(into_module, "write_parts", lambda *_args, **_words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pr.build_from_files(paths[:3], into=target)
    match change:
        case "compact":
            pr.compact(target)
        case "append":
            pr.build_from_files(paths[3], bands=["b1"]).raster.sink_collection(target, mode="append")
        case "remove":
            pr.remove(target, pl.col("id") == "0")
        case _:
            pr.refresh(target)
    for path in paths:
        write_scene(path, size=(80, 80))
    found = pr.build_from_files(paths, into=target).select("id", pl.col("b1").struct.field("width")).sort("id")
    assert found.collect().rows() == [(str(n), 80) for n in range(4)]


def test_an_append_to_one_file_keeps_the_names_of_files_that_could_not_be_read(tmp_path):
    paths = [write_scene(tmp_path / "0.tif"), tmp_path / "1.tif", write_scene(tmp_path / "2.tif")]
    target = tmp_path / "c.parquet"
    pr.build_from_files(paths[:2], bands=["b1"], into=target)
    pr.build_from_files(paths[2:], bands=["b1"]).raster.sink_collection(target, mode="append")
    write_scene(paths[1])
    found = pr.refresh(target).collect()
    assert found["id"].sort().to_list() == ["0", "1", "2"]
    assert found["header_error"].null_count() == 3


def test_files_that_could_not_be_read_are_remembered_in_a_single_file(tmp_path):
    paths = [write_scene(tmp_path / "0.tif"), tmp_path / "1.tif"]
    target = tmp_path / "c.parquet"
    assert pr.build_from_files(paths, into=target).collect()["header_error"].null_count() == 1
    write_scene(paths[1])
    assert pr.refresh(target).collect()["header_error"].null_count() == 2


def test_the_header_of_a_file_that_held_records_share_is_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    files = scenes(6) | {"mask.tif": make_cog(np.ones((2, 64, 64), dtype="uint16"), nodata=7)}
    with RangeServer(files) as server:
        table = pl.DataFrame(
            {
                "id": [f"r{n}" for n in range(6)],
                "image": [server.url(f"{n:03}.tif") for n in range(6)],
                "mask": [server.url("mask.tif")] * 6,
            }
        )
        bands = {"red": "image", "mask": ("mask", 1)}
        into = tmp_path / "c"
        pr.build_from_table(table.head(3), bands=bands, into=into)
        server.clear()
        found = pr.build_from_table(table, bands=bands, into=into)
        assert header_reads(server) == ["003.tif", "004.tif", "005.tif"]
        assert [one.path for one in server.requests].count("mask.tif") == 1
        assert_frame_equal(content(found), content(pr.build_from_table(table, bands=bands)))
        # Also when the build that read it was killed, and then nothing at all is asked of it.
        with monkeypatch.context() as patch:
            left = [1]

            def dying(*args, **words):
                if not left.pop():
                    raise KeyboardInterrupt
                left.append(0)
                write(*args, **words)

            write = into_module.write_parts
            patch.setattr(into_module, "write_parts", dying)
            with pytest.raises(KeyboardInterrupt):
                pr.build_from_table(table, bands=bands, into=tmp_path / "killed")
        server.clear()
        found = pr.build_from_table(table, bands=bands, into=tmp_path / "killed")
        assert "mask.tif" not in [one.path for one in server.requests]
        assert_frame_equal(content(found), content(pr.build_from_table(table, bands=bands)))
        # Other bands of it, or another content, are read.
        server.clear()
        server.files["mask.tif"] = make_cog(np.ones((2, 96, 96), dtype="uint16"))
        more = table.with_columns(pl.col("id") + "x")
        found = pr.build_from_table(more, bands=bands, into=into)
        assert header_reads(server) == ["mask.tif"]
        widths = found.select(pl.col("id"), pl.col("mask").struct.field("width")).sort("id").collect()
        assert widths.filter(pl.col("id").str.ends_with("x"))["width"].unique().to_list() == [96]
