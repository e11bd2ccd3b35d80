"""When was a record acquired, and which time did the caller name for a row?

Columns of times become `Intervals`. A Date is the interval of its day; a record with a start and an end is the interval between.
"""

from __future__ import annotations

import datetime as dt
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.plan.time_match import Intervals
from polars_rasteret.schema import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

AT = "\0at"
"""Name of the column of the caller's frame with the values of ``at=``."""

_DAY_US = 86_400_000_000
_RECORD_TIMES = ("datetime", "start_datetime", "end_datetime")


def at_expression(what: str, at: Any) -> pl.Expr:
    """Return ``at=`` (a column, an expression, or one time for all rows) as the column `AT`."""
    if isinstance(at, pl.Expr):
        return at.alias(AT)
    if isinstance(at, str):
        return pl.col(at).alias(AT)
    if isinstance(at, dt.date):  # a datetime is one, too
        return pl.lit(at).alias(AT)
    raise UsageError(f"{what}: at={at!r}; expected a column or an expression of your frame, or a date or datetime")


def check_at_dtype(what: str, dtype: pl.DataType) -> None:
    """Raise when a dtype does not give exact times.

    Raises
    ------
    UsageError
        For any dtype but Date and Datetime with a time zone.
    """
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        raise UsageError(
            f"{what}: at is a Datetime without a time zone; say which it is in, for instance with "
            '.dt.replace_time_zone("UTC")'
        )
    if not isinstance(dtype, pl.Datetime | pl.Date):
        raise UsageError(f"{what}: at is {dtype}; expected a Date or a Datetime with a time zone")


def checked_tolerance(what: str, tolerance: Any) -> str | None:
    """Return a duration of zero or more, as Polars writes durations."""
    if tolerance is None:
        return None
    if isinstance(tolerance, dt.timedelta):
        tolerance = f"{tolerance // dt.timedelta(microseconds=1)}us"
    moment = pl.Series([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], dtype=TIME)
    try:
        if not isinstance(tolerance, str) or tolerance.startswith("-"):
            raise UsageError(
                f"{what}: tolerance={tolerance!r}; expected a duration of zero or more, such as '3d', '12h' or a timedelta"
            )
        moment.dt.offset_by(tolerance)
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"{what}: tolerance={tolerance!r}; expected a duration such as '3d' or '12h': {first_line(error)}"
        ) from error
    return str(tolerance)


def at_intervals(at: pl.Series) -> Intervals:
    """Return the instants or whole days that the caller named."""
    is_day = at.dtype == pl.Date
    start = at.cast(pl.Datetime("us")) if is_day else at.dt.convert_time_zone("UTC").cast(TIME)
    numbers = start.to_physical().fill_null(0).to_numpy()
    return Intervals(start=numbers, stop=numbers + (_DAY_US - 1 if is_day else 0), is_known=at.is_not_null().to_numpy())


def widened(at: Intervals, tolerance: str) -> Intervals:
    """Return intervals widened on both sides by a duration."""
    back, ahead = (pl.Series(one).cast(TIME) for one in (at.start, at.stop))
    return Intervals(
        start=back.dt.offset_by("-" + tolerance).to_physical().to_numpy(),
        stop=ahead.dt.offset_by(tolerance).to_physical().to_numpy(),
        is_known=at.is_known,
    )


def record_times(schema: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """Return the columns with the times of records, in microseconds since 1970; null where a record has no time."""
    has = [name for name in _RECORD_TIMES if name in schema and schema[name].is_temporal()]
    return [pl.col(name).dt.epoch("us") if name in has else pl.lit(None, dtype=pl.Int64) for name in _RECORD_TIMES]


def record_intervals(datetime: pl.Series, start: pl.Series, end: pl.Series) -> Intervals:
    """Return the interval of each record: from start to end when it has both, else its instant."""
    instant, is_known = _numbers(datetime)
    start_at, has_start = _numbers(start)
    end_at, has_end = _numbers(end)
    has_both = has_start & has_end
    return Intervals(
        start=np.where(has_both, start_at, instant),
        stop=np.where(has_both, end_at, instant),
        is_known=has_both | is_known,
    )


def _numbers(times: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times as whole numbers, 0 for nulls, and which are not null. No query where none or all are null."""
    n_nulls = times.null_count()
    if n_nulls == len(times):
        return np.zeros(n_nulls, np.int64), np.zeros(n_nulls, np.bool_)
    if not n_nulls:
        return times.to_numpy(), np.ones(len(times), np.bool_)
    return times.fill_null(0).to_numpy(), times.is_not_null().to_numpy()


def may_lie_in(schema: Mapping[str, pl.DataType], first: int | None, last: int | None) -> pl.Expr | None:
    """Return a filter that keeps every record which may touch ``first..last`` (None: open), and can skip row groups.

    Records without any time are kept only when both are None. The exact comparison is made later (`plan.time_match`).
    """
    if (first is None and last is None) or "datetime" not in schema or schema["datetime"] != TIME:
        return None
    time = pl.col("datetime")
    inside = [time >= pl.lit(first).cast(TIME)] if first is not None else []
    inside += [time <= pl.lit(last).cast(TIME)] if last is not None else []
    spans = [pl.col(name).is_not_null() for name in _RECORD_TIMES[1:] if name in schema]
    return reduce(or_, [reduce(and_, inside), *spans])
