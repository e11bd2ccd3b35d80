"""How is ``.raster.to_torchgeo`` asked?"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import check_choice, check_fill, checked_resolution, checked_unscale
from polars_rasteret.chips.geo_records import GeoRecords
from polars_rasteret.chips.tensor_dtypes import geo_dtype
from polars_rasteret.collection.queries.imaged_records import imaged_records
from polars_rasteret.cubes.record_places import bounds_of_records, only_crs
from polars_rasteret.cubes.shared_lattice import common_lattice
from polars_rasteret.cubes.stack import MOSAICS
from polars_rasteret.errors import UsageError, missing_extra
from polars_rasteret.frame.query.question import raster_dtypes
from polars_rasteret.frame.query.valid_expr import resolved_valid
from polars_rasteret.geo.crs import normalize_crs
from polars_rasteret.grids.choosing import check_grid
from polars_rasteret.options import current_options
from polars_rasteret.pairing.records import id_ranks
from polars_rasteret.pixels.reading import check_fill_fits
from polars_rasteret.pixels.windows.resampling import check_resampling, methods_by_band
from polars_rasteret.schema import numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.chips.torchgeo_dataset import CollectionDataset
    from polars_rasteret.options import OnError
    from polars_rasteret.plan.time_match import Intervals

_WHAT = "to_torchgeo"


def to_torchgeo(
    lf: pl.LazyFrame,
    bands: str | Sequence[str] | None,
    *,
    target_crs: Any,
    resolution: Any,
    is_image: bool,
    time_series: bool,
    label: str | None,
    split: Any,
    split_column: str,
    mosaic: str,
    valid: pl.Expr | None,
    masked: bool,
    fill_value: float | None,
    grid: str,
    resampling: Any,
    unscale: bool | Sequence[str],
    on_error: OnError | None,
    transforms: Callable[[dict[str, Any]], dict[str, Any]] | None,
) -> CollectionDataset:
    """Return the dataset of ``.raster.to_torchgeo``."""
    if find_spec("torchgeo") is None:
        raise missing_extra("to_torchgeo", "TorchGeo", "torchgeo")
    from polars_rasteret.chips.torchgeo_dataset import CollectionDataset, GeoSampleForm

    check_choice(_WHAT, "mosaic", mosaic, MOSAICS)
    check_choice(_WHAT, "on_error", on_error, (None, "raise", "null"))
    check_fill(_WHAT, fill_value)
    schema = lf.collect_schema()
    dtypes = raster_dtypes(_WHAT, lf, bands)
    names = list(dtypes)
    check_grid(_WHAT, grid, names)
    check_resampling(_WHAT, resampling, names)
    for word, name in (("label", label), ("split_column", None if split is None else split_column)):
        if name is not None and name not in schema:
            raise UsageError(f"{_WHAT}: {word}={name!r} is no column of the collection, which has {', '.join(schema)}")
    if split is not None:
        lf = lf.filter(pl.col(split_column) == split)
    of_valid = (
        None if valid is None else resolved_valid(_WHAT, valid, target_schema={}, record_schema=schema, outputs={})
    )
    context = () if of_valid is None else tuple(of_valid.records)
    mask_bands = () if of_valid is None else of_valid.bands
    frame, times = _by_time(lf, schema, names, [*mask_bands, *context, *([] if label is None else [label])])
    crs, bounds = _places(frame, names, target_crs)
    unscaled = checked_unscale(_WHAT, unscale, names)
    for name, dtype in dtypes.items():
        pixels = np.dtype(np.float32) if name in unscaled else numpy_dtype(pixel_dtype(dtype))
        geo_dtype(pixels, is_image=is_image)  # refuses what no tensor holds
        check_fill_fits(fill_value, pixels, name)
    asked = checked_resolution(_WHAT, resolution, None)
    records = GeoRecords(
        frame=frame,
        bands=tuple(names),
        crs=crs,
        resolution=_pixel_size(frame, names, crs, grid) if asked is None else asked,
        bounds=bounds,
        times=times,
        is_series=time_series,
        mosaic=mosaic,
        resampling=methods_by_band(resampling, names),
        valid=valid,
        context=context,
        mask_bands=mask_bands,
        unscale=unscaled,
        label=label,
        options=current_options(on_error=on_error),
    )
    return CollectionDataset(
        records, GeoSampleForm(is_image=is_image, masked=masked, fill_value=fill_value, transforms=transforms)
    )


def _by_time(
    lf: pl.LazyFrame, schema: Mapping[str, pl.DataType], bands: Sequence[str], others: Sequence[str]
) -> tuple[pl.DataFrame, Intervals]:
    """Return the records that have an image of any band, by time, then id, and their times."""
    frame, times = imaged_records(lf, schema, bands, others)
    if not frame.height:
        raise UsageError(
            f"{_WHAT}: no record has an image of {', '.join(bands)}; is the collection, or its split, empty?"
        )
    by_id = id_ranks(frame["id"]) if "id" in frame.columns else np.arange(frame.height)
    order = np.lexsort((by_id, times.stop, times.start, ~times.is_known))
    return frame[order], times.taken(order)


def _places(frame: pl.DataFrame, bands: Sequence[str], target_crs: Any) -> tuple[str, NDArray[np.float64]]:
    """Return the CRS of the dataset, and the bounds of each record in it."""
    crs = only_crs(_WHAT, frame, bands) if target_crs is None else normalize_crs(target_crs)
    if crs is None:
        raise UsageError(f"{_WHAT}: the images have no CRS, and a dataset of TorchGeo needs one; leave them out")
    bounds = bounds_of_records(frame, bands, crs)
    if len(lost := np.flatnonzero(~np.isfinite(bounds).all(axis=1))):
        name_or_row = frame["id"][int(lost[0])] if "id" in frame.columns else int(lost[0])
        raise UsageError(
            f"{_WHAT}: record {name_or_row!r} has no place in {crs}: its images have no CRS or no transform; leave it out"
        )
    return crs, bounds


def _pixel_size(frame: pl.DataFrame, bands: Sequence[str], crs: str, grid: str) -> tuple[float, float]:
    """Return the size of a pixel by ``grid=``, over all records; of images in other CRSs, as GDAL suggests."""
    lattice = common_lattice(_WHAT, frame, bands, crs, grid=grid, resolution=None, may_turn=True)
    return abs(lattice.size_x), abs(lattice.size_y)
