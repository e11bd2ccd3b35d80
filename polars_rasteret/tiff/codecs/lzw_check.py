"""Can an LZW stream be decoded without crashing the decoder?

The decoder of imagecodecs does not check the code after a Clear code. If that code is no literal, the decoder reads memory
outside its buffers, which ends the process. Damaged files have such codes. They are found here without decoding the stream: the
width of a code depends only on the number of codes since the last Clear (TIFF 6.0 section 13). The decoder reports all other
faults. imagecodecs 2026.10.10 (Python 3.12) refuses such codes. ``tests/upstream`` shows the fault, and a test there says when
this module can go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLEAR, _END, _FIRST = 256, 257, 258
_USUAL, _MOST = 3_840, 5_400
"""Codes between two Clear codes: by writers that fill the table; and more than any table holds."""
_SHORT = 64


def is_safe(padded: NDArray[np.uint8], n_bytes: int, max_codes: int) -> bool:
    """Return whether every Clear code is followed by a literal, another Clear, or the end.

    Parameters
    ----------
    padded
        Stream, followed by at least 4 bytes of any value.
    n_bytes
        Length of the stream.
    max_codes
        Number of codes that the decoder can read before its output is full; each gives at least one byte.
    """
    if n_bytes < 2:
        return True
    is_old = padded[0] == 0 and bool(padded[1] & 1)
    words = np.ndarray((len(padded) - 3,), "<u4" if is_old else ">u4", padded.data, strides=(1,))
    places = _OLD if is_old else _NEW
    n_bits = 8 * n_bytes
    at = 9  # the stream begins with Clear, else the decoder refuses it
    length = _USUAL
    while max_codes > 0 and at + 9 <= n_bits:
        byte, phase = at >> 3, at & 7
        word = int(words[byte])
        first = (word >> phase if is_old else word >> (23 - phase)) & 511
        if first == _CLEAR:
            at += 9
            continue
        if first >= _END:
            return first == _END
        byte_of, shift, mask, stop_bit = places[phase]
        left = n_bits - 8 * byte
        for n_codes in (_SHORT, _MOST) if length <= _SHORT else (_USUAL, _MOST):
            n_here = n_codes
            if stop_bit[n_codes - 1] > left:
                n_here = int(np.searchsorted(stop_bit[:n_codes], left, side="right"))  # at least `first`
            # A contiguous slice first: take() would copy the whole rest of the stream.
            near = words[byte : byte + int(byte_of[n_here - 1]) + 1].astype(np.uint32)
            codes = near.take(byte_of[:n_here])
            codes >>= shift[:n_here]
            codes &= mask[:n_here]
            codes -= np.uint32(_CLEAR)  # wraps: Clear is 0, end is 1, all others are more
            is_special = codes <= 1
            length = int(is_special.argmax())
            if is_special[length]:
                break
            if n_here < n_codes:
                return True  # the data end here
        else:
            return False
        if codes[length] == 1:
            return True
        max_codes -= length
        at = 8 * byte + int(stop_bit[length])
    return True


def _code_places(changes: tuple[int, int, int], *, is_old: bool) -> list[tuple[NDArray[Any], ...]]:
    """Return (byte, shift in a 4-byte word, mask, bit behind the code) of each code since Clear.

    One entry per bit of a byte (0 to 7) at which the first code may begin.
    """
    widths = 9 + np.searchsorted(changes, np.arange(_MOST), side="right").astype(np.int64)
    starts = np.cumsum(widths) - widths
    mask = ((1 << widths) - 1).astype(np.uint32)
    found: list[tuple[NDArray[Any], ...]] = []
    for phase in range(8):
        bits = starts + phase
        shift = bits & 7 if is_old else 32 - widths - (bits & 7)
        found.append((bits >> 3, shift.astype(np.uint32), mask, bits + widths))
    return found


# The width grows when the table reaches 511, 1023, 2047 entries; in streams of old writers one entry later.
_NEW = _code_places((254, 766, 1790), is_old=False)
_OLD = _code_places((255, 767, 1791), is_old=True)
