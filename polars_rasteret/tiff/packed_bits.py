"""How do samples that do not fill whole bytes become numbers?

1 to 15 bits: one stream of bits per row, the highest first, whatever the byte order; each row begins at a byte (TIFF 6.0,
BitsPerSample and Compression). 24 bits: three bytes, the highest first, but in
big-endian files the lowest first, because libtiff swaps them: so GDAL writes and reads them. Values are not scaled, as in GDAL:
1-bit samples are 0 and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKED = frozenset({*range(1, 8), *range(9, 16), 24})
"""Bits per unsigned sample."""
_VALUES_AT_ONCE = 1 << 20
"""Bounds what is needed besides the answer."""


def widened_dtype(bits: int) -> np.dtype[Any]:
    """Give the dtype that GDAL reads such samples as."""
    return np.dtype(np.uint8 if bits < 8 else np.uint16 if bits < 16 else np.uint32)


def widen(rows: NDArray[np.uint8], bits: int, n_values: int, *, is_big_endian: bool) -> NDArray[Any]:
    """Give the first `n_values` samples of each row.

    Parameters
    ----------
    rows
        Shape (n_rows, n_bytes), at least as many bytes as the samples take.
    bits
        One of `PACKED`.
    n_values
        Samples wanted of each row.
    is_big_endian
        Of the file; for 24 bits.

    Returns
    -------
    ndarray of `widened_dtype`, shape (n_rows, n_values)
    """
    dtype = widened_dtype(bits)
    if bits == 1:
        return np.unpackbits(rows, axis=1, count=n_values)
    if bits == 24:
        words = np.zeros((len(rows), n_values, 4), np.uint8)
        words[..., 1:] = rows[:, : 3 * n_values].reshape(len(rows), n_values, 3)[..., :: -1 if is_big_endian else 1]
        return words.view(">u4")[..., 0].astype(dtype)
    first_bit = np.arange(n_values) * bits
    at, shift = first_bit >> 3, (24 - bits - (first_bit & 7)).astype(np.int32)
    out = np.empty((len(rows), n_values), dtype)
    step = max(1, _VALUES_AT_ONCE // max(1, n_values))
    for start in range(0, len(rows), step):
        # A sample lies in one to three bytes.
        part = np.pad(rows[start : start + step], ((0, 0), (0, 2))).astype(np.int32)
        three = part[:, at] << 16 | part[:, at + 1] << 8 | part[:, at + 2]
        out[start : start + step] = three >> shift & (1 << bits) - 1
    return out
