"""Which sources and callbacks of this package does a plan contain?

Polars writes a plan as text, in which Python objects are pickles. While a plan is examined, objects of this package pickle as a
number, by which the object itself is found. So the frames in these objects are not pickled.
"""

from __future__ import annotations

import contextvars
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.plan_tree import plan_tree
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TAG = pattern(rb"polars-rasteret-object:(\d+);")
_found: contextvars.ContextVar[list[PlanObject] | None] = contextvars.ContextVar(
    "polars_rasteret_objects", default=None
)


_other: contextvars.ContextVar[Callable[[PlanObject], PlanObject] | None] = contextvars.ContextVar(
    "polars_rasteret_other_objects", default=None
)


class PlanObject:
    """Base class of sources and callbacks that a plan may contain."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        other = _other.get()
        if other is not None and (instead := other(self)) is not self:
            return _as_it_is, (instead,)
        found = _found.get()
        if found is None:
            return super().__reduce_ex__(protocol)
        found.append(self)
        return str, (f"polars-rasteret-object:{len(found) - 1};",)


class RecordsSource(PlanObject):
    """Base class of sources of records. They read no pixel, and contain no query of this package."""

    __slots__ = ()


@contextmanager
def numbered_objects() -> Iterator[list[PlanObject]]:
    """Pickle objects of this package as numbers in this block, for `object_in`; yield the list of these objects."""
    found: list[PlanObject] = []
    token = _found.set(found)
    try:
        yield found
    finally:
        _found.reset(token)


def numbered_plan(lf: pl.LazyFrame, cannot: str) -> tuple[Any, list[PlanObject]]:
    """Return a plan as `plan_tree` does, and the objects of this package in it, for `object_in`.

    Parameters
    ----------
    lf
        The plan.
    cannot
        What cannot be done with a plan that Polars cannot serialize, for the message.

    Raises
    ------
    UsageError
        When Polars cannot serialize the plan.
    """
    with numbered_objects() as found:
        try:
            return plan_tree(lf), found
        except (pl.exceptions.PolarsError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"this query cannot {cannot}, because Polars cannot serialize it: {error}. Functions and sources in it must be "
                "picklable."
            ) from error


@contextmanager
def other_objects(instead: Callable[[PlanObject], PlanObject]) -> Iterator[None]:
    """Pickle `instead` of an object in place of each object of this package in this block; `instead` may return the object."""
    token = _other.set(instead)
    try:
        yield
    finally:
        _other.reset(token)


def _as_it_is(instead: PlanObject) -> PlanObject:
    return instead


def object_in(pickled: bytes, found: Sequence[PlanObject]) -> PlanObject | None:
    """Return the object of this package that a pickle stands for; None for other objects."""
    tag = _TAG.search(pickled)
    return None if tag is None else found[int(tag[1])]
