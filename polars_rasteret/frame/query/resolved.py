"""What are the names, dtypes and columns of a question's answer?

Questions are resolved when Polars first asks for their schema, because only then may schemas of the caller's frames be resolved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from polars_rasteret.frame.columns.read_error import READ_ERROR
from polars_rasteret.frame.query.column_names import free_name, record_column_names
from polars_rasteret.frame.query.plan_tree import is_frame
from polars_rasteret.frame.query.valid_expr import resolved_valid
from polars_rasteret.grids.choosing import check_grid
from polars_rasteret.pairing.stated_crs import crs_of_geometry, may_hold_srids
from polars_rasteret.pairing.targets import COMPUTED, TargetColumns, target_columns
from polars_rasteret.pairing.words import resolved_at
from polars_rasteret.pixels.valid_mask import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.pixels.valid_mask import ValidExpr


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Names, dtypes and columns of an answer."""

    where: TargetColumns
    target_schema: Mapping[str, pl.DataType]
    record_schema: Mapping[str, pl.DataType]
    loaded: tuple[str, ...]
    """The bands asked for, and the bands that only say which pixels are valid."""
    valid: ValidExpr | None
    at: pl.Expr | None
    """Makes the column `AT` of the caller's frame."""
    targets: tuple[str, ...]
    """The caller's columns; they keep their names."""
    records: Mapping[str, str]
    """Output name to record column."""
    values: Mapping[str, str]
    """Output name to the name that the product gives, or to `READ_ERROR`."""
    schema: pl.Schema

    @property
    def mask_bands(self) -> tuple[str, ...]:
        """Bands that say which pixels are valid."""
        return () if self.valid is None else self.valid.bands

    def values_of(self, names: Iterable[str]) -> set[str]:
        """Return the values among some columns of the answer, as the product names them."""
        return {self.values[name] for name in names if name in self.values}

    def record_outputs(self, names: Iterable[str]) -> dict[str, str]:
        """Return the record columns that some columns of the answer and a ``valid=`` expression need: name to record column."""
        chosen = set(names)
        outputs = {name: column for name, column in self.records.items() if name in chosen}
        if self.valid is not None:
            outputs.update({CONTEXT + column: column for column in self.valid.records.values()})
        return outputs


def resolve(question: Question) -> Resolved:
    """Return the names and dtypes of a question's answer.

    Raises
    ------
    UsageError
        For bands, columns or a CRS that are not there, and for names that clash in spite of the suffix.
    """
    words, product = question.pairing, question.product
    target_schema = dict(question.targets.collect_schema())
    record_schema = dict(question.records.collect_schema())
    where = target_columns(
        target_schema, x=words.x, y=words.y, geometry=words.geometry, crs=words.crs, what=question.whose
    )
    _check_srids(question, where, target_schema)
    left_out = where.geometry if question.many_rows else None  # it would be there once per pixel
    schema = {
        name: dtype for name, dtype in target_schema.items() if not name.startswith(COMPUTED) and name != left_out
    }
    targets = tuple(schema)
    records: dict[str, str] = {}
    for column, wanted in record_column_names(question, record_schema).items():
        name = free_name(question, wanted, schema)
        schema[name] = record_schema[column]
        records[name] = column
    values: dict[str, str] = {}
    outputs = {**product.outputs, **({READ_ERROR: pl.String()} if question.tells_errors else {})}
    for natural, dtype in outputs.items():
        name = free_name(question, natural, schema)
        schema[name] = dtype
        values[name] = natural
    valid = None
    if words.valid is not None:
        valid = resolved_valid(
            question.verb, words.valid, target_schema=target_schema, record_schema=record_schema, outputs=records
        )
    loaded = tuple(dict.fromkeys([*product.bands, *(() if valid is None else valid.bands)]))
    check_grid(question.verb, question.grid, loaded)
    return Resolved(
        where=where,
        target_schema=target_schema,
        record_schema=record_schema,
        loaded=loaded,
        valid=valid,
        at=resolved_at(question.verb, words, question.targets),
        targets=targets,
        records=records,
        values=values,
        schema=pl.Schema(schema),
    )


def _check_srids(question: Question, where: TargetColumns, schema: Mapping[str, pl.DataType]) -> None:
    """Refuse EWKB that contradicts `crs`, or WKB without one, at once where the caller's frame is in memory."""
    if where.geometry is not None and may_hold_srids(schema[where.geometry]) and is_frame(question.targets):
        geometry = question.targets.select(cs.by_name(where.geometry)).collect().to_series()
        crs_of_geometry(geometry, where.crs, what=question.whose)
