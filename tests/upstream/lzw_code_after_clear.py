"""imagecodecs decodes an LZW stream in which a Clear code is followed by a code that no table holds yet.

TIFF 6.0 section 13: after Clear (256) the table is empty, so the next code is a literal (0..255), Clear or the end (257). libtiff
calls anything else corrupt. imagecodecs refuses such a code at the beginning of a stream, and takes it after a later Clear: it
reads an entry of the table that was never written. Here that gives a byte; in other streams the entry points to foreign memory,
and the process ends.

Prints ``decoded`` or ``refused``. What this package does about it: ``polars_rasteret/tiff/codecs/lzw_check.py``.
"""

from __future__ import annotations

import imagecodecs

FIRST_FREE, LAST = 258, 511
"""Codes of 9 bits that no table holds right after Clear."""


def stream_of(codes: list[int]) -> bytes:
    bits = "".join(format(code, "09b") for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def is_refused(code: int) -> bool:
    try:
        imagecodecs.lzw_decode(stream_of([256, 65, 256, code, 65, 257]), out=1_000)
    except imagecodecs.LzwError:
        return True
    return False


if __name__ == "__main__":
    # What an entry that was never written holds is chance, and some of it is refused.
    print("refused" if all(is_refused(code) for code in range(FIRST_FREE, LAST + 1)) else "decoded")
