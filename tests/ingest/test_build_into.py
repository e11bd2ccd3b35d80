"""Does a build that grows a collection on disk survive a kill, and does it read no unchanged header twice?"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.joined_parts as joined_module
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.queries.extent import bounds_array
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.collection.writing.hilbert import hilbert_order
from polars_rasteret.errors import UsageError
from polars_rasteret.ingest.indexed_files import N_CHECK_BYTES
from polars_rasteret.testing import MemorySource, RecordingSource, make_cog
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene

PER_PART = 10

BUILDER = """
    import json, sys
    import polars_rasteret as pr
    import polars_rasteret.ingest.resumable_build as into_module
    import polars_rasteret.ingest.joined_parts as joined_module
    into_module.RECORDS_PER_PART = int(sys.argv[3])
    joined_module.RECORDS_PER_PART = 3 * int(sys.argv[3])
    pr.build_from_files(json.loads(open(sys.argv[1]).read()), into=sys.argv[2], bands=["red", "nir"])
"""


def content(frame: pl.LazyFrame) -> pl.DataFrame:
    """Give the records in an order of their own, without the time at which they were indexed."""
    return frame.drop("indexed_at").sort("id").collect()


def scenes(n_files: int) -> dict[str, bytes]:
    """Give files of 40 places and two formats, one in 50 of them no TIFF at all."""
    made = [
        make_cog(
            np.full((2, 32, 32), number, dtype="uint8" if number % 7 else "uint16"),
            transform=(10.0, 0.0, 300_000.0 + 9_000 * number, 0.0, -10.0, 5_000_000.0 - 7_000 * (number * 13 % 40)),
        )
        for number in range(40)
    ]
    return {f"{n:05}.tif": b"no tiff" * 10 if n % 50 == 17 else made[n % 40] for n in range(n_files)}


def header_reads(server: RangeServer) -> list[str]:
    return [one.path for one in server.requests if (one.byte_stop or 0) - (one.byte_start or 0) > N_CHECK_BYTES]


def killed_and_restarted(tmp_path: Path, n_files: int, n_kills: int, n_per_part: int, latency_s: float) -> None:
    chance = random.Random(3)
    sources, folder = tmp_path / "sources.json", tmp_path / "grown"
    with RangeServer(scenes(n_files), latency_s=latency_s) as server:
        names = sorted(server.files)
        sources.write_text(json.dumps([server.url(name) for name in names]))
        n_finished = [0]
        for number in range(n_kills + 1):
            held = {Path(href).name for href in held_hrefs(folder)}
            server.clear()
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(BUILDER), str(sources), str(folder), str(n_per_part)]
            )
            if number < n_kills:
                target = chance.randrange(n_files // n_kills // 4, n_files // n_kills)
                while process.poll() is None and len(server.requests) < target:
                    time.sleep(0.002)
                process.kill()
                assert process.wait() == -signal.SIGKILL
                n_finished.append(len(held_hrefs(folder)))
                wait_until_quiet(server)
            else:
                assert process.wait() == 0
            asked = [one.path for one in server.requests]
            assert not held & set(asked), "a file of a finished part was asked again"
            assert len(asked) == len(set(asked)), "a header was read twice in one run"
        assert n_finished[-1], "no kill came after a finished part"
        assert not (folder / "_build.json").exists()
        assert not list(folder.rglob(".*"))
        server.clear()
        found = content(pr.scan_collection(folder))
        expected = content(pr.build_from_files([server.url(name) for name in names], bands=["red", "nir"]))
    assert_frame_equal(found, expected)
    for part in parts_at(folder):
        bounds = bounds_array(pl.read_parquet(part.path, columns=["bbox"])["bbox"])
        assert hilbert_order(bounds).tolist() == list(range(len(bounds)))
        assert len(bounds) < 2 * 3 * n_per_part


def wait_until_quiet(server: RangeServer) -> None:
    """Let the server answer what the killed process had sent."""
    n_before = -1
    while server.n_running or len(server.requests) != n_before:
        n_before = len(server.requests)
        time.sleep(0.15)


def held_hrefs(folder: Path) -> list[str]:
    if not folder.exists() or not parts_at(folder):
        return []
    return (
        pr.scan_collection(folder)
        .select(pl.col("red").struct.field("href"))
        .collect()
        .to_series()
        .drop_nulls()
        .to_list()
    )


def test_a_build_killed_at_random_moments_and_restarted_equals_an_uninterrupted_one(tmp_path):
    killed_and_restarted(tmp_path, n_files=300, n_kills=4, n_per_part=PER_PART, latency_s=0.01)


@pytest.mark.slow
def test_a_build_of_5000_files_killed_ten_times_equals_an_uninterrupted_one(tmp_path):
    killed_and_restarted(tmp_path, n_files=5_000, n_kills=10, n_per_part=50, latency_s=0.01)


def test_no_unchanged_header_is_read_twice_and_a_changed_or_new_one_once(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 10)
    files = scenes(40)
    with RangeServer(files) as server:
        hrefs = [server.url(name) for name in sorted(files)]
        pr.build_from_files(hrefs[:30], into=tmp_path / "c", bands=["red", "nir"])
        assert sorted(header_reads(server)) == sorted(files)[:30]
        before = {part.path for part in parts_at(tmp_path / "c")}
        assert len(before) == 3
        server.clear()
        pr.build_from_files(hrefs[:30], into=tmp_path / "c", bands=["red", "nir"])
        assert header_reads(server) == []
        assert len(server.requests) == 30
        assert {part.path for part in parts_at(tmp_path / "c")} == before
        server.clear()
        server.files["00003.tif"] = make_cog(np.ones((2, 64, 64), dtype="uint16"))
        found = pr.build_from_files(hrefs, into=tmp_path / "c", bands=["red", "nir"])
        assert sorted(header_reads(server)) == ["00003.tif", *sorted(files)[30:]]
        assert len(server.requests) == 30 + 11
        assert len(before & {part.path for part in parts_at(tmp_path / "c")}) == 2
        assert_frame_equal(content(found), content(pr.build_from_files(hrefs, bands=["red", "nir"])))


def test_the_small_parts_of_a_build_become_large_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 4)
    files = scenes(47)
    with RangeServer(files) as server:
        hrefs = [server.url(name) for name in sorted(files)]
        whole = content(pr.build_from_files(hrefs, bands=["red", "nir"]))
        found = pr.build_from_files(hrefs, into=tmp_path / "many", bands=["red", "nir"])
        assert_frame_equal(content(found), whole)
        assert [pq.read_metadata(part.path).num_rows for part in parts_at(tmp_path / "many")] == [47], (
            "many small parts are joined at the end"
        )
        monkeypatch.setattr(joined_module, "RECORDS_PER_PART", 10)
        pr.build_from_files(hrefs[:4], into=tmp_path / "c", bands=["red", "nir"])
        first = {part.path for part in parts_at(tmp_path / "c")}
        found = pr.build_from_files(hrefs, into=tmp_path / "c", bands=["red", "nir"])
        assert_frame_equal(content(found), whole)
        parts = parts_at(tmp_path / "c")
        assert [pq.read_metadata(part.path).num_rows for part in parts] == [4, 12, 12, 12, 4, 3]
        assert parts[0].path in first, "parts from before stay as they are"
        for part in parts:
            boxes = bounds_array(pl.read_parquet(part.path, columns=["bbox"])["bbox"])
            assert hilbert_order(boxes).tolist() == list(range(len(boxes)))
        server.clear()
        pr.build_from_files(hrefs, into=tmp_path / "c", bands=["red", "nir"])
        assert header_reads(server) == []
        monkeypatch.setattr(joined_module, "_MOST_BYTES", 3 * parts[0].n_bytes)
        pr.build_from_files(hrefs, into=tmp_path / "bounded", bands=["red", "nir"])
        assert max(part.n_bytes for part in parts_at(tmp_path / "bounded")) <= 3 * parts[0].n_bytes
        assert sum(pq.read_metadata(part.path).num_rows for part in parts_at(tmp_path / "bounded")) == 47


def test_local_files_are_known_by_size_and_time(tmp_path):
    paths = [write_scene(tmp_path / "scenes" / f"{number}.tif") for number in range(3)]
    pr.build_from_files(tmp_path / "scenes", into=tmp_path / "c")
    write_scene(paths[1], count=2)
    write_scene(tmp_path / "scenes" / "3.tif")
    found = pr.build_from_files(tmp_path / "scenes", into=tmp_path / "c")
    assert found.select("id").collect()["id"].sort().to_list() == ["0", "1", "2", "3"]
    assert found.filter(pl.col("id") == "1").select(pl.col("b1").struct.field("tiles")).collect().item() == (
        pr.build_from_files(paths[1]).select(pl.col("b1").struct.field("tiles")).collect().item()
    )


def test_a_source_that_tells_nothing_is_taken_as_unchanged(tmp_path):
    source = RecordingSource(MemorySource({"memory://into/a.tif": make_cog(np.ones((1, 600, 600), dtype="uint16"))}))
    pr.configure_store("memory://into/", store=source)
    for _ in range(2):
        found = pr.build_from_files(["memory://into/a.tif"], into=tmp_path / "c")
    assert found.collect().height == 1
    assert sum(stop - start > N_CHECK_BYTES for _, start, stop in source.requests) == 1


def test_equal_records_are_counted_and_other_bands_are_refused(tmp_path):
    path = write_scene(tmp_path / "a.tif", count=2)
    for _ in range(2):
        assert pr.build_from_files([path, path], bands={"x": 0}, into=tmp_path / "c").collect().height == 2
    assert pr.build_from_files([path, path], bands={"x": 0}, id=["p", "q"], into=tmp_path / "c").collect().height == 4
    with pytest.raises(UsageError, match="with the bands x"):
        pr.build_from_files([path], bands={"y": 1}, into=tmp_path / "c")


def test_a_table_grows_a_collection_and_its_columns_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    shared = write_scene(tmp_path / "shared.tif")
    table = pl.DataFrame(
        {
            "id": [f"r{number}" for number in range(5)],
            "image": [str(write_scene(tmp_path / f"{number}.tif")) for number in range(4)] + [None],
            "mask": [str(shared)] * 5,
            "label": list("abcde"),
        }
    )
    words = {"bands": {"red": "image", "mask": "mask"}, "into": tmp_path / "c"}
    with pr.profile() as seen:
        pr.build_from_table(table.head(3), **words)
    assert seen.summary()["requests"].item() == 4, "the header of a file of several records is read once"
    with pr.profile() as seen:
        found = pr.build_from_table(table.with_columns(label=pl.lit("z")), **words)
    assert found.sort("id").collect()["label"].to_list() == ["a", "b", "c", "z", "z"]
    assert len(parts_at(tmp_path / "c")) == 3
    assert found.collect()["red"].null_count() == 1
    assert found.collect()["header_error"].null_count() == 5


def test_formats_of_later_parts_must_fit_the_earlier_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 1)
    paths = [write_scene(tmp_path / f"{n}.tif", dtype=dtype) for n, dtype in enumerate(["uint8", "int64", "float32"])]
    found = pr.build_from_files(paths, into=tmp_path / "c").sort("id").collect()
    assert found["b1"].is_null().to_list() == [False, False, True]
    assert "float32" in found["header_error"][2]


def test_a_full_disk_leaves_the_old_collection_and_the_next_build_goes_on(tmp_path):
    paths = [str(write_scene(tmp_path / f"{number:02}.tif", size=(640, 480), count=3)) for number in range(12)]
    pr.build_from_files(paths[:2], into=tmp_path / "c")
    before = content(pr.scan_collection(tmp_path / "c"))
    code = f"""
        import resource, signal, json
        import polars_rasteret as pr
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        pr.build_from_files({paths!r}, into={str(tmp_path / "c")!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert_frame_equal(content(pr.scan_collection(tmp_path / "c")), before)
    found = pr.build_from_files(paths, into=tmp_path / "c")
    assert_frame_equal(content(found), content(pr.build_from_files(paths)))
    assert not list((tmp_path / "c").rglob(".*"))


def test_a_bar_tells_the_headers_that_are_read(tmp_path, capsys):
    paths = [write_scene(tmp_path / f"{number}.tif") for number in range(3)]
    pr.build_from_files(paths, into=tmp_path / "c", progress=True)
    assert "3/3" in capsys.readouterr().err


def test_nothing_to_build_is_an_empty_collection_and_a_partitioned_one_is_refused(tmp_path):
    assert pr.build_from_files([], bands=["red"], into=tmp_path / "empty").collect().height == 0
    made = pr.build_from_files(write_scene(tmp_path / "a.tif"), datetime=["2024-01-01"])
    made.raster.sink_collection(tmp_path / "hive", partition_by="year")
    with pytest.raises(UsageError, match="partitioned by year"):
        pr.build_from_files(tmp_path / "a.tif", into=tmp_path / "hive")
