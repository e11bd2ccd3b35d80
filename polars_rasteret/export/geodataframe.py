"""How does the answer of a verb become a GeoDataFrame?

GeoPandas is needed by callers of this module only. Nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.errors import UsageError, missing_extra
from polars_rasteret.export.window_values import each_window, has_sizes, is_windows, unpacked_bands
from polars_rasteret.geo.crs import LONLAT, NATIVE
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.pairing.geometry_columns import float_array, wkb_array
from polars_rasteret.pairing.stated_crs import crs_of_geometry, passed_crs
from polars_rasteret.pairing.targets import target_columns
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import geopandas
    from numpy.typing import NDArray

RASTER_CRS = "raster_crs"


def to_geopandas(
    frame: pl.DataFrame | pl.LazyFrame, *, geometry: str | None = None, crs: Any = None
) -> geopandas.GeoDataFrame:
    """Return what a verb gave as a GeoDataFrame.

    Parameters
    ----------
    frame
        Answer of a verb, or a collection; a LazyFrame is collected.
    geometry
        Name of the geometry column. None: found as by the verbs; where there is none, points of the coordinate columns.
    crs
        CRS of the geometry, as it was passed to the verb. None: as GeoArrow metadata or EWKB state it; of a collection,
        longitude and latitude. ``"native"``: the CRS of the rasters where these share one.

    Returns
    -------
    geopandas.GeoDataFrame
        One row per row of `frame`, its geometry active. A window is a 2-D array in an object column: masked where it has null
        elements, None where it is null. Windows without a common shape also give ``{band}_transform``, and all windows
        ``raster_crs``, the CRS of their pixels. A transform is a tuple ``a, b, c, d, e, f``. Whole numbers with nulls have
        pandas' nullable dtypes.

    Raises
    ------
    UsageError
        When there is no geometry, or its CRS is not known.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> import shapely
    >>> field = [shapely.box(500_005, 4_999_980, 500_020, 5_000_000)]
    >>> windows = pr.testing.example_scenes().raster.read_windows(field, ["red"], crs=32632)
    >>> table = pr.to_geopandas(windows, crs=32632)
    >>> table.crs.to_epsg(), table["red"][0].tolist(), table["raster_crs"][0]
    (32632, [[1000, 1001], [1064, 1065]], 'EPSG:32632')
    """
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        raise UsageError(f"to_geopandas: got a {type(frame).__name__}; expected the frame that a verb gave")
    what = "to_geopandas"
    rows = unpacked_bands(frame.lazy().collect())
    if crs is None and raster_columns(rows.schema) and rows.schema.get("geometry") == pl.Binary:
        crs = LONLAT  # of a collection, by contract
    found = target_columns(
        rows.schema, x=None, y=None, geometry=geometry, crs=NATIVE if crs is None else crs, what=what
    )
    if found.geometry is not None:
        column = rows[found.geometry]
        name = crs_of_geometry(column, None if crs is None else passed_crs(crs, what=what), what=what)
        shapes = shapely.set_srid(parsed(wkb_array(column, name)), 0)
        rows = rows.drop(found.geometry)
    else:
        assert found.x is not None
        assert found.y is not None
        name = passed_crs(crs, what=what)
        shapes = shapely.points(float_array(rows[found.x]), float_array(rows[found.y]))
    columns = _columns(rows)
    if name == NATIVE:
        known = {one for one in columns.get(RASTER_CRS, ()) if one is not None}
        own = known.pop() if len(known) == 1 else None
    else:
        own = name
    return geodataframe(columns, shapes, own, geometry=found.geometry or "geometry")


def geodataframe(
    columns: dict[str, Any], shapes: Any, crs: str | None, *, geometry: str = "geometry"
) -> geopandas.GeoDataFrame:
    """Return columns and shapely geometries as a GeoDataFrame whose geometry is active."""
    try:
        import geopandas as gpd
    except ImportError as error:
        raise missing_extra("a GeoDataFrame", "GeoPandas", "geopandas") from error
    return gpd.GeoDataFrame({**columns, geometry: gpd.GeoSeries(shapes, crs=crs)}, geometry=geometry)


def _columns(rows: pl.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    crs: pl.Series | None = None
    for series in rows.iter_columns():
        if not is_windows(series.dtype):
            columns[series.name] = pandas_column(series)
            continue
        columns[series.name] = objects(each_window(series))
        if has_sizes(series.dtype):
            columns[f"{series.name}_transform"] = pandas_column(series.struct.field("transform"))
            own = series.struct.field("crs")
            crs = own if crs is None else crs.zip_with(crs.is_not_null(), own)
    if crs is not None and RASTER_CRS not in columns:
        columns[RASTER_CRS] = pandas_column(crs)
    return columns


def pandas_column(series: pl.Series) -> Any:
    """Return a column as pandas or NumPy has it, without a change of value: whole numbers with nulls stay whole."""
    import pandas as pd

    dtype = series.dtype
    if (dtype.is_integer() or dtype == pl.Boolean) and series.null_count():
        return pd.array(series.to_list(), dtype="boolean" if dtype == pl.Boolean else str(dtype))
    if isinstance(dtype, pl.Array):
        is_flat = len(dtype.shape) == 1
        return objects([None if one is None else tuple(one) if is_flat else np.array(one) for one in series.to_list()])
    if dtype.is_nested() or dtype in (pl.Binary, pl.String):
        return objects(series.to_list())
    return series.to_pandas()


def objects(values: Sequence[Any]) -> NDArray[np.object_]:
    """Return values as an array of objects, one per value, whatever they are."""
    cells = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        cells[at] = value
    return cells
