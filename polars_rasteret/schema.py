"""Which columns and dtypes do collections and answers have?

A *raster column* is a Struct that refers to the pixels of one band of one record. Everything that reads, writes or
checks a raster column takes its field names and dtypes from here. No I/O and no defaults belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polars.datatypes import DataType, DataTypeClass

RASTER_FIELDS: dict[str, pl.DataType] = {
    "href": pl.String(),
    "band_index": pl.UInt16(),
    "crs": pl.String(),
    "transform": pl.Array(pl.Float64(), 6),
    "width": pl.UInt32(),
    "height": pl.UInt32(),
    "nodata": pl.Null(),  # a placeholder for the pixel dtype
    "scale": pl.Float64(),
    "offset": pl.Float64(),
    "tiles": pl.Binary(),
}
"""Fields of a raster column, in order. The dtype of ``nodata`` is the pixel dtype (`raster_dtype`)."""

TIME = pl.Datetime("us", "UTC")
BBOX = pl.Struct({"xmin": pl.Float64(), "ymin": pl.Float64(), "xmax": pl.Float64(), "ymax": pl.Float64()})
RECORD_COLUMNS: dict[str, pl.DataType] = {
    "id": pl.String(),
    "datetime": TIME,
    "start_datetime": TIME,
    "end_datetime": TIME,
    "geometry": pl.Binary(),
    "bbox": BBOX,
    "collection": pl.String(),
    "proj:code": pl.String(),
    "proj:epsg": pl.Int32(),
    "indexed_at": TIME,
    "header_error": pl.String(),
}
"""Columns of a record that a build writes, beside the raster columns and the caller's own columns."""

PIXEL_DTYPES: dict[str, pl.DataType] = {
    "uint8": pl.UInt8(),
    "uint16": pl.UInt16(),
    "uint32": pl.UInt32(),
    "uint64": pl.UInt64(),
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
}
"""NumPy name of a pixel dtype to the Polars dtype of the pixels."""

_NUMPY_OF = {dtype: np.dtype(name) for name, dtype in PIXEL_DTYPES.items()}


def raster_dtype(pixel_dtype: pl.DataType) -> pl.Struct:
    """Return the dtype of a raster column whose pixels have `pixel_dtype`."""
    return pl.Struct({name: pixel_dtype if name == "nodata" else dtype for name, dtype in RASTER_FIELDS.items()})


def is_raster_dtype(dtype: DataType | DataTypeClass) -> bool:
    """Return whether a column of this dtype is a raster column: a Struct with at least the names in `RASTER_FIELDS`."""
    return isinstance(dtype, pl.Struct) and {field.name for field in dtype.fields} >= RASTER_FIELDS.keys()


def is_nearly_raster_dtype(dtype: DataType | DataTypeClass) -> bool:
    """Return whether a column is an incomplete raster column: it has ``href`` and ``tiles``, but lacks other fields."""
    named = {field.name for field in dtype.fields} if isinstance(dtype, pl.Struct) else set()
    return named >= {"href", "tiles"} and not named >= RASTER_FIELDS.keys()


def pixel_dtype(dtype: DataType | DataTypeClass) -> pl.DataType:
    """Return the pixel dtype of a raster column's dtype.

    Raises
    ------
    UsageError
        When `dtype` is not the dtype of a raster column.
    """
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            if field.name == "nodata":
                return field.dtype if isinstance(field.dtype, pl.DataType) else field.dtype()
    raise UsageError(f"expected a raster column (a Struct with the fields {', '.join(RASTER_FIELDS)}), got {dtype}")


def numpy_dtype(dtype: DataType | DataTypeClass) -> np.dtype[np.generic]:
    """Return the NumPy dtype of a Polars pixel dtype.

    Raises
    ------
    UsageError
        When `dtype` is not a pixel dtype.
    """
    for ours, theirs in _NUMPY_OF.items():
        if dtype == ours:
            return theirs
    raise UsageError(f"{dtype} is not a pixel dtype; expected one of {', '.join(map(str, _NUMPY_OF))}")


def polars_dtype(dtype: np.dtype[np.generic]) -> pl.DataType:
    """Return the Polars dtype of a NumPy pixel dtype.

    Raises
    ------
    UsageError
        When `dtype` is not a pixel dtype.
    """
    if dtype.name not in PIXEL_DTYPES:
        raise UsageError(f"{dtype} is not a pixel dtype; expected one of {', '.join(PIXEL_DTYPES)}")
    return PIXEL_DTYPES[dtype.name]


def raster_columns(schema: Mapping[str, DataType | DataTypeClass]) -> list[str]:
    """Return the names of the raster columns of a schema, in its order."""
    return [name for name, dtype in schema.items() if is_raster_dtype(dtype)]


def lossless_supertype(dtypes: Iterable[np.dtype[np.generic]]) -> np.dtype[np.generic] | None:
    """Return the smallest pixel dtype that holds every value of all `dtypes`, or None when there is no such dtype.

    ``int64`` with ``uint64``, or a 64-bit integer with a float, have no such dtype: NumPy would round to ``float64``.
    """
    distinct = sorted(set(dtypes), key=str)
    if not distinct:
        return None
    result = distinct[0]
    for other in distinct[1:]:
        result = np.result_type(result, other)
    holds_all = all(np.can_cast(one, result, "safe") and _is_exact(one, result) for one in distinct)
    return result if holds_all and result.name in PIXEL_DTYPES else None


def _is_exact(source: np.dtype[np.generic], target: np.dtype[np.generic]) -> bool:
    if source.kind in "ui" and target.kind == "f":
        # NumPy calls int64 -> float64 safe although it rounds beyond 2**53.
        return source.itemsize * 8 <= {2: 8, 4: 16, 8: 32}[target.itemsize]
    return True
