"""What does the first byte of a ``tiles`` field say?

Bit 0: ignore the native nodata. Bits 1 and 2: who told that the file is at its href (`ToldBy`). The byte lies outside the digest,
so it can be set without packing anew, by Polars too.
"""

from __future__ import annotations

from polars_rasteret.errors import FileFormatError
from polars_rasteret.hrefs import ToldBy

IGNORE_NODATA = 1
_TOLD_AT = 1


def with_flag(tiles: bytes, *, ignore_nodata: bool) -> bytes:
    """Give the same tiles with the "ignore the native nodata" flag set or cleared; the digest stays."""
    if not tiles:
        raise FileFormatError(
            "the tiles field of a raster column is empty; expected the bytes an index wrote. Index the file again."
        )
    flags = tiles[0] & ~IGNORE_NODATA | (IGNORE_NODATA if ignore_nodata else 0)
    return bytes((flags,)) + tiles[1:]


def with_teller(tiles: bytes, told_by: ToldBy) -> bytes:
    """Give the same tiles as this teller's word."""
    return first_byte(ignore_nodata=bool(tiles[0] & IGNORE_NODATA), told_by=told_by) + tiles[1:]


def flags_of(tiles: bytes) -> tuple[bool, ToldBy]:
    """Say whether the native nodata is ignored, and who told the href."""
    return bool(tiles[0] & IGNORE_NODATA), ToldBy(min((tiles[0] >> _TOLD_AT) & 3, ToldBy.REMOTE))


def first_byte(*, ignore_nodata: bool, told_by: ToldBy = ToldBy.HERE) -> bytes:
    """Give the first byte that says so.

    Examples
    --------
    >>> flags_of(first_byte(ignore_nodata=True, told_by=ToldBy.REMOTE))
    (True, <ToldBy.REMOTE: 2>)
    """
    return bytes(((IGNORE_NODATA if ignore_nodata else 0) | told_by << _TOLD_AT,))
