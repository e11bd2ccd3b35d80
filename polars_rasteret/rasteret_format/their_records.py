"""Which table does rasteret read the records of this package from?

Frames in, Arrow tables out; nothing is written. What rasteret would not read right is null there, and counted by reason.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import shapely

from polars_rasteret.engine import unpacked
from polars_rasteret.errors import FileFormatError
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.rasteret_format.band_columns import MARK, SUFFIX
from polars_rasteret.rasteret_format.their_bands import epsg_of, metadata_type, their_metadata, why_unread
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

_OURS = ("proj:code", "indexed_at", "header_error")
"""Record columns that rasteret has no use for."""
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def their_times(frame: pl.DataFrame) -> pl.Series:
    """Return the time of each record, in UTC without a zone: its instant, else its begin."""
    names = [name for name in ("datetime", "start_datetime") if name in frame.columns]
    if not names:
        return pl.Series("datetime", [None] * frame.height, dtype=pl.Datetime("us"))
    return frame.select(_naive(pl.coalesce(names)).alias("datetime")).to_series()


def their_table(frame: pl.DataFrame, reasons: Counter[str]) -> pa.Table:
    """Return records as a table of rasteret.

    Parameters
    ----------
    frame
        Records with ``geometry``, ``bbox`` and raster columns, none of which has a borrowed table if its header can be read.
    reasons
        Number of rasters that are null in the table although they are there, by reason; counted up here.
    """
    import pyarrow as pa

    bands = raster_columns(frame.schema)
    rows = [frame[band].to_list() for band in bands]
    codes = [_record_code(values) for values in zip(*rows, strict=True)]
    columns: dict[str, Any] = {
        "id": _arrow(frame["id"].cast(pl.String), pa.string()),
        "datetime": _arrow(their_times(frame), pa.timestamp("us")),
        "geometry": pa.array(
            [None if one is None else _flat(one) for one in parsed(frame["geometry"].to_list())], pa.binary()
        ),
        "bbox": pa.array(
            [_box(one) for one in frame["bbox"].to_list()], pa.struct([(side, pa.float64()) for side in _SIDES])
        ),
        "assets": _assets(bands, rows),
        "proj:epsg": pa.array(codes, pa.int32()),
        "crs": pa.array([None if code is None else f"EPSG:{code}" for code in codes], pa.string()),
    }
    for band, values in zip(bands, rows, strict=True):
        known = [_known(value, code, reasons) for value, code in zip(values, codes, strict=True)]
        columns[band + SUFFIX] = pa.array(known, metadata_type())
    others = frame.drop([*columns.keys() & set(frame.columns), *bands, *_OURS], strict=False)
    times = [
        name for name, dtype in others.schema.items() if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC"
    ]
    for column in others.with_columns(_naive(pl.col(name)) for name in times):
        columns[column.name] = column.to_arrow(compat_level=pl.CompatLevel.oldest())
    return pa.table(columns)


def their_file_metadata(table: pa.Table, *, name: str, description: str, source: str) -> dict[str, str]:
    """Return the key-value metadata of a file of rasteret.

    Parameters
    ----------
    table
        Records of the whole collection.
    name, description, source
        What the collection says of itself.
    """
    import pyarrow.compute as pc

    kinds = sorted({one.geom_type for one in parsed(table["geometry"].to_pylist()) if one is not None})
    ends = pc.min_max(table["datetime"]).as_py()
    span = "" if ends["min"] is None else f"{ends['min'].date()},{ends['max'].date()}"
    covering = {"bbox": {side: ["bbox", side] for side in _SIDES}}
    geometry = {"encoding": "WKB", "geometry_types": kinds, "covering": covering}
    return {
        "description": description,
        "created": dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(),
        "name": name,
        "data_source": source,
        "date_range": span,
        MARK: "1",
        "geo": json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}),
    }


def _known(value: Mapping[str, Any] | None, code: int | None, reasons: Counter[str]) -> dict[str, Any] | None:
    if value is None or value["href"] is None or value["tiles"] is None:
        return None
    try:
        tiles = unpacked(value["tiles"])
    except FileFormatError:
        reasons["a damaged tile table"] += 1
        return None
    why = why_unread(value, tiles)
    if why is None and epsg_of(value["crs"]) != code:
        why = "another CRS than other bands of the record"
    if why is None:
        return their_metadata(value, tiles)
    reasons[why] += 1
    return None


def _record_code(values: Sequence[Mapping[str, Any] | None]) -> int | None:
    """Return the EPSG code of a record: that of the first band that has one."""
    codes = (epsg_of(value["crs"]) for value in values if value is not None)
    return next((code for code in codes if code is not None), None)


def _assets(bands: Sequence[str], rows: Sequence[Sequence[Mapping[str, Any] | None]]) -> pa.Array:
    import pyarrow as pa

    has_index = any(value is not None and value["band_index"] for values in rows for value in values)
    asset = pa.struct([("href", pa.string()), *([("band_index", pa.int64())] if has_index else [])])

    def told(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        return {"href": value["href"], **({"band_index": value["band_index"]} if has_index else {})}

    assets = [dict(zip(bands, map(told, values), strict=True)) for values in zip(*rows, strict=True)]
    return pa.array(assets, pa.struct([(band, asset) for band in bands]))


def _box(box: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return a box as rasteret compares it: one across the antimeridian goes all around."""
    if box is None or any(box[side] is None for side in _SIDES):
        return None
    return {**box, "xmin": -180.0, "xmax": 180.0} if box["xmin"] > box["xmax"] else dict(box)


def _flat(geometry: shapely.Geometry) -> bytes:
    wkb: bytes = shapely.to_wkb(shapely.force_2d(geometry), output_dimension=2)
    return wkb


def _naive(expr: pl.Expr) -> pl.Expr:
    return expr.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _arrow(series: pl.Series, dtype: pa.DataType) -> pa.Array:
    return series.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(dtype)
