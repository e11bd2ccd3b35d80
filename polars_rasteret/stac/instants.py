"""Which instant does a text of a STAC item mean?

Catalogues write more than RFC 3339: any number of digits, a space for the ``T``, dates alone. Times of callers belong in `times`,
where a missing zone is refused; STAC says that its times are UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt_ ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*(?:([Zz])|([+-]\d\d):?(\d\d)?)?)?", re.ASCII
)


def instant(value: Any) -> dt.datetime | None:
    """Return the instant in UTC of a text in RFC 3339; digits beyond microseconds are cut, a date alone is its midnight.

    Raises
    ------
    ValueError
        When the value is no such text.
    """
    if value is None:
        return None
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a time in RFC 3339")
    date, minutes, seconds, digits, _, hours_off, minutes_off = match.groups()
    zone = "+00:00" if hours_off is None else f"{hours_off}:{minutes_off or '00'}"
    micro = (digits or "")[:6].ljust(6, "0")
    text = f"{date}T{minutes or '00:00'}:{seconds or '00'}.{micro}{zone}"
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{value!r} is not a time: {error}") from error
