"""Which names do the columns of an answer have?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from polars_rasteret.errors import UsageError
from polars_rasteret.pairing.words import DEFAULT_RECORD_COLUMNS
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from polars_rasteret.frame.query.question import Question

_NOT_FOR_ALL = ("geometry", "bbox", "assets")
"""Not taken with ``record_columns="all"``, and neither are raster columns."""


def free_name(question: Question, name: str, taken: Mapping[str, pl.DataType]) -> str:
    """Return a name for a column of the answer: its own, or where that is taken, with the suffix.

    Raises
    ------
    UsageError
        When both are taken.
    """
    if name not in taken:
        return name
    if (other := name + question.pairing.suffix) in taken:
        raise UsageError(
            f"{question.verb}: column {name!r} is taken, and so is {other!r}; rename a column of the frame, or pass another "
            "suffix="
        )
    return other


def record_column_names(question: Question, schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Return the record columns wanted, and the name of each in the answer.

    Raises
    ------
    UsageError
        When a column is not there, or two get one name.
    """
    chosen = question.pairing.record_columns
    if isinstance(chosen, str) and chosen == "all":
        hidden = {*_NOT_FOR_ALL, *raster_columns(schema)}
        return {name: _record_name(name) for name in schema if name not in hidden}
    if isinstance(chosen, pl.Expr):  # selectors are expressions
        return {name: _record_name(name) for name in cs.expand_selector(pl.DataFrame(schema=dict(schema)), chosen)}
    if isinstance(chosen, Mapping):
        names = dict(chosen)
    else:
        names = {name: _record_name(name) for name in ([chosen] if isinstance(chosen, str) else chosen)}
    if not all(isinstance(new, str) for new in names.values()) or len({*names.values()}) < len(names):
        raise UsageError(
            f"{question.verb}: record_columns={chosen!r}; expected names, or a dict from each to a name of its own, such as "
            '{"datetime": "scene_time"}'
        )
    # Only id and raster columns are required to read, so the defaults are taken where they are.
    missing = [name for name in names if name not in schema and name not in DEFAULT_RECORD_COLUMNS]
    if missing:
        raise UsageError(
            f"{question.verb}: record_columns names {', '.join(missing)}, which the collection does not have; it has "
            f"{', '.join(schema)}"
        )
    return {name: new for name, new in names.items() if name in schema}


def _record_name(column: str) -> str:
    return "record_id" if column == "id" else column
