"""Which columns do the ids, times, places and properties of STAC items become?

Assets belong in `asset_bands`. Items come in pages: the columns of each page are made at once, and united later, so that
the dicts can be dropped.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.schema import BBOX, RECORD_COLUMNS, TIME
from polars_rasteret.stac.instants import instant
from polars_rasteret.stac.items import footprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OWN = ("stac_version", "stac_extensions")
_TIMES = ("datetime", "start_datetime", "end_datetime")
_SAME = {*_TIMES, "proj:code", "proj:epsg"}
"""Properties that are record columns under the same name: what the item says of itself, no clash."""

_JSON = "json"
_EMPTY_LISTS = "list:empty"
_DTYPES: dict[str, pl.DataType] = {
    "bool": pl.Boolean(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "str": pl.String(),
}


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """Items as columns, with what is needed to unite them with other tables of items."""

    frame: pl.DataFrame
    kinds: Mapping[str, str]
    """Column of each property to the kind of its values: ``int``, ``float``, ``str``, ``bool``, ``list:int``, ..., ``json``."""


def item_columns(items: Sequence[Mapping[str, Any]], bands: Sequence[str] = ()) -> ItemColumns:
    """Return one row per item: record columns, ``stac_version``, ``stac_extensions``, then the properties.

    A property that is null in all items has no column.

    Parameters
    ----------
    items
        Items, as `items.items_of` lets them through.
    bands
        Names of band columns; a property of such a name, or of the name of a record column, becomes ``properties:NAME``.
    """
    properties = [item["properties"] for item in items]
    known: list[pl.Series] = [pl.Series("id", [str(item["id"]) for item in items], dtype=pl.String)]
    known += [pl.Series(name, [instant(one.get(name)) for one in properties], dtype=TIME) for name in _TIMES]
    known += [
        pl.Series("geometry", [footprint(item.get("geometry")) for item in items], dtype=pl.Binary),
        pl.Series("bbox", [_bbox(item.get("bbox")) for item in items], dtype=BBOX),
        pl.Series("collection", [_text(item.get("collection")) for item in items], dtype=pl.String),
        pl.Series("stac_version", [_text(item.get("stac_version")) for item in items], dtype=pl.String),
        pl.Series("stac_extensions", [_texts(item.get("stac_extensions")) for item in items], dtype=pl.List(pl.String)),
    ]
    kinds: dict[str, str] = {}
    for name in dict.fromkeys(name for one in properties for name in one if name not in _SAME):
        values = [one.get(name) for one in properties]
        if (kind := _united({_kind(value) for value in values if value is not None})) is not None:
            column = column_name(name, bands)
            kinds[column] = kind
            known.append(_series(column, values, kind))
    return ItemColumns(pl.DataFrame(known), kinds)


def united(tables: Sequence[ItemColumns]) -> ItemColumns:
    """Return the rows of several tables, one below the other; each property has the one type that holds the values of all."""
    if len(tables) == 1:
        return tables[0]
    kinds: dict[str, str] = {}
    for name in dict.fromkeys(name for table in tables for name in table.kinds):
        kind = _united({table.kinds[name] for table in tables if name in table.kinds})
        assert kind is not None  # a table has no kind of nothing
        kinds[name] = kind
    frames = [
        table.frame.with_columns(
            _recast(table.frame[name], kinds[name]) for name, own in table.kinds.items() if own != kinds[name]
        )
        for table in tables
    ]
    return ItemColumns(pl.concat(frames, how="diagonal"), kinds)


def column_name(name: str, bands: Sequence[str] = ()) -> str:
    """Return the column of a property: its own name, unless a record column or a band has it."""
    return f"properties:{name}" if name in {*RECORD_COLUMNS, *_OWN, *bands} else name


def property_column(name: str, values: Sequence[Any]) -> pl.Series | None:
    """Return a property as a column of the one type that holds its values, else as JSON text; None where all are null."""
    kind = _united({_kind(value) for value in values if value is not None})
    return None if kind is None else _series(name, values, kind)


def _series(name: str, values: Sequence[Any], kind: str) -> pl.Series:
    if kind == _JSON:
        return pl.Series(name, list(map(_json, values)), dtype=pl.String)
    if kind == "float":
        return pl.Series(name, [None if one is None else float(one) for one in values], dtype=pl.Float64)
    if kind == "list:float":
        values = [None if some is None else [None if one is None else float(one) for one in some] for some in values]
    return pl.Series(name, values, dtype=_dtype(kind))


def _recast(column: pl.Series, kind: str) -> pl.Series:
    """Return a column of one kind as a column of a wider kind."""
    if kind == _JSON:
        return pl.Series(column.name, list(map(_json, column.to_list())), dtype=pl.String)
    return column.cast(_dtype(kind))


def _dtype(kind: str) -> pl.DataType:
    if kind == _EMPTY_LISTS:
        return pl.List(pl.String)
    inner = kind.removeprefix("list:")
    return _DTYPES[inner] if inner == kind else pl.List(_DTYPES[inner])


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "str"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else _JSON
    if isinstance(value, float):
        return "float"
    if isinstance(value, list):
        inner = _united({_kind(one) for one in value if one is not None})
        if inner is None:
            return _EMPTY_LISTS
        return _JSON if inner == _JSON or inner.startswith("list:") else f"list:{inner}"
    return _JSON


def _united(kinds: set[str]) -> str | None:
    """Return the one kind that holds the values of all kinds; None where there is none to hold."""
    if len(kinds) > 1:
        kinds = kinds - {_EMPTY_LISTS} if all(kind.startswith("list:") for kind in kinds) else kinds
        if kinds == {"int", "float"}:
            return "float"
        if kinds == {"list:int", "list:float"}:
            return "list:float"
    return kinds.copy().pop() if len(kinds) == 1 else _JSON if kinds else None


def _bbox(values: Any) -> dict[str, float] | None:
    """Return the four sides of a bbox of 4 or 6 numbers; None for anything else, so that the footprint decides."""
    if not isinstance(values, list | tuple) or len(values) not in (4, 6):
        return None
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        return None
    half = len(values) // 2
    sides = (values[0], values[1], values[half], values[half + 1])
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, sides), strict=True))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else None
