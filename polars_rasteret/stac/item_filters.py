"""Which items meet the words of a search, where no API has filtered them?

An item without a geometry is where its box is. Times and places are compared as those of records are, by `collection.queries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from shapely.geometry import mapping

from polars_rasteret.collection.queries.periods import in_period
from polars_rasteret.collection.queries.spatial import intersecting, lonlat_geometry
from polars_rasteret.errors import UsageError
from polars_rasteret.stac.item_columns import item_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.stac.search_words import Search

_AT = "\0at"


def meeting(items: Sequence[Mapping[str, Any]], search: Search) -> list[int]:
    """Return the numbers of the items of these collections, ids, times and places; of no place, none are by place."""
    kept = [
        at
        for at, item in enumerate(items)
        if (search.ids is None or str(item["id"]) in search.ids)
        and (search.collections is None or item.get("collection") in search.collections)
    ]
    if search.period is None and search.geometry is None:
        return kept
    bare = [
        {**items[at], "properties": _times(items[at]["properties"]), "geometry": _geometry(items[at])} for at in kept
    ]
    frame = item_columns(bare).frame.lazy().with_columns(pl.Series(_AT, kept, dtype=pl.Int64))
    if search.period is not None:
        frame = frame.filter(in_period(search.period, dict(frame.collect_schema())))
    if search.geometry is not None:
        frame = intersecting(frame, search.geometry)
    return frame.select(_AT).collect().to_series().to_list()


def _geometry(item: Mapping[str, Any]) -> Any:
    geometry, bbox = item.get("geometry"), item.get("bbox")
    if geometry is not None or not isinstance(bbox, list | tuple) or len(bbox) not in (4, 6):
        return geometry
    half = len(bbox) // 2
    try:
        return mapping(lonlat_geometry((bbox[0], bbox[1], bbox[half], bbox[half + 1])))
    except UsageError:
        return None  # no box in longitude and latitude


def _times(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: properties.get(name) for name in ("datetime", "start_datetime", "end_datetime")}
