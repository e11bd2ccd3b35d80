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

_TAG = re.compile(rb"polars-rasteret-object:(\d+);")
_found: contextvars.ContextVar[list[PlanObject] | None] = contextvars.ContextVar(
    "polars_rasteret_objects", default=None
)


class PlanObject:
    """A source or callback that a plan may hold."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        found = _found.get()
        if found is None:
            return super().__reduce_ex__(protocol)
        found.append(self)
        return str, (f"polars-rasteret-object:{len(found) - 1};",)


@contextmanager
def numbered_objects() -> Iterator[list[PlanObject]]:
    """Pickle objects of ours as numbers in this block, for `object_in`; yield the objects."""
    found: list[PlanObject] = []
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def object_in(pickled: bytes, found: Sequence[PlanObject]) -> PlanObject | None:
    """Return the object of ours that these bytes stand for; None where they stand for another."""
    tag = _TAG.search(pickled)
    return None if tag is None else found[int(tag[1])]
