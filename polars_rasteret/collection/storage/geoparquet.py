"""What is in the metadata of a part, beside its columns?

The ``geo`` key (GeoParquet 1.1), the Arrow schema that puts ``geoarrow.wkb`` on the geometry column, and our own key. No I/O.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.errors import FileFormatError
from polars_rasteret.fetch.hints import HINTS_KEY, written_hints
from polars_rasteret.geo.boxes import wrap_bounds
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.schema import TIME, raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from polars_rasteret.fetch.hints import Hint

OUR_KEY = "polars_rasteret"
_VERSION = 1
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


UNREAD = "__unread"
"""Name of a column that a frame of records may carry into a part: the files of each record that gave no raster."""
UNREAD_DTYPE = pl.List(
    pl.Struct(
        {
            "band": pl.String(),  # null: all bands of the file, under its own names
            "href": pl.String(),
            "band_index": pl.Int64(),
            "file_size": pl.Int64(),
            "etag": pl.String(),
            "last_modified": TIME,
        }
    )
)


def file_metadata(
    frame: pl.DataFrame,
    bounds: NDArray[np.float64],
    unread: pl.Series | None = None,
    hints: Mapping[str, Hint] | None = None,
) -> dict[str, str]:
    """Return the key-value metadata of a part.

    Parameters
    ----------
    frame
        Records with ``geometry`` (WKB) and ``bbox``.
    bounds
        The ``bbox`` of each row, NaN where null; shape (n, 4).
    unread
        Files of each row that could not be used, which a null raster does not name; dtype `UNREAD_DTYPE`.
    hints
        What is known of the places of the files.
    """
    geometries = parsed(frame["geometry"].to_list())
    present = geometries[~shapely.is_missing(geometries)]
    column: dict[str, Any] = {
        "encoding": "WKB",
        # CRS84 by omission, which is what GeoParquet prescribes for longitude and latitude.
        "geometry_types": sorted({str(name) for name in np.unique([one.geom_type for one in present])}),
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    total = total_bounds(bounds)
    if total is not None:
        column["bbox"] = list(total)
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    nothing = [name for name in raster_columns(frame.schema) if frame[name].null_count() == frame.height]
    return {
        "geo": json.dumps(geo),
        OUR_KEY: json.dumps({"version": _VERSION, "bands_without_values": nothing, "unread": _unread_rows(unread)}),
        **({HINTS_KEY: written_hints(hints)} if hints else {}),
    }


def some_hrefs(frame: pl.DataFrame, unread: pl.Series | None = None) -> list[str]:
    """Return hrefs of a frame of records, at least one of each place that its files lie in."""
    columns = [frame[name].struct.field("href").rename("href") for name in raster_columns(frame.schema)]
    if unread is not None:
        columns.append(unread.explode().struct.field("href").rename("href"))
    hrefs = pl.concat(columns).drop_nulls() if columns else pl.Series("href", [], dtype=pl.String)
    # Host, and the first segment of the path: no place is named by more.
    return hrefs.str.extract(r"^([A-Za-z][A-Za-z0-9+.\-]+://[^/?#]*/[^/?#]*/?)").drop_nulls().unique().sort().to_list()


def _unread_rows(unread: pl.Series | None) -> list[list[Any]]:
    if unread is None:
        return []
    told = pl.DataFrame({UNREAD: unread}).with_row_index("row").explode(UNREAD).drop_nulls().unnest(UNREAD)
    return [list(row) for row in told.with_columns(pl.col("last_modified").dt.timestamp("us")).iter_rows()]


def unread_files(metadata: Mapping[str, str], n_rows: int) -> pl.Series:
    """Return the files of each row that gave no raster, as `file_metadata` stored them.

    Raises
    ------
    FileFormatError
        When the metadata of the part says something else under our key.
    """
    rows: list[list[dict[str, Any]]] = [[] for _ in range(n_rows)]
    fields = ("band", "href", "band_index", "file_size", "etag", "last_modified")
    try:
        told = dict(json.loads(metadata.get(OUR_KEY, "{}")))
        for row, *values, modified in told.get("unread", ()):
            time = None if modified is None else _EPOCH + dt.timedelta(microseconds=modified)
            rows[range(n_rows).index(row)].append(dict(zip(fields, [*values, time], strict=True)))
        return pl.Series(UNREAD, [one or None for one in rows], dtype=UNREAD_DTYPE)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, pl.exceptions.PolarsError) as error:
        raise FileFormatError(
            f"the metadata key {OUR_KEY!r} was not written by polars_rasteret: {str(error)[:100]}. Read the collection, and "
            "write it anew with sink_collection."
        ) from error


def bands_without_values(metadata: Mapping[str, str]) -> set[str] | None:
    """Return the bands that are null in all rows of a part; None when the metadata does not tell."""
    try:
        told = json.loads(metadata[OUR_KEY])
        return set(told["bands_without_values"])
    except (KeyError, ValueError, TypeError, RecursionError):
        return None


def bounds_in(metadata: Mapping[str, str]) -> tuple[float, float, float, float]:
    """Return the bounds of all rows of a part of ours; NaN where no row has a place.

    Raises
    ------
    LookupError
        When the part does not tell.
    """
    try:
        if OUR_KEY not in metadata:
            raise LookupError("geo")
        geo = json.loads(metadata["geo"])
        west, south, east, north = geo["columns"][geo["primary_column"]].get("bbox", (np.nan,) * 4)
        return float(west), float(south), float(east), float(north)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LookupError("geo") from error


def arrow_schema(frame: pl.DataFrame) -> pa.Schema:
    """Return the Arrow schema of a frame with ``geoarrow.wkb`` on its geometry column.

    Without view types: other readers take the types from here, and pyarrow cannot filter views.
    """
    schema: pa.Schema = frame.head(0).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    if (index := schema.get_field_index("geometry")) < 0:
        return schema
    field = schema.field(index).with_metadata(
        {
            "ARROW:extension:name": "geoarrow.wkb",
            "ARROW:extension:metadata": json.dumps({"crs": "OGC:CRS84", "crs_type": "authority_code"}),
        }
    )
    return schema.set(index, field)


def total_bounds(bounds: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """Return the bounds of all rows together; None without any. xmin > xmax only where a row itself crosses the antimeridian.

    Parameters
    ----------
    bounds
        Shape (n, 4), NaN for rows without a place.
    """
    placed = bounds[~np.isnan(bounds).any(axis=1)]
    if not len(placed):
        return None
    crossing = placed[:, 0] > placed[:, 2]
    west, south, east, north = (
        float(placed[:, 0].min()),
        float(placed[:, 1].min()),
        float(placed[:, 2].max()),
        float(placed[:, 3].max()),
    )
    if not crossing.any():
        return west, south, east, north
    # The smallest stretch of longitude that holds all rows: everything but the widest gap between them.
    start = placed[:, 0] % 360
    stop = start + (placed[:, 2] - placed[:, 0] + 360 * crossing)
    order = np.argsort(start)
    start, reach = start[order], np.maximum.accumulate(stop[order])
    gap = np.append(start[1:], start[0] + 360) - reach
    widest = int(gap.argmax())
    if gap[widest] <= 0:
        return -180.0, south, 180.0, north
    first = start[(widest + 1) % len(start)]
    around = np.array([[first, south, reach[widest] + 360 * (reach[widest] < first), north]])
    west, _, east, _ = wrap_bounds(around)[0].tolist()
    return west, south, east, north
