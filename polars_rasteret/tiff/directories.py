"""Which image file directories (IFDs) does a TIFF have, and which entries?

The chain of directories is followed from the file header, with requests for bytes. The work is bounded: a directory is visited
once, and the number of directories and of entries is limited. The meaning of entries does not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff import tags
from polars_rasteret.tiff.band_tiles import MAX_BYTE_STOP
from polars_rasteret.tiff.tags import Entry, IfdShape

if TYPE_CHECKING:
    from collections.abc import Generator

    from polars_rasteret.tiff.received_bytes import ByteRange, ReceivedBytes

Entries: TypeAlias = "dict[int, Entry]"

_AHEAD_BYTES = 16_384
_MAX_IFDS = 1_024
_MAX_ENTRIES = 4_096
_MAX_SUB_IFDS = 64


def file_head(received: ReceivedBytes) -> Generator[ByteRange, bytes, tuple[IfdShape, int, int]]:
    """Return the shape of directories (byte order, BigTIFF or not), the offset of the first one and the bytes of the header.

    Raises
    ------
    FileFormatError
        When the file is not a TIFF, or its BigTIFF header is damaged.
    """
    head = received.get(0, 8)
    byte_order: tags.ByteOrder | None = {b"II": "<", b"MM": ">"}.get(head[:2])  # type: ignore[assignment]
    version = int.from_bytes(head[2:4], "little" if byte_order == "<" else "big")
    if byte_order is None or version not in {42, 43}:
        raise FileFormatError(
            f"{received.href}: not a TIFF: it begins with {head!r}; expected b'II*\\x00', b'MM\\x00*' or the "
            "same with version 43 "
            "(BigTIFF). Check that the href leads to the file itself and not, for example, to a web page or an archive."
        )
    shape = IfdShape(byte_order, version == 43)
    if not shape.is_big:
        return shape, shape.offset(head[4:8]), 8
    yield from received.fetch([(0, 16)], "the BigTIFF header")
    head = received.get(0, 16)
    if np.frombuffer(head, f"{byte_order}u2", 2, 4).tolist() != [8, 0]:
        raise FileFormatError(
            f"{received.href}: a BigTIFF header says {head[4:8]!r}; expected offsets of 8 bytes. The header is "
            "damaged: get the file again."
        )
    return shape, shape.offset(head[8:16]), 16


def directories(
    received: ReceivedBytes, shape: IfdShape, offset: int, n_head_bytes: int
) -> Generator[ByteRange, bytes, list[Entries]]:
    """Return the entries of all directories: the chain from `offset` on, then the sub-directories of the first one.

    The chain ends where it returns to a directory, and where its next directory is damaged. As in GDAL, the images found before
    can still be read.
    """
    first, offset = yield from _directory(received, shape, offset, n_head_bytes, tags.FILE_TAGS)
    ifds = [first]
    seen = {0}
    while offset not in seen:
        if len(ifds) == _MAX_IFDS:
            raise FileFormatError(
                f"{received.href}: more than {_MAX_IFDS} directories (pages); split the file into several."
            )
        seen.add(offset)
        try:
            entries, offset = yield from _directory(received, shape, offset, n_head_bytes, tags.IMAGE_TAGS)
        except FileFormatError:
            break
        ifds.append(entries)
    if (pointers := first.get(tags.SUB_IFDS)) is not None and pointers.count <= _MAX_SUB_IFDS:
        yield from received.fetch([(pointers.byte_start, pointers.byte_stop)], "SubIFDs")
        for sub in pointers.values(received.get(pointers.byte_start, pointers.byte_stop), shape.byte_order).tolist():
            entries, _ = yield from _directory(received, shape, int(sub), n_head_bytes, tags.IMAGE_TAGS)
            ifds.append(entries)
    return ifds


def _directory(
    received: ReceivedBytes, shape: IfdShape, offset: int, n_head_bytes: int, wanted: frozenset[int]
) -> Generator[ByteRange, bytes, tuple[Entries, int]]:
    """Return the wanted entries of one directory, and the offset of the next one (0: none)."""
    if not n_head_bytes <= offset < MAX_BYTE_STOP:
        raise _bad_directory(received.href, offset, f"its offset is impossible (the header takes {n_head_bytes} bytes)")
    start = offset + shape.n_count_bytes
    yield from received.fetch([(offset, start)], "a directory", ahead=_AHEAD_BYTES)
    n_entries = shape.n_entries(received.get(offset, start))
    if not 0 < n_entries <= _MAX_ENTRIES:
        raise _bad_directory(received.href, offset, f"it claims {n_entries} entries; expected 1 to {_MAX_ENTRIES}")
    stop = start + n_entries * shape.n_entry_bytes
    yield from received.fetch([(offset, stop)], f"a directory of {n_entries} entries")
    entries = shape.entries(received.get(start, stop), start, wanted, received.href)
    try:
        yield from received.fetch([(stop, stop + shape.n_offset_bytes)], "the offset of the next directory")
    except FileFormatError:
        return entries, 0
    return entries, shape.offset(received.get(stop, stop + shape.n_offset_bytes))


def _bad_directory(href: str, offset: int, what: str) -> FileFormatError:
    return FileFormatError(
        f"{href}: the directory at byte {offset} cannot be read: {what}. The header is damaged: get the file again."
    )
