"""Does a table hold keys that open files? Such keys stay in this process.

Hrefs with a signed query, user information or a token come from catalogs and from callers, in href columns and in any other text
of a table. A collection outlives these keys and is passed on, so they are cut before it is made.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.fetch.signing import keys_kept_back_in
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars.datatypes import DataType, DataTypeClass

_MAY_HOLD_A_KEY = r"(?s)://.*[@?#]"


def with_keys_kept_back(frame: pl.DataFrame, *, told: bool = False) -> pl.DataFrame:
    """Return a table whose texts hold no key of a file; this process still reads with the keys that were cut.

    Parameters
    ----------
    frame
        Any table; texts inside structs and lists count.
    told
        Whether the caller has been warned already.

    Warns
    -----
    UserWarning
        Once, with the number of texts that held a key, and one of these texts without its key.
    """
    cut: dict[str, str] = {}
    columns: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        of_column = {text: plain for text in _suspects(frame[name]) if (plain := keys_kept_back_in(text)) != text}
        if of_column:
            columns.append(_replaced(pl.col(name), dtype, of_column).cast(dtype))
            cut |= of_column
    if not cut:
        return frame
    if not told:
        warnings.warn(
            f"{len(cut)} href(s) hold a signature, a token or a password, for example {shown(next(iter(cut.values())))!r}; it is "
            "left out of the collection. This process reads with it until it ends or the store is configured anew; elsewhere "
            "give credentials with pr.configure_store.",
            UserWarning,
            stacklevel=4,
        )
    return frame.with_columns(columns)


def _suspects(series: pl.Series) -> Iterator[str]:
    """Yield the distinct texts of a column that may hold a key."""
    dtype = series.dtype
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            if _holds_text(field.dtype):
                yield from _suspects(series.struct.field(field.name))
    elif isinstance(dtype, pl.List | pl.Array):
        if _holds_text(dtype.inner):
            yield from _suspects(series.explode())
    elif dtype == pl.String:
        yield from series.filter(series.str.contains(_MAY_HOLD_A_KEY)).unique().to_list()


def _replaced(expr: pl.Expr, dtype: DataType | DataTypeClass, cut: dict[str, str]) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        fields = [
            _replaced(pl.field(field.name), field.dtype, cut).alias(field.name)
            for field in dtype.fields
            if _holds_text(field.dtype)
        ]
        return pl.when(expr.is_not_null()).then(expr.struct.with_fields(fields))
    if isinstance(dtype, pl.Array):
        return expr.arr.to_list().list.eval(_replaced(pl.element(), dtype.inner, cut))
    if isinstance(dtype, pl.List):
        return expr.list.eval(_replaced(pl.element(), dtype.inner, cut))
    return expr.replace(cut)


def _holds_text(dtype: Any) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_holds_text(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_text(dtype.inner)
    return bool(dtype == pl.String)
