"""Where are the records of a collection, as a GeoDataFrame?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.collection.queries.extent import grid_expression, grid_footprints, with_places
from polars_rasteret.errors import UsageError
from polars_rasteret.export.geodataframe import geodataframe, pandas_column
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, normalize_crs, transform_xy
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import geopandas
    from numpy.typing import NDArray


def footprints(lf: pl.LazyFrame, *, crs: Any, band: str | None) -> geopandas.GeoDataFrame:
    """Return the footprint of each record, with ``id`` and ``datetime``; no pixel is read.

    Raises
    ------
    UsageError
        When the collection has no such band.
    """
    schema = lf.collect_schema()
    bands = raster_columns(schema)
    if band is not None and band not in bands:
        raise UsageError(f"footprints: there is no band {band!r}; the collection has {', '.join(bands) or 'none'}")
    target = LONLAT if crs is None else normalize_crs(crs)
    told = [name for name in ("id", "datetime") if name in schema]
    if band is not None:
        rows = lf.select(*told, grid_expression(band)).collect()
        shapes = grid_footprints([rows[band]])[0].geometry
    elif schema.get("geometry") == pl.Binary:
        rows = lf.select(*told, "geometry").collect()
        shapes = parsed(rows["geometry"].to_list())
    else:
        rows = lf.select(*told, *bands).collect()
        shapes = parsed(with_places(rows)["geometry"].to_list())
    if target not in LONLAT_NAMES:
        shapes = _moved(shapes, target)
    return geodataframe({name: pandas_column(rows[name]) for name in told}, shapes, target)


def _moved(shapes: NDArray[np.object_], crs: str) -> NDArray[np.object_]:
    """Return outlines in another CRS; None for one that has no place there. They have vertices enough to follow its curves."""

    def moved(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform_xy(LONLAT, crs, xy[:, 0], xy[:, 1]), axis=1)

    result: NDArray[np.object_] = shapely.transform(shapes, moved)
    has_place = np.isfinite(shapely.bounds(result)).all(axis=1)
    result[~has_place] = None
    return result
