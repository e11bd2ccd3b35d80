"""Which flags are in the first byte of a ``tiles`` field?

Bit 0: ignore the native nodata. Bits 1 and 2: who named the href (`Provenance`). Bit 3: the table is borrowed, that is, made from
what another program wrote down about the file. Such a table lacks byte order, bits per sample, masks and overviews, so the header
of the file is read before its pixels. The digest leaves this byte out, so it can be changed without packing the field again, also
by a Polars expression.
"""

from __future__ import annotations

from polars_rasteret.errors import FileFormatError
from polars_rasteret.hrefs import Provenance

IGNORE_NODATA = 1
BORROWED = 8
_PROVENANCE_BIT = 1


def with_flag(tiles: bytes, *, ignore_nodata: bool) -> bytes:
    """Return a ``tiles`` field with the flag "ignore the native nodata" set or cleared; its digest stays valid.

    Raises
    ------
    FileFormatError
        When the field is empty.
    """
    if not tiles:
        raise FileFormatError(
            "the tiles field of a raster column is empty; expected the bytes an index wrote. Index the file again."
        )
    flags = tiles[0] & ~IGNORE_NODATA | (IGNORE_NODATA if ignore_nodata else 0)
    return bytes((flags,)) + tiles[1:]


def with_provenance(tiles: bytes, provenance: Provenance) -> bytes:
    """Return packed tiles marked with the provenance of their href."""
    ignore = bool(tiles[0] & IGNORE_NODATA)
    return first_byte(ignore_nodata=ignore, provenance=provenance, is_borrowed=is_borrowed(tiles)) + tiles[1:]


def flags_of(tiles: bytes) -> tuple[bool, Provenance]:
    """Return whether the native nodata is ignored, and who named the href."""
    return bool(tiles[0] & IGNORE_NODATA), Provenance(min((tiles[0] >> _PROVENANCE_BIT) & 3, Provenance.REMOTE))


def is_borrowed(tiles: bytes) -> bool:
    """Return whether a ``tiles`` field was made without the header of its file."""
    return bool(tiles) and bool(tiles[0] & BORROWED)


def first_byte(*, ignore_nodata: bool, provenance: Provenance = Provenance.HERE, is_borrowed: bool = False) -> bytes:
    """Return the first byte of a ``tiles`` field with these flags.

    Examples
    --------
    >>> flags_of(first_byte(ignore_nodata=True, provenance=Provenance.REMOTE))
    (True, <Provenance.REMOTE: 2>)
    """
    flags = provenance << _PROVENANCE_BIT | (IGNORE_NODATA if ignore_nodata else 0) | (BORROWED if is_borrowed else 0)
    return bytes((flags,))
