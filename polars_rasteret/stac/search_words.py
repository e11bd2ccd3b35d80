"""Which items does a caller search for, and are the words of the search valid?

The words are checked before anything is asked. How an API is asked belongs in `api_search`; which items meet the words where no
API filters, in `item_filters`.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import shapely

from polars_rasteret.collection.queries.periods import Period, period_of
from polars_rasteret.collection.queries.spatial import lonlat_geometry
from polars_rasteret.errors import UsageError

Box = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The words of a search; None restricts nothing."""

    collections: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    bbox: Box | None = None
    """Four numbers, or six with heights, as the caller passed them."""
    geometry: Any = None
    """What items must meet, by `bbox` or ``intersects``: a shapely geometry in longitude and latitude."""
    period: Period | None = None
    query: Any = None
    filter: str | Mapping[str, Any] | pl.Expr | None = None
    sortby: Any = None
    max_items: int | None = None

    @property
    def of_apis_alone(self) -> list[str]:
        """Names of the words in use that only an API answers."""
        return [name for name in ("query", "filter", "sortby") if getattr(self, name) is not None]


def search_of(
    *,
    collections: Any = None,
    bbox: Any = None,
    intersects: Any = None,
    datetime: Any = None,
    ids: Any = None,
    query: Any = None,
    filter: Any = None,  # noqa: A002 - the caller's word
    sortby: Any = None,
    max_items: Any = None,
) -> Search:
    """Return a search, all of whose words are valid.

    Raises
    ------
    UsageError
        For a box that is none, a period that ends before it starts, a geometry beside a box, ...
    """
    if bbox is not None and intersects is not None:
        raise UsageError("bbox= and intersects= say the same thing twice; give one of them")
    box = None if bbox is None else _box(bbox)
    geometry = None
    if box is not None:
        half = len(box) // 2
        geometry = lonlat_geometry((box[0], box[1], box[half], box[half + 1]))
    elif intersects is not None:
        geometry = lonlat_geometry(intersects)
    if max_items is not None and (isinstance(max_items, bool) or not isinstance(max_items, int) or max_items < 0):
        raise UsageError(f"max_items is {max_items!r}; expected how many items to take at most, as a number")
    if query is not None and not isinstance(query, Mapping) and not _is_texts(query):
        raise UsageError(f"query is {query!r}; expected a dict, {{'eo:cloud_cover': {{'lt': 10}}}}")
    if filter is not None and not isinstance(filter, str | Mapping | pl.Expr):
        raise UsageError(
            f"filter is {filter!r}; expected CQL2, as text or as a dict (for a table: a Polars expression)"
        )
    return Search(
        collections=_texts(collections, "collections"),
        ids=_texts(ids, "ids"),
        bbox=box,
        geometry=geometry,
        period=None if datetime is None else period_of(datetime),
        query=query,
        filter=filter,
        sortby=sortby,
        max_items=max_items,
    )


def interval_text(period: Period) -> str:
    """Return a period as APIs take it: ``start/end``, where the end is the last microsecond; ``..`` is open.

    Examples
    --------
    >>> interval_text(period_of("2024-01-31"))
    '2024-01-31T00:00:00Z/2024-01-31T23:59:59.999999Z'
    >>> interval_text(period_of("2024-01-31T10:00:00.5Z/.."))
    '2024-01-31T10:00:00.500000Z/..'
    """
    stop = period.stop if period.stop is None or period.closed else period.stop - dt.timedelta(microseconds=1)
    if stop is not None and stop == period.start:
        return _instant_text(stop)
    return f"{_instant_text(period.start)}/{_instant_text(stop)}"


def boxes_of(box: Box) -> list[Box]:
    """Return a box as the boxes that APIs take: one over the antimeridian is two, since servers may refuse it.

    Examples
    --------
    >>> boxes_of((170.0, -20.0, -170.0, -10.0))
    [(170.0, -20.0, 180.0, -10.0), (-180.0, -20.0, -170.0, -10.0)]
    >>> boxes_of((170.0, -20.0, 190.0, -10.0)) == boxes_of((170.0, -20.0, -170.0, -10.0))
    True
    """
    half = len(box) // 2
    west, east = box[0], box[half]
    if east - west >= 360:
        west, east = -180.0, 180.0
    while west >= 180:
        west, east = west - 360, east - 360
    while west < -180:
        west, east = west + 360, east + 360
    if west <= east <= 180:
        return [(west, *box[1:half], east, *box[half + 1 :])]
    east = east - 360 if east > 180 else east
    return [(west, *box[1:half], 180.0, *box[half + 1 :]), (-180.0, *box[1:half], east, *box[half + 1 :])]


def geojson_of(geometry: Any) -> dict[str, Any]:
    """Return a shapely geometry as a GeoJSON dict."""
    return dict(shapely.geometry.mapping(geometry))


def _instant_text(moment: dt.datetime | None) -> str:
    return ".." if moment is None else moment.isoformat().replace("+00:00", "Z")


def _box(bbox: Any) -> Box:
    values = bbox.split(",") if isinstance(bbox, str) else bbox
    try:
        box = tuple(float(side) for side in values)
    except (TypeError, ValueError):
        box = ()
    half = len(box) // 2
    if len(box) not in (4, 6) or not all(map(math.isfinite, box)) or box[1] > box[half + 1]:
        raise UsageError(f"bbox is {bbox!r}; expected finite (minx, miny, maxx, maxy) in longitude and latitude")
    if len(box) == 6 and box[2] > box[5]:
        raise UsageError(f"bbox is {bbox!r}, whose lowest height {box[2]:g} is above its highest {box[5]:g}")
    return box


def _texts(values: Any, name: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    if isinstance(values, str):
        return (values,)
    texts = tuple(values) if isinstance(values, Iterable) else (values,)
    if not all(isinstance(one, str) and one for one in texts):
        raise UsageError(f"{name} is {values!r}; expected a text, or a list of texts")
    return texts


def _is_texts(values: Any) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(one, str) for one in values)
