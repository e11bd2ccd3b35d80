"""Which columns has a collection of rasteret here, and how are they made of its own?

Frames in, frames out; nothing is read. Every column is made row by row, so filters and limits sink below, and raster values are
made only for rows and bands that a query keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.rasteret_format.band_columns import SUFFIX, asset_fields, bands_of
from polars_rasteret.rasteret_format.raster_values import USER_DEFINED, RasterValues
from polars_rasteret.schema import BBOX, TIME, raster_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars_rasteret.rasteret_format.places_of_files import FilePlaces

Columns = dict[str, pl.DataType]

_TIMES = ("datetime", "start_datetime", "end_datetime")
UNKNOWN = pl.UInt8()
"""Pixel dtype of a band that no record has."""


def scanned_schema(schema: Mapping[str, pl.DataType]) -> Columns:
    """Return the schema in which Parquet is scanned: naive times become UTC inside the scan, so that filters skip rows."""
    return {name: TIME if _is_time(name, dtype) else dtype for name, dtype in schema.items()}


def own_schema(schema: Mapping[str, pl.DataType], pixels: Mapping[str, pl.DataType | None]) -> Columns:
    """Return the columns of a table of rasteret's here.

    Parameters
    ----------
    schema
        Its own columns.
    pixels
        Pixel dtype of each band; None for a band that no record has.
    """
    return dict(own_columns(schema, pixels, None)[0])


def own_records(
    lf: pl.LazyFrame, schema: Mapping[str, pl.DataType], pixels: Mapping[str, pl.DataType | None], places: FilePlaces
) -> pl.LazyFrame:
    """Return the records of a table of rasteret's, with a raster column per band.

    Parameters
    ----------
    lf, schema
        The table as it was scanned, and its schema.
    pixels
        Pixel dtype of each band, as in `own_schema`.
    places
        Where relative hrefs lead.
    """
    return lf.select(expr.alias(name) for name, expr in own_columns(schema, pixels, places)[1].items())


def own_columns(
    schema: Mapping[str, pl.DataType], pixels: Mapping[str, pl.DataType | None], places: FilePlaces | None
) -> tuple[Columns, dict[str, pl.Expr]]:
    """Return the dtype of each column, and (with `places`) the expression that makes it; columns of a record come first."""
    bands = bands_of(schema)
    dtypes: Columns = {}
    made: dict[str, pl.Expr] = {}

    def put(name: str, dtype: pl.DataType, expr: pl.Expr) -> None:
        dtypes[name], made[name] = dtype, expr

    put("id", pl.String(), _cast("id", schema.get("id"), pl.String()))
    for name in _TIMES:
        if name in schema:
            put(name, TIME, _time(pl.col(name), schema[name]))
    when = schema.get("datetime")
    if when is not None and when.is_integer():
        put("start_datetime", TIME, _new_year(pl.col("datetime")))
        put("end_datetime", TIME, _new_year(pl.col("datetime") + 1).dt.offset_by("-1us"))
    if "geometry" in schema:
        put("geometry", pl.Binary(), _cast("geometry", schema["geometry"], pl.Binary()))
    if isinstance(schema.get("bbox"), pl.Struct):
        put("bbox", BBOX, _cast("bbox", schema["bbox"], BBOX))
    if "collection" in schema:
        put("collection", pl.String(), _cast("collection", schema["collection"], pl.String()))
    code, epsg = _crs(schema)
    put("proj:code", pl.String(), code)
    put("proj:epsg", pl.Int32(), epsg)
    gone = {*made, "assets", "crs", *(band + SUFFIX for band in bands)}
    for name, dtype in schema.items():
        if name not in gone and name not in bands:
            put(name, dtype, pl.col(name))
    for band in bands:
        dtype = pixels.get(band) or UNKNOWN
        put(band, raster_dtype(dtype), pl.lit(None) if places is None else _raster(schema, band, dtype, places, code))
    return dtypes, made


def _raster(
    schema: Mapping[str, pl.DataType], band: str, dtype: pl.DataType, places: FilePlaces, code: pl.Expr
) -> pl.Expr:
    asset = pl.col("assets").struct.field(band)
    has_index = "band_index" in asset_fields(schema, band)
    return pl.struct(
        href=asset.struct.field("href"),
        band_index=asset.struct.field("band_index") if has_index else pl.lit(None, pl.Int64),
        metadata=pl.col(band + SUFFIX),
        crs=code,
    ).map_batches(RasterValues(pixel_dtype=dtype, places=places), return_dtype=raster_dtype(dtype), is_elementwise=True)


def _crs(schema: Mapping[str, pl.DataType]) -> tuple[pl.Expr, pl.Expr]:
    """Return the CRS as text, and the EPSG code: from ``crs``, else from ``proj:epsg``, which may be text, too."""
    codes = [pl.col("crs")] if schema.get("crs") == pl.String else []
    dtype = schema.get("proj:epsg")
    if dtype == pl.String:
        codes.append(pl.col("proj:epsg"))
    elif dtype is not None and dtype.is_numeric():
        codes.append("EPSG:" + pl.col("proj:epsg").cast(pl.Int64).cast(pl.String))
    if not codes:
        return pl.lit(None, pl.String), pl.lit(None, pl.Int32)
    code = codes[0] if len(codes) == 1 else pl.coalesce(codes)
    code = pl.when(code != f"EPSG:{USER_DEFINED}").then(code)
    return code, code.str.extract(r"^(?i)EPSG:(\d{1,9})$").cast(pl.Int32)


def _is_time(name: str, dtype: pl.DataType) -> bool:
    return name in _TIMES and isinstance(dtype, pl.Datetime)


def _time(expr: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == TIME:
        return expr
    if dtype.is_integer():
        return _new_year(expr)
    if dtype == pl.String:
        return expr.str.to_datetime(time_unit="us", time_zone="UTC")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return expr.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return expr.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")  # naive times of rasteret are UTC


def _new_year(year: pl.Expr) -> pl.Expr:
    return pl.datetime(year, 1, 1, time_unit="us", time_zone="UTC")


def _cast(name: str, dtype: pl.DataType | None, to: pl.DataType) -> pl.Expr:
    if dtype is None:
        return pl.lit(None, to)
    return pl.col(name) if dtype == to else pl.col(name).cast(to)
