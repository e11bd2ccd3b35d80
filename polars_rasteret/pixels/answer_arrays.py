"""Into which arrays are the answers of bands written?

One flat array per band, or one for all bands of a stack. What is written there must not be decided here.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.engine import Out, check_answer_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.options import ReadOptions


_OWN_PAGES_BYTES = 8_000_000
"""Bytes from which on an array gets pages of its own: the C library keeps large freed blocks while younger ones lie behind."""


@bundle
class AnswerOut:
    """Arrays that the answers of one band are written into."""

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None
    start: NDArray[np.int64]
    """Index of each row's first pixel."""
    size: NDArray[np.int64]
    """Pixels of each row."""
    stride: int | None
    """Pixels from one row to the next; None where rows differ in size."""

    def pixels(self, row: int) -> slice:
        """Return the slice of a row's pixels."""
        return slice(int(self.start[row]), int(self.start[row] + self.size[row]))

    def part(self, first_row: int) -> Out:
        """Return the arrays of the rows from `first_row` on, as the engine takes them."""
        assert self.stride is not None
        first = first_row * self.stride
        return Out(
            values=self.values[first:],
            valid=None if self.valid is None else self.valid[first:],
            stride=self.stride,
        )

    def offset(self) -> NDArray[np.int64]:
        """Return the index where each answer begins when all lie side by side, and the end of the last; shape (n + 1,)."""
        return np.concatenate([[0], np.cumsum(self.size)]).astype(np.int64)


def answer_outs(
    dtypes: Sequence[np.dtype[Any]],
    sizes: Sequence[NDArray[np.int64]],
    *,
    is_regular: bool,
    stack: bool,
    want_valid: bool,
    options: ReadOptions,
    advice: str,
) -> list[AnswerOut]:
    """Return the arrays that answers are written into, 0 where nothing is read; one entry per band.

    Parameters
    ----------
    dtypes
        Per band, the dtype of its answer.
    sizes
        Per band, the number of pixels of each row.
    is_regular
        Whether all rows of all bands have the same size.
    stack
        Whether all bands of a row lie side by side in one array; they must be regular.
    want_valid, options, advice
        As in `reading.begin_bands`.

    Raises
    ------
    UsageError
        When the arrays are larger than the options allow.
    """
    n_bytes = sum(
        float(size.sum(dtype=np.float64)) * (dtype.itemsize + want_valid)
        for size, dtype in zip(sizes, dtypes, strict=True)
    )
    n_rows = len(sizes[0])
    check_answer_size(n_bytes, options.max_answer_bytes, n_rows=n_rows, advice=advice)
    outs: list[AnswerOut] = []
    values = valid = None
    for at, (size, dtype) in enumerate(zip(sizes, dtypes, strict=True)):
        n_pixels = int(size[0]) if is_regular and n_rows else 0
        side_by_side = len(sizes) if stack else 1
        if values is None or not stack:
            values = _zeros(int(size.sum()) * side_by_side, dtype)
            valid = np.zeros(len(values), np.bool_) if want_valid else None
        first = at * n_pixels if stack else 0
        stride = n_pixels * side_by_side if is_regular else None
        outs.append(
            AnswerOut(
                values=values[first:],
                valid=None if valid is None else valid[first:],
                start=np.arange(n_rows) * stride if stride is not None else np.cumsum(size) - size,
                size=size,
                stride=stride,
            )
        )
    return outs


def _zeros(n_values: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros, shape (n_values,). A large array gets pages of its own, which return to the system when it is freed."""
    n_bytes = n_values * dtype.itemsize
    if n_bytes < _OWN_PAGES_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(n_values, dtype)
    # Private, because only such pages can be huge: every page that is touched first costs time.
    pages = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype)
