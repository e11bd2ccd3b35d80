"""What does one scan make of many files? Rules 10 (parts of different dtypes) and 11 (hive keys).

The parts of a collection may differ in pixel dtype, which is the dtype of one field inside a struct column.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl
import pytest
from polars import col

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)

WIDEN = pl.ScanCastOptions(integer_cast=["upcast", "allow-float"], float_cast="upcast")
U8, U16, U32, U64 = pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64
I8, I16, I32, I64 = pl.Int8, pl.Int16, pl.Int32, pl.Int64
F32, F64 = pl.Float32, pl.Float64


def raster(pixel_dtype):
    return pl.Struct({"href": pl.String, "nodata": pixel_dtype})


def write_part(folder, name, pixel_dtype, nodata, **columns):
    path = folder / f"{name}.parquet"
    schema = {"id": pl.String, "B04": raster(pixel_dtype), "flat": pixel_dtype}
    frame = pl.DataFrame({"id": [name], "B04": [{"href": name, "nodata": nodata}], "flat": [nodata]}, schema=schema)
    frame.with_columns(**columns).write_parquet(path)
    return path


def scan(paths, pixel_dtype, **columns):
    schema = {"id": pl.String, "B04": raster(pixel_dtype), "flat": pixel_dtype, **columns}
    return pl.scan_parquet(paths, schema=schema, missing_columns="insert", cast_options=WIDEN)


@both_engines
@pytest.mark.parametrize(
    ("part", "wider"),
    [
        *[(U8, wider) for wider in (U16, U32, U64, I16, I32, I64, F32, F64)],
        *[(U16, wider) for wider in (U32, U64, I32, I64, F32, F64)],
        *[(U32, wider) for wider in (U64, I64, F64)],
        *[(I8, wider) for wider in (I16, I32, I64, F32, F64)],
        *[(I16, wider) for wider in (I32, I64, F32, F64)],
        *[(I32, wider) for wider in (I64, F64)],
        (F32, F64),
    ],
)
def test_every_lossless_widening_works_also_inside_a_struct(tmp_path, engine, part, wider):
    paths = [write_part(tmp_path, "narrow", part, 1), write_part(tmp_path, "wide", wider, 2)]
    for order in (paths, paths[::-1]):
        result = scan(order, wider).collect(engine=engine).sort("id")
        assert result.schema["B04"] == raster(wider)
        assert result["B04"].to_list() == [{"href": "narrow", "nodata": 1}, {"href": "wide", "nodata": 2}]
        assert result["flat"].to_list() == [1, 2]


@both_engines
@pytest.mark.parametrize(
    ("part", "target"), [(U16, U8), (U8, I8), (I8, U8), (I8, U16), (U32, I32), (U64, I64), (F64, F32), (F32, I32)]
)
@pytest.mark.parametrize("nodata", [1, None])
def test_a_narrowing_is_refused_even_where_every_value_is_null(tmp_path, engine, part, target, nodata):
    path = write_part(tmp_path, "part", part, nodata)
    with pytest.raises(pl.exceptions.SchemaError, match="data type mismatch for column nodata"):
        scan([path], target).select("B04").collect(engine=engine)


@both_engines
def test_a_struct_that_is_null_as_a_whole_is_refused_like_any_other(tmp_path, engine):
    path = write_part(tmp_path, "part", U8, 1, B04=pl.lit(None, raster(U8)))
    with pytest.raises(pl.exceptions.SchemaError, match="data type mismatch for column nodata"):
        scan([path], I8).select("B04").collect(engine=engine)


@both_engines
@pytest.mark.parametrize("pixel_dtype", [U8, I8, U64, F32])
def test_a_null_dtype_field_and_a_missing_column_fit_every_pixel_dtype(tmp_path, engine, pixel_dtype):
    null = write_part(tmp_path, "null", pl.Null, None)
    missing = tmp_path / "missing.parquet"
    pl.DataFrame({"id": ["missing"]}).write_parquet(missing)
    result = scan([null, missing, write_part(tmp_path, "part", pixel_dtype, 1)], pixel_dtype).collect(engine=engine)
    assert result["B04"].to_list() == [{"href": "null", "nodata": None}, None, {"href": "part", "nodata": 1}]


@both_engines
def test_integers_that_a_float_cannot_hold_are_rounded_in_silence(tmp_path, engine):
    path = write_part(tmp_path, "part", I64, 2**53 + 1)
    assert scan([path], F64).collect(engine=engine)["flat"].item() == 2**53
    path = write_part(tmp_path, "part", U32, 2**24 + 1)
    assert scan([path], F32).collect(engine=engine)["flat"].item() == 2**24


@both_engines
@pytest.mark.parametrize(
    ("wider", "options"),
    [
        (U16, None),
        (U16, pl.ScanCastOptions(integer_cast="allow-float")),
        (F32, pl.ScanCastOptions(integer_cast="upcast")),
    ],
)
def test_widening_needs_the_option_for_its_kind(tmp_path, engine, wider, options):
    path = write_part(tmp_path, "part", U8, 1)
    query = pl.scan_parquet(path, schema={"B04": raster(wider)}, extra_columns="ignore", cast_options=options)
    with pytest.raises(pl.exceptions.SchemaError, match="hint: pass cast_options"):
        query.collect(engine=engine)


@both_engines
def test_a_plain_scan_of_parts_that_differ_is_refused(tmp_path, engine):
    paths = [write_part(tmp_path, "a", U8, 1), write_part(tmp_path, "b", U16, 1)]
    with pytest.raises(pl.exceptions.SchemaError):
        pl.scan_parquet(paths).collect(engine=engine)


@both_engines
def test_a_column_outside_the_schema_is_refused_and_a_missing_one_is_null(tmp_path, engine):
    paths = [write_part(tmp_path, "a", U8, 1), write_part(tmp_path, "b", U8, 1, split=pl.lit("train"))]
    with pytest.raises(pl.exceptions.SchemaError, match="extra column in file"):
        scan(paths, U8).collect(engine=engine)
    assert scan(paths, U8, split=pl.String).collect(engine=engine)["split"].to_list() == [None, "train"]


@both_engines
def test_the_order_of_columns_and_of_struct_fields_does_not_matter(tmp_path, engine):
    path = write_part(tmp_path, "part", U8, 1, B04=pl.struct(nodata=pl.lit(1, U8), href=pl.lit("z")))
    query = pl.scan_parquet(
        path, schema={"flat": U16, "B04": raster(U16), "id": pl.String}, missing_columns="insert", cast_options=WIDEN
    )
    assert query.collect(engine=engine).rows() == [(1, {"href": "z", "nodata": 1}, "part")]


@both_engines
@pytest.mark.parametrize("fields", ["raise", "insert"])
def test_a_missing_struct_field_needs_an_option_of_its_own(tmp_path, engine, fields):
    path = write_part(tmp_path, "part", U8, 1, B04=pl.struct(href=pl.lit("z")))
    options = pl.ScanCastOptions(missing_struct_fields=fields)
    query = pl.scan_parquet(path, schema={"B04": raster(U8)}, extra_columns="ignore", cast_options=options)
    if fields == "insert":
        assert query.collect(engine=engine)["B04"].to_list() == [{"href": "z", "nodata": None}]
    else:
        with pytest.raises(pl.exceptions.SchemaError, match="encountered missing struct field"):
            query.collect(engine=engine)


@both_engines
def test_a_row_index_runs_through_all_parts_whatever_their_dtypes(tmp_path, engine):
    paths = [write_part(tmp_path, name, dtype, 1) for name, dtype in [("a", U8), ("b", U16), ("c", F32)]]
    query = pl.scan_parquet(
        paths, schema={"id": pl.String, "B04": raster(F32), "flat": F32}, cast_options=WIDEN, row_index_name="row"
    )
    assert query.filter(col("row").is_in([0, 2])).collect(engine=engine)["id"].to_list() == ["a", "c"]


# Rule 11: hive keys are pruned by predicates on the keys alone.


@pytest.fixture(scope="module")
def hive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hive")
    for month in (1, 2, 3, 4):
        part = folder / "year=2024" / f"month={month}"
        part.mkdir(parents=True)
        pl.DataFrame({"datetime": [datetime(2024, month, day) for day in (1, 15)]}).write_parquet(part / "a.parquet")
    return folder


IN_MARCH = (col("datetime") >= datetime(2024, 3, 1)) & (col("datetime") < datetime(2024, 4, 1))
MARCH_KEYS = (col("year") == 2024) & (col("month") == 3)


@pytest.mark.parametrize(
    ("predicate", "is_pruned"),
    [
        pytest.param(MARCH_KEYS, True, id="year and month"),
        pytest.param(IN_MARCH, False, id="datetime"),
        pytest.param(IN_MARCH & MARCH_KEYS, True, id="both"),
    ],
)
def test_hive_folders_are_pruned_only_by_predicates_on_their_keys(hive, predicate, is_pruned):
    query = pl.scan_parquet(hive, hive_partitioning=True).filter(predicate)
    assert ("3 other sources" not in query.explain()) == is_pruned
    for engine in ENGINES:
        assert query.collect(engine=engine)["datetime"].dt.month().to_list() == [3, 3]
