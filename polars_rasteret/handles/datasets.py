"""How does one answer of a handle become an xarray Dataset?

xarray is needed by callers of this module only.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import masking_value
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import is_geographic
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    import xarray

    from polars_rasteret.handles.record_pixels import RecordPixels


def dataset_of(found: RecordPixels, row: int, *, masked: bool, record: dict[str, Any]) -> xarray.Dataset:
    """Return one answer as a Dataset: a variable per band on ``(y, x)``, ``spatial_ref``, and the record as coordinates.

    Parameters
    ----------
    found, row
        Pixels of a record, and the index of the answer.
    masked
        Whether null pixels become NaN, in Float32; else values are as in the file, and ``_FillValue`` is an attribute.
    record
        Columns ``id`` and ``datetime`` of the record.

    Raises
    ------
    UsageError
        When the grid is rotated, so that pixels have no x and y of their own.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise UsageError("xarray is not installed; install it: pip install xarray") from error
    grids = found.grids
    a, b, c, d, e, f = grids.transform[row].tolist()
    if b or d:
        raise UsageError("as_='xarray': the grid is rotated, so pixels have no x and y of their own; pass target_crs=")
    height, width, crs = int(grids.height[row]), int(grids.width[row]), grids.crs[row]
    variables: dict[str, Any] = {}
    for at, band in enumerate(found.bands):
        values = found.band_values(row, at)
        attributes: dict[str, Any] = {}
        encoding: dict[str, Any] = {"grid_mapping": "spatial_ref"}
        reference = band.rows.column.references[int(band.rows.reference_id[row])]
        nodata = None if band.rows.unscale else masking_value(reference.tiles, reference.nodata)
        if masked:
            values = np.where(found.valid(row)[at], values, np.float32("nan")).astype(np.float32, copy=False)
            encoding["_FillValue"] = np.float32("nan")
        elif nodata is not None:
            attributes["_FillValue"] = nodata
        variables[band.rows.name] = xr.Variable(("y", "x"), values, attributes, encoding)
    transform = " ".join(repr(one) for one in (c, a, b, f, d, e))
    coordinates: dict[str, Any] = {
        "spatial_ref": ((), 0, {**_crs_attributes(crs), "GeoTransform": transform}),
        "y": ("y", f + e * (np.arange(height) + 0.5), _axis_attributes(crs, "y")),
        "x": ("x", c + a * (np.arange(width) + 0.5), _axis_attributes(crs, "x")),
    }
    if (time := record.get("datetime")) is not None:
        naive = time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)
        coordinates["time"] = ((), np.datetime64(naive, "us"), {"standard_name": "time"})
    if record.get("id") is not None:
        coordinates["record_id"] = ((), np.array(record["id"], dtype=object))
    return xr.Dataset(variables, coordinates)


def _crs_attributes(crs: str | None) -> dict[str, Any]:
    """Return the attributes of ``spatial_ref``: those of CF, and ``crs_wkt``, which rioxarray and odc-geo read."""
    if crs is None:
        return {}

    def attributes() -> dict[str, Any]:
        import pyproj

        return dict(pyproj.CRS.from_user_input(crs).to_cf())

    return on_proj_thread(attributes)


def _axis_attributes(crs: str | None, axis: str) -> dict[str, str]:
    if crs is None:
        return {"axis": axis.upper()}
    if is_geographic(crs):
        name, unit = ("longitude", "degrees_east") if axis == "x" else ("latitude", "degrees_north")
        return {"axis": axis.upper(), "standard_name": name, "units": unit}
    return {"axis": axis.upper(), "standard_name": f"projection_{axis}_coordinate"}
