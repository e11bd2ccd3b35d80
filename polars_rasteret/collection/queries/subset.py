"""Which records match the usual filters: box, time, geometries, cloud cover, split?

Each filter becomes a plain Polars predicate on the columns of the collection, so that it lands in the Parquet scan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.queries.periods import in_hive_folders, in_period, period_of
from polars_rasteret.collection.queries.spatial import intersecting, intersects, union_of
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars.datatypes import DataType

_CLOUD_COVER = "eo:cloud_cover"


def subset(
    lf: pl.LazyFrame,
    *,
    bbox: Sequence[float] | None = None,
    datetime: Any = None,
    geometries: Any = None,
    cloud_cover_lt: float | None = None,
    split: str | Sequence[str] | None = None,
    split_column: str = "split",
) -> pl.LazyFrame:
    """Keep the records that match every filter given.

    Parameters
    ----------
    lf
        A collection.
    bbox
        ``(minx, miny, maxx, maxy)`` in longitude and latitude; minx > maxx is a box across the antimeridian.
    datetime
        ``"2024"``, ``"2024-01"``, ``"2024-01-01/2024-01-31"``, ``"2024-01-01/.."``, a date, an instant with a zone, or a pair
        of them. The last day (or month, or year) counts in full. Records with ``start_datetime`` and ``end_datetime`` match
        when the time between them overlaps.
    geometries
        Geometries in longitude and latitude, or a GeoDataFrame: the footprint meets any of them.
    cloud_cover_lt
        Keep records with ``eo:cloud_cover`` below this; records without one are left out.
    split
        Value, or values, of `split_column`.
    split_column
        Name of the column that holds the split.

    Raises
    ------
    UsageError
        When no filter is given, a value does not fit, or the column of a filter is missing.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> subset(pr.testing.example_scenes(), datetime="2024-05-01/2024-05-31").select("id").collect().item()
    'first'
    """
    if all(word is None for word in (bbox, datetime, geometries, cloud_cover_lt, split)):
        raise UsageError("subset() without a filter; give bbox, datetime, geometries, cloud_cover_lt or split")
    schema: dict[str, DataType] = dict(lf.collect_schema())
    if cloud_cover_lt is not None:
        _check_column(schema, _CLOUD_COVER, "cloud_cover_lt")
        if isinstance(cloud_cover_lt, bool) or not isinstance(cloud_cover_lt, int | float):
            raise UsageError(f"cloud_cover_lt is {cloud_cover_lt!r}; expected percent, as a number")
        lf = lf.filter(pl.col(_CLOUD_COVER) < cloud_cover_lt)
    if datetime is not None:
        period = period_of(datetime)
        folders = in_hive_folders(period, schema)
        if folders is not None:
            lf = lf.filter(folders)
        lf = lf.filter(in_period(period, schema))
    if split is not None:
        _check_column(schema, split_column, "split")
        values = [split] if isinstance(split, str) else list(split)
        lf = lf.filter(pl.col(split_column).is_in(values))
    if bbox is not None:
        lf = intersects(lf, tuple(bbox))
    if geometries is not None:
        lf = intersecting(lf, union_of(geometries))
    return lf


def _check_column(schema: dict[str, DataType], column: str, word: str) -> None:
    if column not in schema:
        raise UsageError(f"{word}=: the collection has no column {column!r}; it has {', '.join(schema)}")
