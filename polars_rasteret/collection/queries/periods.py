"""Which period of time did the caller mean, and which records overlap it?

``"2024"``, ``"2024-01"``, ``"2024-01-01/2024-01-31"``, tuples, dates, instants. A day, month or year counts in full, its last
moment included; an instant is itself.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.schema import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars.datatypes import DataType

_CALENDAR = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


@dataclass(frozen=True, slots=True)
class Period:
    """The time from `start` to `stop`; None is open. `stop` itself belongs to the period only when `closed`."""

    start: dt.datetime | None
    stop: dt.datetime | None
    closed: bool

    def holds(self, begin: pl.Expr, end: pl.Expr) -> pl.Expr:
        """Return an expression that is true where the time from `begin` to `end` overlaps this period."""
        parts = []
        if self.start is not None:
            parts.append(end >= pl.lit(self.start, dtype=TIME))
        if self.stop is not None:
            stop = pl.lit(self.stop, dtype=TIME)
            parts.append(begin <= stop if self.closed else begin < stop)
        return reduce(lambda one, two: one & two, parts)


def period_of(given: Any) -> Period:
    """Return the period that a caller described: text, a date, an instant, or a pair of them.

    Raises
    ------
    UsageError
        For a naive datetime, text that is no date, or a period that ends before it starts.
    """
    if isinstance(given, str):
        first, slash, last = given.partition("/")
        pair: tuple[Any, Any] = (first, last) if slash else (given, given)
    elif isinstance(given, tuple | list):
        if len(given) != 2:
            raise UsageError(f"datetime is {given!r}; expected a pair (start, end)")
        pair = (given[0], given[1])
    else:
        pair = (given, given)
    start, _, _ = _moment(pair[0], given)
    _, stop, closed = _moment(pair[1], given)
    if start is None and stop is None:
        raise UsageError(f"datetime is {given!r}, open at both ends; leave it out to take all times")
    if start is not None and stop is not None and (start > stop or (start == stop and not closed)):
        raise UsageError(f"datetime is {given!r}, which ends before it starts")
    return Period(start, stop, closed)


def in_period(period: Period, schema: dict[str, DataType]) -> pl.Expr:
    """Return an expression that is true for records that overlap a period.

    Records are placed by start_datetime..end_datetime where they have both, else by datetime.

    Raises
    ------
    UsageError
        When the frame has no time.
    """
    instant = pl.col("datetime") if "datetime" in schema else None
    if instant is not None and isinstance(schema["datetime"], pl.Datetime) and schema["datetime"].time_zone is None:
        instant = instant.dt.replace_time_zone("UTC")
    if "start_datetime" not in schema or "end_datetime" not in schema:
        if instant is None:
            raise UsageError(f"datetime=: the frame has no column 'datetime'; it has {', '.join(schema)}")
        return period.holds(instant, instant)
    begin, end = pl.col("start_datetime"), pl.col("end_datetime")
    both = begin.is_not_null() & end.is_not_null()
    overlapping = both & period.holds(begin, end)
    if instant is None:
        return overlapping
    return overlapping | ((begin.is_null() | end.is_null()) & period.holds(instant, instant))


def begin_and_end(schema: Mapping[str, DataType]) -> tuple[pl.Expr, pl.Expr] | None:
    """Return expressions for the begin and the end of each record, in UTC; None where the frame has no time.

    They are start_datetime and end_datetime where a record has both, else its datetime. A naive time is UTC.
    """
    times: dict[str, pl.Expr] = {}
    for name in ("datetime", "start_datetime", "end_datetime"):
        dtype = schema.get(name)
        if isinstance(dtype, pl.Datetime):
            zoned = pl.col(name) if dtype.time_zone is not None else pl.col(name).dt.replace_time_zone("UTC")
            times[name] = zoned.cast(TIME)
    instant = times.get("datetime", pl.lit(None, dtype=TIME))
    if "start_datetime" not in times or "end_datetime" not in times:
        return (instant, instant) if "datetime" in times else None
    start, end = times["start_datetime"], times["end_datetime"]
    both = start.is_not_null() & end.is_not_null()
    return pl.when(both).then(start).otherwise(instant), pl.when(both).then(end).otherwise(instant)


def in_hive_folders(period: Period, schema: dict[str, DataType]) -> pl.Expr | None:
    """Return an expression for the ``year`` and ``month`` folders that can hold the period; None without such columns.

    Folders are named by a record's ``datetime``, so records with an interval of their own are let through.
    """
    year, month = schema.get("year"), schema.get("month")
    if year is None or not year.is_integer():
        return None
    first = (period.start.year, period.start.month) if period.start is not None else None
    last = (period.stop.year, period.stop.month) if period.stop is not None else None
    y, parts = pl.col("year"), []
    if first is not None and last is not None and first[0] == last[0]:
        parts.append(y == first[0])
    else:
        if first is not None:
            parts.append(y >= first[0])
        if last is not None:
            parts.append(y <= last[0])
    if month is not None and month.is_integer():
        m = pl.col("month")
        if first is not None and last is not None and first[0] == last[0]:
            parts.append(m.is_between(first[1], last[1]))
        else:
            if first is not None:
                parts.append((y > first[0]) | (m >= first[1]))
            if last is not None:
                parts.append((y < last[0]) | (m <= last[1]))
    inside = reduce(lambda one, two: one & two, parts)
    inside |= y.is_null()
    if "start_datetime" in schema and "end_datetime" in schema:
        inside |= pl.col("start_datetime").is_not_null()
    return inside


def _moment(value: Any, given: Any) -> tuple[dt.datetime | None, dt.datetime | None, bool]:
    """Return start and stop of one end of a period, and whether stop belongs to it."""
    if value is None or (isinstance(value, str) and value.strip() in ("", "..")):
        return None, None, False
    if isinstance(value, str):
        text = value.strip()
        calendar = _CALENDAR.fullmatch(text)
        try:
            if calendar is not None:
                return _calendar(*(int(piece) if piece else None for piece in calendar.groups()))  # type: ignore[arg-type]
            value = dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"datetime is {given!r}: {text!r} is not understood; expected '2024', '2024-01', '2024-01-31' or an instant "
                "with a zone such as '2024-01-31T10:00:00Z', or two of them as 'start/end'"
            ) from error
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise UsageError(
                f"datetime is {given!r}: {value} has no time zone; say which one it is in, with "
                ".replace(tzinfo=datetime.timezone.utc) (in a column: .dt.replace_time_zone('UTC'))"
            )
        instant = value.astimezone(dt.UTC)
        return instant, instant, True
    if isinstance(value, dt.date):
        return _calendar(value.year, value.month, value.day)
    if isinstance(value, int) and not isinstance(value, bool):
        return _calendar(value, None, None)
    raise UsageError(
        f"datetime is {given!r}: {value!r} is a {type(value).__name__}; expected text, a date or a datetime"
    )


def _calendar(year: int, month: int | None, day: int | None) -> tuple[dt.datetime, dt.datetime, bool]:
    start = dt.datetime(year, month or 1, day or 1, tzinfo=dt.UTC)
    if day is not None:
        return start, start + dt.timedelta(days=1), False
    if month is not None:
        return start, dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC), False
    return start, dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC), False
