"""Does WKB nest so little, and is it so short, that GEOS can parse it?

GEOS parses collections by recursion: 180 kB of collections in collections overflow its stack and end the process. So the nesting
is counted here first, without recursion. Any other damage is left to GEOS, which raises an error.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_NESTING = 32
"""Depth of collections in collections. Files have two or three; a thread with a small stack survives some hundreds."""
MAX_BYTES = 1 << 28
"""Bytes of one geometry at most: 16 million vertices."""
_LEVEL_BYTES = 9
"""Bytes of the byte order, type and count of a collection. WKB of fewer bytes per level cannot nest `MAX_NESTING` deep."""
_POINT, _LINE, _POLYGON, _MULTIPOINT, _CIRCULAR = 1, 2, 3, 4, 8
_WITHOUT_MEMBERS = frozenset({_POINT, _LINE, _POLYGON})
_COLLECTIONS = frozenset({4, 5, 6, 7, 9, 10, 11, 12})
"""Multi-geometries, collections and curves made of curves. GEOS parses their members before it checks the members' types."""
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000


def check_wkb(values: Collection[bytes | None]) -> None:
    """Raise when a geometry nests too deeply or is too long.

    Parameters
    ----------
    values
        WKB or EWKB, None where null.

    Raises
    ------
    UsageError
        The message has the index of the geometry.
    """
    if max(map(len, filter(None, values)), default=0) <= _LEVEL_BYTES * MAX_NESTING:
        return
    for at, value in enumerate(values):
        if value is None or len(value) <= _LEVEL_BYTES * MAX_NESTING:
            continue
        if len(value) > MAX_BYTES:
            raise UsageError(
                f"geometry {at} has {len(value):,} bytes; at most {MAX_BYTES:,} are read: cut it, or simplify it"
            )
        code = int.from_bytes(value[1:5], "big" if value[0] == 0 else "little")
        if (code & 0xFFFF) % 1000 in _WITHOUT_MEMBERS:
            continue
        if nesting(value) > MAX_NESTING:
            raise UsageError(
                f"geometry {at} nests collections more than {MAX_NESTING} deep; expected WKB of points, lines, polygons or "
                "collections of these"
            )


def check_wkt(text: str) -> None:
    """Raise `UsageError` when the parentheses of WKT nest more deeply than those of `MAX_NESTING` collections."""
    depth = 0
    for one in text:
        depth += (one == "(") - (one == ")")
        if depth > MAX_NESTING + 3:  # a polygon among multi-polygons has three of its own
            raise UsageError(f"the geometry nests collections more than {MAX_NESTING} deep")


def nesting(wkb: bytes, limit: int = MAX_NESTING) -> int:
    """Return how many collections deep WKB nests, at most ``limit + 1``.

    WKB is read as GEOS reads it, to where GEOS stops: ISO and EWKB flags, both byte orders.

    Examples
    --------
    >>> import shapely
    >>> nesting(shapely.to_wkb(shapely.from_wkt("GEOMETRYCOLLECTION (MULTIPOINT (1 2), POINT (3 4))")))
    2
    """
    at, order, deepest = 0, "<", 0
    n_left = [1]
    """Members not yet read of each open collection."""
    while n_left:
        if not n_left[-1]:
            n_left.pop()
            continue
        n_left[-1] -= 1
        if at + 5 > len(wkb):
            break
        order = {0: ">", 1: "<"}.get(wkb[at], order)
        kind, at, point_bytes = geometry_head(wkb, at, order)
        if kind == _POINT:
            at += point_bytes
            continue
        if at + 4 > len(wkb):
            break
        (count,) = struct.unpack_from(order + "I", wkb, at)
        at += 4
        if kind in (_LINE, _CIRCULAR):
            at += count * point_bytes
        elif kind == _POLYGON:
            for _ in range(count):
                if at + 4 > len(wkb):
                    return deepest
                at += 4 + point_bytes * struct.unpack_from(order + "I", wkb, at)[0]
        elif kind in _COLLECTIONS:
            deepest = max(deepest, len(n_left))
            if deepest > limit:
                break
            if kind == _MULTIPOINT and _are_points(wkb, at, count, 5 + point_bytes, order):
                at += count * (5 + point_bytes)
            else:
                n_left.append(count)
        else:
            break
    return deepest


def geometry_head(wkb: bytes, at: int, order: str) -> tuple[int, int, int]:
    """Return the kind of the geometry at a byte, the byte where its content begins, and the bytes of each of its points.

    Z and M are read in both notations: ISO (thousands) and EWKB (flags).
    """
    (code,) = struct.unpack_from(order + "I", wkb, at + 1)
    iso, kind = divmod(code & 0xFFFF, 1000)
    n_numbers = 2 + bool(code & _Z or iso in (1, 3)) + bool(code & _M or iso in (2, 3))
    return kind, at + (9 if code & _SRID else 5), 8 * n_numbers


def _are_points(wkb: bytes, at: int, count: int, size: int, order: str) -> bool:
    """Return whether all members of a multi-point are plain points of one kind. There may be millions: NumPy compares them."""
    if not count or at + count * size > len(wkb):
        return False
    heads = np.frombuffer(wkb, np.uint8, count * size, at).reshape(count, size)[:, :5]
    code = struct.unpack_from(order + "I", wkb, at + 1)[0]
    return (
        code & 0xFFFF == _POINT and not code & _SRID and wkb[at] == (order == "<") and bool((heads == heads[0]).all())
    )
