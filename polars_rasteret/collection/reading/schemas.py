"""What are the columns of a collection whose parts differ?

A band gets the lossless supertype of its dtypes in all parts; other columns get the union of their fields. Pure: schemas in, a
schema out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.schema import (
    PIXEL_DTYPES,
    is_raster_dtype,
    lossless_supertype,
    numpy_dtype,
    pixel_dtype,
    raster_dtype,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Columns = dict[str, pl.DataType]


def united_schema(
    schemas: Sequence[Mapping[str, pl.DataType]], names: Sequence[str], is_all_null: Callable[[int, str], bool]
) -> Columns:
    """Return the columns, in order of appearance, that hold the values of all parts.

    Parameters
    ----------
    schemas
        Columns of each part, geometry as plain Binary.
    names
        Name of each part in an error.
    is_all_null
        ``is_all_null(part, band)`` returns whether a part has no value in a band, so that its dtype does not count. Called only
        where dtypes differ.

    Raises
    ------
    UsageError
        Where no dtype holds the values of two parts.
    """
    result: Columns = {}
    for column in dict.fromkeys(column for schema in schemas for column in schema):
        having = {part: schema[column] for part, schema in enumerate(schemas) if column in schema}
        distinct = list(dict.fromkeys(having.values()))
        if len(distinct) == 1:
            result[column] = distinct[0]
        elif all(is_raster_dtype(dtype) for dtype in distinct):
            result[column] = _united_band(column, having, names, is_all_null)
        else:
            result[column] = _united_column(column, having, names)
    return result


def _united_band(
    band: str, having: Mapping[int, pl.DataType], names: Sequence[str], is_all_null: Callable[[int, str], bool]
) -> pl.DataType:
    counting = {part: dtype for part, dtype in having.items() if not is_all_null(part, band)} or dict(having)
    pixels = {part: numpy_dtype(pixel_dtype(dtype)) for part, dtype in counting.items()}
    settled = lossless_supertype(pixels.values())
    if settled is None:
        told = {str(pixel_dtype(dtype)): names[part] for part, dtype in counting.items()}
        raise UsageError(
            f"band {band!r}: no dtype holds the pixels of all parts exactly: "
            + ", ".join(f"{dtype} in {name}" for dtype, name in told.items())
            + ". Keep them in collections of their own."
        )
    return raster_dtype(PIXEL_DTYPES[settled.name])


def _united_column(column: str, having: Mapping[int, pl.DataType], names: Sequence[str]) -> pl.DataType:
    first, *others = having.items()
    result = first[1]
    for part, dtype in others:
        united = _supertype(result, dtype)
        if united is None:
            raise UsageError(
                f"column {column!r} is {result} in {names[first[0]]} and {dtype} in {names[part]}; "
                "bring it to one dtype (.cast) before writing"
            )
        result = united
    return result


def _supertype(one: pl.DataType, two: pl.DataType) -> pl.DataType | None:
    """Return the dtype that holds both and that a Parquet scan can cast both to, or None."""
    if two in (one, pl.Null):
        return one
    if one == pl.Null:
        return two
    if one.is_numeric() and two.is_numeric() and not (one.is_decimal() or two.is_decimal()):
        if one.is_float() and two.is_integer():
            return _float_of(one, two)
        if two.is_float() and one.is_integer():
            return _float_of(two, one)
        settled = lossless_supertype([numpy_dtype(one), numpy_dtype(two)])
        return None if settled is None or (one.is_integer() and settled.kind == "f") else PIXEL_DTYPES[settled.name]
    if isinstance(one, pl.Datetime) and isinstance(two, pl.Datetime):
        # A naive time in one part is what the predecessor wrote: UTC.
        return pl.Datetime("us", one.time_zone or two.time_zone)
    if isinstance(one, pl.List) and isinstance(two, pl.List):
        inner = _supertype(instance(one.inner), instance(two.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(one, pl.Struct) and isinstance(two, pl.Struct):
        fields = {field.name: instance(field.dtype) for field in one.fields}
        for field in two.fields:
            held = fields.get(field.name)
            united = instance(field.dtype) if held is None else _supertype(held, instance(field.dtype))
            if united is None:
                return None
            fields[field.name] = united
        return pl.Struct(fields)
    texts = (pl.String, pl.Categorical, pl.Enum)
    if isinstance(one, texts) and isinstance(two, texts):
        return pl.String()
    return None


def _float_of(floating: pl.DataType, whole: pl.DataType) -> pl.DataType | None:
    """Return the float dtype that a whole-number column may become; None where it would lose values.

    Properties such as cloud cover come as 0 and as 0.5.
    """
    small = whole in (pl.Int8, pl.UInt8, pl.Int16, pl.UInt16)
    return floating if small and floating == pl.Float32 else pl.Float64()


def instance(dtype: object) -> pl.DataType:
    """Return a dtype instance for a dtype that may be a class."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()  # type: ignore[operator]
