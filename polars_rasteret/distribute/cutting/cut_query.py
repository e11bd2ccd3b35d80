"""What travels to the workers of a cut query, and how does a worker make the query of its part from it?

The plan of the query is written once. Where its verb holds the caller's rows, the plan has a slot, which a worker fills with the
rows of its part. So neither rows nor parts are in the plan, and a task is a number. Files must not be written here.
"""

from __future__ import annotations

import contextvars
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from polars_rasteret.errors import FileFormatError
from polars_rasteret.frame.query.plan_objects import PlanObject, other_objects
from polars_rasteret.frame.query.question import Question
from polars_rasteret.frame.query.source import PairedSource
from polars_rasteret.pairing.times import may_lie_in, record_times

if TYPE_CHECKING:
    from polars_rasteret.distribute.cutting.parts import Part, Period

_PLAN_VERSION = 1
"""Raised whenever an older plan would mean something else."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutQuery:
    """A query cut into parts."""

    parts: tuple[Part, ...]
    plan: bytes
    """The query, with slots where its verb holds the caller's rows, and records in memory."""
    targets: pl.DataFrame
    """The caller's rows, in an order in which each part is a range of rows."""
    records: pl.DataFrame | None
    """Records that are in memory; None where the plan scans them."""
    duplication: float
    """Bytes of all parts over bytes of the distinct tiles: 1.0 fetches no tile twice."""
    by: str
    """``"tiles"``, or ``"tiles and time"`` where different times of one place are different parts."""
    bound: str
    """As that of `pr.estimate`."""
    hrefs: tuple[str, ...]
    """Files of the records that may answer."""
    digest: str
    """Digest of the plan, the rows, the records and the versions. Parts of two cut queries may be mixed where it is equal."""


class _Filling(NamedTuple):
    """What the slots of a plan are filled with."""

    targets: pl.LazyFrame
    records: pl.LazyFrame | None
    period: Period | None


_filling: contextvars.ContextVar[_Filling | None] = contextvars.ContextVar("polars_rasteret_filling", default=None)


def plan_with_slots(query: pl.LazyFrame, source: PairedSource, *, keeps_records: bool) -> bytes:
    """Return the plan of a query whose verb has slots for the caller's rows.

    Parameters
    ----------
    query, source
        A query, and the one source of a verb in it.
    keeps_records
        Whether the plan keeps the records, as the scan that they are; else they have a slot, too.
    """

    def instead(one: PlanObject) -> PlanObject:
        return _Slotted(source.question, keeps_records=keeps_records) if one is source else one

    with other_objects(instead):
        return _PLAN_VERSION.to_bytes(2, "big") + query.serialize()


def part_query(plan: bytes, part: Part, targets: pl.DataFrame, records: pl.DataFrame | None) -> pl.LazyFrame:
    """Return the query of one part.

    Parameters
    ----------
    plan, part, records
        Of a `CutQuery`.
    targets
        Rows ``part.targets`` of the cut query's targets.

    Raises
    ------
    FileFormatError
        When another version wrote the plan, or it is damaged.
    """
    version = int.from_bytes(plan[:2], "big")
    if version != _PLAN_VERSION:
        raise FileFormatError(
            f"the plan of a query in parts: expected version {_PLAN_VERSION}, got {version}. Another version of "
            "polars-rasteret wrote it: run the query again, into an empty folder."
        )
    token = _filling.set(_Filling(targets.lazy(), None if records is None else records.lazy(), part.period))
    try:
        return pl.LazyFrame.deserialize(io.BytesIO(plan[2:]))
    except pl.exceptions.PolarsError as error:
        raise FileFormatError(
            f"the plan of a query in parts cannot be read: {error}. It is damaged, or this environment lacks a package that "
            "functions of the query need, or has another Polars. Compare the environments, or run the query again."
        ) from error
    finally:
        _filling.reset(token)


class _Slotted(PlanObject):
    """Stands for the source of a verb in a plan with slots; unpickled, it is that source for the rows of a part."""

    def __init__(self, question: Question, *, keeps_records: bool) -> None:
        self.question, self.keeps_records = question, keeps_records

    def __reduce_ex__(self, protocol: Any) -> Any:
        slots = {"targets"} if self.keeps_records else {"targets", "records"}
        names = [name for name in Question.__dataclass_fields__ if name not in slots]
        return _filled_source, ({name: getattr(self.question, name) for name in names},)


def _filled_source(values: dict[str, Any]) -> PairedSource:
    filling = _filling.get()
    if filling is None:
        raise FileFormatError("the plan of a query in parts holds no rows; run its parts with pr.run_part(into, n)")
    slots = {"targets": filling.targets} | ({} if filling.records is None else {"records": filling.records})
    question = Question(**{**values, **slots, "is_part": True})
    return PairedSource(question if filling.period is None else in_period(question, filling.period))


def in_period(question: Question, period: Period) -> Question:
    """Return a question of the records of some time; rows that no record covers are the concern of another part."""
    schema = question.records.collect_schema()
    datetime, start, end = record_times(schema)
    begin = pl.when(start.is_not_null() & end.is_not_null()).then(start).otherwise(datetime)
    is_inside = begin.is_between(period.first, period.last)
    # Implied by it, and said so that statistics of files and row groups can rule some out.
    may_be_inside = may_lie_in(schema, period.first, period.last)
    if period.has_unknown:
        is_inside |= begin.is_null()
        may_be_inside = None if may_be_inside is None else may_be_inside | pl.col("datetime").is_null()
    return replace(
        question,
        records=question.records.filter(is_inside if may_be_inside is None else may_be_inside & is_inside),
        pairing=replace(question.pairing, unmatched="drop"),
    )
