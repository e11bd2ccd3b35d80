"""Does each scan see the collection as it is now, whatever was opened before and whatever lies beside the parts?"""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support.collection_frames import grid_of_scenes, raster_column
from tests.support.object_server import ObjectServer

SCENES = grid_of_scenes(6, 4)


def wider(frame: pl.DataFrame) -> pl.DataFrame:
    places = [(0.0, 10.0 + number) for number in range(frame.height)]
    return frame.with_columns(raster_column("red", places, dtype=pl.UInt16()), new=1)


@pytest.mark.parametrize("path", ["c", "c.parquet", "s3://bucket/c", "s3://bucket/c.parquet"])
def test_a_changed_collection_is_seen_by_the_next_scan(path, tmp_path):
    with ObjectServer() as server:
        options = {"storage_options": server.options} if "://" in path else {}
        target = path if "://" in path else tmp_path / path
        SCENES.lazy().raster.sink_collection(target, **options)
        before = pr.scan_collection(target, **options)
        assert before.collect_schema()["red"].fields[6].dtype == pl.UInt8
        wider(SCENES.head(5)).lazy().raster.sink_collection(target, mode="overwrite", **options)
        after = pr.scan_collection(target, **options)
        assert after.collect_schema()["red"].fields[6].dtype == pl.UInt16
        assert after.select("new").collect().height == 5
        assert after.raster.describe().n_records == 5


def test_an_overwrite_leaves_no_folder_of_before(tmp_path):
    SCENES.lazy().raster.sink_collection(tmp_path / "c", partition_by="id")
    SCENES.head(2).lazy().raster.sink_collection(tmp_path / "c", mode="overwrite", partition_by="id")
    assert pr.scan_collection(tmp_path / "c").collect()["id"].sort().to_list() == ["s0000", "s0001"]
    assert len(list((tmp_path / "c").rglob("*.parquet"))) == 2


def test_sidecars_of_other_writers_are_no_parts(tmp_path):
    SCENES.lazy().raster.sink_collection(tmp_path / "c", partition_by="year")
    expected = pr.scan_collection(tmp_path / "c").collect()
    other = next((tmp_path / "c").rglob("*.parquet")).read_bytes()
    for name, content in {
        "_metadata": other,
        "_common_metadata": b"PAR1",
        "_SUCCESS": b"",
        ".x.parquet": other,
    }.items():
        (tmp_path / "c" / name).write_bytes(content)
    assert_frame_equal(pr.scan_collection(tmp_path / "c").collect(), expected)
    pr.compact(tmp_path / "c")
    assert_frame_equal(pr.scan_collection(tmp_path / "c").sort("id").collect(), expected.sort("id"))
    assert {"_metadata", "_common_metadata", "_SUCCESS", ".x.parquet"} <= {
        one.name for one in (tmp_path / "c").iterdir()
    }


def test_what_is_filtered_is_what_is_written(tmp_path):
    SCENES.lazy().raster.sink_collection(tmp_path / "c")
    some = pr.scan_collection(tmp_path / "c").filter(pl.col("eo:cloud_cover") < 5)
    some.raster.sink_collection(tmp_path / "some")
    assert_frame_equal(pr.scan_collection(tmp_path / "some").collect(), some.collect())
    assert pr.list_collections(tmp_path).filter(name="some")["end"].item() == some.collect()["datetime"].max()
