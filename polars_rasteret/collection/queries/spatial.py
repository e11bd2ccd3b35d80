"""Which records meet this geometry or box?

There are two steps. A comparison of ``bbox`` fields lands in the Parquet scan and skips row groups. Then a column says whether
the exact footprint meets the geometry; it is filtered on and dropped. A UDF inside ``.filter`` on a scan would run on far more
rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.collection.queries.extent import grid_expression, grid_footprints, is_bbox
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.antimeridian import geometry_bounds, split_at_antimeridian
from polars_rasteret.geo.boxes import cut_boxes, unwrap_bounds
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, densified_box, normalize_crs, same_crs, transform_xy
from polars_rasteret.geo.footprints import box_transforms, image_footprints, lonlat_rings
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.geo.geometry_values import shapely_geometry
from polars_rasteret.geo.turns import eastward_boxes
from polars_rasteret.grids.extents import bounds_of_grids
from polars_rasteret.pairing.geometry_columns import wkb_array
from polars_rasteret.pairing.record_boxes import bbox_meets, has_no_box
from polars_rasteret.pairing.stated_crs import geometry_crs
from polars_rasteret.plan.pairs import boxes_near
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DENSIFY = 84
"""A geometry in another CRS is cut into pieces of this fraction of its size before it is transformed."""


def intersects(lf: pl.LazyFrame, geometry_or_bounds: Any, crs: Any = None) -> pl.LazyFrame:
    """Keep the records whose footprint meets a geometry or a box.

    Parameters
    ----------
    lf
        A collection. Without ``bbox`` and ``geometry`` the footprint comes from the raster columns.
    geometry_or_bounds
        A shapely geometry, WKB, anything with ``__geo_interface__``, several of these in a list, Series or GeoDataFrame, or
        ``(minx, miny, maxx, maxy)``; minx > maxx is a box across the antimeridian.
    crs
        CRS of `geometry_or_bounds`. None: the one that a GeoDataFrame, GeoArrow metadata or EWKB state, else longitude and
        latitude.

    Returns
    -------
    LazyFrame
        The records that meet it; touching counts. Records without a place are left out.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> scenes = pr.testing.example_scenes()
    >>> intersects(scenes, (9.0, 45.1, 9.1, 45.2)).select(pl.len()).collect().item()
    2
    >>> intersects(scenes, (500_000, 4_999_900, 500_100, 5_000_000), crs=32632).select(pl.len()).collect().item()
    2
    >>> intersects(scenes, (20, 45, 21, 46)).select(pl.len()).collect().item()
    0
    """
    return intersecting(lf, lonlat_geometry(geometry_or_bounds, crs))


def intersecting(lf: pl.LazyFrame, geometry: Any) -> pl.LazyFrame:
    """Keep the records whose footprint meets a longitude/latitude geometry (split at the antimeridian)."""
    schema = lf.collect_schema()
    if is_bbox(schema.get("bbox")):
        lf = lf.filter(bbox_meets(geometry_bounds(np.array([geometry], dtype=object))) | has_no_box(lf))
    hit = _unused_name(schema.names())
    if schema.get("geometry") == pl.Binary:
        exact = pl.col("geometry").map_batches(_meets_wkb(geometry), return_dtype=pl.Boolean, is_elementwise=True)
    else:
        names = raster_columns(schema)
        if not names:
            raise UsageError(
                f"no geometry or raster column tells where the records are; there are {', '.join(schema.names())}"
            )
        exact = pl.struct(grid_expression(name) for name in names).map_batches(
            _meets_grids(geometry), return_dtype=pl.Boolean, is_elementwise=True
        )
    return lf.with_columns(exact.alias(hit)).filter(pl.col(hit)).drop(hit)


def lonlat_geometry(geometry_or_bounds: Any, crs: Any = None) -> Any:
    """Return a caller's geometry or box as a shapely geometry in longitude and latitude, split at the antimeridian.

    Raises
    ------
    UsageError
        When the value is no geometry or box, is empty, has no place in longitude and latitude, or states another CRS than `crs`.
    """
    if isinstance(crs, str) and crs == "native":
        raise UsageError("crs='native' has no meaning here: the records have different CRSs; say which one you pass")
    if _are_several(geometry_or_bounds):
        return union_of(geometry_or_bounds, crs)
    box = _box_of(geometry_or_bounds)
    geometry = None if box is not None else shapely_geometry(geometry_or_bounds)
    srid = 0 if geometry is None else int(shapely.get_srid(geometry))
    source = _agreed(crs, srid or None, "the geometry")
    lonlat = source in LONLAT_NAMES
    if box is not None:
        return _lonlat_box(box) if lonlat else _projected_box(box, source)
    if shapely.is_empty(geometry):
        raise UsageError("the geometry is empty, so no record can meet it")
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise UsageError("the geometry has a coordinate that is NaN or infinite; expected finite coordinates")
    if lonlat:
        west, south, east, north = shapely.bounds(geometry).tolist()
        if not (west >= -360 and east <= 360 and south >= -90 and north <= 90):
            raise UsageError(
                f"the geometry reaches over {west:g} {south:g} {east:g} {north:g}, which is no longitude and latitude; pass its "
                "crs="
            )
    return split_at_antimeridian(geometry) if lonlat else _projected(geometry, source)


def _agreed(passed: Any, stated: Any, what: str) -> str:
    """Return the CRS that was passed, else the stated one, else longitude and latitude. A passed and a stated CRS must agree."""
    if stated is None:
        return normalize_crs(LONLAT if passed is None else passed)
    crs = normalize_crs(stated)
    if passed is not None and not same_crs(normalize_crs(passed), crs):
        raise UsageError(f"crs={str(passed)[:80]!r} contradicts {what}, which says {crs[:80]}; leave crs out")
    return crs


def _are_several(value: Any) -> bool:
    """Return whether a value is several geometries, not one geometry or the four numbers of a box."""
    if isinstance(value, pl.Series) or (hasattr(value, "to_crs") and hasattr(value, "geometry")):
        return True
    if isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Sequence | np.ndarray):
        return False
    return len(value) > 0 and not any(isinstance(one, int | float | np.number) for one in value)


def _box_of(value: Any) -> tuple[float, float, float, float] | None:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
        return None
    if not len(value):
        raise UsageError("the list is empty; expected geometries, or four numbers (minx, miny, maxx, maxy)")
    if len(value) != 4 or not all(isinstance(side, int | float | np.number) for side in value):
        raise UsageError(f"bounds are {value!r}; expected four numbers (minx, miny, maxx, maxy)")
    west, south, east, north = (float(side) for side in value)
    if not all(math.isfinite(side) for side in (west, south, east, north)) or south > north:
        raise UsageError(f"bounds are {value!r}; expected finite (minx, miny, maxx, maxy) with miny <= maxy")
    return west, south, east, north


def _lonlat_box(box: tuple[float, float, float, float]) -> Any:
    west, south, east, north = box
    if south < -90 or north > 90 or west < -360 or east > 360:
        raise UsageError(
            f"bounds {box} are not longitude and latitude; say which crs they are in, or bring them to lon/lat order"
        )
    if east - west >= 360:
        west, east = -180.0, 180.0
    ((west, south, east, north),) = unwrap_bounds(np.array([(west, south, east, north)])).tolist()
    is_thin = west == east or south == north
    return split_at_antimeridian(_thin(west, south, east, north) if is_thin else shapely.box(west, south, east, north))


def _thin(west: float, south: float, east: float, north: float) -> Any:
    """Return a line or point for a box without width or height, which as a polygon would be invalid."""
    if west == east and south == north:
        return shapely.Point(west, south)
    return shapely.LineString([(west, south), (east, north)])


def _projected_box(box: tuple[float, float, float, float], source: str) -> Any:
    box = tuple(eastward_boxes(np.array([box]), source)[0].tolist())
    if box[0] == box[2] or box[1] == box[3]:
        return _projected(_thin(*box), source)
    x, y = densified_box(np.array([box]))
    lon, lat = transform_xy(source, LONLAT, x.ravel(), y.ravel())
    polygons, bounds = lonlat_rings(lon.reshape(1, -1), lat.reshape(1, -1))
    if np.isnan(bounds).any():
        # A box around the limb of the Earth holds what an image over it would.
        one = np.ones(1, np.int64)
        polygons = image_footprints([source], box_transforms(np.array([box])), one, one).geometry
    if polygons[0] is None:
        raise UsageError(f"bounds {box} in {source} reach beyond where that CRS is defined; pass smaller ones")
    return polygons[0]


def _projected(geometry: Any, source: str) -> Any:
    """Return a geometry in longitude and latitude, with edges that follow the projection."""
    west, south, east, north = shapely.bounds(geometry)
    size = max(east - west, north - south)
    if size > 0:
        # Adding points to a polygon that crosses itself would drop parts of it.
        geometry = shapely.segmentize(shapely.make_valid(geometry), size / _DENSIFY)

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        lon, lat = transform_xy(source, LONLAT, xy[:, 0], xy[:, 1])
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise UsageError(f"the geometry reaches beyond where {source} is defined; check its crs")
        return np.stack([lon, lat], axis=1)

    moved = shapely.transform(shapely.force_2d(geometry), move)
    west, _, east, _ = shapely.bounds(moved)
    if east - west <= 180:
        return moved
    # Longitudes jump at the antimeridian: lay the geometry around it, then split it there.
    around = shapely.transform(moved, lambda xy: np.stack([xy[:, 0] % 360, xy[:, 1]], axis=1))
    turned_west, _, turned_east, _ = shapely.bounds(around)
    return split_at_antimeridian(around) if turned_east - turned_west < east - west else moved


def union_of(geometries: Any, crs: Any = None) -> Any:
    """Return one longitude/latitude geometry that covers all geometries of a caller: one, a list, a GeoDataFrame, WKB.

    Raises
    ------
    UsageError
        When there is no geometry, one cannot be understood, or one states another CRS than `crs`.
    """
    if hasattr(geometries, "to_crs") and hasattr(geometries, "geometry"):
        # A GeoDataFrame or GeoSeries knows its CRS.
        if geometries.crs is not None:
            _agreed(crs, geometries.crs, "the GeoDataFrame")
            geometries, crs = geometries.to_crs(4326), None
        each = list(geometries.geometry)
    elif isinstance(geometries, shapely.Geometry | bytes | str | dict) or hasattr(geometries, "__geo_interface__"):
        each = [geometries]
    elif isinstance(geometries, pl.Series):
        if (stated := geometry_crs(geometries.dtype)) is not None:
            crs = _agreed(crs, stated, "the column")
        each = wkb_array(geometries, LONLAT if crs is None else normalize_crs(crs)).tolist()
    elif isinstance(geometries, Iterable):
        each = list(geometries)
    else:
        raise UsageError(
            f"geometries is a {type(geometries).__name__}; expected geometries, as shapely, WKB or GeoDataFrame"
        )
    known = [shapely_geometry(one) for one in each if one is not None]
    known = [lonlat_geometry(one, crs) for one in known if not shapely.is_empty(one)]
    if not known:
        raise UsageError("geometries holds no geometry")
    return known[0] if len(known) == 1 else shapely.GeometryCollection(known)


class _Meets:
    """Tests whether shapes meet one geometry, which is held as WKB so that a plan with this test can be pickled."""

    def __init__(self, wkb: bytes) -> None:
        self._wkb = wkb

    def _hits(self, shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
        geometry = shapely.from_wkb(self._wkb)
        parts = shapely.get_parts(geometry) if geometry.geom_type == "GeometryCollection" else np.array([geometry])
        hits = np.zeros(len(shapes), dtype=bool)
        if len(parts) == 1:
            shapely.prepare(parts[0])
            hits |= shapely.intersects(parts[0], shapes)
            return hits
        found = shapely.STRtree(parts).query(shapes, predicate="intersects")
        hits[found[0]] = True
        return hits


class _MeetsWkb(_Meets):
    def __call__(self, column: pl.Series) -> pl.Series:
        shapes = parsed(column.to_list())
        return pl.Series(column.name, self._hits(shapes), dtype=pl.Boolean)


class _MeetsGrids(_Meets):
    def __call__(self, column: pl.Series) -> pl.Series:
        hits = np.zeros(len(column), dtype=bool)
        area = cut_boxes(geometry_bounds(np.array([shapely.from_wkb(self._wkb)], dtype=object)))[0]
        for grids in column.struct.unnest().get_columns():
            boxes, owner = cut_boxes(bounds_of_grids(grids))
            # Outlines are made for the few whose bounds meet the geometry.
            near = np.unique(owner[boxes_near(area, boxes)])
            hits[near] |= self._hits(grid_footprints([grids.gather(near)])[0].geometry)
        return pl.Series(column.name, hits, dtype=pl.Boolean)


def _meets_wkb(geometry: Any) -> _MeetsWkb:
    return _MeetsWkb(shapely.to_wkb(geometry))


def _meets_grids(geometry: Any) -> _MeetsGrids:
    return _MeetsGrids(shapely.to_wkb(geometry))


def _unused_name(names: Sequence[str]) -> str:
    name = "_meets"
    while name in names:
        name += "_"
    return name
