"""Which geometry does one value of the caller mean: shapely, WKB, WKT, GeoJSON, or anything with ``__geo_interface__``?

Columns do not belong here, nor does the CRS.
"""

from __future__ import annotations

from typing import Any

import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.geo.nesting import check_wkt


def shapely_geometry(value: Any) -> Any:
    """Return a shapely geometry made from one, from WKB, EWKB or WKT, or from anything with ``__geo_interface__`` (or that dict).

    Raises
    ------
    UsageError
        When the value is none of these.
    """
    if isinstance(value, shapely.Geometry):
        return value
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return parsed([bytes(value)])[0]
        if isinstance(value, str):
            check_wkt(value)
            return shapely.from_wkt(value)
        mapping = getattr(value, "__geo_interface__", value)
        if isinstance(mapping, dict) and "type" in mapping:
            return _from_mapping(mapping)
    except UsageError:
        raise
    except (shapely.errors.ShapelyError, KeyError, TypeError, ValueError, RecursionError, NotImplementedError) as error:
        raise UsageError(f"the geometry cannot be understood: {error}") from error
    raise UsageError(
        f"got a {type(value).__name__}; expected a shapely geometry, WKB, something with __geo_interface__, or "
        "(minx, miny, maxx, maxy)"
    )


def _from_mapping(mapping: dict[str, Any]) -> Any:
    from shapely.geometry import shape

    if mapping["type"] == "Feature":
        return shape(mapping["geometry"])
    if mapping["type"] == "FeatureCollection":
        return shapely.union_all([shape(feature["geometry"]) for feature in mapping["features"]])
    return shape(mapping)
