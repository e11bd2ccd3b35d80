"""What may be believed of the small files in the folder of a collection?

Journal and lease name files that are deleted or replaced, and the folder may be a stranger's. So a name is believed only when it
is the plain name of a part inside the folder, on every system. Nothing here changes a file.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import FileFormatError
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 << 20
"""Most bytes of a small file; a list of half a million parts is smaller."""
_MAX_NAME = 4_096
_DRIVE = pattern(r"[A-Za-z]:")


def read_json_file(file: Path) -> Any:
    """Return the content of a small JSON file; None when there is no such file.

    Raises
    ------
    FileFormatError
        When the file is no plain file of JSON, or too large to be ours.
    """
    data = read_small_file(file)
    return None if data is None else parsed_json(data, str(file))


def read_small_file(file: Path) -> bytes | None:
    """Return the bytes of a small file; None when there is no such file.

    Raises
    ------
    FileFormatError
        When the file is no plain file, or too large to be ours.
    """
    try:
        # A FIFO would block, a link would lead out of the folder.
        descriptor = os.open(
            file,
            os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFormatError(f"{file} could not be read: {error}. {_advice(file.name)}") from error
    try:
        found = os.fstat(descriptor)
        if file.is_symlink() or not stat.S_ISREG(found.st_mode):
            raise FileFormatError(f"{file} is no plain file. {_advice(file.name)}")
        if found.st_size > MAX_BYTES:
            raise too_large(str(file), found.st_size)
        with os.fdopen(descriptor, "rb", closefd=False) as source:
            return source.read(MAX_BYTES)
    finally:
        os.close(descriptor)


def parsed_json(data: bytes, where: str) -> Any:
    """Return the content of a small JSON file from its bytes; never None.

    Raises
    ------
    FileFormatError
        When the bytes are not JSON, or say null.
    """
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise not_ours(where, f"it is no JSON ({str(error)[:100]})") from error
    if said is None:
        raise not_ours(where, "it says null")
    return said


def not_ours(where: str, why: str) -> FileFormatError:
    """Return the error for a small file that this package did not write."""
    return FileFormatError(f"{where} was not written by polars_rasteret: {why}. {_advice(where.rpartition('/')[2])}")


def too_large(where: str, n_bytes: int) -> FileFormatError:
    """Return the error for a file that is larger than any small file of this package."""
    return not_ours(where, f"it has {n_bytes} bytes; expected at most {MAX_BYTES}")


def checked_part_names(names: object, where: str) -> list[str]:
    """Return a list of names of parts, checked; each name is relative to its collection.

    Raises
    ------
    FileFormatError
        When the value is no list of distinct names, or a name could lead out of the folder.
    """
    if not isinstance(names, list):
        raise not_ours(where, f"it gives a {type(names).__name__} for a list of names")
    for name in names:
        if (why := why_not_plain(name)) is not None:
            raise not_ours(where, f"{_shown(name)} {why}; expected names of parts inside the folder")
    if len(set(names)) != len(names):
        raise not_ours(where, "it names a part twice")
    return names


def why_not_plain(name: object) -> str | None:
    """Return why a name cannot be that of a part inside a folder, on any system; None where it can."""
    if not isinstance(name, str):
        return "is no text"
    if not name or len(name) > _MAX_NAME:
        return f"has {len(name)} characters"
    if "\\" in name or any(ord(character) < 32 for character in name):
        return "has a character that no name of a part has"
    pieces = name.split("/")
    if any(not piece or piece[0] in "._" for piece in pieces):
        return "leads elsewhere, or is hidden"
    if any(_DRIVE.match(piece) for piece in pieces):
        return "names a drive"
    return None if name.endswith(".parquet") else "is no Parquet file"


def path_inside(folder: Path, name: str) -> Path:
    """Return the path of a part by its plain name, checked for links that lead out of the folder.

    Raises
    ------
    FileFormatError
        When a folder on the way is a link.
    """
    place = folder
    for piece in name.split("/")[:-1]:
        place = place / piece
        if place.is_symlink():
            raise FileFormatError(
                f"{place} is a link; parts of a collection that is changed lie in its own folder. Change the folder it leads to "
                "as a collection of its own, or copy it here."
            )
    return place / name.rpartition("/")[2]


def _shown(name: object) -> str:
    text = repr(name)
    return text if len(text) < 80 else f"{text[:76]}..."


def _advice(name: str) -> str:
    return f"If nobody is changing the collection, delete {name} and call again."
