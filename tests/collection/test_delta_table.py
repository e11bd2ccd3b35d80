"""Is a collection that lies in a Delta table read like any other one?

Delta has neither fixed-size lists nor unsigned numbers, so raster columns are written with a list and a wider pixel dtype.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shapely
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.schema import raster_dtype
from polars_rasteret.testing import make_cog
from tests.support.engines import ENGINES

deltalake = pytest.importorskip("deltalake")

BOX = pl.DataFrame({"geometry": [shapely.box(300_003, 4_999_803, 303_121, 4_999_999).wkb]})
FOR_DELTA = pl.col("red").struct.with_fields(
    transform=pl.field("transform").arr.to_list(), nodata=pl.field("nodata").cast(pl.Int32)
)


@pytest.fixture
def scenes(tmp_path) -> pl.LazyFrame:
    for n in range(4):
        place = (10.0, 0.0, 300_000.0 + 1_000 * n, 0.0, -10.0, 5_000_000.0)
        (tmp_path / f"{n}.tif").write_bytes(
            make_cog(np.full((1, 32, 32), 40_000 + n, dtype="uint16"), transform=place, nodata=40_002)
        )
    files = [str(tmp_path / f"{n}.tif") for n in range(4)]
    return pr.build_from_files(files, bands=["red"], datetime=[f"2024-0{n}-01" for n in range(1, 5)])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_collection_in_a_delta_table_answers_as_the_collection_does(scenes, tmp_path, engine):
    built = scenes.with_columns(FOR_DELTA).collect()
    table = str(tmp_path / "table")
    built[:2].write_delta(table)
    built[2:].write_delta(table, mode="append")
    found = pl.scan_delta(table)
    assert found.raster.bands() == ["red"]
    points = pl.DataFrame({"x": [300_005.0, 301_005.0, 302_005.0, 303_005.0], "y": [4_999_995.0] * 4})
    is_early = pl.col("datetime").dt.month() < 4
    for these, those in ((found, scenes), (found.filter(is_early), scenes.filter(is_early))):
        answer, expected = (
            one.raster.sample_points(points, ["red"], crs="native", unmatched="drop").collect(engine=engine)
            for one in (these, those)
        )
        assert_frame_equal(answer, expected.cast({"red": pl.Int32}))
        assert answer["red"].to_list() == [40_000, 40_001, None, 40_003][: expected.height]
        assert_frame_equal(
            these.raster.zonal_stats(BOX, ["red"], crs="native").collect(engine=engine),
            those.raster.zonal_stats(BOX, ["red"], crs="native").collect(engine=engine),
        )


def test_a_version_of_the_table_is_a_version_of_the_collection(scenes, tmp_path):
    table = str(tmp_path / "table")
    scenes.with_columns(FOR_DELTA).collect().write_delta(table)
    deltalake.DeltaTable(table).delete("id = '3'")
    assert sorted(pl.scan_delta(table).select("id").collect()["id"]) == ["0", "1", "2"]
    assert pl.scan_delta(table, version=0).raster.describe().n_records == 4
    # Out of it, the collection is an ordinary one again.
    pl.scan_delta(table).raster.sink_collection(tmp_path / "native")
    assert pr.list_collections(tmp_path).filter(name="native")["records"].to_list() == [3]
    assert pr.scan_collection(tmp_path / "native").collect_schema()["red"] == raster_dtype(pl.Int32())
    scenes.filter(pl.col("id") == "3").raster.sink_collection(tmp_path / "native", mode="append")
    assert pr.scan_collection(tmp_path / "native").collect()["id"].sort().to_list() == ["0", "1", "2", "3"]
