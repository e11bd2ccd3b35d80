"""Which variables, coordinates and attributes does the Dataset of a cube have?

They follow CF and rioxarray: values in the dtype of the pixels have ``_FillValue`` as an attribute, masked floats in encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from polars_rasteret.cubes.cf_attributes import axis_attributes, spatial_ref_attributes
from polars_rasteret.xarray_datasets.covered_pixels import CoveredPixels
from polars_rasteret.xarray_datasets.cube_pixels import CubePixels
from polars_rasteret.xarray_datasets.lazy_arrays import lazily_indexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack import Stack
    from polars_rasteret.xarray_datasets.asked_places import AskedPlaces

_NEVER_NULL = {"_FillValue": None}
"""Encoding of coordinates: xarray would write a fill value, which comes back as an attribute."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CubeWords:
    """What a Dataset says beside the pixels of a stack."""

    masked: bool
    """Whether pixels without a value are NaN, in floats."""
    coverage: str | None
    record_ids: Sequence[str | None]
    """Id of each record of the stack."""
    time: NDArray[np.datetime64]
    """Time of each step."""
    group: pl.Series | None
    """Value by which the records of each step were grouped."""
    areas: AskedPlaces | None
    """Areas that pixels are cut to; None for a box."""


def dataset_of(stack: Stack, words: CubeWords) -> xr.Dataset:
    """Return the Dataset of a stack; its pixels are read when they are used."""
    covered = None
    if (areas := words.areas) is not None:
        crs = areas.crs if areas.crs != "native" else (stack.grid.crs or "native")
        covered = CoveredPixels(areas.wkb, crs, stack.grid, words.coverage)
        if areas.attributes is None and words.coverage is None:
            covered = None  # one geometry without a rule of coverage means its bounds
    has_area_axis = covered is not None and areas is not None and areas.attributes is not None
    dims = ("geometry", "time", "y", "x") if has_area_axis else ("time", "y", "x")
    read_errors: list[str] = []
    of_cube = partial(
        CubePixels,
        stack=stack,
        covered=covered,
        has_area_axis=has_area_axis,
        record_ids=words.record_ids,
        read_errors=read_errors,
    )
    variables: dict[str, Any] = {}
    for band in stack.bands:
        nodata, dtype = stack.nodata(band), stack.dtype(band)
        attributes: dict[str, Any] = {}
        encoding: dict[str, Any] = {"grid_mapping": "spatial_ref"}
        if words.masked and stack.mosaic != "count":
            dtype = _masked_dtype(dtype)
            encoding["_FillValue"] = dtype.type(np.nan)
        elif nodata is not None:
            attributes["_FillValue"] = nodata
        pixels = of_cube(band=band, dtype=dtype)
        variables[band] = xr.Variable(dims, lazily_indexed(pixels), attributes, encoding)
        if nodata is None and not words.masked and stack.mosaic != "count":
            mask = of_cube(band=band, dtype=np.dtype(np.bool_), is_valid_mask=True)
            variables[f"{band}_valid"] = xr.Variable(dims, lazily_indexed(mask), {}, {"grid_mapping": "spatial_ref"})
    attrs = {"read_errors": read_errors} if stack.options.on_error == "null" else {}
    return xr.Dataset(variables, _coordinates(stack, words, has_area_axis=has_area_axis), attrs)


def _masked_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return Float32, or Float64 where Float32 would change values."""
    if dtype.kind == "f":
        return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)
    return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)


def _coordinates(stack: Stack, words: CubeWords, *, has_area_axis: bool) -> dict[str, Any]:
    a, _, c, _, e, f = stack.grid.transform
    coordinates: dict[str, Any] = {
        "time": ("time", words.time, {"standard_name": "time"}),
        "y": ("y", f + e * (np.arange(stack.grid.height) + 0.5), axis_attributes(stack.grid.crs, "y"), _NEVER_NULL),
        "x": ("x", c + a * (np.arange(stack.grid.width) + 0.5), axis_attributes(stack.grid.crs, "x"), _NEVER_NULL),
        "spatial_ref": ((), 0, spatial_ref_attributes(stack.grid.crs, stack.grid.transform)),
        "record_id": _record_ids(stack, words.record_ids),
    }
    if words.group is not None:
        values = words.group.to_numpy()
        coordinates[words.group.name] = ("time", values.astype(object) if values.dtype.kind in "OU" else values)
    if has_area_axis and words.areas is not None and words.areas.attributes is not None:
        table = words.areas.attributes
        coordinates["geometry"] = ("geometry", np.arange(len(words.areas.wkb)))
        for name in table.columns:
            if name in coordinates or name in stack.bands:
                continue
            values = table[name].to_numpy()
            coordinates[name] = ("geometry", values.astype(object) if values.dtype.kind in "OU" else values)
    return coordinates


def _record_ids(stack: Stack, ids: Sequence[str | None]) -> tuple[Any, NDArray[np.object_]]:
    """Return the ids of the records of each step: one along time, or where steps have several, those in the order of the mosaic.

    Arrays of objects, because text of fixed width has no place in Zarr 3. Steps with fewer records end in empty text.
    """
    first = np.searchsorted(stack.step, np.arange(stack.n_steps))
    place = np.arange(len(stack.step)) - first[stack.step]
    most = int(place.max(initial=0)) + 1
    table = np.full((stack.n_steps, most), "", dtype=object)
    table[stack.step, place] = [one or "" for one in ids]
    return ("time", table[:, 0]) if most == 1 else (("time", "record"), table)
