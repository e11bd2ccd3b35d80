"""How does what the caller passes as places become a frame: a table of any library, a column, or a list without a table?

A list keeps its order: one row per box, geometry or Feature. Boxes become a bbox struct, so that they may cross the antimeridian.
Everything else becomes EWKB, in which a GeoJSON states its CRS. Which columns of a
frame hold places is not decided here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.arguments import first_line, is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, normalize_crs
from polars_rasteret.geo.geometry_values import shapely_geometry
from polars_rasteret.pairing.geometry_columns import BBOX_FIELDS, is_bbox_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable

GEOMETRY = "geometry"
_N_SIDES = 4
_LONLAT_SRID = 4326
_GEOMETRIES = frozenset(
    ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
)
_GEOJSON = _GEOMETRIES | {"Feature", "FeatureCollection"}


def as_lazy_frame(data: Any, *, what: str) -> pl.LazyFrame:
    """Return the LazyFrame of a table in any of the accepted forms.

    Parameters
    ----------
    data
        A LazyFrame, DataFrame, GeoDataFrame (through ``to_arrow()``), anything with ``__arrow_c_stream__``; a column of
        geometries (a Series, GeoSeries or GeoArrow array); or what `table_of_places` takes.
    what
        Name of the argument, for messages.
    """
    if isinstance(data, pl.LazyFrame):
        return data
    if isinstance(data, pl.DataFrame):
        return data.lazy()
    if isinstance(data, pl.Series):
        return data.alias(GEOMETRY).to_frame().lazy()
    if hasattr(data, "to_frame") and hasattr(data, "geometry") and not hasattr(data, "columns"):  # a GeoSeries
        data = data.to_frame(GEOMETRY)
    if hasattr(data, "to_arrow") and hasattr(data, "geometry"):  # a GeoDataFrame: its own stream drops the CRS
        return pl.DataFrame(data.to_arrow(index=False)).lazy()
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return _arrow_frame(data, what)
    table = table_of_places(data, what=what)
    if table is not None:
        return table.lazy()
    advice = ". Of a file, pass what pl.read_csv, geopandas.read_file or json.loads make of it"
    raise UsageError(
        f"{what} is a {type(data).__name__}; expected a LazyFrame, a DataFrame, a GeoDataFrame, an Arrow table, or geometries: "
        "shapely, WKB, GeoJSON or boxes (xmin, ymin, xmax, ymax), one or a list"
        f"{advice if isinstance(data, str | os.PathLike) else ''}"
    )


def _arrow_frame(data: Any, what: str) -> pl.LazyFrame:
    """Return an Arrow table as a frame, and an Arrow array as its column of geometries."""
    try:
        if hasattr(data, "columns"):
            return pl.DataFrame(data).lazy()
        column = pl.Series(GEOMETRY, data)  # once: a stream of record batches is there once
        is_table = type(column.dtype) is pl.Struct and not is_bbox_dtype(column.dtype)
        return (column.struct.unnest() if is_table else column.to_frame()).lazy()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{what}: the Arrow data cannot be read: {first_line(error)}") from error


def table_of_places(data: Any, *, what: str) -> pl.DataFrame | None:
    """Return a table with a row per place; None when `data` is no place and no list of places.

    Parameters
    ----------
    data
        A box of four numbers, WKB or EWKB bytes, a GeoJSON dict, a shapely geometry, or something with ``__geo_interface__``; or
        a sequence of them. None is a row without a place. A list of boxes has boxes only.
    what
        Name of the argument, for messages.

    Returns
    -------
    pl.DataFrame or None
        Column ``geometry``; of Features also their properties, and ``id`` where a Feature has one.

    Raises
    ------
    UsageError
        When a place cannot be understood, or boxes are mixed with others.
    """
    if isinstance(data, Mapping) and data.get("type") not in _GEOJSON:
        return None  # a table as a dict of columns, or something else
    if isinstance(data, Mapping) and data["type"] == "FeatureCollection":
        features = data.get("features")
        if not isinstance(features, Sequence):
            raise UsageError(f"{what}: the FeatureCollection has no list of features")
        return _of_features(features, data, what)
    if _is_one(data):
        data = [data]
    if not isinstance(data, Sequence | np.ndarray) or isinstance(data, str):
        return None
    places = list(data)
    if not all(one is None or _is_one(one) for one in places):
        return None
    if any(map(is_box, places)):
        return _of_boxes(places, what)
    if any(isinstance(one, Mapping) and one["type"] == "FeatureCollection" for one in places):
        raise UsageError(f"{what}: a list holds a FeatureCollection; expected Features or geometries, or it alone")
    some = [one for one in places if one is not None]
    if some and all(isinstance(one, Mapping) and one["type"] == "Feature" for one in some):
        return _of_features(places, {}, what)
    return pl.DataFrame({GEOMETRY: _ewkb((_with_crs(one, {}, at, what) for at, one in enumerate(places)))})


def is_box(value: Any) -> bool:
    """Return whether a value is a box: four numbers."""
    return isinstance(value, list | tuple | np.ndarray) and len(value) == _N_SIDES and all(map(is_number, value))


def _is_one(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("type") in _GEOJSON
    if isinstance(value, shapely.Geometry | bytes | bytearray | memoryview):
        return True
    return is_box(value) or (hasattr(value, "__geo_interface__") and not hasattr(value, "__len__"))


def _of_boxes(places: Sequence[Any], what: str) -> pl.DataFrame:
    for at, one in enumerate(places):
        if one is None:
            continue
        if not is_box(one):
            raise UsageError(f"{what}: boxes are mixed with a {type(one).__name__} (place {at}); expected one kind")
        if float(one[1]) > float(one[3]):
            raise UsageError(f"{what}: box {at} is {tuple(one)}; expected (xmin, ymin, xmax, ymax) with ymin <= ymax")
    names = BBOX_FIELDS[0]
    rows = [None if one is None else dict(zip(names, map(float, one), strict=True)) for one in places]
    return pl.DataFrame({GEOMETRY: pl.Series(rows, dtype=pl.Struct(dict.fromkeys(names, pl.Float64)))})


def _of_features(features: Sequence[Any], collection: Mapping[str, Any], what: str) -> pl.DataFrame:
    """Return the geometries and properties of Features; null rows where a Feature is None."""
    for at, one in enumerate(features):
        if one is not None and not (isinstance(one, Mapping) and one.get("type") == "Feature"):
            raise UsageError(f"{what}: place {at} is no Feature; expected Features only")
    geometries = _ewkb(_with_crs(one, collection, at, what) for at, one in enumerate(features))
    rows = [{} if one is None else dict(one.get("properties") or {}) for one in features]
    if any(one is not None and "id" in one for one in features) and not any("id" in row for row in rows):
        rows = [{"id": None if one is None else one.get("id"), **row} for one, row in zip(features, rows, strict=True)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if GEOMETRY in names:
        raise UsageError(f"{what}: Features have a property {GEOMETRY!r}; rename it, or pass a table")
    try:
        columns = [pl.Series(name, [row.get(name) for row in rows], strict=True) for name in names]
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"{what}: a property of the Features has values of several types: {first_line(error)}"
        ) from error
    return pl.DataFrame([geometries, *columns])


def _with_crs(value: Any, collection: Mapping[str, Any], at: int, what: str) -> shapely.Geometry | None:
    """Return the geometry of a value; that of a GeoJSON has the SRID of its CRS."""
    if value is None or (isinstance(value, Mapping) and value["type"] == "Feature" and value.get("geometry") is None):
        return None
    try:
        geometry = shapely_geometry(value)
    except UsageError as error:
        raise UsageError(f"{what}: place {at}: {error}") from error
    return shapely.set_srid(geometry, _srid(value, collection, what)) if isinstance(value, Mapping) else geometry


def _srid(geojson: Mapping[str, Any], collection: Mapping[str, Any], what: str) -> int:
    """Return the SRID of a GeoJSON: longitude and latitude (RFC 7946), or what a ``crs`` member of before 2016 names."""
    inner = geojson.get("geometry") if geojson["type"] == "Feature" else None
    stated = [one["crs"] for one in (inner, geojson, collection) if isinstance(one, Mapping) and one.get("crs")]
    names = {_crs_name(one, what) for one in stated} or {LONLAT}
    if len(names) > 1:
        raise UsageError(f"{what}: a GeoJSON states several CRSs: {', '.join(sorted(names))}")
    name = names.pop()
    if name in LONLAT_NAMES:
        return _LONLAT_SRID
    authority, _, code = name.partition(":")
    if authority != "EPSG" or not code.isdecimal():
        raise UsageError(
            f"{what}: the crs member of a GeoJSON says {name[:80]!r}; expected an EPSG code. Pass shapely geometries and crs="
        )
    return int(code)


def _crs_name(member: Any, what: str) -> str:
    properties = member.get("properties") if isinstance(member, Mapping) and member.get("type") == "name" else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    if not isinstance(name, str):
        raise UsageError(f"{what}: the crs member of a GeoJSON is {str(member)[:80]}; expected the name of a CRS")
    return normalize_crs(name)


def _ewkb(geometries: Iterable[shapely.Geometry | None]) -> pl.Series:
    wkb = [None if one is None else shapely.to_wkb(one, include_srid=True) for one in geometries]
    return pl.Series(GEOMETRY, wkb, dtype=pl.Binary)
