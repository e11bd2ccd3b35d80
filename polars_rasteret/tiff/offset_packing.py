"""How do the tile offsets of an image become few numbers, and few bytes?

Tiles usually follow each other with the same gap. The first offset, that gap and the byte counts then describe all offsets;
otherwise every gap is stored. Integers are written as byte planes, which deflate well. Functions here come in pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EVEN, UNEVEN = 0, 1


def to_gaps(
    byte_start: NDArray[np.int64], byte_count: NDArray[np.int64]
) -> tuple[int, int, int, NDArray[np.int64] | None]:
    """Return (layout, first offset, gap or number of gaps, gaps or None). A gap lies between a tile's end and the next tile."""
    present = byte_count != 0
    if not present.all():
        byte_start, byte_count = byte_start[present], byte_count[present]
    if not len(byte_start):
        return EVEN, 0, 0, None
    gaps = byte_start[1:] - byte_start[:-1] - byte_count[:-1]
    first = int(byte_start[0])
    if not len(gaps):
        return EVEN, first, 0, None
    if (gaps == gaps[0]).all():
        return EVEN, first, int(gaps[0]), None
    return UNEVEN, first, len(gaps), gaps


def from_gaps(first: int, gaps: NDArray[np.int64] | int, byte_count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets that `to_gaps` packed; sparse tiles start at 0."""
    if byte_count.strides == (0,):  # one zero for all tiles
        return byte_count
    if byte_count.all():
        starts = np.empty_like(byte_count)
        starts[0] = first
        np.add(byte_count[:-1], gaps, out=starts[1:])
        return starts.cumsum(out=starts)
    starts = np.zeros_like(byte_count)
    present = np.flatnonzero(byte_count)
    if len(present):
        starts[present] = from_gaps(first, gaps, byte_count[present])
    return starts


def to_planes(values: NDArray[np.int64]) -> tuple[int, bytes]:
    """Return (bytes per value, byte planes, least significant first) of non-negative values; planes deflate well."""
    width = (int(values.max(initial=0)).bit_length() + 7) // 8
    planes = values.astype("<i8", copy=False).view(np.uint8).reshape(-1, 8)[:, :width]
    return width, planes.T.tobytes()


def from_planes(body: bytes, at: int, width: int, n: int) -> NDArray[np.int64]:
    """Return `n` values that `to_planes` packed and that begin at byte `at`, int64, shape (n,).

    Values of 0 bytes (no tile is present) are all 0; the array then takes no memory.
    """
    if not width:
        return np.broadcast_to(np.int64(0), n)
    wide = np.zeros((n, 8), np.uint8)
    wide[:, :width] = np.frombuffer(body, np.uint8, width * n, at).reshape(width, n).T
    return wide.view("<i8").reshape(n).astype(np.int64, copy=False)


def zigzag(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return signed numbers as non-negative ones that stay small: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the signed numbers that `zigzag` packed."""
    return (values >> 1) ^ -(values & 1)
