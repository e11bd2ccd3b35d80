"""How is a collection called after what is in it, and what does such a name say?

``name__20240101-20240131__earthsearch--sentinel-2-l2a``: days are exact, and every name is read back as it was made.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, NamedTuple

from polars_rasteret.collection.queries.periods import Period, period_of
from polars_rasteret.errors import UsageError

_WORD = r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*"
_NAME = re.compile(_WORD)
_DATASET = re.compile(rf"{_WORD}(?:/{_WORD})*")
_SEPARATOR, _SLASH, _OPEN = "__", "--", "open"
_DAY = dt.timedelta(days=1)


class CollectionName(NamedTuple):
    """What the name of a collection says; see `parse_name`."""

    name: str
    datetime: str | None
    dataset: str | None


def create_name(name: str, *, datetime: Any = None, dataset: str | None = None) -> str:
    """Return a name for a collection that says which days and which dataset are in it.

    Parameters
    ----------
    name
        A word of your own: letters and digits, with single ``.``, ``_`` or ``-`` between them.
    datetime
        The period, as in ``subset``: ``"2024-01"``, ``"2024-01-01/2024-01-31"``, ``"2024-01-01/.."``, dates, instants, pairs.
    dataset
        Id of a dataset, or of a STAC collection.

    Returns
    -------
    str
        A name for a folder. Two names are equal only if all three are the same; a period is what it covers.

    Raises
    ------
    UsageError
        When a word has other characters, or `datetime` is no period.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.create_name("bern", datetime="2024-01-01/2024-01-10", dataset="earthsearch/sentinel-2-l2a")
    'bern__20240101-20240110__earthsearch--sentinel-2-l2a'
    >>> pr.create_name("bern", datetime="2024-01"), pr.create_name("bern")
    ('bern__20240101-20240131', 'bern')
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        plain = "-".join(re.findall(r"[A-Za-z0-9]+", name)) if isinstance(name, str) else ""
        raise UsageError(
            f"name is {name!r}; expected letters and digits, with single '.', '_' or '-' between them"
            + (f", like {plain!r}" if plain else "")
        )
    if dataset is not None and (not isinstance(dataset, str) or not _DATASET.fullmatch(dataset)):
        raise UsageError(f"dataset is {dataset!r}; expected the id of a dataset, like 'earthsearch/sentinel-2-l2a'")
    words = [name]
    if datetime is not None or dataset is not None:
        words.append("all" if datetime is None else _written(period_of(datetime)))
    if dataset is not None:
        words.append(dataset.replace("/", _SLASH))
    return _SEPARATOR.join(words)


def parse_name(name: str) -> CollectionName:
    """Return what a name that `create_name` made says.

    Parameters
    ----------
    name
        Name of a collection; of a path, its last part.

    Returns
    -------
    CollectionName
        ``name``; ``datetime`` as text that ``subset`` and ``build`` take, None for all times; ``dataset``, None for none.

    Raises
    ------
    UsageError
        When `create_name` makes no such name.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.parse_name("bern__20240101-20240110__earthsearch--sentinel-2-l2a")
    CollectionName(name='bern', datetime='2024-01-01/2024-01-10', dataset='earthsearch/sentinel-2-l2a')
    """
    words = str(name).split(_SEPARATOR)
    if not _NAME.fullmatch(words[0]) or len(words) > 3:
        raise _unknown(name)
    period = words[1] if len(words) > 1 else "all"
    datetime = None if period == "all" else _read(period, name)
    dataset = words[2].replace(_SLASH, "/") if len(words) == 3 else None
    found = CollectionName(words[0], datetime, dataset)
    try:
        again = create_name(*found[:1], datetime=datetime, dataset=dataset)
    except UsageError:
        again = ""
    if again != name:
        raise _unknown(name)
    return found


def _written(period: Period) -> str:
    first = _OPEN if period.start is None else _moment(period.start)
    if period.stop is None:
        return f"{first}-{_OPEN}"
    # A period that ends with a day stops at the first instant of the next one, which is not in it.
    last = _moment(period.stop, is_instant=True) if period.closed else _moment(period.stop - _DAY)
    return f"{first}-{last}"


def _moment(time: dt.datetime, *, is_instant: bool = False) -> str:
    time = time.astimezone(dt.UTC)
    day = f"{time.year:04d}{time:%m%d}"
    if not is_instant and time.time() == dt.time():
        return day
    fraction = f".{time.microsecond:06d}" if time.microsecond else ""
    return f"{day}T{time:%H%M%S}{fraction}Z"


def _read(words: str, name: str) -> str:
    pair = [_text(one, name) for one in words.split("-")]
    if len(pair) != 2:
        raise _unknown(name)
    return "/".join(pair)


def _text(word: str, name: str) -> str:
    if word == _OPEN:
        return ".."
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(\.\d{6})?Z)?", word)
    if found is None:
        raise _unknown(name)
    year, month, day, hour, minute, second, fraction = found.groups()
    date = f"{year}-{month}-{day}"
    return date if hour is None else f"{date}T{hour}:{minute}:{second}{fraction or ''}Z"


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"{name!r} is no name that pr.create_name makes; expected name__20240101-20240131__dataset, with days or instants"
    )
