"""Where are the caller's points and areas, and in which CRS?

Coordinate columns or a geometry column become `Points` or `Areas`. How anything of the caller becomes a frame is told elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.bounds_cache import cached_bounds
from polars_rasteret.geo.crs import LONLAT
from polars_rasteret.geo.footprints import box_transforms
from polars_rasteret.geo.geometry import are_points, points_of
from polars_rasteret.geo.points import Points
from polars_rasteret.pairing.geometry_columns import BBOX_FIELDS, float_array, is_bbox_dtype, wkb_array
from polars_rasteret.pairing.stated_crs import crs_of_geometry, geometry_crs, may_hold_srids, passed_crs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

COORDINATE_PAIRS = (("x", "y"), ("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"))
"""Names of coordinate columns that are recognised, in the order of search."""

Targets = Points | Areas
"""Rows of the caller with a place, as points or by their outline."""

COMPUTED = "\0computed "
"""Prefix of the columns that hold values of the caller's expressions."""


def named_places(
    frame: pl.LazyFrame, places: Mapping[str, Any], *, what: str
) -> tuple[pl.LazyFrame, dict[str, str | None]]:
    """Return the names of coordinate columns that are given as names, columns, selectors or expressions.

    Returns
    -------
    (frame, names)
        The frame has the values of expressions in columns whose names begin with `COMPUTED`.

    Raises
    ------
    UsageError
        When an argument is something else, or does not give exactly one column.
    """
    names: dict[str, str | None] = {}
    for word, value in places.items():
        if value is None or isinstance(value, str):
            names[word] = value
            continue
        if not isinstance(value, pl.Expr):
            raise UsageError(f"{what}: {word}={value!r}; expected the name of a column, or an expression")
        try:
            made = list(frame.select(value).collect_schema())
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"{what}: {word}={str(value)[:120]} cannot be evaluated: {first_line(error)}") from error
        if len(made) != 1:
            raise UsageError(f"{what}: {word}={str(value)[:120]} gives the columns {made}; expected one")
        names[word] = made[0]
        if not value.meta.is_column_selection():
            names[word] = COMPUTED + word
            frame = frame.with_columns(value.alias(COMPUTED + word))
    return frame, names


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumns:
    """Columns of the caller's frame that hold the places of its rows, and their CRS."""

    x: str | None = None
    y: str | None = None
    geometry: str | None = None
    crs: str | None
    """Normalized CRS, or ``"native"``; None: the geometries are EWKB with SRIDs."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of these columns."""
        return tuple(name for name in (self.x, self.y, self.geometry) if name is not None)


def target_columns(
    schema: Mapping[str, pl.DataType], *, x: str | None, y: str | None, geometry: str | None, crs: Any, what: str
) -> TargetColumns:
    """Return the coordinate or geometry columns of the caller's frame.

    Raises
    ------
    UsageError
        When no columns or several are found, named columns are missing, or the CRS is not known or contradicts itself.
    """
    if geometry is not None and (x is not None or y is not None):
        raise UsageError(f"{what}: both geometry={geometry!r} and x/y are given; pass one of them")
    if (x is None) != (y is None):
        raise UsageError(f"{what}: only one of x and y is given (x={x!r}, y={y!r}); pass both, or geometry=")
    if geometry is None and x is None:
        x, y, geometry = _inferred(schema, what)
    for name in (x, y, geometry):
        if name is not None and name not in schema:
            raise UsageError(f"{what}: there is no column {name!r}; the frame has {', '.join(schema)}")
    if geometry is None:
        return TargetColumns(x=x, y=y, crs=passed_crs(crs, what=what))
    _check_geometry_dtype(geometry, schema[geometry], what)
    return TargetColumns(geometry=geometry, crs=_resolved_crs(geometry, schema[geometry], crs, what))


def _resolved_crs(name: str, dtype: pl.DataType, crs: Any, what: str) -> str | None:
    """Return the CRS of a geometry column from the argument and the dtype; None: the values may state the CRS."""
    if may_hold_srids(dtype) and crs is None:
        return geometry_crs(dtype)
    return crs_of_geometry(
        pl.Series(name, [], dtype=dtype), None if crs is None else passed_crs(crs, what=what), what=what
    )


def _inferred(schema: Mapping[str, pl.DataType], what: str) -> tuple[str | None, str | None, str | None]:
    """Return the only columns of a frame that can hold the places of its rows: coordinates or a geometry."""
    pairs = [(x, y) for x, y in COORDINATE_PAIRS if x in schema and y in schema]
    geoarrow = [name for name, dtype in schema.items() if _is_geoarrow(dtype)]
    # Of several geometry columns the one of that name is the active one, as in GeoPandas.
    geometries = ["geometry"] if "geometry" in schema and _is_geometry(schema["geometry"]) else geoarrow
    if len(pairs) + len(geometries) == 1:
        return (*pairs[0], None) if pairs else (None, None, geometries[0])
    if not pairs and not geometries:
        if "geometry" in schema:
            return None, None, "geometry"  # its dtype is refused with the reason
        known = ", ".join(f"{x}/{y}" for x, y in COORDINATE_PAIRS)
        raise UsageError(
            f"{what}: no coordinates are found; expected columns {known} or a geometry column, the frame has "
            f"{', '.join(schema)}; name them: x=..., y=... or geometry=..."
        )
    found = [f"x={x!r}, y={y!r}" for x, y in pairs] + [f"geometry={name!r}" for name in geometries]
    raise UsageError(f"{what}: coordinates are found in several places; say which you mean: {', or '.join(found)}")


def _is_geoarrow(dtype: Any) -> bool:
    return isinstance(dtype, pl.BaseExtension) and dtype.ext_name().startswith("geoarrow.")


def _is_geometry(dtype: Any) -> bool:
    return _is_geoarrow(dtype) or dtype == pl.Binary or is_bbox_dtype(dtype)


def _check_geometry_dtype(name: str, dtype: pl.DataType, what: str) -> None:
    if not _is_geometry(dtype):
        raise UsageError(
            f"{what}: geometry column {name!r} is {dtype}; expected WKB or EWKB (Binary), a geoarrow extension type, or a bbox "
            f"struct ({', '.join(BBOX_FIELDS[0])})"
        )


def points_of_columns(x: pl.Series, y: pl.Series, crs: str) -> Points:
    """Return points from two coordinate columns."""
    x, y = (one.alias(one.name.removeprefix(COMPUTED)) for one in (x, y))
    return Points(float_array(x), float_array(y), crs)


def points_of_geometry(geometry: pl.Series, crs: str) -> Points:
    """Return points from a column of point geometries."""
    storage = _native_points(geometry)
    if storage is not None:
        return Points(*storage, crs)
    return Points(*points_of(wkb_array(geometry, crs)), crs)


def _native_points(geometry: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    dtype = geometry.dtype
    if not (isinstance(dtype, pl.BaseExtension) and dtype.ext_name() == "geoarrow.point"):
        return None
    storage = geometry.ext.storage()
    if isinstance(storage.dtype, pl.Struct):
        return float_array(storage.struct.field("x")), float_array(storage.struct.field("y"))
    if isinstance(storage.dtype, pl.Array):
        return float_array(storage.arr.get(0)), float_array(storage.arr.get(1))
    return None


def areas_of_geometry(geometry: pl.Series, crs: str) -> Areas:
    """Return areas from a geometry or bbox column."""
    return Areas(wkb_array(geometry, crs), crs)


def targets_of(frame: pl.DataFrame, columns: TargetColumns, *, as_points: bool | None, what: str) -> Points | Areas:
    """Return the targets of a collected frame.

    Parameters
    ----------
    frame
        Collected frame with these columns.
    columns
        Columns with the places of the rows.
    as_points
        True: every target must be a point. False: geometries are areas (coordinate columns are still points). None: points when
        all geometries are points.
    what
        Name of the verb, for messages.
    """
    if columns.geometry is None:
        return points_of_columns(frame[columns.x], frame[columns.y], columns.crs)  # type: ignore[index, arg-type]  # all are set
    geometry = frame[columns.geometry]
    return targets_of_geometry(geometry, crs_of_geometry(geometry, columns.crs, what=what), as_points=as_points)


def targets_of_geometry(geometry: pl.Series, crs: str, *, as_points: bool | None) -> Points | Areas:
    """Return the targets of a geometry column; `as_points` as in `targets_of`."""
    if as_points is None:
        as_points = _are_points(geometry, crs)
    return points_of_geometry(geometry, crs) if as_points else areas_of_geometry(geometry, crs)


def _are_points(geometry: pl.Series, crs: str) -> bool:
    return _native_points(geometry) is not None or bool(are_points(wkb_array(geometry, crs)).all())


def lonlat_bounds(targets: Points | Areas) -> NDArray[np.float64]:
    """Return ``minx, miny, maxx, maxy`` of each target in longitude and latitude, shape (n, 4); not finite without a place.

    Bounds are unwrapped: longitudes may lie beyond 180. `geo.boxes.cut_boxes` cuts them at the antimeridian.
    """
    if isinstance(targets, Areas):
        with np.errstate(invalid="ignore"):  # of infinities: what is not on the Earth
            bounds = targets.bounds_in(LONLAT)
        # An area whose outline leaves the Earth may hold some of it, as an image does.
        beyond = np.flatnonzero(~np.isfinite(bounds).all(axis=1) & np.isfinite(targets.bounds).all(axis=1))
        if len(beyond):
            one = np.ones(len(beyond), np.int64)
            bounds[beyond] = cached_bounds(
                [targets.crs] * len(beyond), box_transforms(targets.bounds[beyond]), one, one
            )
        bounds[targets.may_fold] = (-180.0, -90.0, 180.0, 90.0)
        return bounds
    x, y = targets.in_crs(LONLAT, np.arange(len(targets), dtype=np.int64))
    return np.stack([x, y, x, y], axis=1)
