"""How do samples that do not fill whole bytes become numbers?

1 to 15 bits: one stream of bits per row, the highest first, whatever the byte order; each row begins at a byte (TIFF 6.0,
BitsPerSample and Compression). 24 bits: three bytes, the highest first. In big-endian files the lowest byte is first, because
libtiff swaps the bytes and GDAL writes and reads files through libtiff. Values are not scaled, as in GDAL: 1-bit samples are 0
and 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKED = frozenset({*range(1, 8), *range(9, 16), 24})
"""Bits per unsigned sample that are unpacked here."""
_packints_decode: Any = imagecodecs.packints_decode
"""Untyped, because imagecodecs annotates `bytes` where it accepts any buffer."""


def widened_dtype(bits: int) -> np.dtype[Any]:
    """Return the dtype that GDAL reads samples of `bits` bits as."""
    return np.dtype(np.uint8 if bits < 8 else np.uint16 if bits < 16 else np.uint32)


def widen(rows: NDArray[np.uint8], bits: int, n_values: int, *, is_big_endian: bool) -> NDArray[Any]:
    """Return the first `n_values` samples of each row.

    Parameters
    ----------
    rows
        Packed rows, uint8, shape (n_rows, n_bytes), with at least as many bytes as the samples take.
    bits
        One of `PACKED`.
    n_values
        Samples wanted of each row.
    is_big_endian
        Byte order of the file; needed for 24 bits only.

    Returns
    -------
    ndarray of `widened_dtype`, shape (n_rows, n_values)
    """
    dtype = widened_dtype(bits)
    n_bytes = -(-n_values * bits // 8)
    if bits == 24:
        words = np.zeros((len(rows), n_values, 4), np.uint8)
        words[..., 1:] = rows[:, :n_bytes].reshape(len(rows), n_values, 3)[..., :: -1 if is_big_endian else 1]
        return words.view(">u4")[..., 0].astype(dtype)
    # The decoder takes rows that follow each other, without bytes between them.
    values: NDArray[Any] = _packints_decode(rows[:, :n_bytes].ravel(), dtype, bits, runlen=n_values)
    return values.reshape(len(rows), n_values)
