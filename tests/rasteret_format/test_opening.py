"""Are collections that rasteret wrote opened lazily, without a request, and read as rasteret reads them?"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polars_rasteret as pr
from polars_rasteret.engine.borrowed_tables import forget_own_table
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.rasteret_format import raster_values
from polars_rasteret.schema import pixel_dtype
from tests.support import recorded
from tests.support.engines import ENGINES
from tests.support.object_server import ObjectServer
from tests.support.range_server import RangeServer
from tests.support.rasteret_answers import agrees
from tests.support.rasteret_tables import known, table

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "examples" / "data" / "rasteret"
SHARED = ROOT.parent / "shared" / "data" / "rasteret"
UTC = dt.UTC


def folder_of(name):
    folder = BUNDLED if name == "naip_multiband" else SHARED / name
    if not folder.is_dir():
        pytest.skip("../shared/data/rasteret is not there")
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "oracle", "n_null"),
    [("naip_multiband", "oracle", 0), ("landsat_per_band", "oracle", 4), ("landsat_per_band", "oracle_s3", 0)],
)
def test_every_point_and_window_is_that_of_rasteret(name, oracle, n_null, engine):
    folder = folder_of(name)
    told = json.loads((folder / f"{oracle}.json").read_text())
    found = agrees(pr.scan_collection(folder), told, engine)
    assert found[0] == n_null
    assert found[1] > 0


def test_a_band_keeps_records_that_lack_another_one():
    scenes = pr.scan_collection(folder_of("landsat_per_band"))
    point = pl.DataFrame({"lon": [-75.489], "lat": [2.0]})
    found = scenes.raster.sample_points(point, ["B04", "B05"], crs=4326).collect().sort("record_id")
    assert found["record_id"].to_list() == ["s1", "s2"]  # rasteret drops s2
    assert found["B04"].null_count() == 0
    assert found["B05"].is_null().to_list() == [False, True]


def test_the_schema_comes_from_footers_and_has_utc_times_bands_in_order_and_their_dtypes():
    scenes = pr.scan_collection(BUNDLED)
    schema = scenes.collect_schema()
    assert schema["datetime"] == pl.Datetime("us", "UTC")
    assert (schema["year"], schema["month"]) == (pl.Int64, pl.Int64)
    assert scenes.raster.bands() == ["R", "G", "B", "NIR"]
    assert {str(pixel_dtype(schema[band])) for band in scenes.raster.bands()} == {"UInt8"}
    assert schema["label"] == pl.String
    assert not {"assets", "crs", "R_metadata"} & set(schema)
    assert scenes.raster.crs() == ["EPSG:26911"]
    landsat = pr.scan_collection(folder_of("landsat_per_band")).collect_schema()
    assert pixel_dtype(landsat["B04"]) == pl.Int32  # uint16 and int16
    assert pixel_dtype(landsat["B05"]) == pl.UInt16


@pytest.fixture
def opened(tmp_path):
    """Give a function that writes a table of rasteret's and opens it."""

    def write(made, name="records/part-0.parquet", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(made, path, **options)
        return pr.scan_collection(tmp_path / name.partition("/")[0])

    return write


@pytest.mark.parametrize("engine", ENGINES)
def test_opening_filtering_and_looking_at_records_asks_for_no_file_and_reading_asks_for_header_and_tile(opened, engine):
    store = recorded.Store()
    clear_cache()
    pixels = recorded.noise(3)
    href = store.put("a.tif", recorded.tiff(pixels))
    size = recorded.SIZE
    here = known(image_width=size, image_height=size, tile_width=128, tile_height=128)
    scenes = opened(table([{"R": (href, here)}, {"R": (store.prefix + "gone.tif", here)}], ["R"]))
    one = scenes.filter(pl.col("id") == "0")
    assert one.select("id", "R").collect(engine=engine).height == 1
    query = one.raster.sample_points(recorded.points([(200, 300)]), ["R"], crs=recorded.EPSG)
    assert query.collect_schema()["R"] == pl.UInt16
    assert pr.estimate(query).bound == "unknown"
    assert store.requests == []
    forget_own_table(href)
    assert query.collect(engine=engine)["R"].to_list() == [pixels[0, 200, 300]]
    assert len(store.requests) == 2
    assert query.collect(engine=engine)["R"].to_list() == [pixels[0, 200, 300]]
    assert len(store.requests) == 2
    store.close()


def many(n, n_tiles=1):
    """Give one record per day, with tables that no compression makes small."""
    rng = np.random.default_rng(0)
    days = [dt.datetime(2020, 1, 1) + dt.timedelta(days=day) for day in range(n)]
    return table(
        [{"R": ("a.tif", known(tile_offsets=rng.integers(0, 1 << 40, n_tiles))), "datetime": day} for day in days],
        ["R"],
    )


def test_filters_on_time_and_place_sink_into_the_scan_and_only_survivors_are_converted(opened, monkeypatch):
    made = []
    borrowed_tiles = raster_values.borrowed_tiles
    monkeypatch.setattr(raster_values, "borrowed_tiles", lambda one: made.append(1) or borrowed_tiles(one))
    scenes = opened(many(60), row_group_size=10)
    late = scenes.filter(pl.col("datetime") >= dt.datetime(2020, 2, 28, tzinfo=UTC))
    for query in (
        late,
        scenes.raster.subset(datetime="2020-02-28"),
        scenes.filter(pl.col("bbox").struct.field("xmin") > 8),
    ):
        plan = query.explain()
        assert "SELECTION" in plan.partition("Parquet SCAN")[2]
        assert "FILTER" not in plan
    for engine in ENGINES:
        made.clear()
        assert late.collect(engine=engine).height == 2
        assert len(made) == 2
        made.clear()
        assert late.select("id").collect(engine=engine).height == 2
        assert scenes.select("id", "R").head(3).collect(engine=engine).height == 3
        assert len(made) <= 10


def test_a_filter_on_time_skips_row_groups(tmp_path):
    pq.write_table(many(200, 5_000), tmp_path / "c.parquet", row_group_size=10)
    with RangeServer({"c.parquet": (tmp_path / "c.parquet").read_bytes()}) as server:
        scenes = pr.scan_collection(server.url("c.parquet"))

        def cost(query):
            before = server.n_bytes
            n_rows = query.select("id", "datetime", "R").collect().height
            return n_rows, server.n_bytes - before

        every, some = cost(scenes), cost(scenes.filter(pl.col("datetime") < dt.datetime(2020, 1, 11, tzinfo=UTC)))
    assert (every[0], some[0]) == (200, 10)
    assert some[1] < every[1] / 2


def test_relative_hrefs_lie_beside_the_collection_else_where_python_works(opened, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "records" / "tif").mkdir(parents=True)
    (elsewhere / "tif").mkdir(parents=True)
    (tmp_path / "records" / "tif" / "a.tif").touch()
    for name in ("a", "b"):
        (elsewhere / "tif" / f"{name}.tif").touch()
    monkeypatch.chdir(elsewhere)
    hrefs = ["tif/a.tif", "tif/b.tif", "tif/c.tif", "/data/d.tif", "s3://bucket/e.tif", "./tif/a.tif"]
    scenes = opened(table([{"R": (href, known())} for href in hrefs], ["R"]))
    monkeypatch.chdir(tmp_path)
    found = scenes.select(pl.col("R").struct.field("href")).collect().to_series().to_list()
    beside = tmp_path / "records" / "tif"
    assert found == [
        str(beside / "a.tif"),
        str(elsewhere / "tif" / "b.tif"),
        str(beside / "c.tif"),
        "/data/d.tif",
        "s3://bucket/e.tif",
        str(beside / "a.tif"),
    ]


def test_hrefs_of_a_collection_from_elsewhere_stay_there(tmp_path):
    pq.write_table(
        table([{"R": ("tif/a.tif", known())}, {"R": ("/etc/passwd", known())}], ["R"]), tmp_path / "c.parquet"
    )
    with RangeServer({"deep/c.parquet": (tmp_path / "c.parquet").read_bytes()}) as server:
        scenes = pr.scan_collection(server.url("deep/c.parquet"))
        hrefs = scenes.select(pl.col("R").struct.field("href")).collect().to_series().to_list()
        assert hrefs == [server.url("deep/tif/a.tif"), "/etc/passwd"]
        with pytest.raises((UsageError, pr.errors.FetchError)):
            scenes.tail(1).select(pl.col("R").raster.read_window()).collect()


def test_a_collection_in_a_bucket_is_opened_by_its_footers_and_read_through_the_store(tmp_path):
    pixels = recorded.noise(6, height=256, width=256)
    here = known(image_width=256, image_height=256, tile_width=128, tile_height=128)
    rng = np.random.default_rng(0)
    wide = [known(tile_offsets=rng.integers(0, 1 << 40, 20_000)) for _ in range(20)]
    made = table([{"R": ("tif/a.tif", one), "datetime": dt.datetime(2021, 1, 1)} for one in [here, *wide]], ["R"])
    pq.write_table(made, tmp_path / "part-0.parquet", row_group_size=1)
    with ObjectServer() as server:
        server.files["bucket/c/year=2021/month=1/part-0.parquet"] = (tmp_path / "part-0.parquet").read_bytes()
        server.files["bucket/c/tif/a.tif"] = recorded.tiff(pixels)
        scenes = pr.scan_collection("s3://bucket/c", storage_options=server.options)
        assert pixel_dtype(scenes.collect_schema()["R"]) == pl.UInt16
        assert server.n_bytes < len(server.files["bucket/c/year=2021/month=1/part-0.parquet"]) / 4
        pr.configure_store("s3://bucket/", storage_options=server.options)
        query = scenes.head(1).raster.sample_points(recorded.points([(7, 8)]), ["R"], crs=recorded.EPSG)
        assert query.select("record_id", "R").collect().rows() == [("0", pixels[0, 7, 8])]
        pr.configure_store("s3://bucket/")


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_any_unit_are_utc(opened, unit, zone):
    local = dt.datetime(2020, 1, 1, 12, tzinfo=UTC) if zone else dt.datetime(2020, 1, 1, 12)
    made = table(
        [{"R": ("a.tif", known()), "datetime": one} for one in (local, None)], ["R"], when=pa.timestamp(unit, zone)
    )
    for scenes in (opened(made), pr.scan_collection(made)):
        found = scenes.select("datetime").collect().to_series()
        assert found.dtype == pl.Datetime("us", "UTC")
        assert found.to_list() == [dt.datetime(2020, 1, 1, 12, tzinfo=UTC), None]


def test_a_year_is_an_interval(opened):
    years = [{"R": ("a.tif", known()), "datetime": year} for year in (2020, 2021, None)]
    scenes = opened(table(years, ["R"], when=pa.int32()))
    rows = scenes.select("datetime", "start_datetime", "end_datetime").collect().rows()
    assert rows == [
        (
            dt.datetime(year, 1, 1, tzinfo=UTC),
            dt.datetime(year, 1, 1, tzinfo=UTC),
            dt.datetime(year, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        )
        for year in (2020, 2021)
    ] + [(None, None, None)]
    assert scenes.raster.subset(datetime="2021-07").select("id").collect().to_series().to_list() == ["1"]


def test_parts_in_folders_of_months_and_without_a_time_are_one_collection(opened):
    one = table([{"R": ("a.tif", known())}], ["R"])
    other = table([{"R": None, "N": ("b.tif", known(dtype="int16")), "id": "late", "datetime": None}], ["R", "N"])
    opened(one, "c/year=2020/month=1/part-0.parquet")
    scenes = opened(
        other.drop_columns(["crs"]), "c/year=__HIVE_DEFAULT_PARTITION__/month=__HIVE_DEFAULT_PARTITION__/part-0.parquet"
    )
    found = scenes.collect()
    assert found.select("id", "year", "month").rows() == [("0", 2020, 1), ("late", None, None)]
    assert found.select(pl.col("R", "N").is_null()).rows() == [(False, True), (True, False)]
    assert [str(pixel_dtype(found.schema[band])) for band in ("R", "N")] == ["UInt16", "Int16"]
    assert found["N"].struct.field("crs").to_list() == [None, "EPSG:32632"]


def test_parts_of_rasteret_and_of_this_package_are_one_collection(opened, tmp_path):
    scenes = opened(table([{"red": ("a.tif", known())}], ["red"]), "both/part-0.parquet")
    pr.testing.example_scenes().select("id", "red").raster.sink_collection(tmp_path / "own")
    own = next((tmp_path / "own").glob("*.parquet"))
    own.rename(tmp_path / "both" / "part-1.parquet")
    found = pr.scan_collection(tmp_path / "both").collect()
    assert found["id"].to_list() == ["0", "first", "second"]
    assert [tiles[0] >> 3 & 1 for tiles in found["red"].struct.field("tiles")] == [1, 0, 0]
    assert scenes.collect()["id"].to_list() == ["0"]


@pytest.mark.parametrize("options", [{}, {"write_statistics": False}, {"row_group_size": 1}])
def test_dtypes_are_those_of_all_records_whatever_statistics_say(opened, options):
    names = ["float16", "int16", "uint16", "uint8"]  # the first and the last do not tell of the others
    made = table([{"R": ("a.tif", known(dtype=name)), "N": None} for name in names], ["R", "N"])
    schema = opened(made, **options).collect_schema()
    assert pixel_dtype(schema["R"]) == pl.Float32
    assert pixel_dtype(schema["N"]) == pl.UInt8
    assert opened(made, **options).collect()["N"].null_count() == len(names)


def test_dtypes_that_no_dtype_holds_are_refused(opened):
    with pytest.raises(UsageError, match="band 'R' exactly, which are int64, uint64"):
        opened(table([{"R": ("a.tif", known(dtype=name))} for name in ("int64", "uint64")], ["R"]))


def test_metadata_that_say_little_or_nonsense_become_what_can_be_made_of_them(opened):
    cases = {
        "six numbers": (known(transform=[10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0]), True),
        "no place": (known(transform=None), True),
        "no table": (known(tile_offsets=None), True),
        "short table": (known(tile_byte_counts=[]), True),
        "negative table": (known(tile_offsets=[-1]), True),
        "no tile size": (known(tile_width=None, tile_height=None), True),
        "little": ({"image_width": 8, "image_height": 8, "dtype": "uint16"}, True),
        "complex": (known(dtype="complex64"), False),
        "no dtype at all": (known(dtype="nonsense"), False),
        "no size": (known(image_width=None), False),
        "NaN": (known(nodata=float("nan")), True),
        "huge image": (known(image_width=2**31 - 1, image_height=2**31 - 1, tile_width=1, tile_height=1), True),
    }
    made = table([{"id": name, "R": ("a.tif", one)} for name, (one, _) in cases.items()], ["R"])
    frame = opened(made).collect()
    assert dict(zip(frame["id"], frame["R"].is_not_null(), strict=True)) == {
        name: ok for name, (_, ok) in cases.items()
    }
    rows = dict(zip(frame["id"], frame["R"].to_list(), strict=True))
    assert rows["six numbers"]["transform"] == [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0]
    assert rows["no place"]["transform"] is None
    assert rows["short table"]["width"] == 8
    user_defined = opened(table([{"R": ("a.tif", known()), "epsg": 32767}], ["R"]))
    assert user_defined.select("proj:code", pl.col("R").struct.field("crs")).collect().row(0) == (None, None)


def test_files_of_several_bands_say_which_band_is_meant(opened):
    made = table(
        [{"R": (("a.tif", 2), known(samples_per_pixel=3)), "N": (("b.tif", None), known())}], ["R", "N"], index=True
    )
    frame = opened(made).collect()
    assert [frame[band].struct.field("band_index").item() for band in ("R", "N")] == [2, 0]


def test_tables_in_memory_open_as_files_do(tmp_path):
    made = table([{"R": (f"{tmp_path}/a.tif", known())}, {"R": None}], ["R"])
    pq.write_table(made, tmp_path / "c.parquet")
    expected = pr.scan_collection(tmp_path / "c.parquet").collect()
    for one in (
        made,
        made.to_reader(),
        pl.DataFrame(made),
        pl.LazyFrame(pl.DataFrame(made)),
        pa.record_batch(made.combine_chunks().to_batches()[0]),
    ):
        assert pr.scan_collection(one).collect().equals(expected)
    own = pr.testing.example_scenes().raster.to_arrow()
    assert pr.scan_collection(own).select("id", "red").collect().equals(pl.DataFrame(own).select("id", "red"))
    with pytest.raises(UsageError, match="no collection"):
        pr.scan_collection(pl.DataFrame({"a": [1]}))
    pq.write_table(made.drop_columns(["R_metadata"]), tmp_path / "bare.parquet")
    with pytest.raises(UsageError, match="is not a collection"):
        pr.scan_collection(tmp_path / "bare.parquet")
