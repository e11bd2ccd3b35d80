"""Which parts would a query have, and what would each of them fetch?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.distribute.cutting.cut import PART_BYTES, cut
from polars_rasteret.distribute.cutting.polars_engines import own_engines
from polars_rasteret.distribute.jobs.answer_place import check_place
from polars_rasteret.distribute.jobs.job import prepare

if TYPE_CHECKING:
    import os

    from polars_rasteret.distribute.cutting.cut_query import CutQuery

_SCHEMA = {
    "part": pl.Int64(),
    "rows": pl.Int64(),
    "records": pl.Int64(),
    "tiles": pl.Int64(),
    "bytes": pl.Int64(),
    "requests": pl.Int64(),
}


class PlannedParts(pl.DataFrame):
    """One row per part of a query; a DataFrame that also knows how the query was cut.

    Frames that are made from it, copies too, do not know that.
    """

    duplication: float
    """Bytes of the tiles of all parts over bytes of the distinct tiles; 1.0: no tile is fetched twice."""
    by: str
    """``"tiles"``, or ``"tiles and time"`` where different times of one place are different parts."""
    bound: str
    """How certain `bytes` are, as `Estimate.bound`."""

    def __init__(self, cut_query: CutQuery) -> None:
        parts = cut_query.parts
        columns: dict[str, Any] = {"part": [part.number for part in parts]}
        columns |= {name: [getattr(part, name) for part in parts] for name in list(_SCHEMA)[1:]}
        super().__init__(columns, schema=_SCHEMA)
        self.duplication, self.by, self.bound = cut_query.duplication, cut_query.by, cut_query.bound


def plan_parts(
    query: pl.LazyFrame,
    *,
    part_bytes: int = PART_BYTES,
    workers: int = 1,
    min_parts: int | None = None,
    into: str | os.PathLike[str] | None = None,
) -> PlannedParts:
    """Return the parts that `pr.run` would read one by one, without reading a pixel.

    Parts are cut where tiles end, so that parts do not fetch the same tiles. Where rows may be read per time, different times
    of one place may be different parts.

    Parameters
    ----------
    query
        A query with one verb that pairs your rows with records (``sample_points``, ``read_windows``, ``zonal_stats``, ``pixels``,
        ``pair``), and steps above it that treat each row by itself: ``select``, ``with_columns``, ``filter``, ``rename``,
        ``explode``, left, inner, semi and anti joins with a small table, and ``group_by`` on a key of your own rows.
    part_bytes
        Bytes that a part fetches, about.
    workers
        Number of workers. There are some twenty parts for each, where parts are not too small for it.
    min_parts
        Number of parts at least, however small.
    into
        Folder of the answer, a path that all machines share or the URL of an object store: what workers need is written beside
        it, so that ``pr.run_part(into, part)`` reads a part anywhere. Where this query has begun in that folder, its parts of
        then count. None: nothing is written.

    Returns
    -------
    PlannedParts
        A DataFrame: ``part`` (its number, in the order of starting), ``rows`` (pairs that are read; with a `match` that chooses,
        rows of yours), ``records``, ``tiles``, ``bytes``, ``requests``, all Int64; with ``.duplication``, ``.by``, ``.bound``.

    Raises
    ------
    UsageError
        For a step that would give other rows in parts; the message names the step. For a folder that holds something else.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"x": [500_005.0, 500_635.0], "y": [4_999_995.0, 4_999_365.0]})
    >>> query = pr.testing.example_scenes().raster.sample_points(plots, ["red"], crs=32632)
    >>> parts = pr.plan_parts(query, min_parts=2)
    >>> parts["rows"].to_list(), parts.duplication
    ([2, 2], 1.0)
    """
    if into is not None:
        check_place(into)  # a wrong one is told before a long plan is made
    with own_engines():
        found = cut(query, part_bytes=part_bytes, workers=workers, min_parts=min_parts)
        known = None if into is None else prepare(found, into).manifest
    if known is not None:
        found = replace(found, parts=known.parts, duplication=known.duplication, by=known.by, bound=known.bound)
    return PlannedParts(found)
