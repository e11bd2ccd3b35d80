"""Which records make up a time step of a cube, in which order, and when is it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.pairing.records import id_ranks

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.plan.time_match import Intervals

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Times = NDArray[np.datetime64]

GROUPS = ("datetime", "solar_day", "month")
"""Words of ``group_by=`` that are no column."""
_US_PER_DEGREE = 240_000_000
"""Microseconds of local solar time per degree east."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSteps:
    """Records in the order of a stack, and the steps that they make up."""

    order: Ints
    """Row of each record: by step, then time, then id."""
    step: Ints
    """Step of each of these, from 0."""
    time: Times
    """Time of each step, ``datetime64[us]`` in UTC: the first day of the month, the solar day, or the time of the first record.
    Not a time where no record has one."""

    @property
    def first_record(self) -> Ints:
        """Index of the first record of each step, in `order`."""
        return np.searchsorted(self.step, np.arange(len(self.time)))


def time_steps(
    times: Intervals, ids: pl.Series | None, *, group_by: str | None, keys: pl.Series | None, lon: Floats
) -> TimeSteps:
    """Return the time steps of some records.

    Parameters
    ----------
    times
        Time of each record; that of an interval is its start.
    ids
        Id of each record, if they have any: they order records of equal times, nulls last.
    group_by
        One of `GROUPS`, the name of the column `keys`, or None: every record is a step. A record without a time is a step of its
        own, unless `keys` says otherwise.
    keys
        Values whose equality makes a step; None without such a column.
    lon
        Longitude of each record, for solar days.
    """
    n_records = len(times)
    start = np.where(times.is_known, times.start, np.iinfo(np.int64).max)
    order = np.lexsort((np.arange(n_records) if ids is None else id_ranks(ids), start))
    moments = start.astype("datetime64[us]")
    moments[~times.is_known] = np.datetime64("NaT", "us")
    if keys is not None:
        key = keys.rank("dense").fill_null(0).cast(int).to_numpy().astype(np.int64)
        shown = moments
    elif group_by is None:
        key, shown = np.arange(n_records), moments
    else:
        shown = moments
        if group_by == "month":
            shown = moments.astype("datetime64[M]").astype("datetime64[us]")
        elif group_by == "solar_day":
            east = np.where(np.isfinite(lon), lon, 0.0) * _US_PER_DEGREE
            shown = (moments + east.astype("timedelta64[us]")).astype("datetime64[D]").astype("datetime64[us]")
        key = shown.astype(np.int64)
        alone = np.flatnonzero(~times.is_known)
        _, key = np.unique(key, return_inverse=True)
        key[alone] = key.max(initial=0) + 1 + np.arange(len(alone))
    # Steps are numbered as their first records follow each other in time.
    _, first, number = np.unique(key[order], return_index=True, return_inverse=True)
    step = np.empty(len(first), np.int64)
    step[np.argsort(first, kind="stable")] = np.arange(len(first))
    by_step = np.argsort(step[number], kind="stable")
    order, steps = order[by_step], step[number][by_step]
    result = TimeSteps(order=order, step=steps, time=np.zeros(len(first), "datetime64[us]"))
    result.time[:] = shown[order[result.first_record]]
    return result
