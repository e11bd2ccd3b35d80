"""How do the columns of an answer become the one column of an expression?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from polars_rasteret.pixels.series import array_series, struct_series
from polars_rasteret.pixels.stacks import STACK, stack_dtype
from polars_rasteret.schema import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["STACK", "Form", "in_form"]

Form = Literal["single", "struct", "stack", "fields"]
"""Form of an expression's column: one band unchanged, a Struct with a field per band, an Array over bands, or a Struct with a
field per output of one band."""


def in_form(columns: Mapping[str, pl.Series], form: Form, *, band: str, has_raster: NDArray[np.bool_]) -> pl.Series:
    """Return the column of an expression.

    Parameters
    ----------
    columns
        One column per band; for windows that were read as a stack only that stack.
    form
        Form of the result.
    band
        Name of the first band, with which the names of its outputs begin.
    has_raster
        Rows in which any band has a raster; a stack is null in all other rows.
    """
    if form == "single":
        return next(iter(columns.values()))
    if form == "struct":
        return struct_series(STACK, columns)
    if form == "fields":
        return struct_series(band, {name.removeprefix(f"{band}_"): one for name, one in columns.items()})
    first = next(iter(columns.values()))
    return first if isinstance(first.dtype, pl.Array) else _stacked(columns, ~has_raster)


def _stacked(columns: Mapping[str, pl.Series], is_null: NDArray[np.bool_]) -> pl.Series:
    """Return a column of arrays with one value per band; a null value is a null element."""
    dtype = stack_dtype({name: numpy_dtype(one.dtype) for name, one in columns.items()})
    is_valid = np.stack([one.is_not_null().to_numpy() for one in columns.values()], axis=1)
    table = np.stack([one.fill_null(0).to_numpy().astype(dtype) for one in columns.values()], axis=1)
    return array_series(STACK, table.reshape(-1), (len(columns),), is_valid=is_valid.reshape(-1), is_null=is_null)
