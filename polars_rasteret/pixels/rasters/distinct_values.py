"""Which rows of some columns have equal values?

Values are compared to their last byte, never by a hash or their first bytes. That is cheap because Arrow stores texts and bytes
as views: each row has a view of 16 bytes, and rows that a join repeated have the same view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_FEW = 256
"""Number of rows below which a dictionary is quicker than Polars calls."""
_FEW_VALUES = 64
"""Number of rows below which values are compared directly. Views need pyarrow, whose import takes 40 ms in a small read."""


def distinct_rows(columns: Iterable[pl.Series], n_rows: int) -> tuple[Ints, Ints]:
    """Return a number for each distinct row of some columns, in order of appearance.

    Parameters
    ----------
    columns
        Columns of texts, bytes, numbers or arrays of floats, with `n_rows` values. For speed, columns with most distinct values
        come first. Null equals null. Floats are equal when their bits are.

    Returns
    -------
    first : int64
        First row of each number.
    number : int64, shape (n_rows,)
        Number of each row.

    Examples
    --------
    >>> first, number = distinct_rows([pl.Series(["a", "b", "a"]), pl.Series([1, 1, 1])], 3)
    >>> first.tolist(), number.tolist()
    ([0, 1], [0, 1, 0])
    """
    if n_rows <= 1:
        return np.arange(n_rows), np.arange(n_rows)
    columns = list(columns)
    if n_rows <= _FEW:
        return _few(columns, n_rows)
    first, number = nothing_known = np.zeros(1, np.int64), np.zeros(n_rows, np.int64)
    for column in columns:
        if not _is_text(column):
            first, number = _refined(first, number, _bits(column))
            continue
        views = _views(column)
        if not all(_is_told(first, number, half) for half in views):  # views may differ where values do not
            first_view, its_view = _refined(*nothing_known, views)
            first, number = _refined(first, number, [_numbered(column[first_view])[1][its_view]])
    return first, number


def _is_text(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.Binary)


def _few(columns: Sequence[pl.Series], n_rows: int) -> tuple[Ints, Ints]:
    """Return the same as `distinct_rows`, by two dictionaries: of the bits and views of each row, then of differing values."""
    texts: list[pl.Series] = []
    bits: list[NDArray[np.signedinteger]] = []
    for column in columns:
        if _is_text(column):
            texts.append(column)
        else:
            bits += _bits(column)
    first = number = np.arange(n_rows, dtype=np.int64)
    if n_rows > _FEW_VALUES:
        first, number = _known(_row_bytes([*bits, *(half for column in texts for half in _views(column))], n_rows))
    at_first = pl.Series(
        first.tolist(), dtype=pl.UInt32
    )  # of an array, Polars asks numpy.ma, which takes 10 ms to import
    content = [column[at_first].to_list() for column in texts]
    own_first, own = _known(zip(_row_bytes([part[first] for part in bits], len(first)), *content, strict=True))
    return first[own_first], own[number]


def _row_bytes(parts: Sequence[NDArray[np.signedinteger]], n_rows: int) -> list[bytes]:
    """Return the bytes of each row of some columns of integers."""
    table = np.zeros((n_rows, len(parts)), np.int64)
    for at, part in enumerate(parts):
        table[:, at] = part
    packed, width = table.tobytes(), 8 * len(parts)
    return [packed[row * width : (row + 1) * width] for row in range(n_rows)]


def _known(values: Iterable[Hashable]) -> tuple[Ints, Ints]:
    """Return first rows and numbers of the distinct values of a short list, by a dictionary."""
    known: dict[Hashable, int] = {}
    number = np.array([known.setdefault(one, len(known)) for one in values], np.int64)
    return np.unique(number, return_index=True)[1].astype(np.int64), number


def _is_told(first: Ints, number: Ints, part: NDArray[np.signedinteger]) -> bool:
    """Return whether rows of one number also have one value of `part`."""
    return bool((part[first].take(number) == part).all())


def _refined(first: Ints, number: Ints, parts: Iterable[NDArray[np.signedinteger]]) -> tuple[Ints, Ints]:
    """Return first rows and numbers after rows of one number are split by the values of more columns."""
    for part in parts:
        if not _is_told(first, number, part):
            own_first, own = _numbered(pl.Series(part))
            is_first = len(first) <= 1
            first, number = (own_first, own) if is_first else _numbered(pl.Series(number * (int(own.max()) + 1) + own))
    return first, number


def _numbered(values: pl.Series) -> tuple[Ints, Ints]:
    """Return the first row of each distinct value, in order of appearance, and the number of each row's value."""
    if len(values) <= _FEW:
        return _known(values.to_list())
    first = values.arg_unique().sort()
    distinct = values[first]
    number = values.replace_strict(distinct, pl.int_range(len(distinct), eager=True), return_dtype=pl.Int64).to_numpy()
    return first.to_numpy().astype(np.int64), number


def _views(column: pl.Series) -> list[Ints]:
    """Return the two halves of each row's view. In one column, equal views have equal values; all nulls have one view."""
    array = column.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    views = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(
        -1, 2
    )
    if column.null_count():
        views = np.where(column.is_null().to_numpy()[:, None], -1, views)
    return [views[:, 1], views[:, 0]]


def _bits(column: pl.Series) -> list[NDArray[np.signedinteger]]:
    """Return the bits of each row's numbers as integers and, when there are nulls, which rows are null."""
    n_nulls = column.null_count()
    if n_nulls == len(column):
        return []
    has_nulls = n_nulls > 0
    values = (column.fill_null(0) if has_nulls and not isinstance(column.dtype, pl.Array) else column).to_numpy()
    bits = np.ascontiguousarray(values).view(f"i{values.dtype.itemsize}")
    parts = [bits] if bits.ndim == 1 else list(bits.T)
    return [*parts, column.is_null().to_numpy().view(np.int8)] if has_nulls else parts
