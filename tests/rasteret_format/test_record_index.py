"""Are records of an index joined with wide tables only for those that filters leave, and read as rasteret reads them?"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.rasteret_format import raster_values
from tests.support import recorded
from tests.support.engines import ENGINES
from tests.support.rasteret_answers import agrees
from tests.support.rasteret_tables import BBOX, BOX, known, table

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "rasteret" / "aef_record_index"
UTC = dt.UTC
COLUMNS = {"id": "fid", "geometry": "geom", "datetime": "year", "proj:epsg": "crs"}
DESCRIPTOR = {"columns": COLUMNS, "bands": {"A0": ("path", 0), "A1": ("path", 1)}}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_point_and_window_of_alpha_earth_is_that_of_rasteret(engine):
    if not SHARED.is_dir():
        pytest.skip("../shared/data/rasteret is not there")
    told = json.loads((SHARED / "descriptor.json").read_text())
    scenes = pr.scan_collection(SHARED / "data", index=SHARED / "index.parquet", descriptor=told)
    agrees(scenes, json.loads((SHARED / "oracle.json").read_text()), engine)
    rows = scenes.select("id", "datetime", "start_datetime", "end_datetime", "year").collect(engine=engine)
    assert rows["id"].to_list() == ["11", "12", "13"]
    assert rows.row(0)[1:] == (
        dt.datetime(2022, 1, 1, tzinfo=UTC),
        dt.datetime(2022, 1, 1, tzinfo=UTC),
        dt.datetime(2022, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        2022,
    )
    pr.register(
        pr.DatasetDescriptor(
            id="mine/annual",
            title="Annual",
            data=str(SHARED / "data"),
            index=str(SHARED / "index.parquet"),
            columns=COLUMNS | {"bbox": "bbox"},
            bands={"A00": ("path", 0), "A01": ("path", 1)},
            rewrite=told["url_rewrite_patterns"],
        )
    )
    own = pr.build("mine/annual", datetime="2023", bands=["A01"], bbox=(-114, 46, -113, 47))
    assert own.select("id").collect().to_series().to_list() == ["12", "13"]
    pr.unregister("mine/annual")


@pytest.fixture
def annual(tmp_path, monkeypatch):
    """Give a folder with an index of six records and two wide tables, and a list of the ids whose bands were made."""
    years = [2020, 2020, 2021, 2021, 2022, 2022]
    here = known(samples_per_pixel=2, planar_configuration=2)
    bands = {"A0": (("tif/a.tif", 0), here), "A1": (("tif/a.tif", 1), here)}
    (tmp_path / "data").mkdir()
    for part in range(2):
        made = table([{"id": str(10 * part + one), **bands} for one in range(3)], list(bands), index=True)
        pq.write_table(made, tmp_path / "data" / f"part-{part}.parquet")
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True))
    index = pa.table(
        {
            "fid": [0, 1, 2, 10, 11, 12],
            "geom": pa.array([made["geometry"][0].as_py()] * 6, pa.binary()),
            "crs": ["EPSG:32632"] * 6,
            "year": pa.array(years, pa.int32()),
            "bbox": pa.array([box] * 6, BBOX),
            "path": [f"https://data.org/{one}.tif" for one in range(6)],
            "source_part": [f"part-{one // 3}.parquet" for one in range(6)],
        }
    )
    pq.write_table(index, tmp_path / "index.parquet")
    made_of: list[int] = []
    borrowed_tiles = raster_values.borrowed_tiles
    monkeypatch.setattr(raster_values, "borrowed_tiles", lambda one: made_of.append(1) or borrowed_tiles(one))
    return tmp_path, made_of


def opened(folder, descriptor=DESCRIPTOR, **words):
    return pr.scan_collection(folder / "data", index=folder / "index.parquet", descriptor=descriptor, **words)


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_choose_in_the_index_and_only_their_bands_are_made(annual, engine):
    folder, made = annual
    scenes = opened(folder)
    in_2021 = scenes.raster.subset(datetime="2021")
    assert in_2021.select("id", "year").collect(engine=engine).rows() == [("2", 2021), ("10", 2021)]
    assert made == []
    found = in_2021.filter(pl.col("id") != "2").select("A1", "id").collect(engine=engine)
    assert (found.columns, found["id"].to_list(), len(made)) == (["A1", "id"], ["10"], 1)
    assert found["A1"].struct.field("band_index").to_list() == [1]
    made.clear()
    assert scenes.select("A0", "A1").head(2).collect(engine=engine).height == 2
    assert len(made) == 4
    assert "FILTER" not in in_2021.explain()


def test_only_the_wide_tables_that_the_index_names_are_read(annual):
    folder, _ = annual
    scenes = opened(folder)
    (folder / "data" / "part-1.parquet").write_bytes(b"not read")
    assert scenes.filter(pl.col("year") == 2020).select("A0").collect()["A0"].null_count() == 0
    with pytest.raises(pl.exceptions.ComputeError):
        scenes.select("A0").collect()


def test_without_names_of_wide_tables_all_are_searched_and_unknown_records_are_null(annual):
    folder, _ = annual
    index = pl.read_parquet(folder / "index.parquet").drop("source_part")
    extra = index.head(1).with_columns(fid=pl.lit(99, pl.Int64))
    pl.concat([index, extra]).write_parquet(folder / "index.parquet")
    frame = opened(folder).collect()
    assert frame["A0"].is_null().to_list() == [False] * 6 + [True]
    assert (
        frame.filter(pl.col("A0").is_not_null()).height
        == opened(folder).filter(pl.col("A0").is_not_null()).collect().height
    )
    few = opened(folder).filter(pl.col("A0").is_null()).head(1).select("id").collect()
    assert few.to_series().to_list() == ["99"]


def test_hrefs_come_from_the_index_where_the_wide_tables_have_none_and_are_rewritten(annual):
    folder, _ = annual
    for part in (folder / "data").iterdir():
        pq.write_table(pq.ParquetFile(part).read().drop_columns(["assets"]), part)
    scenes = opened(folder, {**DESCRIPTOR, "rewrite": {"https://data.org/": "s3://bucket/"}})
    hrefs = scenes.select(pl.col("A1").struct.field("href", "band_index")).collect()
    assert hrefs.row(5) == ("s3://bucket/5.tif", 1)
    theirs = {
        "field_roles": {"id": "fid", "geometry": "geom", "datetime": "year", "bbox": "bbox", "href": "path"},
        "column_map": {"fid": "id", "crs": "proj:epsg"},
        "href_column": "path",
        "band_index_map": {"A0": 0, "A1": 1},
        "url_rewrite_patterns": {"https://data.org/": "s3://bucket/"},
    }
    assert opened(folder, theirs).collect().equals(scenes.collect())


def test_pixels_are_read_through_an_index_and_the_estimate_knows_that_the_index_reads_none(annual):
    folder, _ = annual
    store = recorded.Store()
    clear_cache()
    pixels = recorded.noise(5, n_bands=2, height=8, width=8)
    for number in range(6):
        store.put(f"{number}.tif", recorded.tiff(pixels + number, tile=16))
    for part in (folder / "data").iterdir():
        pq.write_table(pq.ParquetFile(part).read().drop_columns(["assets"]), part)
    scenes = opened(folder, {**DESCRIPTOR, "rewrite": {"https://data.org/": store.prefix}})
    query = scenes.filter(pl.col("year") == 2022).raster.sample_points(
        recorded.points([(3, 4)]), ["A1"], crs=recorded.EPSG
    )
    assert pr.estimate(query).bound == "unknown"
    assert query.collect()["A1"].to_list() == [pixels[1, 3, 4] + 4, pixels[1, 3, 4] + 5]
    assert store.names == {"4.tif", "5.tif"}
    assert pr.estimate(query).bound == "exact"
    store.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"descriptor": {"columns": {"id": "name"}}}, "the index has no column name"),
        ({"descriptor": {}}, "the index has no column id"),
        ({"descriptor": {"columns": ["fid"]}}, "columns is"),
        ({"descriptor": {**DESCRIPTOR, "bands": {"A0": 3}}}, "a band is 3"),
    ],
)
def test_what_a_descriptor_lacks_is_told(annual, words, told):
    with pytest.raises(UsageError, match=told):
        opened(annual[0], **words)


def test_an_index_that_is_not_there_and_a_descriptor_without_index_are_refused(annual):
    folder, _ = annual
    with pytest.raises(UsageError, match="nothing is at"):
        pr.scan_collection(folder / "data", index=folder / "none.parquet", descriptor=DESCRIPTOR)
    with pytest.raises(UsageError, match="pass index="):
        pr.scan_collection(folder / "data", descriptor=DESCRIPTOR)
    with pytest.raises(UsageError, match="expected wide tables"):
        pr.scan_collection(folder / "index.parquet", index=folder / "index.parquet", descriptor=DESCRIPTOR)
