"""Does a refresh index anew what changed, came and went, and leave the rest alone?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.ingest.indexed_files import N_CHECK_BYTES
from polars_rasteret.testing import make_cog
from tests.support.range_server import Fault, RangeServer
from tests.support.scene_files import write_scene


def cog(value: int, *, size: int = 32, dtype: str = "uint8", x: float = 500_000.0) -> bytes:
    return make_cog(np.full((1, size, size), value, dtype=dtype), transform=(10.0, 0.0, x, 0.0, -10.0, 5_000_000.0))


def content(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.drop("indexed_at").sort("id").collect()


def test_a_file_that_changed_disappeared_or_appeared_is_indexed_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 3)
    files = {f"{n}.tif": cog(n, x=400_000.0 + 5_000 * n) for n in range(9)}
    late = files.pop("8.tif")
    with RangeServer(files) as server:
        hrefs = [server.url(f"{n}.tif") for n in range(9)]
        table = pl.DataFrame({"id": [str(n) for n in range(9)], "image": hrefs, "label": list("abcdefghi")})
        pr.build_from_table(table, bands={"red": "image"}, into=tmp_path / "c")
        parts = [part.path for part in parts_at(tmp_path / "c")]
        server.clear()
        same = pr.refresh(tmp_path / "c")
        assert [part.path for part in parts_at(tmp_path / "c")] == parts, "what is still unreadable changes nothing"
        assert content(same)["header_error"].null_count() == 8
        server.files["0.tif"] = cog(1, size=48, dtype="uint16", x=700_000.0)
        gone = server.files.pop("7.tif")
        server.files["8.tif"] = late
        server.clear()
        found = pr.refresh(tmp_path / "c")
        headers = [one.path for one in server.requests if (one.byte_stop or 0) - (one.byte_start or 0) > N_CHECK_BYTES]
        assert sorted(headers) == ["0.tif", "7.tif", "8.tif"]
        expected = pr.build_from_table(table, bands={"red": "image"})
        assert_frame_equal(content(found), content(expected))
        assert found.select("label").collect()["label"].sort().to_list() == list("abcdefghi")
        assert parts[1] in [part.path for part in parts_at(tmp_path / "c")]
        server.files["7.tif"] = gone
        found = pr.refresh(tmp_path / "c")
        assert_frame_equal(content(found), content(pr.build_from_table(table, bands={"red": "image"})))


def test_what_was_set_by_hand_stays(tmp_path):
    path = write_scene(tmp_path / "a.tif", scales=(0.5,))
    made = pr.build_from_files(path, bands=["red"], datetime=["2024-01-01"]).with_columns(
        pl.col("red").raster.with_metadata(nodata=7), split=pl.lit("train")
    )
    made.raster.sink_collection(tmp_path / "c.parquet")
    write_scene(path, size=(96, 48))
    found = pr.refresh(tmp_path / "c.parquet").collect().row(0, named=True)
    assert found["red"]["nodata"] == 7
    assert found["red"]["width"] == 96
    assert found["red"]["scale"] == 0.5
    assert found["split"] == "train"
    assert found["datetime"].year == 2024


def test_bands_under_own_names_come_when_the_file_does(tmp_path):
    good = write_scene(tmp_path / "good.tif", count=2)
    late = tmp_path / "late.tif"
    pr.build_from_files([good, late], into=tmp_path / "c")
    pr.refresh(tmp_path / "c")
    write_scene(late, count=2, tags={"TIFFTAG_DATETIME": "2021:05:06 07:08:09"})
    found = pr.refresh(tmp_path / "c")
    assert_frame_equal(content(found), content(pr.build_from_files([good, late])))


def test_a_server_that_fails_changes_nothing(tmp_path):
    with RangeServer({"a.tif": cog(1)}) as server, pr.options(retries=0, timeout_s=2):
        pr.build_from_files([server.url("a.tif")], into=tmp_path / "c")
        before = pr.scan_collection(tmp_path / "c").collect()
        server.fault = lambda _seen: Fault(status=403)
        with pytest.raises(FetchError, match="403"):
            pr.refresh(tmp_path / "c")
    assert_frame_equal(pr.scan_collection(tmp_path / "c").collect(), before)
    with pytest.raises(UsageError, match="nothing is at"):
        pr.refresh(tmp_path / "none")
