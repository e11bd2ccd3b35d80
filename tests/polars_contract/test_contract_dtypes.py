"""Does the dtype of a result follow the `nodata` field before anything is read?

The schema of a query with raster columns rests on `pl.self_dtype()`, `wrap_in_array` and `pl.struct_with_fields`.
"""

from __future__ import annotations

import polars as pl
import pytest
from polars import col

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)


def row_wise(expr, function, return_dtype):
    return expr.map_batches(function, return_dtype=return_dtype, is_elementwise=True)


def raster(pixel_dtype):
    return pl.Struct({"href": pl.String, "nodata": pixel_dtype})


RECORDS = pl.LazyFrame(
    {"B04": [{"href": "a", "nodata": 1}, None], "B08": [{"href": "b", "nodata": 1.5}, None], "m": [True, False]},
    schema={"B04": raster(pl.UInt16), "B08": raster(pl.Float32), "m": pl.Boolean},
)


def point(expr):
    dtype = pl.self_dtype().struct["nodata"]
    read = lambda s: s[0].struct.field("nodata").alias(s[0].name)  # noqa: E731
    return pl.map_batches([expr, col("m")], read, return_dtype=dtype, is_elementwise=True)


def window(expr):
    def read(values):
        pixels = values.struct.field("nodata").to_list()
        return pl.Series(values.name, [[[p] * 3] * 2 for p in pixels], pl.Array(values.struct["nodata"].dtype, (2, 3)))

    dtype = pl.self_dtype().struct["nodata"].wrap_in_array(width=3).wrap_in_array(width=2)
    return row_wise(expr, read, dtype)


def statistic(expr):
    def read(values):
        return pl.DataFrame({"value": values.struct.field("nodata")}).with_columns(n=pl.lit(1, pl.UInt32)).to_struct()

    dtype = pl.struct_with_fields({"value": pl.self_dtype().struct["nodata"], "n": pl.UInt32()})
    return row_wise(expr, read, dtype)


RESULTS = [
    pytest.param(point, lambda dtype: dtype, id="point"),
    pytest.param(window, lambda dtype: pl.Array(dtype, (2, 3)), id="window"),
    pytest.param(statistic, lambda dtype: pl.Struct({"value": dtype, "n": pl.UInt32}), id="statistic"),
]
INPUTS = [
    pytest.param(lambda: col("B04"), {"B04": pl.UInt16}, id="column"),
    pytest.param(lambda: col("B04").alias("red"), {"red": pl.UInt16}, id="alias"),
    pytest.param(lambda: col("B04", "B08"), {"B04": pl.UInt16, "B08": pl.Float32}, id="two columns"),
    pytest.param(lambda: pl.selectors.struct(), {"B04": pl.UInt16, "B08": pl.Float32}, id="selector"),
    pytest.param(lambda: pl.coalesce("B04", "B08"), {"B04": pl.Float32}, id="coalesce widens"),
    pytest.param(lambda: pl.when("m").then("B04").otherwise("B08"), {"B04": pl.Float32}, id="when widens"),
]


@pytest.mark.parametrize(("verb", "wrap"), RESULTS)
@pytest.mark.parametrize(("expr", "pixel_dtypes"), INPUTS)
def test_the_dtype_of_a_result_follows_the_nodata_field_before_anything_runs(verb, wrap, expr, pixel_dtypes):
    query = RECORDS.select(verb(expr()))
    expected = pl.Schema({name: wrap(dtype) for name, dtype in pixel_dtypes.items()})
    assert query.collect_schema() == expected
    for engine in ENGINES:
        assert query.collect(engine=engine).schema == expected


@both_engines
def test_a_callback_that_breaks_its_declared_dtype_is_an_error(engine):
    query = pl.LazyFrame({"a": [1]}).select(row_wise(col("a"), lambda s: s.cast(pl.Float32), pl.Float64))
    with pytest.raises(pl.exceptions.SchemaError):
        query.collect(engine=engine)
