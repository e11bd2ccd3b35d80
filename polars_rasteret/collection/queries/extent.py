"""Where are the records, and in which coordinate reference systems?

The answers come from ``bbox``, else ``geometry``, else the raster columns themselves. No pixel is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import shapely

from polars_rasteret.collection.storage.geoparquet import total_bounds
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.antimeridian import geometry_bounds
from polars_rasteret.geo.boxes import merge_bounds
from polars_rasteret.geo.footprints import Footprints, image_footprints
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.grids.extents import GRID_FIELDS, bounds_of_grids
from polars_rasteret.schema import BBOX, raster_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIDES = ["xmin", "ymin", "xmax", "ymax"]


def bands(lf: pl.LazyFrame) -> list[str]:
    """Return the names of the bands of a collection: its raster columns, in order.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> bands(pr.testing.example_scenes())
    ['red', 'nir']
    """
    return raster_columns(lf.collect_schema())


def bounds(lf: pl.LazyFrame) -> tuple[float, float, float, float]:
    """Return ``(xmin, ymin, xmax, ymax)`` of all records, in longitude and latitude.

    xmin > xmax when a record crosses the antimeridian.

    Raises
    ------
    UsageError
        When no record has a place on Earth.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> [round(side, 4) for side in bounds(pr.testing.example_scenes())]
    [9.0, 45.1477, 9.0081, 45.1535]
    """
    frame = lf.select(place_expression(lf)).collect()
    total = total_bounds(bounds_array(frame.to_series()))
    if total is None:
        raise UsageError("no record of this collection has a place: there are none, or none is georeferenced")
    return total


def crs(lf: pl.LazyFrame) -> list[str]:
    """Return the distinct CRSs of the rasters, sorted: ``EPSG:n``, or WKT2 where there is no code.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> crs(pr.testing.example_scenes())
    ['EPSG:32632']
    """
    schema = lf.collect_schema()
    names = raster_columns(schema)
    if not names:
        raise UsageError(f"no column is a raster column; there are {', '.join(schema.names())}")
    found: set[str] = set()
    if "proj:code" in schema.names():
        codes = lf.select(pl.col("proj:code").unique()).collect().to_series()
        found |= set(codes.drop_nulls())
        if codes.null_count() == 0:
            return sorted(found)
        # Without a code the bands differ, or their CRS has no code: ask the rasters.
        lf = lf.filter(pl.col("proj:code").is_null())
    each = lf.select(pl.col(name).struct.field("crs").alias(name) for name in names)
    for column in each.collect().iter_columns():
        found |= set(column.unique().drop_nulls())
    return sorted(found)


def bounds_array(bbox: pl.Series) -> NDArray[np.float64]:
    """Return a ``bbox`` column as an array of shape (n, 4), NaN where null."""
    fields = bbox.struct.unnest().select(pl.col(side).cast(pl.Float64) for side in _SIDES)
    return np.stack([column.to_numpy() for column in fields.iter_columns()], axis=1).astype(np.float64)


def bbox_series(bounds: NDArray[np.float64], name: str = "bbox") -> pl.Series:
    """Return bounds of shape (n, 4) as a ``bbox`` column, null where NaN."""
    sides = pl.DataFrame(
        {side: bounds[:, number] for number, side in enumerate(_SIDES)}, schema=dict.fromkeys(_SIDES, pl.Float64)
    )
    placed = ~np.isnan(bounds).any(axis=1)
    return sides.select(
        pl.when(pl.Series(placed)).then(pl.struct(pl.all())).otherwise(None).cast(BBOX).alias(name)
    ).to_series()


def place_expression(lf: pl.LazyFrame) -> pl.Expr:
    """Return an expression for the ``bbox`` of each row: from ``bbox``, else ``geometry``, else the rasters."""
    schema = lf.collect_schema()
    if is_bbox(schema.get("bbox")):
        return pl.col("bbox")
    if schema.get("geometry") == pl.Binary:
        return pl.col("geometry").map_batches(_bbox_of_wkb, return_dtype=BBOX, is_elementwise=True).alias("bbox")
    names = raster_columns(schema)
    if not names:
        raise UsageError(
            f"no bbox, geometry or raster column tells where the records are; there are {', '.join(schema.names())}"
        )
    return (
        pl.struct(grid_expression(name) for name in names)
        .map_batches(_bbox_of_grids, return_dtype=BBOX, is_elementwise=True)
        .alias("bbox")
    )


def is_bbox(dtype: pl.DataType | None) -> bool:
    """Return whether a dtype is a ``bbox``: a Struct with the four sides."""
    return isinstance(dtype, pl.Struct) and {field.name for field in dtype.fields} >= set(_SIDES)


def with_places(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with ``geometry`` and ``bbox``, made from the rasters where missing.

    A new ``bbox`` encloses a given geometry too.
    """
    has_geometry, has_bbox = frame.schema.get("geometry") == pl.Binary, is_bbox(frame.schema.get("bbox"))
    if has_geometry and has_bbox:
        return frame
    grids = [frame.select(grid_expression(name)).to_series() for name in raster_columns(frame.schema)]
    geometry, bounds = _united(grid_footprints(grids), frame.height)
    made = []
    if has_geometry:
        given = parsed(frame["geometry"].to_list())
        bounds = merge_bounds(bounds, geometry_bounds(given))
    else:
        made.append(pl.Series("geometry", list(shapely.to_wkb(geometry)), dtype=pl.Binary))
    if not has_bbox:
        made.append(bbox_series(bounds))
    return frame.with_columns(made)


def grid_expression(band: str) -> pl.Expr:
    """Return an expression for the fields of a raster column that place it on Earth."""
    fields = [pl.col(band).struct.field(name) for name in GRID_FIELDS]
    return pl.struct(fields).alias(band)


def grid_footprints(columns: Sequence[pl.Series]) -> list[Footprints]:
    """Return the outlines of each column of grids (see `grid_expression`); each distinct grid is computed once."""
    frame = pl.concat([column.rename("grid") for column in columns]).struct.unnest()
    distinct = frame.unique(maintain_order=True).with_row_index("_number")
    numbered = frame.join(distinct, on=frame.columns, how="left", nulls_equal=True, maintain_order="left")
    transform = np.full((distinct.height, 6), np.nan)
    present = distinct["transform"].is_not_null().to_numpy()
    transform[present] = distinct["transform"].drop_nulls().to_numpy().reshape(-1, 6)
    crs = distinct["crs"].to_list()
    width, height = (distinct[side].fill_null(0).to_numpy().astype(np.int64) for side in ("width", "height"))
    found = image_footprints(crs, transform, width, height)
    stops = np.cumsum([len(column) for column in columns])[:-1]
    return [
        Footprints(geometry=found.geometry[number], bounds=found.bounds[number])
        for number in np.split(numbered["_number"].to_numpy(), stops)
    ]


def _bbox_of_wkb(column: pl.Series) -> pl.Series:
    geometries = parsed(column.to_list())
    return bbox_series(geometry_bounds(geometries), column.name)


def _bbox_of_grids(column: pl.Series) -> pl.Series:
    merged = np.full((len(column), 4), np.nan)
    for grids in column.struct.unnest().get_columns():
        merged = merge_bounds(merged, bounds_of_grids(grids))
    return bbox_series(merged, column.name)


def _united(outlines: Sequence[Footprints], n_rows: int) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return the union of the outlines of each row, and bounds that enclose that union."""
    united = np.full(n_rows, None, dtype=object)
    bounds = np.full((n_rows, 4), np.nan)
    for one in outlines:
        bounds = merge_bounds(bounds, one.bounds)
        first = shapely.is_missing(united)
        # Bands of 10 and 20 m pixels usually share their outline; only others need a union.
        same = first | shapely.is_missing(one.geometry) | shapely.equals_exact(united, one.geometry, tolerance=1e-9)
        united = np.where(first, one.geometry, united)
        united[~same] = shapely.union(united[~same], one.geometry[~same])
    return united, bounds
