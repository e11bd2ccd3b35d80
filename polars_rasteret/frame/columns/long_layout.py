"""How does the wide answer of ``sample_points`` become one row per point, record and band?

Columns and their order are those of the predecessor's long tables. Polars does the work, lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from polars_rasteret.errors import UsageError
from polars_rasteret.frame.columns.read_error import READ_ERROR
from polars_rasteret.geo.crs import LONLAT, NATIVE
from polars_rasteret.pairing.listed_places import as_lazy_frame
from polars_rasteret.pairing.stated_crs import srids_of
from polars_rasteret.pairing.targets import COMPUTED, points_of_geometry
from polars_rasteret.pixels.stacks import stack_dtype
from polars_rasteret.schema import numpy_dtype, polars_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.query.resolved import Resolved
    from polars_rasteret.frame.query.source import PairedSource
    from polars_rasteret.pairing.targets import TargetColumns

INDEX = "\0point"
_RASTER_CRS = "\0crs "
_FIXED = (
    "point_index",
    "point_x",
    "point_y",
    "point_crs",
    "record_id",
    "datetime",
    "collection",
    "band",
    "value",
    "raster_crs",
)
_AROUND = "neighbourhood_values"


def long_targets(points: Any, *, what: str) -> pl.LazyFrame:
    """Return the caller's rows with their row numbers; `what` names the rows in messages."""
    return as_lazy_frame(points, what=what).with_row_index(INDEX)


def long_records(records: pl.LazyFrame, bands: Sequence[str]) -> tuple[pl.LazyFrame, list[str]]:
    """Return the collection with the CRS of each band, and the names of the record columns in a long row."""
    known = records.collect_schema()
    columns = [name for name in ("id", "datetime", "collection") if name in known]
    crs = [pl.col(band).struct.field("crs").alias(_RASTER_CRS + band) for band in bands]
    return records.with_columns(crs), [*columns, *(_RASTER_CRS + band for band in bands)]


def long_layout(source: PairedSource) -> pl.LazyFrame:
    """Return the long form of a source whose frames were prepared with `long_targets` and `long_records`.

    Raises
    ------
    UsageError
        When a column of the caller has a name of the long form, or no dtype holds the values of all bands.
    """
    question, resolved = source.question, source.resolved
    bands = list(question.product.bands)
    if any(name.startswith(COMPUTED) for name in resolved.where.names):
        raise UsageError(
            f"{question.verb}: layout='long' tells the coordinates; make them columns of your frame, and name these"
        )
    output = {column: name for name, column in resolved.records.items()}
    shown = {natural: name for name, natural in resolved.values.items()}
    has_around = any(name.endswith("_neighbourhood") for name in shown)
    kept = [name for name in resolved.targets if name not in (INDEX, resolved.where.geometry)]
    taken = [name for name in kept if name in (*_FIXED, _AROUND if has_around else "", READ_ERROR)]
    if taken:
        raise UsageError(
            f"{question.verb}: layout='long' gives columns of its own named {', '.join(taken)}; rename these in your frame"
        )
    dtype = stack_dtype(
        {band: numpy_dtype(resolved.schema[shown[band]]) for band in bands},
        what=f"{question.verb}: layout='long'",
        instead="sample these apart",
    )
    of_bands = []
    for band in bands:
        fields = [
            pl.lit(band).alias("band"),
            _column(shown[band]).cast(polars_dtype(dtype)).alias("value"),
            _epsg(_column(output[_RASTER_CRS + band])).alias("raster_crs"),
        ]
        if has_around:
            around = _column(shown[f"{band}_neighbourhood"]).cast(pl.List(pl.List(pl.Float64)))
            fields.append(around.list.eval(pl.element().explode()).alias(_AROUND))
        of_bands.append(pl.struct(fields))
    x, y = _coordinates(resolved)
    wide = source.scan().select(
        _column(INDEX).cast(pl.Int64).alias("point_index"),
        x.cast(pl.Float64).alias("point_x"),
        y.cast(pl.Float64).alias("point_y"),
        _point_crs(resolved.where).alias("point_crs"),
        _record_column(output, "id", resolved).cast(pl.String).alias("record_id"),
        _naive(_record_column(output, "datetime", resolved), resolved).alias("datetime"),
        _record_column(output, "collection", resolved).cast(pl.String).alias("collection"),
        pl.concat_list(of_bands).alias("\0bands"),
        *[_column(name) for name in kept],
        *([_column(shown[READ_ERROR])] if READ_ERROR in shown else []),
    )
    return wide.explode("\0bands").select(
        cs.by_name(*_FIXED[:7]),
        pl.col("\0bands").struct.field("band"),
        pl.col("\0bands").struct.field("value"),
        pl.col("\0bands").struct.field("raster_crs"),
        *([pl.col("\0bands").struct.field(_AROUND)] if has_around else []),
        *[_column(name) for name in kept],
        *([_column(shown[READ_ERROR])] if READ_ERROR in shown else []),
    )


def _column(name: str) -> pl.Expr:
    return cs.by_name(name).as_expr()  # a name may look like a pattern


def _record_column(output: dict[str, str], column: str, resolved: Resolved) -> pl.Expr:
    return _column(output[column]) if column in resolved.record_schema else pl.lit(None)


def _naive(time: pl.Expr, resolved: Resolved) -> pl.Expr:
    dtype = resolved.record_schema.get("datetime")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        time = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return time.cast(pl.Datetime("us"))


def _epsg(crs: pl.Expr) -> pl.Expr:
    """Return the number n of ``EPSG:n``; null for other CRSs."""
    return crs.str.strip_prefix("EPSG:").cast(pl.Int32, strict=False)


def _point_crs(where: TargetColumns) -> pl.Expr:
    """Return the EPSG number of the points' CRS; null for ``"native"`` and for a CRS without a number."""
    if where.crs is None:
        assert where.geometry is not None
        stated = _column(where.geometry).map_batches(srids_of, return_dtype=pl.Int32, is_elementwise=True)
        return pl.when(stated != 0).then(stated)
    is_code = where.crs != NATIVE and where.crs.startswith("EPSG:")
    return pl.lit(int(where.crs.removeprefix("EPSG:")) if is_code else None, dtype=pl.Int32)


def _coordinates(resolved: Resolved) -> tuple[pl.Expr, pl.Expr]:
    where = resolved.where
    if where.geometry is None:
        assert where.x is not None
        assert where.y is not None
        return _column(where.x), _column(where.y)
    crs = where.crs

    def xy(geometry: pl.Series) -> pl.Series:
        points = points_of_geometry(geometry, LONLAT if crs is None else crs)  # as they are: nothing is moved
        return pl.DataFrame({"x": points.x, "y": points.y}).fill_nan(None).to_struct(geometry.name)

    dtype = pl.Struct({"x": pl.Float64(), "y": pl.Float64()})
    pair = _column(where.geometry).map_batches(xy, return_dtype=dtype, is_elementwise=True)
    return pair.struct.field("x"), pair.struct.field("y")
