"""How do the tests write TIFFs that GDAL writes not at all, or not in every way?"""

from __future__ import annotations

import struct

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, SSHORT, SLONG, FLOAT, DOUBLE, IFD = 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13
LONG8, SLONG8, IFD8 = 16, 17, 18
CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"}


def tiff_of(
    pieces: list[bytes],
    tags: dict[int, tuple[int, list]],
    *,
    byte_order: str = "<",
    is_big: bool = False,
    tiled: bool = False,
    offset_type: int = LONG,
    count_type: int | None = LONG,
) -> bytes:
    """Write one image: pieces (strips or tiles), then the directory.

    RATIONAL values are given as fractions of 10000, ASCII as bytes.
    """
    head = 16 if is_big else 8
    starts = np.cumsum([head, *map(len, pieces)])
    body = b"".join(pieces)
    tags = dict(tags)
    tags[324 if tiled else 273] = (offset_type, [int(start) for start in starts[:-1]])
    if count_type is not None:
        tags[325 if tiled else 279] = (count_type, [len(piece) for piece in pieces])
    n_inline = 8 if is_big else 4
    at = head + len(body) + (8 + 20 * len(tags) + 8 if is_big else 2 + 12 * len(tags) + 4)
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        if kind == RATIONAL:
            pairs = [part for number in numbers for part in (round(number * 10_000), 10_000)]
            data = struct.pack(f"{byte_order}{len(pairs)}I", *pairs)
        elif kind == ASCII:
            data = bytes(numbers)
        else:
            data = struct.pack(f"{byte_order}{len(numbers)}{CODES[kind]}", *numbers)
        entries += struct.pack(byte_order + ("HHQ" if is_big else "HHI"), tag, kind, len(numbers))
        if len(data) <= n_inline:
            entries += data.ljust(n_inline, b"\0")
        else:
            entries += struct.pack(byte_order + ("Q" if is_big else "I"), at + len(values))
            values += data
    magic = b"II" if byte_order == "<" else b"MM"
    if is_big:
        magic += struct.pack(f"{byte_order}HHHQ", 43, 8, 0, head + len(body))
        entries = struct.pack(f"{byte_order}Q", len(tags)) + entries + bytes(8)
    else:
        magic += struct.pack(f"{byte_order}HI", 42, head + len(body))
        entries = struct.pack(f"{byte_order}H", len(tags)) + entries + bytes(4)
    return magic + body + entries + values
