"""Is what is written valid GeoParquet, whole, sorted, and the same when it is opened again?"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import polars as pl
import pytest
import shapely
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.collection.writing.sink import sink_collection
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import pixel_dtype, raster_dtype
from polars_rasteret.testing import make_cog
from tests.support.collection_frames import grid_of_scenes, raster_column
from tests.support.engines import ENGINES


def band(dtype: pl.DataType, n: int = 2, *, null: bool = False, start: int = 0) -> pl.DataFrame:
    origins = [None if null else (float(number), 1.0) for number in range(n)]
    return pl.DataFrame(
        {"id": [f"r{start + number}" for number in range(n)], "red": raster_column("red", origins, dtype=dtype)}
    )


@pytest.mark.parametrize("name", ["scenes.parquet", "scenes", "ö #1 %41 [x]/we ird?*.parquet", "ö #1 %41 [x]/fold er"])
def test_what_is_written_is_read_again(tmp_path, name):
    frame = with_places(grid_of_scenes())
    sink_collection(frame.lazy(), tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name), (tmp_path / name).as_uri()):
        for engine in ENGINES:
            found = scan_collection(path).collect(engine=engine)
            assert found.schema == frame.schema
            assert_frame_equal(found.sort("id"), frame.sort("id"))
    assert not list(tmp_path.rglob(".*"))


def test_rows_are_sorted_so_that_neighbours_on_earth_are_neighbours_in_the_file(tmp_path):
    sink_collection(grid_of_scenes(), tmp_path / "a.parquet", row_group_size=36)
    pq = pytest.importorskip("pyarrow.parquet")
    footer = pq.read_metadata(tmp_path / "a.parquet")
    assert footer.num_row_groups == 16
    names = [footer.row_group(0).column(index).path_in_schema for index in range(footer.row_group(0).num_columns)]
    areas = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        sides = {
            side: group.column(names.index(f"bbox.{side}")).statistics for side in ("xmin", "ymin", "xmax", "ymax")
        }
        areas.append((sides["xmax"].max - sides["xmin"].min) * (sides["ymax"].max - sides["ymin"].min))
        assert group.column(names.index("id")).compression == "ZSTD"
    # 576 scenes over 350 x 150 degrees: an unsorted row group covers nearly all of it.
    assert np.mean(areas) < 350 * 150 / 16 * 2


def test_the_file_is_geoparquet_1_1(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    sink_collection(grid_of_scenes(), tmp_path / "a.parquet")
    geo = json.loads(pq.read_metadata(tmp_path / "a.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Polygon"]
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    np.testing.assert_allclose(column["bbox"], [-180, -71, 171, 80])
    assert "crs" not in column
    field = pq.read_schema(tmp_path / "a.parquet").field("geometry")
    name = getattr(field.type, "extension_name", None) or field.metadata[b"ARROW:extension:name"].decode()
    assert name == "geoarrow.wkb"


def test_geopandas_reads_it(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    frame = with_places(grid_of_scenes())
    sink_collection(frame, tmp_path / "a.parquet")
    found = geopandas.read_parquet(tmp_path / "a.parquet", columns=["id", "geometry"])
    assert found.crs.to_authority() == ("OGC", "CRS84")
    assert found.geometry.is_valid.all()
    boxes = dict(zip(frame["id"], frame["bbox"], strict=True))
    for name, bounds in zip(found["id"], found.geometry.bounds.to_numpy(), strict=True):
        np.testing.assert_allclose(bounds, list(boxes[name].values()))
    some = geopandas.read_parquet(tmp_path / "a.parquet", columns=["id", "geometry"], bbox=(0, 0, 25, 25))
    assert 0 < len(some) < 20


@pytest.mark.parametrize("name", ["c", "c.parquet"])
def test_geopandas_and_duckdb_read_what_a_build_wrote(tmp_path, name):
    pd = pytest.importorskip("pandas")
    geopandas, duckdb = pytest.importorskip("geopandas"), pytest.importorskip("duckdb")
    files = {f"{n}.tif": make_cog(np.ones((1, 32, 32)), transform=(10.0, 0.0, 3e5, 0.0, -10.0, 5e6)) for n in range(3)}
    for file, data in files.items():
        (tmp_path / file).write_bytes(data)
    hrefs = [*(str(tmp_path / file) for file in files), str(tmp_path / "gone.tif")]
    for some in (hrefs[:2], hrefs):
        built = pr.build_from_files(some, into=tmp_path / name).collect().sort("id")
    parts = [part.path for part in parts_at(tmp_path / name)]
    found = pd.concat([geopandas.read_parquet(part) for part in parts]).sort_values("id")
    assert found.crs.to_authority() == ("OGC", "CRS84")
    assert found["id"].tolist() == built["id"].to_list() == ["0", "1", "2", "gone"]
    assert found.geometry.isna().tolist() == [False, False, False, True]
    assert shapely.to_wkb(found.geometry.to_numpy()).tolist() == built["geometry"].to_list()
    assert found["b1"].iloc[0]["href"] == hrefs[0]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select id, bbox.xmin, b1.width, header_error is null from read_parquet(?) order by id",
            [parts],
        ).fetchall()
    assert [row[0] for row in rows] == built["id"].to_list()
    assert [row[1] for row in rows] == built["bbox"].struct.field("xmin").to_list()
    assert [row[2:] for row in rows] == [(32, True)] * 3 + [(None, False)]


def test_duckdb_reads_it(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    frame = grid_of_scenes()
    sink_collection(frame, tmp_path / "a.parquet")
    with duckdb.connect() as connection:
        rows = connection.execute(
            'select id, red.href, bbox.xmin, "eo:cloud_cover" from read_parquet(?) order by id',
            [str(tmp_path / "a.parquet")],
        ).fetchall()
    expected = frame.sort("id")
    assert [row[0] for row in rows] == expected["id"].to_list()
    assert [row[1] for row in rows] == expected["red"].struct.field("href").to_list()
    assert [row[3] for row in rows] == expected["eo:cloud_cover"].to_list()


def test_an_existing_path_is_refused_unless_a_mode_says_more(tmp_path):
    for name in ("a.parquet", "folder"):
        sink_collection(band(pl.UInt8()), tmp_path / name)
        with pytest.raises(UsageError, match="exists already"):
            sink_collection(band(pl.UInt8()), tmp_path / name)
        sink_collection(band(pl.UInt8(), start=10), tmp_path / name, mode="append")
        assert scan_collection(tmp_path / name).collect().height == 4
        sink_collection(band(pl.UInt8(), 1, start=20), tmp_path / name, mode="overwrite")
        assert scan_collection(tmp_path / name).collect()["id"].to_list() == ["r20"]
        assert len(parts_at(tmp_path / name)) == 1


def test_a_collection_may_be_overwritten_with_itself(tmp_path):
    for name in ("a.parquet", "folder"):
        sink_collection(band(pl.UInt8()), tmp_path / name)
        sink_collection(
            scan_collection(tmp_path / name).filter(pl.col("id") == "r1"), tmp_path / name, mode="overwrite"
        )
        assert scan_collection(tmp_path / name).collect()["id"].to_list() == ["r1"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([pl.UInt8(), pl.UInt16()], pl.UInt16()),
        ([pl.Int8(), pl.UInt8()], pl.Int16()),
        ([pl.UInt16(), pl.Float32()], pl.Float32()),
        ([pl.Int32(), pl.Float32()], pl.Float64()),
        ([pl.Float32(), pl.Float64(), pl.UInt8()], pl.Float64()),
        ([pl.UInt64(), pl.UInt8()], pl.UInt64()),
    ],
)
def test_parts_of_different_pixel_dtypes_become_the_lossless_supertype(tmp_path, dtypes, expected, engine):
    for number, dtype in enumerate(dtypes):
        frame = band(dtype, start=10 * number).with_columns(**{f"only{number}": pl.lit(number)})
        frame = frame.with_columns(pl.col("red").struct.with_fields(nodata=pl.lit(7, dtype=dtype)))
        sink_collection(frame, tmp_path / "c", mode="append")
    scan = scan_collection(tmp_path / "c")
    assert pixel_dtype(scan.collect_schema()["red"]) == expected
    found = scan.collect(engine=engine)
    assert found.schema == scan.collect_schema()
    assert found["red"].struct.field("nodata").to_list() == [7] * 2 * len(dtypes)
    assert found["only1"].drop_nulls().to_list() == [1, 1]
    assert scan.filter(pl.col("id") == "r11").select("red", "id").collect(engine=engine)["id"].to_list() == ["r11"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_part_whose_band_is_all_null_never_decides_the_dtype(tmp_path, engine):
    sink_collection(band(pl.UInt8(), null=True), tmp_path / "c")
    sink_collection(band(pl.Int8(), start=10), tmp_path / "c", mode="append")
    sink_collection(band(pl.Int64(), null=True, start=20), tmp_path / "c", mode="append")
    scan = scan_collection(tmp_path / "c")
    assert scan.collect_schema()["red"] == raster_dtype(pl.Int8())
    found = scan.collect(engine=engine)
    assert found.schema == scan.collect_schema()
    assert found["id"].to_list() == ["r0", "r1", "r10", "r11", "r20", "r21"]
    assert found["red"].null_count() == 4
    assert scan.filter(pl.col("red").is_not_null()).collect(engine=engine).height == 2


def test_all_null_parts_of_other_writers_do_not_decide_either(tmp_path):
    (tmp_path / "c").mkdir()
    band(pl.UInt8(), null=True).write_parquet(tmp_path / "c" / "1.parquet")
    band(pl.Int8(), start=10).write_parquet(tmp_path / "c" / "2.parquet")
    scan = scan_collection(tmp_path / "c")
    assert scan.collect_schema()["red"] == raster_dtype(pl.Int8())
    assert scan.collect()["red"].null_count() == 2


def test_appending_a_dtype_without_a_lossless_supertype_is_refused_and_writes_nothing(tmp_path):
    for name in ("c", "c.parquet"):
        sink_collection(band(pl.Int64()), tmp_path / name)
        with pytest.raises(UsageError, match=r"(?s)red.*Float32|Float32.*red"):
            sink_collection(band(pl.Float32()), tmp_path / name, mode="append")
        assert scan_collection(tmp_path / name).collect().height == 2
        sink_collection(band(pl.Float32(), null=True), tmp_path / name, mode="append")
        assert scan_collection(tmp_path / name).collect_schema()["red"] == raster_dtype(pl.Int64())


def test_appending_a_column_of_another_kind_is_refused(tmp_path):
    sink_collection(band(pl.UInt8()).with_columns(label=pl.lit(1)), tmp_path / "c")
    with pytest.raises(UsageError, match="label"):
        sink_collection(band(pl.UInt8()).with_columns(label=pl.lit("x")), tmp_path / "c", mode="append")


@pytest.mark.parametrize("engine", ENGINES)
def test_other_columns_are_united(tmp_path, engine):
    first = band(pl.UInt8()).with_columns(cc=pl.lit(1), none=None, s=pl.struct(a=1), t=pl.lit("x"))
    second = band(pl.UInt8()).with_columns(cc=pl.lit(0.5), none=pl.lit("y"), s=pl.struct(b=2), extra=pl.lit([1]))
    sink_collection(first, tmp_path / "c")
    sink_collection(second, tmp_path / "c", mode="append")
    found = scan_collection(tmp_path / "c").collect(engine=engine)
    assert found["cc"].to_list() == [1, 1, 0.5, 0.5]
    assert found["none"].to_list() == [None, None, "y", "y"]
    assert found["s"].to_list() == [{"a": 1, "b": None}] * 2 + [{"a": None, "b": 2}] * 2
    assert found["t"].to_list() == ["x", "x", None, None]


def test_parts_without_the_geometry_extension_stand_beside_those_with_it(tmp_path):
    frame = with_places(band(pl.UInt8()))
    sink_collection(frame, tmp_path / "c")
    frame.write_parquet(tmp_path / "c" / "z.parquet")
    found = scan_collection(tmp_path / "c")
    assert found.collect_schema()["geometry"] == pl.Binary
    assert found.collect().height == 4


def test_hive_folders_are_written_and_read(tmp_path):
    frame = grid_of_scenes()
    sink_collection(frame, tmp_path / "x=1" / "c", partition_by=["year", "month"])
    assert (tmp_path / "x=1" / "c" / "year=2020" / "month=2").is_dir()
    found = scan_collection(tmp_path / "x=1" / "c")
    assert found.collect_schema()["year"] == pl.Int64
    assert "x" not in found.collect_schema()
    february = found.filter(pl.col("year") == 2020, pl.col("month") == 2).collect()
    assert february["datetime"].dt.month().unique().to_list() == [2]
    assert february.height == 29
    assert_frame_equal(found.select(frame.columns).collect().sort("id"), frame.sort("id"))


def test_hive_keys_may_be_odd(tmp_path):
    frame = band(pl.UInt8(), 5).with_columns(label=pl.Series(["a/b", "ü=1 %", "x y", None, "a/b"]))
    sink_collection(frame, tmp_path / "c", partition_by="label")
    found = scan_collection(tmp_path / "c").collect().sort("id")
    assert found["label"].to_list() == ["a/b", "ü=1 %", "x y", None, "a/b"]
    sink_collection(frame.with_columns(id=pl.lit("new")), tmp_path / "c", partition_by="label", mode="overwrite")
    assert scan_collection(tmp_path / "c").collect()["id"].unique().to_list() == ["new"]


def test_globs_name_parts(tmp_path):
    for number in range(3):
        sink_collection(band(pl.UInt8(), start=number * 10), tmp_path / f"p{number}.parquet")
    assert scan_collection(tmp_path / "p[01].parquet").collect().height == 4
    assert scan_collection(f"{tmp_path}/*.parquet").collect().height == 6


def test_no_collection_is_a_clear_error(tmp_path):
    with pytest.raises(UsageError, match="nothing is at"):
        scan_collection(tmp_path / "gone")
    with pytest.raises(UsageError, match="nothing is at"):
        scan_collection(tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="is not a collection"):
        scan_collection(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(UsageError, match=r"b\.parquet"):
        scan_collection(tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="no raster column"):
        sink_collection(pl.DataFrame({"id": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match="'id'"):
        sink_collection(band(pl.UInt8()).drop("id"), tmp_path / "c.parquet")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"mode": "replace"}, "mode"),
        ({"format": "csv"}, "format"),
        ({"row_group_size": 0}, "row_group_size"),
        ({"partition_by": "nope"}, "nope"),
        ({"partition_by": "red"}, "folder"),
    ],
)
def test_wrong_words_are_usage_errors(tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        sink_collection(band(pl.UInt8()), tmp_path / "c", **words)
    assert not (tmp_path / "c").exists() or not list((tmp_path / "c").iterdir())


def test_an_empty_collection_is_written_and_read(tmp_path):
    for name in ("a.parquet", "folder"):
        sink_collection(band(pl.UInt8()).head(0), tmp_path / name)
        found = scan_collection(tmp_path / name)
        assert found.collect().height == 0
        assert found.collect_schema()["red"] == raster_dtype(pl.UInt8())


def test_a_process_killed_while_it_writes_leaves_what_was_there(tmp_path):
    sink_collection(band(pl.UInt8()), tmp_path / "c")
    sink_collection(band(pl.UInt8()), tmp_path / "c.parquet")
    code = f"""
        import os, sys
        import polars as pl
        import polars_rasteret.collection.writing.publishing as part_files
        import polars_rasteret.collection.writing.sink as sink
        from polars_rasteret.collection.reading.scan import scan_collection
        write = part_files._write_parquet
        def dying(frame, file, *args, **kwargs):
            file.write(b"PAR1 half a file")
            file.flush()
            os._exit(9)
        part_files._write_parquet = dying
        frame = scan_collection({str(tmp_path / "c")!r})
        sink.sink_collection(frame, {str(tmp_path)!r} + "/" + sys.argv[1], mode=sys.argv[2])
    """
    for name, mode in (("c", "append"), ("c", "overwrite"), ("c.parquet", "append"), ("c.parquet", "overwrite")):
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), name, mode], check=False)
        assert done.returncode == 9
        assert scan_collection(tmp_path / name).collect().height == 2


def test_bytes_of_a_record_stay_small(tmp_path):
    frame = pl.concat([grid_of_scenes().with_columns(pl.col("id") + str(number)) for number in range(4)])
    sink_collection(frame, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size / frame.height < 250


def test_an_append_follows_the_folders_that_are_there(tmp_path):
    scenes = pr.testing.example_scenes().with_columns(split=pl.Series(["01", "2"]))
    path = tmp_path / "scenes"
    scenes.raster.sink_collection(path, partition_by="split")
    scenes.raster.sink_collection(path, mode="append")
    with pytest.raises(pr.errors.UsageError, match="partitioned by"):
        scenes.raster.sink_collection(path, mode="append", partition_by="month")
    assert pr.scan_collection(path).select("id", "split").collect().sort("id", "split").rows() == [
        ("first", "01"),
        ("first", "01"),
        ("second", "2"),
        ("second", "2"),
    ]


def test_an_overwrite_by_nothing_leaves_an_empty_collection(tmp_path):
    scenes = pr.testing.example_scenes()
    path = tmp_path / "scenes"
    scenes.raster.sink_collection(path, partition_by="month")
    scenes.filter(pl.col("id") == "none").raster.sink_collection(path, mode="overwrite", partition_by="month")
    assert pr.scan_collection(path).collect().height == 0


def test_rows_appended_to_one_file_get_their_places(tmp_path):
    frame = grid_of_scenes(6, 4)
    for half in (frame[:12], frame[12:]):
        half.lazy().raster.sink_collection(tmp_path / "c.parquet", mode="append")
    frame.lazy().raster.sink_collection(tmp_path / "at_once.parquet")
    found, expected = (pr.scan_collection(tmp_path / name).collect() for name in ("c.parquet", "at_once.parquet"))
    assert_frame_equal(found.sort("id"), expected.sort("id"))
    assert found["bbox"].null_count() == 0
