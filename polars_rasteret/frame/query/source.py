"""How does a verb answer Polars: columns, predicate and limit in, frames out?

An IO source must apply predicate and limit itself: Polars does not apply them again.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

from polars_rasteret.engine.interruption import guarded
from polars_rasteret.fetch import process
from polars_rasteret.frame.query.answer import answer_frames
from polars_rasteret.frame.query.batches import with_empty_frames
from polars_rasteret.frame.query.plan_objects import PlanObject
from polars_rasteret.frame.query.pushdown import pushdown
from polars_rasteret.frame.query.resolved import Resolved, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from polars_rasteret.frame.query.question import Question


class PairedSource(PlanObject):
    """The IO source of a verb that pairs records with a table."""

    def __init__(self, question: Question) -> None:
        self.question = question

    @cached_property
    def resolved(self) -> Resolved:
        """Names and dtypes of the answer."""
        return resolve(self.question)

    def scan(self) -> pl.LazyFrame:
        """Return the LazyFrame whose root is this source.

        Raises
        ------
        UsageError
            For what cannot be resolved.
        """
        question = self.question
        return register_io_source(
            self,
            # Polars turns an exception of a schema callable into its own type: resolved here, errors keep theirs.
            schema=partial(schema_here, self.resolved.schema),
            validate_schema=True,
            is_pure=True,
            explain_name=f"RASTER {question.verb}",
            explain_detail=(
                f"BANDS: {', '.join(question.bands or ['all'])}; MATCH: {question.pairing.match}; "
                f"UNMATCHED: {question.pairing.unmatched}"
            ),
        )

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the answer in batches; their size follows from the bytes of the answer, not from a batch size."""
        return guarded(self._frames(with_columns, predicate, n_rows))

    def _frames(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        resolved = self.resolved
        pushed = pushdown(self.question, resolved, with_columns, predicate, n_rows)
        is_empty = True
        frames = answer_frames(self.question, resolved, pushed)
        for frame in with_empty_frames(frames) if pushed.ramps_up else frames:
            is_empty = False
            yield frame
        if is_empty:
            yield pl.DataFrame(schema={name: resolved.schema[name] for name in pushed.wanted})


def schema_here(schema: pl.Schema) -> pl.Schema:
    """Return the schema of an answer, as an IO source must; a small function, because Polars pickles it beside the source."""
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    return schema
