"""How is ``.raster.to_xarray`` asked?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.arguments import check_choice, checked_resolution, checked_unscale
from polars_rasteret.collection.queries.imaged_records import imaged_records
from polars_rasteret.collection.queries.spatial import intersecting
from polars_rasteret.cubes.record_places import bounds_of_records, only_crs
from polars_rasteret.cubes.shared_lattice import common_lattice, united_bounds
from polars_rasteret.cubes.stack import MOSAICS, Stack
from polars_rasteret.cubes.time_steps import GROUPS, time_steps
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.question import raster_dtypes
from polars_rasteret.frame.query.valid_expr import resolved_valid
from polars_rasteret.geo.boxes import cut_boxes
from polars_rasteret.geo.crs import NATIVE, is_geographic, normalize_crs
from polars_rasteret.grids.choosing import check_grid
from polars_rasteret.grids.extents import bounds_of_grids
from polars_rasteret.options import current_options
from polars_rasteret.pixels.windows.resampling import check_resampling, methods_by_band
from polars_rasteret.xarray_datasets.asked_places import asked_places, bounds_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray
    from numpy.typing import NDArray

    from polars_rasteret.options import OnError

_WHAT = "to_xarray"


def to_xarray(
    lf: pl.LazyFrame,
    bounds: Any,
    bands: str | Sequence[str] | None,
    *,
    geometry: Any,
    crs: Any,
    target_crs: Any,
    resolution: Any,
    masked: bool,
    on_error: OnError | None,
    grid: str,
    resampling: str | Mapping[str, str],
    group_by: str | None,
    mosaic: str,
    valid: pl.Expr | None,
    unscale: bool | Sequence[str],
    coverage: str | None,
    chunks: Any,
) -> xarray.Dataset:
    """Return the Dataset of ``.raster.to_xarray``."""
    from polars_rasteret.xarray_datasets.dataset import CubeWords, dataset_of

    check_choice(_WHAT, "mosaic", mosaic, MOSAICS)
    check_choice(_WHAT, "on_error", on_error, (None, "raise", "null"))
    check_choice(_WHAT, "coverage", coverage, (None, "center", "all_touched"))
    schema = lf.collect_schema()
    names = list(raster_dtypes(_WHAT, lf, bands))
    check_grid(_WHAT, grid, names)
    check_resampling(_WHAT, resampling, names)
    if group_by is not None and group_by not in GROUPS and group_by not in schema:
        raise UsageError(
            f"{_WHAT}: group_by={group_by!r}; expected {', '.join(map(repr, GROUPS))}, a column of the collection "
            f"({', '.join(schema)}), or None"
        )
    size = checked_resolution(_WHAT, resolution, None)
    unscaled = checked_unscale(_WHAT, unscale, names)
    of_valid = (
        None if valid is None else resolved_valid(_WHAT, valid, target_schema={}, record_schema=schema, outputs={})
    )
    places = asked_places(bounds, geometry, crs)
    context = () if of_valid is None else tuple(of_valid.records)
    mask_bands = () if of_valid is None else of_valid.bands
    if places is not None and places.lonlat is not None:
        lf = _near(lf, places.lonlat)
    key = group_by if group_by is not None and group_by not in GROUPS else None
    frame, times = imaged_records(lf, schema, names, [*mask_bands, *context, *([] if key is None else [key])])
    if not frame.height:
        raise UsageError(
            f"{_WHAT}: no record has an image of {', '.join(names)} here; is the collection, or its part in these bounds, empty?"
        )
    crs_of_grid = only_crs(_WHAT, frame, names) if target_crs is None else normalize_crs(target_crs)
    lattice = common_lattice(
        _WHAT, frame, names, crs_of_grid, grid=grid, resolution=size, may_turn=target_crs is not None
    )
    own = bounds_of_records(frame, names, crs_of_grid)
    asked = bounds_in(places, crs_of_grid)
    whole = united_bounds(own) if asked is None else asked
    if whole is None:
        raise UsageError(f"{_WHAT}: no image has a place in {crs_of_grid}; choose a CRS that covers them")
    pixel_grid = lattice.grid(_WHAT, whole)
    if places is not None and places.crs != NATIVE and crs_of_grid is not None and is_geographic(crs_of_grid):
        is_near = np.ones(frame.height, np.bool_)  # an image may lie a whole turn of longitude away
    else:
        is_near = ~(
            (own[:, 0] >= whole[2]) | (own[:, 2] <= whole[0]) | (own[:, 1] >= whole[3]) | (own[:, 3] <= whole[1])
        )
    lost = np.flatnonzero(~np.isfinite(own).all(axis=1))
    if len(lost):
        name = frame["id"][int(lost[0])] if "id" in frame.columns else int(lost[0])
        raise UsageError(
            f"{_WHAT}: {len(lost)} records, such as {name!r}, have no place in {crs_of_grid}: their images have no transform, "
            "no CRS, or lie outside of it; leave them out, or pass another target_crs="
        )
    near = np.flatnonzero(is_near)
    frame, times = frame[near], times.taken(near)
    if not frame.height:
        raise UsageError(f"{_WHAT}: no image meets {tuple(whole)} in {crs_of_grid}; are bounds and crs= right?")
    steps = time_steps(
        times,
        frame["id"] if "id" in frame.columns else None,
        group_by=group_by,
        keys=None if key is None else frame[key],
        lon=_longitudes(frame, names),
    )
    frame = frame[steps.order]
    stack = Stack(
        grid=pixel_grid,
        rasters={name: frame[name] for name in dict.fromkeys([*names, *mask_bands])},
        bands=tuple(names),
        step=steps.step,
        n_steps=len(steps.time),
        mosaic=mosaic,
        resampling=methods_by_band(resampling, names),
        valid=valid,
        context=frame.select(context) if context else None,
        unscale=unscaled,
        options=current_options(on_error=on_error),
    )
    words = CubeWords(
        masked=masked,
        coverage=coverage,
        record_ids=frame["id"].cast(pl.String).to_list() if "id" in frame.columns else [None] * frame.height,
        time=steps.time,
        group=None if key is None else frame[key][steps.first_record.tolist()],
        areas=None if places is None or (places.is_box and places.attributes is None) else places,
    )
    dataset = dataset_of(stack, words)
    return dataset if chunks is None else dataset.chunk(chunks)


def _near(lf: pl.LazyFrame, lonlat: NDArray[np.float64]) -> pl.LazyFrame:
    """Keep the records whose footprint meets the boxes that hold all places."""
    known = lonlat[np.isfinite(lonlat).all(axis=1)]
    if not len(known):
        raise UsageError(f"{_WHAT}: no place that is asked for lies on the Earth; are bounds and crs= right?")
    whole = np.array([[*known[:, :2].min(axis=0), *known[:, 2:].max(axis=0)]])
    boxes, _ = cut_boxes(whole)
    return intersecting(lf, shapely.union_all(shapely.box(*boxes.T)))


def _longitudes(frame: pl.DataFrame, bands: Sequence[str]) -> NDArray[np.float64]:
    """Return the longitude of the middle of each record; NaN where it has none."""
    result = np.full(frame.height, np.nan)
    for band in bands:
        west, _, east, _ = bounds_of_grids(frame[band]).T
        middle = (west + np.where(east < west, east + 360.0, east)) / 2
        result = np.where(np.isnan(result), middle, result)
    return result
