"""How is a regular expression kept that most processes never use?

The modules of a first query hold some fifty patterns, most of them for errors and odd addresses. Each takes a tenth of a
millisecond to compile.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Pattern:
    """A pattern that is compiled when one of its methods is first used."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, method)  # so that the next use finds it at once
        return method


def pattern(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what `re.compile` does, compiled on first use."""
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
