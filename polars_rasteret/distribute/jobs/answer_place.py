"""Which place may the folder of an answer have, so that nobody who scans another folder reads the answer, too?"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from polars_rasteret.collection.storage.parts import is_remote, plain_path
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

_ONE_FILE = (".parquet", ".pq")
_WILD = re.compile(r"[*?\[]")
_PART_OF_ANYTHING = re.compile(r"part-(\d{6,}|\d{8}T\d{12}-[0-9a-f]{8})\.parquet")
"""Names of the parts of answers, and of those of collections."""


def answer_place(into: Any) -> str:
    """Return the path (absolute, without links) or the URL of the folder of an answer.

    Raises
    ------
    UsageError
        For what cannot be one.

    Examples
    --------
    >>> answer_place("s3://bucket/out/")
    's3://bucket/out'
    """
    path = os.fspath(into) if isinstance(into, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise UsageError(f"into is {into!r}; expected the path or URL of a folder")
    text = plain_path(path).rstrip("/")
    if text.lower().endswith(_ONE_FILE):
        raise UsageError(
            f"{shown(text)} names one file; a query in parts writes a folder of files, so leave out the suffix"
        )
    if is_remote(text):
        return _checked_url(text)
    if not text:
        raise UsageError(f"into is {into!r}; expected a folder in it: what is known of the run lies beside the answer")
    try:
        folder = Path(text).resolve()
        is_other = folder.exists() and not folder.is_dir()
    except OSError as error:
        raise UsageError(f"into is {into!r}, which cannot be a folder: {error}") from error
    if is_other:
        raise UsageError(f"{folder} is a file; a query in parts writes a folder of files. Choose another name.")
    return str(folder)


def _checked_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme in ("http", "https"):
        raise UsageError(
            f"{shown(text)}: files cannot be written over HTTP; expected a path, or the URL of a folder in an object store, such "
            "as s3://bucket/out"
        )
    if "/" not in rest:
        raise UsageError(
            f"{shown(text)} is a whole bucket; expected a folder in it, such as {shown(text)}/out: what is known of the run "
            "lies beside the answer"
        )
    if _WILD.search(rest):
        raise UsageError(f"{shown(text)} has one of * ? [ in it, which stores take for a pattern; choose another name")
    return text


def check_place(into: Any) -> None:
    """Refuse what cannot be the folder of an answer that stays: on a disk, one in a collection or another answer, too.

    Raises
    ------
    UsageError
        As by `answer_place`, and when one of the folders above has files that are named as parts are.
    """
    place = answer_place(into)
    folder = Path(place)
    for above in () if is_remote(place) else folder.parents:
        with contextlib.suppress(OSError), os.scandir(above) as entries:
            name = next((one.name for one in entries if _PART_OF_ANYTHING.fullmatch(one.name) and one.is_file()), None)
            if name is not None:
                raise UsageError(
                    f"{folder} lies in {above}, which holds {name!r}: whoever scans that folder would read the answer, too. "
                    "Choose a folder beside it."
                )
