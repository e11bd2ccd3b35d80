"""Where are the caller's points and areas, and in which CRS?

Any kind of table becomes a LazyFrame, and coordinate columns or a geometry column become `Points` or `Areas`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.arguments import first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.antimeridian import eastward_boxes
from polars_rasteret.geo.areas import Areas
from polars_rasteret.geo.bounds_cache import cached_bounds
from polars_rasteret.geo.crs import LONLAT
from polars_rasteret.geo.footprints import box_transforms
from polars_rasteret.geo.geometry import are_points, points_of
from polars_rasteret.geo.points import Points
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

BBOX_FIELDS = (("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy"))


def as_lazy_frame(data: Any, *, what: str) -> pl.LazyFrame:
    """Return the LazyFrame of a table in any of the accepted forms.

    Parameters
    ----------
    data
        A LazyFrame, DataFrame, GeoDataFrame (through ``to_arrow()``), anything with ``__arrow_c_stream__``, or a list
        of shapely geometries (one column ``geometry``).
    what
        Name of the argument, for messages.
    """
    if isinstance(data, pl.LazyFrame):
        return data
    if isinstance(data, pl.DataFrame):
        return data.lazy()
    if hasattr(data, "to_frame") and hasattr(data, "geometry") and not hasattr(data, "columns"):  # a GeoSeries
        data = data.to_frame("geometry")
    if hasattr(data, "to_arrow") and hasattr(data, "geometry"):  # a GeoDataFrame: its own stream drops the CRS
        return pl.DataFrame(data.to_arrow(index=False)).lazy()
    if hasattr(data, "__arrow_c_stream__"):
        return pl.DataFrame(data).lazy()
    if isinstance(data, shapely.Geometry):
        data = [data]
    if isinstance(data, Sequence | np.ndarray) and not isinstance(data, str | bytes):
        geometries = list(data)
        if all(one is None or isinstance(one, shapely.Geometry) for one in geometries):
            wkb = [None if one is None else shapely.to_wkb(one, include_srid=True) for one in geometries]
            return pl.LazyFrame({"geometry": pl.Series(wkb, dtype=pl.Binary)})
    raise UsageError(
        f"{what} is a {type(data).__name__}; expected a LazyFrame, a DataFrame, a GeoDataFrame, an Arrow table, or a list of "
        "shapely geometries"
    )


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
        if dtype.ext_storage() == pl.Binary:
            series = series.ext.storage()
        else:
            import geoarrow.pyarrow as ga  # registers the extension types with Arrow

            try:
                series = pl.Series(series.name, ga.as_wkb(series.to_arrow()).storage)
            except RuntimeError as error:
                raise UsageError(
                    f"geometry column {series.name!r} ({dtype.ext_name()}) holds something that is no geometry: {error}"
                ) from error
    elif is_bbox_dtype(dtype):
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
    finite = np.isfinite(bounds).all(axis=1)
    boxes[finite] = shapely.box(*eastward_boxes(bounds[finite], crs).T)
    return boxes


def float_array(series: pl.Series) -> NDArray[np.float64]:
    """Return numbers as float64, NaN where null."""
    series = series.alias(series.name.removeprefix(COMPUTED))
    try:
        numbers = series.cast(pl.Float64)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"coordinate column {series.name!r} is {series.dtype}; expected numbers") from error
    return numbers.to_numpy()


def points_of_columns(x: pl.Series, y: pl.Series, crs: str) -> Points:
    """Return points from two coordinate columns."""
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
        return bounds
    x, y = targets.in_crs(LONLAT, np.arange(len(targets), dtype=np.int64))
    return np.stack([x, y, x, y], axis=1)
