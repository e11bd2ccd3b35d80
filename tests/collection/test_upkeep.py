"""Are records removed, parts joined and collections listed without losing anything else?"""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.collection.writing.publishing as part_files_module
import polars_rasteret.collection.writing.sink as sink_module
import polars_rasteret.collection.writing.upkeep as upkeep_module
from polars_rasteret.collection.queries.extent import bounds_array
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.collection.writing.hilbert import hilbert_order
from polars_rasteret.errors import UsageError
from tests.support.collection_frames import grid_of_scenes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = grid_of_scenes().with_row_index("n")
    for start in range(0, frame.height, 100):
        frame[start : start + 100].lazy().raster.sink_collection(tmp_path / "c", mode="append")
    return tmp_path / "c"


def test_remove_takes_the_records_and_writes_only_their_parts(folder):
    before = pr.scan_collection(folder).collect()
    parts = {part.path for part in parts_at(folder)}
    found = pr.remove(folder, (pl.col("n") >= 90) & (pl.col("n") < 210)).collect()
    assert_frame_equal(found.sort("n"), before.filter((pl.col("n") < 90) | (pl.col("n") >= 210)).sort("n"))
    left = {part.path for part in parts_at(folder)}
    assert len(left & parts) == len(parts) - 3
    assert len(left) == len(parts) - 1
    pr.remove(folder, pl.lit(None, dtype=pl.Boolean))
    assert {part.path for part in parts_at(folder)} == left
    assert pr.remove(folder, pl.lit(True)).collect().schema == before.schema
    assert pr.scan_collection(folder).collect().height == 0
    with pytest.raises(UsageError, match="predicate"):
        pr.remove(folder, "n > 3")


def test_compact_keeps_the_records_and_sorts_them_as_a_whole(folder, monkeypatch):
    before = pr.scan_collection(folder).collect()
    monkeypatch.setattr(upkeep_module, "RECORDS_PER_PART", 200)
    found = pr.compact(folder).collect()
    sizes = [pq.read_metadata(part.path).num_rows for part in parts_at(folder)]
    assert len(sizes) == found.height // 200
    assert min(sizes) >= 200
    assert max(sizes) - min(sizes) <= 1
    assert_frame_equal(found.sort("n"), before.sort("n"))
    assert hilbert_order(bounds_array(found["bbox"])).tolist() == list(range(found.height))
    assert not list(folder.rglob(".*"))


def test_a_large_append_becomes_several_parts_and_one_file_stays_one(folder, tmp_path, monkeypatch):
    before = pr.scan_collection(folder).collect()
    monkeypatch.setattr(sink_module, "RECORDS_PER_PART", 200)
    before.lazy().raster.sink_collection(tmp_path / "new")
    sizes = [pq.read_metadata(part.path).num_rows for part in parts_at(tmp_path / "new")]
    assert sizes == [before.height // 2] * 2
    found = pr.scan_collection(tmp_path / "new").collect()
    assert_frame_equal(found.sort("n"), before.sort("n"))
    assert hilbert_order(bounds_array(found["bbox"])).tolist() == list(range(found.height))
    before.head(399).lazy().raster.sink_collection(tmp_path / "new", mode="append")
    assert len(parts_at(tmp_path / "new")) == 3
    before.lazy().raster.sink_collection(tmp_path / "one.parquet")
    assert pr.scan_collection(tmp_path / "one.parquet").collect().height == before.height


def test_hive_folders_keep_their_records(tmp_path):
    frame = grid_of_scenes()
    for half in (frame[:300], frame[300:]):
        half.lazy().raster.sink_collection(tmp_path / "c", mode="append", partition_by="month")
    before = pr.scan_collection(tmp_path / "c").collect()
    pr.compact(tmp_path / "c")
    assert len(parts_at(tmp_path / "c")) == before["month"].n_unique()
    assert_frame_equal(pr.scan_collection(tmp_path / "c").collect().sort("id"), before.sort("id"))
    found = pr.remove(tmp_path / "c", pl.col("month") == 2).collect()
    assert_frame_equal(found.sort("id"), before.filter(pl.col("month") != 2).sort("id"))


def test_a_full_disk_leaves_the_collection(folder, monkeypatch):
    before = pr.scan_collection(folder).collect()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(part_files_module, "_write_parquet", full)
    for change in (lambda: pr.compact(folder), lambda: pr.remove(folder, pl.col("n") == 3)):
        with pytest.raises(OSError, match="No space left"):
            change()
        assert_frame_equal(pr.scan_collection(folder).collect(), before)
        assert not list(folder.rglob(".*"))


def test_collections_of_a_folder_are_listed(folder, tmp_path):
    grid_of_scenes().lazy().raster.sink_collection(tmp_path / "one.parquet")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    found = pr.list_collections(tmp_path)
    assert found["name"].to_list() == ["c", "one.parquet"]
    assert found["records"].to_list() == [576, 576]
    assert found["parts"].to_list() == [6, 1]
    assert found["bytes"].min() > 0
    assert pr.scan_collection(found["path"][0]).collect().height == 576
    with pytest.raises(UsageError, match="not a folder"):
        pr.list_collections(tmp_path / "gone")
