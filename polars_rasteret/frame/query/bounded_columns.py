"""How do raster expressions run over a frame larger than memory?

Polars passes an expression batches of its own size. `with_columns` here evaluates the same expressions in batches bounded by the
bytes of their answers, so that the result may go to a sink.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import polars.selectors as cs
from polars.io.plugins import register_io_source

from polars_rasteret.engine.interruption import guarded
from polars_rasteret.errors import AnswerTooLargeError, RasteretError, UsageError
from polars_rasteret.fetch import process
from polars_rasteret.frame.query.batches import pieces, with_empty_frames
from polars_rasteret.frame.query.plan_objects import PlanObject
from polars_rasteret.frame.query.pushdown import conjunction, may_act_early, split_and
from polars_rasteret.frame.query.row_wise import looks_at_other_rows
from polars_rasteret.options import current_options
from polars_rasteret.plan.batches import RAMP_FACTOR, RAMP_START_ROWS, batch_bytes
from polars_rasteret.schema import PIXEL_DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polars_rasteret.options import ReadOptions

_ADDED_BY_POLARS = "\n\nThis error occurred in"
_OTHER_BYTES = 16
"""Bytes of a value that is no pixel, such as a name or a time."""
_UNKNOWN_ROW_BYTES = 2**20
"""First guess of the bytes of a row whose answer has no fixed size (windows of various shapes)."""


def with_columns(lf: pl.LazyFrame, exprs: Sequence[pl.Expr]) -> pl.LazyFrame:
    """Return the LazyFrame of ``.raster.with_columns``.

    Raises
    ------
    UsageError
        When an expression may use other rows than its own.
    """
    schema = lf.collect_schema()
    for expr in exprs:
        if (found := looks_at_other_rows(expr, schema)) is not None:
            raise UsageError(
                f"with_columns: {found} may look at other rows, but rows are read in units. Use it in a with_columns of Polars "
                "after this one"
            )
    source = BatchedColumns(lf, tuple(exprs), current_options())
    return register_io_source(source, schema=source.schema, validate_schema=True, explain_name="RASTER with_columns")


def as_columns(exprs: Iterable[Any], named_exprs: Mapping[str, Any]) -> list[pl.Expr]:
    """Return the expressions for arguments of all kinds that Polars' own ``with_columns`` takes.

    These are expressions, names, values, and iterables of them.
    """
    columns = [_as_column(value) for value in _flattened(exprs)]
    return [*columns, *(_as_column(value).alias(name) for name, value in named_exprs.items())]


def _flattened(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, Iterable) and not isinstance(value, str | bytes | pl.Series):
            yield from value
        else:
            yield value


def _as_column(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    return pl.col(value) if isinstance(value, str) else pl.lit(value)


class BatchedColumns(PlanObject):
    """IO source of ``with_columns``."""

    def __init__(self, lf: pl.LazyFrame, exprs: tuple[pl.Expr, ...], options: ReadOptions) -> None:
        self.lf, self.exprs, self.options = lf, exprs, options

    def schema(self) -> pl.Schema:
        """Return the schema of the answer, as an IO source must."""
        process.check()  # in a forked child the query would hang in Polars before it reaches our own check
        return self._schemas[0]

    @cached_property
    def _schemas(self) -> tuple[pl.Schema, pl.Schema, frozenset[str]]:
        """Schema of the answer, schema of the input, and names of the columns that the expressions return."""
        return (
            self.lf.with_columns(*self.exprs).collect_schema(),
            self.lf.collect_schema(),
            frozenset(self.lf.select(*self.exprs).collect_schema()),
        )

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the answer in batches."""
        return guarded(self._frames(with_columns, predicate, n_rows))

    def _frames(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        schema, _, made = self._schemas
        wanted = list(schema) if with_columns is None else with_columns
        early: list[pl.Expr] = []
        late: list[pl.Expr] = []
        for part in split_and(predicate) if predicate is not None else []:
            # Polars limits first and filters what is left: with a limit, no part may act before it.
            is_late = n_rows is not None or not may_act_early(part, made)
            (late if is_late else early).append(part)
        plan = self._input(wanted, tuple(early))
        if n_rows is not None:
            plan = plan.head(n_rows)
        ramps_up = any(set(part.meta.root_names()) & made for part in late)
        is_empty = True
        frames = self._batches(plan, wanted, conjunction(tuple(late)), ramps_up=ramps_up)
        for frame in with_empty_frames(frames) if ramps_up else frames:
            is_empty = False
            yield frame
        if is_empty:
            yield pl.DataFrame(schema={name: schema[name] for name in wanted})

    def _input(self, wanted: Sequence[str], early: tuple[pl.Expr, ...]) -> pl.LazyFrame:
        _, schema, made = self._schemas
        plan = self.lf
        if (condition := conjunction(early)) is not None:
            plan = plan.filter(condition)
        if made.isdisjoint(wanted):
            return plan.select(cs.by_name(*wanted))
        roots = {name for expr in self.exprs for name in expr.meta.root_names()}
        if not roots <= schema.keys():  # selectors and patterns name no columns by themselves
            return plan
        needed = [name for name in schema if name in roots or name in wanted]
        # A frame without columns has no rows.
        return plan.select(cs.by_name(*(needed or [next(iter(schema))])))

    def _batches(
        self, plan: pl.LazyFrame, wanted: Sequence[str], condition: pl.Expr | None, *, ramps_up: bool
    ) -> Iterator[pl.DataFrame]:
        schema, _, made = self._schemas
        row_bytes = _fixed_row_bytes({name: schema[name] for name in wanted if name in made})
        limit, options = RAMP_START_ROWS, self.options.begun()
        for batch in plan.collect_batches(maintain_order=True):
            start = 0
            while start < batch.height:
                guess = row_bytes or _UNKNOWN_ROW_BYTES
                allowed = batch_bytes(np.full(batch.height, guess), self.options.max_answer_bytes)
                size = max(1, int(allowed // max(1, guess)))
                if ramps_up:
                    size, limit = min(size, limit), limit * RAMP_FACTOR
                options.check_time()
                part, frame = self._evaluated(batch.slice(start, size), wanted)
                start += part.height
                if row_bytes is None or row_bytes < frame.estimated_size() // max(1, part.height):
                    row_bytes = max(1, int(frame.estimated_size()) // max(1, part.height))
                if condition is not None:
                    frame = frame.lazy().filter(condition).collect()
                yield from (
                    pieces(frame, np.full(frame.height, guess)) if allowed < self.options.max_answer_bytes else (frame,)
                )

    def _evaluated(self, rows: pl.DataFrame, wanted: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the first rows whose answer fits ``max_answer_bytes``, and the answer."""
        made = self._schemas[2]
        while True:
            answer = rows.lazy()
            if not made.isdisjoint(wanted):
                answer = answer.with_columns(*self.exprs)
            try:
                # Selected in the same plan, so that Polars leaves out the expressions that are not wanted.
                return rows, answer.select(cs.by_name(*wanted)).collect()
            except RasteretError as error:
                if not isinstance(error, AnswerTooLargeError) or rows.height == 1:
                    # Polars appends the place in its plan of the batch where the error occurred.
                    raise type(error)(str(error).partition(_ADDED_BY_POLARS)[0]) from error
                rows = rows.head(rows.height // 2)


def _fixed_row_bytes(made: Mapping[str, pl.DataType]) -> int | None:
    """Return the bytes of a row's answer; None when its dtypes have no fixed size."""
    sizes = [_value_bytes(dtype) for dtype in made.values()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _value_bytes(dtype: pl.DataType) -> int | None:
    if isinstance(dtype, pl.Array):
        inner = _value_bytes(_instance(dtype.inner))
        return None if inner is None else dtype.size * inner
    if isinstance(dtype, pl.Struct):
        sizes = [_value_bytes(_instance(field.dtype)) for field in dtype.fields]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None
    if isinstance(dtype, pl.List):
        return None
    return numpy_dtype(dtype).itemsize if dtype in PIXEL_DTYPES.values() else _OTHER_BYTES


def _instance(dtype: object) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[return-value]  # a dtype or its class
