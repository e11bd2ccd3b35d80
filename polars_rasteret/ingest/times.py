"""When was this record taken?

Times of callers and files become ``Datetime(us, UTC)``. A time without a zone is refused, never guessed; a date is the start of
that day in UTC, and a year is an interval.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.schema import TIME

_NAIVE = (
    "has no time zone; say which one it is in: .dt.replace_time_zone('UTC') for a column, "
    ".replace(tzinfo=datetime.timezone.utc) for a datetime, a 'Z' or an offset for a string"
)


def times_of_values(values: Any, *, name: str) -> pl.Series:
    """Return ``Datetime(us, UTC)`` for a list or Series of datetimes, dates, ISO 8601 strings and None.

    Raises
    ------
    UsageError
        For a time without a zone, or a value that is not a time.
    """
    if isinstance(values, pl.Series):
        return times_of_column(values, name=name)
    return pl.Series(name, [_instant(value, name) for value in values], dtype=TIME)


def times_of_column(column: pl.Series, *, name: str) -> pl.Series:
    """Return ``Datetime(us, UTC)`` for a column of Datetime, Date or ISO 8601 strings.

    Raises
    ------
    UsageError
        For a Datetime without a zone, or a dtype or text that is not a time.
    """
    dtype = column.dtype
    if dtype == pl.Null:
        return pl.Series(name, [None] * len(column), dtype=TIME)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            if column.null_count() == len(column):
                return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").rename(name)
            raise UsageError(f"column {name!r} ({dtype}) {_NAIVE}")
        return column.dt.convert_time_zone("UTC").cast(TIME).rename(name)
    if dtype == pl.Date:
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").rename(name)
    if dtype in (pl.String, pl.Object):
        return pl.Series(name, [_instant(value, name) for value in column], dtype=TIME)
    raise UsageError(
        f"column {name!r} is {dtype}; expected a Datetime with a time zone, a Date, ISO 8601 strings, or years as whole numbers"
    )


def years_of_column(column: pl.Series) -> tuple[pl.Series, pl.Series] | None:
    """Return the first and the last microsecond of the years in a column; None where the column holds no years.

    Years are whole numbers from 1 to 9999, or texts of four digits.

    Raises
    ------
    UsageError
        For whole numbers that are no years.
    """
    years = column
    if column.dtype == pl.String:
        found = column.drop_nulls()
        if not len(found) or not found.str.contains(r"^\s*\d{4}\s*$").all():
            return None
        years = column.str.strip_chars().cast(pl.Int32)
    if not years.dtype.is_integer():
        return None
    if (wrong := years.filter((years < 1) | (years > 9999))).len():
        raise UsageError(
            f"column {column.name!r} holds {wrong[0]}; whole numbers are taken for years, 1 to 9999. Turn seconds since 1970 "
            "into times with pl.from_epoch(column).dt.replace_time_zone('UTC')"
        )
    year = pl.col(column.name).cast(pl.Int32)
    last = [pl.lit(one) for one in (12, 31, 23, 59, 59, 999_999)]
    start, stop = (
        pl.datetime(year, *rest, time_unit="us", time_zone="UTC").alias(name)
        for name, rest in (("start_datetime", [pl.lit(1), pl.lit(1)]), ("end_datetime", last))
    )
    made = years.to_frame().select(start, stop)
    return made["start_datetime"], made["end_datetime"]


def _instant(value: Any, name: str) -> dt.datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            is_date = len(text) == 10 or (len(text) == 8 and text.isdecimal())
            value = dt.date.fromisoformat(text) if is_date else dt.datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"{name} {value!r} is not a date or time; expected ISO 8601, as in 2024-05-01T10:30:00Z"
            ) from error
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise UsageError(f"{name} {value} {_NAIVE}")
        return value.astimezone(dt.UTC)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    raise UsageError(
        f"{name} {value!r} is a {type(value).__name__}; expected a datetime with a time zone, a date, or ISO 8601"
    )
