"""How does one answer of a handle become an xarray Dataset?

xarray is needed by callers of this module only.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import masking_value
from polars_rasteret.cubes.cf_attributes import axis_attributes, spatial_ref_attributes
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    import xarray

    from polars_rasteret.handles.record_pixels import RecordPixels


_NEVER_NULL = {"_FillValue": None}
"""Encoding of coordinates: xarray would write a fill value, which comes back as an attribute."""


def dataset_of(found: RecordPixels, row: int, *, masked: bool, record: dict[str, Any]) -> xarray.Dataset:
    """Return one answer as a Dataset: a variable per band on ``(y, x)``, ``spatial_ref``, and the record as coordinates.

    Parameters
    ----------
    found, row
        Pixels of a record, and the index of the answer.
    masked
        Whether null pixels become NaN, in Float32 or Float64; else values are as in the file, and ``_FillValue`` is an attribute.
    record
        Columns ``id`` and ``datetime`` of the record.

    Raises
    ------
    UsageError
        When the grid is rotated, so that pixels have no x and y of their own.
    """
    import xarray as xr  # here: it takes long to import, and other answers of a handle do not need it

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
            # Float32 holds every value of 16 bits; wider ones become Float64.
            dtype = np.result_type(values.dtype, np.float32)
            values = np.where(found.valid(row)[at], values.astype(dtype, copy=False), dtype.type(np.nan))
            encoding["_FillValue"] = dtype.type(np.nan)
        elif nodata is not None:
            attributes["_FillValue"] = nodata
        variables[band.rows.name] = xr.Variable(("y", "x"), values, attributes, encoding)
    coordinates: dict[str, Any] = {
        "spatial_ref": ((), 0, spatial_ref_attributes(crs, (a, b, c, d, e, f))),
        "y": ("y", f + e * (np.arange(height) + 0.5), axis_attributes(crs, "y"), _NEVER_NULL),
        "x": ("x", c + a * (np.arange(width) + 0.5), axis_attributes(crs, "x"), _NEVER_NULL),
    }
    if (time := record.get("datetime")) is not None:
        naive = time if time.tzinfo is None else time.astimezone(dt.UTC).replace(tzinfo=None)
        coordinates["time"] = ((), np.datetime64(naive, "us"), {"standard_name": "time"})
    if record.get("id") is not None:
        coordinates["record_id"] = ((), np.array(record["id"], dtype=object))
    return xr.Dataset(variables, coordinates)
