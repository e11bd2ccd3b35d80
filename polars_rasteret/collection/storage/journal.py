"""Which Parquet files in this folder are not parts of the collection?

The journal names these files: new parts while a writer puts them in place, then the old parts that they replace. Readers leave
them out; the next writer deletes them and the journal. So one rename of the journal decides over any number of parts.
"""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

from polars_rasteret.collection.storage.durable_writes import sync_folder, write_text
from polars_rasteret.collection.storage.untrusted_files import checked_part_names, not_ours, path_inside, read_json_file
from polars_rasteret.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

JOURNAL = "_overwrite.json"


def left_out(folder: Path) -> list[str]:
    """Return the names of files that the journal leaves out, relative to the folder of the collection; empty without a journal.

    Raises
    ------
    FileFormatError
        When the journal is not one of ours.
    """
    said = read_json_file(folder / JOURNAL)
    if said is None:
        return []
    where = str(folder / JOURNAL)
    if not isinstance(said, dict) or said.keys() != {"left_out"}:
        raise not_ours(where, 'it is not {"left_out": [names]}')
    return checked_part_names(said["left_out"], where)


def write_journal(folder: Path, names: Sequence[str], draft: Path) -> None:
    """Replace the journal by one with these names, in one step; without names, delete the journal."""
    if not names:
        (folder / JOURNAL).unlink(missing_ok=True)
    else:
        write_text(draft, json.dumps({"left_out": list(names)}))
        draft.replace(folder / JOURNAL)
    sync_folder(folder)


def discard_left_out(folder: Path) -> None:
    """Delete the files that the journal leaves out, then the journal.

    A file that a reader keeps open on Windows cannot be deleted; then the journal stays, and the file stays left out.

    Raises
    ------
    FileFormatError
        When the journal is not one of ours, or names a folder.
    """
    names = left_out(folder)
    files = [path_inside(folder, name) for name in names]
    for file in files:
        try:
            is_folder = stat.S_ISDIR(file.lstat().st_mode)
        except FileNotFoundError:
            continue
        if is_folder:
            raise FileFormatError(
                f"{folder / JOURNAL} names {file}, which is a folder. Delete {JOURNAL} and call again."
            )
    is_held = False
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except PermissionError:
            is_held = True
    if not is_held:
        (folder / JOURNAL).unlink(missing_ok=True)
