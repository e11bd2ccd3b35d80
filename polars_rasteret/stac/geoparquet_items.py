"""Which items are in a table of STAC-GeoParquet?

The table is scanned by Polars: boxes, times, ids and collections go into the scan, so that Parquet skips what cannot match. The
rows that are left become dicts again, page by page, as an API would send them, but for geometries, which stay WKB. What becomes
of items belongs in other modules.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely
from shapely.geometry import mapping

from polars_rasteret.collection.queries.periods import in_period
from polars_rasteret.collection.queries.spatial import intersecting
from polars_rasteret.collection.storage.parts import is_one_file
from polars_rasteret.errors import UsageError
from polars_rasteret.ingest.table_columns import bounds_of_column
from polars_rasteret.ingest.table_sources import table_of
from polars_rasteret.stac.items import items_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from polars_rasteret.collection.queries.periods import Period
    from polars_rasteret.hrefs import Provenance
    from polars_rasteret.ingest.table_sources import Table
    from polars_rasteret.stac.items import Items

PAGE = 1_000
"""Items of a page."""
_TOP = ("id", "stac_version", "stac_extensions", "collection")
_NO_PROPERTIES = frozenset({*_TOP, "type", "geometry", "bbox", "links", "assets", "properties"})
_TIMES = ("datetime", "start_datetime", "end_datetime")
_TEXT = "\0"
"""What the names of columns begin with that hold times as the table has them, as text."""


def is_item_table(source: Any) -> bool:
    """Return whether a source of items is a table: a frame, Arrow, or the path of Parquet (a file, folder or glob)."""
    if isinstance(source, str | os.PathLike):
        text = os.fspath(source)
        is_folder = not text.endswith((".json", ".geojson")) and os.path.isdir(text)  # noqa: PTH112 - may be a URL
        return is_one_file(text) or text.startswith("hf://") or is_folder
    return isinstance(source, pl.LazyFrame | pl.DataFrame) or hasattr(source, "__arrow_c_stream__")


class ItemTable:
    """A table of STAC-GeoParquet, and the rows of it that a caller asked for."""

    def __init__(
        self,
        source: Any,
        *,
        collections: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        period: Period | None = None,
        geometry: Any = None,
        filter: pl.Expr | None = None,  # noqa: A002 - Polars' word
        max_items: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        credential_provider: Any = None,
    ) -> None:
        """Open a table; footers are read, no row.

        Parameters
        ----------
        source
            The path of Parquet (local, in a bucket, ``hf://``, http), a frame, or anything Arrow.
        collections, ids
            Names that the columns ``collection`` and ``id`` must have.
        period
            What the times of items must overlap.
        geometry
            What footprints must meet: a shapely geometry in longitude and latitude, split at the antimeridian.
        filter
            An expression over the columns of the table.
        max_items
            Most items to take.
        storage_options, credential_provider
            As in `polars.scan_parquet`.

        Raises
        ------
        UsageError
            When the table is none of items, or a filter needs a column that it does not have.
        """
        table = table_of(source, storage_options=storage_options, credential_provider=credential_provider)
        self._table = table
        frame = _plain(table)
        schema = frame.collect_schema()
        for name, wanted in (("id", ids), ("collection", collections)):
            if wanted is not None:
                if name not in schema:
                    raise UsageError(
                        f"the table has no column {name!r} to look for {name}s in; it has {', '.join(schema)}"
                    )
                frame = frame.filter(pl.col(name).is_in(list(wanted)))
        if filter is not None:
            if not isinstance(filter, pl.Expr):
                raise UsageError(
                    f"filter is a {type(filter).__name__}; a table is not asked in CQL2: expected a Polars expression, as "
                    'pl.col("eo:cloud_cover") < 20'
                )
            frame = frame.filter(filter)
        if period is not None:
            frame = frame.filter(in_period(period, dict(schema)))
        if geometry is not None:
            frame = intersecting(frame, geometry)
        self.frame = frame if max_items is None else frame.head(max_items)
        """The rows that are asked for."""

    @property
    def provenance(self) -> Provenance:
        """Who named the hrefs."""
        return self._table.provenance

    def pages(self, n_items: int = PAGE) -> Generator[Items, None, None]:
        """Yield the items in the order of the table, as dicts, page by page."""
        folder = self._table.folder
        base = None if folder is None else f"{folder}/"
        for batch in self.frame.collect_batches(chunk_size=n_items, maintain_order=True):
            for page in batch.iter_slices(n_items):
                found = items_of(_items(page))
                found.bases = [own or base for own in found.bases]
                yield found


def _plain(table: Table) -> pl.LazyFrame:
    """Return the rows with the columns that filters know: WKB, a struct of bounds, times with a zone.

    Raises
    ------
    UsageError
        When the table has neither items nor their assets.
    """
    schema = table.frame.collect_schema()
    if "id" not in schema or not any(name == "assets" or name.startswith("assets.") for name in schema):
        raise UsageError(
            f"expected STAC-GeoParquet, with the columns id and assets; the table has {', '.join(schema)}. Tables of hrefs go to "
            "build_from_table."
        )
    changed: list[pl.Expr] = []
    for name, dtype in schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.BaseExtension):
            changed.append(column.ext.storage())
        elif (
            name == "bbox"
            and (bounds := bounds_of_column(name, dtype)) is not None
            and not isinstance(dtype, pl.Struct)
        ):
            changed.append(bounds)
        elif name in _TIMES and dtype == pl.String:
            # Filters compare instants, items keep their text: what is no time is refused there by name.
            changed += [column.alias(f"{_TEXT}{name}"), _instant(column)]
        elif name in _TIMES and isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
            changed.append(column.dt.replace_time_zone("UTC"))
    return table.frame.with_columns(changed) if changed else table.frame


def _instant(column: pl.Expr) -> pl.Expr:
    midnight = column.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.coalesce(column.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False), midnight)


def _items(page: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as STAC items."""
    assets = _assets(page)
    geometries = _footprints(page["geometry"]) if "geometry" in page.columns else [None] * page.height
    properties = [name for name in page.columns if name not in _NO_PROPERTIES and not name.startswith("assets.")]
    places = {name for name in properties if page.schema[name] == pl.Binary}  # as proj:geometry
    items: list[dict[str, Any]] = []
    for row, own, geometry in zip(page.iter_rows(named=True), assets, geometries, strict=True):
        item: dict[str, Any] = {name: row[name] for name in _TOP if row.get(name) is not None}
        bbox = row.get("bbox")
        item |= {
            "type": "Feature",
            "geometry": geometry,
            "bbox": None if bbox is None else list(bbox.values()) if isinstance(bbox, dict) else bbox,
            "links": [_said(link) for link in row.get("links") or ()],
            "assets": own,
            "properties": _said(row.get("properties") or {})
            | {
                name.removeprefix(_TEXT): _place(value) if name in places else _said(value)
                for name in properties
                if (value := row[name]) is not None
            },
        }
        items.append(item)
    return items


def _assets(page: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the assets of each row: of a struct, of JSON texts, of lists of keys and values, or of columns with dots."""
    if "assets" in page.columns:
        return [_assets_of(value) for value in page["assets"].to_list()]
    found: list[dict[str, Any]] = [{} for _ in range(page.height)]
    for column in page.columns:
        if not column.startswith("assets."):
            continue
        key, _, field = column.removeprefix("assets.").rpartition(".")
        for own, value in zip(found, page[column].to_list(), strict=True):
            if value is not None and key:
                own.setdefault(key, {})[field] = _said(value)
    return found


def _assets_of(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, list):
        value = {one.get("key"): one.get("value") for one in value if isinstance(one, dict)}
    said = _said(value) if isinstance(value, dict) else {}
    return {key: asset for key, asset in said.items() if asset}


def _said(value: Any) -> Any:
    """Return a value of a row as an item says it: without the nulls of fields that other items have, times as text."""
    if isinstance(value, dict):
        return {name: _said(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_said(one) for one in value]
    if isinstance(value, dt.datetime):
        utc = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        return utc.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date):
        return value.isoformat()
    return value


def _footprints(column: pl.Series) -> list[Any]:
    """Return the geometry of each row as WKB in two dimensions, or GeoJSON where the table has such texts."""
    values = column.to_list()
    if column.dtype == pl.String:
        return [None if one is None else json.loads(one) for one in values]
    geometries = shapely.from_wkb(np.array(values, dtype=object), on_invalid="ignore")
    flat = shapely.to_wkb(shapely.force_2d(geometries)).tolist()
    is_empty = shapely.is_empty(geometries)
    return [
        # An item of such a geometry is refused by its reason.
        {"type": "no WKB"} if one is None and value is not None else None if empty else one
        for one, value, empty in zip(flat, values, is_empty, strict=True)
    ]


def _place(wkb: bytes) -> Any:
    """Return a property that is a place as GeoJSON."""
    try:
        return mapping(shapely.from_wkb(wkb))
    except shapely.errors.ShapelyError:
        return None
