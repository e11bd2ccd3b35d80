"""How does a geometry column become WKB: of WKB, of any GeoArrow encoding, or of boxes?

Of GeoArrow lists only x and y are kept. What metadata says of CRS and edges does not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.nesting import check_wkt
from polars_rasteret.geo.turns import eastward_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

BBOX_FIELDS = (("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy"))
_NESTED = {
    "geoarrow.point": (shapely.GeometryType.POINT, 0),
    "geoarrow.linestring": (shapely.GeometryType.LINESTRING, 1),
    "geoarrow.polygon": (shapely.GeometryType.POLYGON, 2),
    "geoarrow.multipoint": (shapely.GeometryType.MULTIPOINT, 1),
    "geoarrow.multilinestring": (shapely.GeometryType.MULTILINESTRING, 2),
    "geoarrow.multipolygon": (shapely.GeometryType.MULTIPOLYGON, 3),
}
"""By name, the type of the geometries and how many lists are around their coordinates."""


def is_bbox_dtype(dtype: Any) -> bool:
    """Return whether a dtype is a struct of four bounds."""
    return isinstance(dtype, pl.Struct) and any(
        {field.name for field in dtype.fields} >= set(names) for names in BBOX_FIELDS
    )


def wkb_array(series: pl.Series, crs: str) -> NDArray[np.object_]:
    """Return a geometry column as an object array of WKB bytes; None where it is null.

    Parameters
    ----------
    series
        The geometry column.
    crs
        CRS of the geometries; in a geographic CRS a bbox with xmin > xmax crosses the antimeridian.

    Raises
    ------
    UsageError
        When the column is neither WKB, GeoArrow nor a bbox struct.
    """
    dtype = series.dtype
    if isinstance(dtype, pl.BaseExtension) and dtype.ext_name().startswith("geoarrow."):
        if not is_bbox_dtype(dtype.ext_storage()):
            return _wkb_of_geoarrow(series)
        series = series.ext.storage()  # geoarrow.box
    if is_bbox_dtype(series.dtype):
        return np.asarray(shapely.to_wkb(_boxes(series, crs)), dtype=object)
    if series.dtype != pl.Binary:
        raise UsageError(
            f"geometry column {series.name!r} is {dtype}; expected WKB or EWKB (Binary), a geoarrow extension type, or a bbox "
            f"struct ({', '.join(BBOX_FIELDS[0])})"
        )
    result = np.empty(len(series), dtype=object)
    result[:] = series.to_list()
    return result


def _boxes(series: pl.Series, crs: str) -> NDArray[np.object_]:
    fields = {field.name for field in series.dtype.fields}  # type: ignore[attr-defined]  # is_bbox_dtype has said so
    names = next(names for names in BBOX_FIELDS if fields >= set(names))
    sides = series.struct.unnest()
    bounds = np.stack([float_array(sides[name]) for name in names], axis=1)
    boxes = np.full(len(bounds), None, dtype=object)
    finite, known = np.isfinite(bounds).all(axis=1), ~np.isnan(bounds).any(axis=1)
    boxes[known & ~finite] = shapely.box(*bounds[known & ~finite].T)  # refused by name where areas are made
    boxes[finite] = shapely.box(*eastward_boxes(bounds[finite], crs).T)
    return boxes


def float_array(series: pl.Series) -> NDArray[np.float64]:
    """Return numbers as float64, NaN where null."""
    try:
        numbers = series.cast(pl.Float64)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"coordinate column {series.name!r} is {series.dtype}; expected numbers") from error
    return numbers.to_numpy()


def _wkb_of_geoarrow(series: pl.Series) -> NDArray[np.object_]:
    """Return a GeoArrow column as an object array of WKB or EWKB bytes; None where it is null.

    Raises
    ------
    UsageError
        When the encoding is not known, or the values are no geometries.
    """
    name = series.dtype.ext_name()  # type: ignore[attr-defined]  # whoever calls has looked
    storage = series.ext.storage()
    if storage.dtype == pl.Binary:
        wkb = np.empty(len(storage), dtype=object)
        wkb[:] = storage.to_list()
        return wkb
    try:
        if storage.dtype == pl.String:
            for text in storage.drop_nulls():
                check_wkt(text)
            geometries = shapely.from_wkt(np.array(storage.to_list(), dtype=object))
        elif name in _NESTED:
            geometries = _from_lists(storage, *_NESTED[name])
        else:
            raise UsageError(
                f"geometry column {series.name!r} is {name}; expected WKB, WKT, or one of {', '.join(sorted(_NESTED))}"
            )
    except (shapely.errors.ShapelyError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise UsageError(
            f"geometry column {series.name!r} ({name}) holds something that is no geometry: {error}"
        ) from error
    return np.asarray(shapely.to_wkb(geometries), dtype=object)


def _from_lists(storage: pl.Series, kind: shapely.GeometryType, depth: int) -> NDArray[np.object_]:
    is_null = storage.is_null().to_numpy()
    offsets: list[NDArray[np.int64]] = []
    inner: pl.Series = storage
    for _ in range(depth):
        lengths = inner.list.len().fill_null(0)
        offsets.insert(0, np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)]))
        inner = inner.filter(lengths > 0).explode()
    is_struct = isinstance(inner.dtype, pl.Struct)
    x, y = (inner.struct.field("x"), inner.struct.field("y")) if is_struct else (inner.arr.get(0), inner.arr.get(1))
    xy = np.stack([one.cast(pl.Float64).to_numpy() for one in (x, y)], axis=1)
    made: Any = shapely.from_ragged_array(kind, xy, tuple(offsets) if depth else None)
    geometries = np.asarray(made, dtype=object)
    geometries[is_null] = None
    return geometries
