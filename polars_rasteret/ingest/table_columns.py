"""Which columns of a table become ``id``, times, places and words of a record, and in which dtypes?

Columns of another name, or of another form (years, lists of bounds, geometries in another CRS), are brought to the form that
`RECORD_COLUMNS` states. Hrefs belong in `table_bands`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import shapely

from polars_rasteret.collection.queries.spatial import lonlat_geometry
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, normalize_crs
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.ingest.times import times_of_column, years_of_column
from polars_rasteret.pairing.geometry_columns import BBOX_FIELDS, is_bbox_dtype, wkb_array
from polars_rasteret.pairing.stated_crs import geometry_crs
from polars_rasteret.schema import BBOX, RECORD_COLUMNS, TIME

if TYPE_CHECKING:
    from collections.abc import Collection


def record_columns(
    table: pl.DataFrame,
    *,
    id: str,  # noqa: A002 - as in the caller's words
    datetime: str | None,
    geometry: str | None,
    kept: Collection[str],
) -> pl.DataFrame:
    """Return the table with its record columns in their names and dtypes, then the columns in `kept` unchanged.

    Raises
    ------
    UsageError
        When a column has a dtype or values that do not fit.
    """
    ids = table[id]
    if not (ids.dtype == pl.String or ids.dtype.is_integer() or isinstance(ids.dtype, pl.Categorical | pl.Enum)):
        raise UsageError(f"column {id!r} is {ids.dtype}; expected ids as String (or integers)")
    known: dict[str, pl.Series] = {"id": ids.cast(pl.String)}
    moved = {id}
    is_lonlat = True
    if geometry is not None:
        moved.add(geometry)
        known["geometry"], is_lonlat = _wkb(table[geometry])
    has_interval = any(name in table.columns for name in ("start_datetime", "end_datetime"))
    if datetime is not None:
        moved.add(datetime)
        years = None if has_interval else years_of_column(table[datetime])
        if years is None:
            known["datetime"] = times_of_column(table[datetime], name=datetime)
        else:
            start, known["end_datetime"] = years
            known["datetime"] = known["start_datetime"] = start
    for name in ("start_datetime", "end_datetime"):
        if name in table.columns and name not in moved:
            known[name] = times_of_column(table[name], name=name)
    for name, dtype in RECORD_COLUMNS.items():
        if name in known or name not in table.columns or name in moved or dtype == TIME:
            continue
        if name == "bbox":
            bounds = bounds_of_column(name, table.schema[name]) if is_lonlat else None
            if bounds is not None:
                known[name] = table.select(bounds).to_series()
        elif name in ("collection", "proj:code", "proj:epsg"):
            known[name] = _epsg(table[name]) if name == "proj:epsg" else table[name].cast(dtype)
    extra = [table[name] for name in table.columns if name in kept and name not in moved | RECORD_COLUMNS.keys()]
    return pl.DataFrame([*(column.rename(name) for name, column in known.items()), *extra])


def _epsg(column: pl.Series) -> pl.Series:
    """Return EPSG numbers, from numbers or texts like ``EPSG:32632``; what is no number is null."""
    if column.dtype == pl.String:
        column = column.str.strip_chars().str.replace(r"(?i)^epsg:", "")
    return column.cast(RECORD_COLUMNS["proj:epsg"], strict=False)


def bounds_of_column(name: str, dtype: Any) -> pl.Expr | None:
    """Return bounds as the struct of a record, from another struct or from lists of 4 or 6 numbers; None for other dtypes.

    Bounds that are not four finite numbers are null.
    """
    if is_bbox_dtype(dtype):
        fields = {field.name for field in dtype.fields}
        sides = [pl.col(name).struct.field(side) for side in next(one for one in BBOX_FIELDS if fields >= set(one))]
        known = pl.col(name).is_not_null()
    elif isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_numeric():
        lists = pl.col(name).cast(pl.List(pl.Float64))
        is_flat = lists.list.len() == 4
        sides = [
            pl.when(is_flat)
            .then(lists.list.get(flat, null_on_oob=True))
            .otherwise(lists.list.get(high, null_on_oob=True))
            for flat, high in zip(range(4), (0, 1, 3, 4), strict=True)
        ]
        known = lists.list.len().is_in([4, 6])
    else:
        return None
    whole = [side.cast(pl.Float64).alias(field.name) for side, field in zip(sides, BBOX.fields, strict=True)]
    known = pl.all_horizontal(known, *(side.is_finite().fill_null(value=False) for side in whole))
    return pl.when(known).then(pl.struct(whole)).cast(BBOX).alias("bbox")


def _wkb(column: pl.Series) -> tuple[pl.Series, bool]:
    """Return WKB in longitude and latitude, and whether the column was in them.

    From WKB, EWKB (whose SRID counts) or GeoArrow (whose CRS counts).
    """
    crs = geometry_crs(column.dtype)
    if column.dtype == pl.Null:
        return column.cast(pl.Binary), True
    geometries = parsed(wkb_array(column, crs or LONLAT))
    if crs is None and (codes := {int(code) for code in shapely.get_srid(geometries)} - {0, -1}):  # -1: null
        if len(codes) > 1:
            raise UsageError(f"column {column.name!r} mixes the SRIDs {sorted(codes)}; bring its geometries to one CRS")
        crs = normalize_crs(codes.pop())
    present = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    is_lonlat = crs is None or crs in LONLAT_NAMES
    if crs is not None and not is_lonlat:
        geometries = geometries.copy()
        geometries[present] = [lonlat_geometry(one, crs) for one in geometries[present]]
    west, south, east, north = shapely.total_bounds(geometries[present]).tolist() if present.any() else (0, 0, 0, 0)
    if not (west >= -360 and east <= 360 and south >= -90 and north <= 90):
        raise UsageError(
            f"column {column.name!r} reaches over {west:g} {south:g} {east:g} {north:g}; expected footprints in longitude and "
            "latitude, or a geoarrow column, GeoParquet or EWKB that tells its CRS"
        )
    return pl.Series(column.name, list(shapely.to_wkb(geometries, include_srid=False)), dtype=pl.Binary), is_lonlat
