"""What does Polars hand down to the read of a query: which columns, and which filters?

A copy of the query is run, whose read notes what it is asked and ends the query.
"""

from __future__ import annotations

import io
import uuid
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from polars_rasteret.frame.query.plan_objects import PlanObject, other_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars_rasteret.frame.query.source import PairedSource


class HandedDown(NamedTuple):
    """What Polars passes to an IO source."""

    columns: list[str] | None
    predicate: pl.Expr | None


_notes: dict[str, list[HandedDown]] = {}


class _NotedError(Exception):
    """Ends a query that has told what it asks for."""


class _Noting(PlanObject):
    """Source that notes what it is asked, and ends the query: functions above it may not expect to see no rows."""

    def __init__(self, name: str, schema: pl.Schema) -> None:
        self.name, self.schema = name, schema

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, _n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        _notes[self.name].append(HandedDown(with_columns, predicate))
        raise _NotedError


def handed_down(query: pl.LazyFrame, source: PairedSource) -> HandedDown:
    """Return what Polars hands down to the one source of a verb in a query."""
    name = uuid.uuid4().hex
    noting = _Noting(name, source.resolved.schema)
    with other_objects(lambda one: noting if one is source else one):
        plan = query.serialize()
    _notes[name] = []
    try:
        pl.LazyFrame.deserialize(io.BytesIO(plan)).collect()
    except (_NotedError, pl.exceptions.PolarsError):
        if not _notes[name]:
            raise
    finally:
        found = _notes.pop(name)
    return found[0] if len(found) == 1 else HandedDown(None, None)  # an empty join side may end it unasked
