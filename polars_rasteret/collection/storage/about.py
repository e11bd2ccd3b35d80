"""What does a collection say of itself: its name, what it is, where its records came from, and their times?

Each part says it in the key-value metadata of its file, so it travels with the file; the keys are those that rasteret writes too.
What a caller said is kept through every change. Everything else is made of the records of the part when it is written, so it is
as true as they are.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown, shown_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY = "polars_rasteret:about"
_MOST_CHARACTERS = 10_000

TimeRange = tuple[dt.datetime, dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a caller said of a collection."""

    description: str | None = None
    source: str | None = None


NOTHING_SAID = About()


def about_of_caller(description: str | None, source: str | None, *, is_kept: bool = True) -> About:
    """Return what a caller says of a collection, without keys that open files.

    Raises
    ------
    UsageError
        When a word is no text, or too long; when something is said of a collection that is not kept in files.
    """
    if not is_kept and (description is not None or source is not None):
        raise UsageError("description= and source= are kept in the files of into=; give a path, or leave them out")
    for word, value in (("description", description), ("source", source)):
        if value is not None and (not isinstance(value, str) or len(value) > _MOST_CHARACTERS):
            raise UsageError(f"{word} is {value!r:.100}; expected a text of at most {_MOST_CHARACTERS:,} characters")
    return About(description=shown_text(description) if description else None, source=shown(source) if source else None)


def united(said: Iterable[About]) -> About:
    """Return what several parts say together: the last description, and every source once."""
    result = NOTHING_SAID
    for one in said:
        sources = joined([result.source, one.source])
        result = About(description=one.description or result.description, source=sources)
    return result


def joined(sources: Iterable[str | None]) -> str | None:
    """Return sources as one text, each once, in order; None without any."""
    return ", ".join(dict.fromkeys(one for text in sources if text for one in text.split(", "))) or None


def about_metadata(about: About, *, name: str, collections: Iterable[str], times: TimeRange | None) -> dict[str, str]:
    """Return the key-value metadata of a part.

    Parameters
    ----------
    about
        What the caller said; kept under a key of its own, apart from what is made of the records.
    name
        Name of the collection: that of its folder or file.
    collections
        Distinct values of the column ``collection``: the source where the caller named none.
    times
        First and last time of the records, in UTC; None without any.
    """
    return {
        "name": name,
        "description": about.description or "",
        "data_source": about.source or joined(collections) or "",
        "date_range": "" if times is None else ",".join(time.isoformat() for time in times),
        KEY: json.dumps({"description": about.description, "source": about.source}),
    }


def about_in(metadata: Mapping[str, str]) -> About:
    """Return what the caller said when a part was written; a file of another writer counts as said by a caller.

    A text that cannot be understood counts as not said: the file may be a stranger's.
    """
    if KEY not in metadata:
        return About(description=_text(metadata.get("description")), source=_text(metadata.get("data_source")))
    try:
        said = dict(json.loads(metadata[KEY]))
    except (ValueError, TypeError, RecursionError):
        return NOTHING_SAID
    return About(description=_text(said.get("description")), source=_text(said.get("source")))


def source_in(metadata: Mapping[str, str]) -> str | None:
    """Return where the records of a part came from, said by a caller or made of the records."""
    return _text(metadata.get("data_source"))


def times_in(metadata: Mapping[str, str]) -> TimeRange | None:
    """Return first and last time of the records of a part of ours; None without any.

    Raises
    ------
    LookupError
        When the part does not tell: another program wrote it, and may have kept what was true of other records.
    """
    if KEY not in metadata or "date_range" not in metadata:
        raise LookupError("date_range")
    if not (told := metadata["date_range"]):
        return None
    try:
        start, end = (dt.datetime.fromisoformat(one) for one in told.split(","))
        return start.astimezone(dt.UTC), end.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise LookupError("date_range") from error


def _text(value: Any) -> str | None:
    return value[:_MOST_CHARACTERS] if isinstance(value, str) and value else None
