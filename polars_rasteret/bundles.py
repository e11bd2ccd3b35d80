"""How are columns and words that travel together put into one object, cheaply?

The first query of a process defines some fifty small classes. A frozen dataclass takes half a millisecond to define, since each
of its methods is compiled; a bundle takes a quarter of that. What is public is a frozen dataclass instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def bundle(cls: type[T], /) -> type[T]: ...
@overload
def bundle(*, kw_only: bool = True, slots: bool = True, eq: bool = False) -> Any: ...
@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=False, field_specifiers=(field,))
def bundle(cls: type[T] | None = None, /, *, kw_only: bool = True, slots: bool = True, eq: bool = False) -> Any:
    """Return a dataclass whose fields only the type checker keeps from being set again.

    Parameters
    ----------
    kw_only, slots
        As of `dataclasses.dataclass`, true by default. Cached properties need a class without slots.
    eq
        Whether two bundles with equal fields are equal, and have one hash. False: a bundle equals itself.
    """

    def made(plain: type[T]) -> type[T]:
        bundled: Any = dataclass(kw_only=kw_only, slots=slots, eq=False, repr=False)(plain)
        if plain.__repr__ is object.__repr__:
            bundled.__repr__ = _shown
        if eq:
            values = attrgetter(*(one.name for one in fields(bundled) if one.compare))
            bundled.__eq__ = lambda one, other: (
                values(one) == values(other) if type(other) is bundled else NotImplemented
            )
            bundled.__hash__ = lambda one: hash(values(one))
        return bundled  # type: ignore[no-any-return]

    return made if cls is None else made(cls)


def _shown(self: Any) -> str:
    values = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__name__}({', '.join(values)})"
