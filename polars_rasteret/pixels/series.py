"""How do flat pixel arrays become Polars columns?

Values are passed without a copy where Polars allows it: as NumPy arrays when no value is null, else as Arrow buffers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_FEW_VALUES = 1 << 22
"""Values below which a copy of them takes less time than the import of pyarrow, 40 ms, in the first query of a process."""


def scalar_series(name: str, values: NDArray[Any], is_valid: NDArray[np.bool_] | None) -> pl.Series:
    """Return a column of one value per row; null where the value is not valid."""
    series = pl.Series(name, values)
    if is_valid is None or is_valid.all():
        return series
    return series.set(pl.Series(~is_valid), None)


def row_index(rows: NDArray[np.int64]) -> pl.Series:
    """Return rows as an index for `gathered`; null where they are -1."""
    index = pl.Series(rows)
    return index.set(index < 0, None) if len(rows) and int(rows.min()) < 0 else index


def gathered(series: pl.Series, index: pl.Series) -> pl.Series:
    """Return the values at the rows of `index`; null where `index` is null."""
    if not len(series):
        return pl.Series([None], dtype=series.dtype).new_from_index(0, len(index))
    # Gathering goes through a column name, and a name may look like a pattern.
    return series.alias("").gather(index)


def array_series(
    name: str,
    values: NDArray[Any],
    shape: tuple[int, ...],
    *,
    is_valid: NDArray[np.bool_] | None = None,
    is_null: NDArray[np.bool_] | None = None,
) -> pl.Series:
    """Return one array of `shape` per row.

    Parameters
    ----------
    name
        Name of the column.
    values
        Flat values, row after row.
    shape
        Shape of each row's array.
    is_valid
        Flat valid mask; a pixel that is not valid becomes a null element. None: all pixels are valid.
    is_null
        Rows whose whole value is null.
    """
    has_nulls = is_null is not None and bool(is_null.any())
    n_values = int(np.prod(shape))
    n_rows = len(values) // n_values if n_values else len(is_null if is_null is not None else ())
    if not has_nulls and (is_valid is None or is_valid.all()) and n_values:
        return pl.Series(name, values.reshape(n_rows, *shape))
    import pyarrow as pa

    array = arrow_array(values, is_valid)
    for depth in range(len(shape) - 1, -1, -1):
        mask = arrow_array(is_null) if has_nulls and is_null is not None and depth == 0 else None
        array = pa.FixedSizeListArray.from_arrays(array, shape[depth], mask=mask)
    return _from_arrow(name, array)


def list_series(
    name: str,
    values: NDArray[Any],
    offset: NDArray[np.int64],
    *,
    is_valid: NDArray[np.bool_] | None = None,
) -> pl.Series:
    """Return a List column; row i has the run ``offset[i]:offset[i + 1]`` of the flat values."""
    sizes = np.diff(offset)
    is_whole = len(sizes) > 0 and offset[0] == 0 and offset[-1] == len(values) and (is_valid is None or is_valid.all())
    if is_whole and 0 < len(values) <= _FEW_VALUES and (sizes == sizes[0]).all():
        return pl.Series(name, values.reshape(len(sizes), -1)).arr.to_list()
    import pyarrow as pa

    return _from_arrow(name, pa.LargeListArray.from_arrays(arrow_array(offset), arrow_array(values, is_valid)))


def lists_of(name: str, elements: pl.Series, offset: NDArray[np.int64]) -> pl.Series:
    """Return the run ``offset[i]:offset[i + 1]`` of some elements as the list of row i."""
    import pyarrow as pa

    return _from_arrow(name, pa.LargeListArray.from_arrays(arrow_array(offset), elements.to_arrow()))


def struct_series(name: str, fields: Mapping[str, pl.Series], *, is_null: NDArray[np.bool_] | None = None) -> pl.Series:
    """Return a Struct column; where `is_null`, the whole value is null."""
    frame = pl.DataFrame([series.alias(field) for field, series in fields.items()])
    if is_null is None or not is_null.any():
        return frame.to_struct(name)
    import pyarrow as pa

    arrays = [series.to_arrow() for series in frame.get_columns()]
    array = pa.StructArray.from_arrays(arrays, names=frame.columns, mask=arrow_array(is_null))
    return _from_arrow(name, array)


def window_struct(
    name: str,
    values: NDArray[Any],
    offset: NDArray[np.int64],
    *,
    height: NDArray[np.int64],
    width: NDArray[np.int64],
    transform: NDArray[np.float64],
    crs: Sequence[str | None],
    is_valid: NDArray[np.bool_] | None,
    is_null: NDArray[np.bool_],
) -> pl.Series:
    """Return windows of various sizes: Struct of ``pixels`` (List), ``height``, ``width``, ``transform``, ``crs``."""
    has_grid: NDArray[np.bool_] = np.asarray(np.isfinite(transform).all(axis=1))
    fields = {
        "pixels": list_series("pixels", values, offset, is_valid=is_valid),
        "height": pl.Series(height.astype(np.uint32)),
        "width": pl.Series(width.astype(np.uint32)),
        "transform": array_series("transform", transform.reshape(-1), (6,), is_null=~has_grid),
        "crs": pl.Series(crs, dtype=pl.String),
    }
    return struct_series(name, fields, is_null=is_null)


GRID_OUTPUTS = {"transform": pl.Array(pl.Float64(), 6), "raster_crs": pl.String()}
"""Columns with the grid of arrays; a window Struct has its own grid in its fields."""


def window_struct_fields(pixel_dtype: Any) -> dict[str, Any]:
    """Return the fields of `window_struct` with their dtypes, for any (lazy) pixel dtype."""
    return {
        "pixels": pixel_dtype,
        "height": pl.UInt32(),
        "width": pl.UInt32(),
        "transform": pl.Array(pl.Float64(), 6),
        "crs": pl.String(),
    }


def arrow_array(values: NDArray[Any], is_valid: NDArray[np.bool_] | None = None) -> Any:
    """Return an Arrow array of numbers or Booleans, null where `is_valid` is false.

    ``pyarrow.array`` asks pandas, where it is installed, what an array is: a tenth of a second in a new process.
    """
    import pyarrow as pa

    bitmap = None if is_valid is None or is_valid.all() else _bitmap(is_valid)
    data = _bitmap(values) if values.dtype == np.bool_ else pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [bitmap, data])


def _bitmap(values: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _from_arrow(name: str, array: Any) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)
    return series.alias(name)
