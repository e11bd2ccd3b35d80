"""Which records have an image of some bands, and when were they made?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs

from polars_rasteret.pairing.times import record_intervals, record_times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from polars_rasteret.plan.time_match import Intervals

_TIMES = ("\0datetime", "\0start", "\0end")


def imaged_records(
    lf: pl.LazyFrame, schema: Mapping[str, pl.DataType], bands: Sequence[str], others: Iterable[str]
) -> tuple[pl.DataFrame, Intervals]:
    """Return the records that have an image of any of some bands, and the time of each; nothing is read.

    Parameters
    ----------
    lf, schema
        The collection, and its schema.
    bands
        Raster columns.
    others
        Further columns that are wanted; ``id`` comes by itself, where there is one.
    """
    wanted = {"id", *bands, *others}
    kept = [name for name in schema if name in wanted]
    times = [one.alias(name) for one, name in zip(record_times(schema), _TIMES, strict=True)]
    has_image = pl.any_horizontal(pl.col(band).struct.field("width") > 0 for band in bands).fill_null(value=False)
    frame = lf.select(cs.by_name(*kept), *times).collect().filter(has_image)
    return frame.select(cs.by_name(*kept)), record_intervals(*(frame[name] for name in _TIMES))
