"""Which of our sources and callbacks does a plan hold?

Polars tells a plan as text, in which Python objects are their pickles. While a plan is looked through, ours pickle as a number
under which the object itself is found, without the frames they hold.
"""

from __future__ import annotations

import contextvars
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TAG = re.compile(rb"polars-rasteret-watched:(\d+);")
_found: contextvars.ContextVar[list[Watched] | None] = contextvars.ContextVar("polars_rasteret_watched", default=None)


class Watched:
    """A source or callback that a plan may hold."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        found = _found.get()
        if found is None:
            return super().__reduce_ex__(protocol)
        found.append(self)
        return str, (f"polars-rasteret-watched:{len(found) - 1};",)


@contextmanager
def watching() -> Iterator[list[Watched]]:
    """Let watched objects that are pickled in this block be found by `watched_in`."""
    found: list[Watched] = []
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def watched_in(pickled: bytes, found: Sequence[Watched]) -> Watched | None:
    """Give the watched object that these bytes stand for."""
    tag = _TAG.search(pickled)
    return None if tag is None else found[int(tag[1])]
