"""How do the answers of bands become columns?

Values are unscaled if asked for, rows that were not read become null, and windows get their shape. Nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.geo.affine import window_transform
from polars_rasteret.pixels.series import array_series, scalar_series, window_struct, window_struct_fields
from polars_rasteret.pixels.stacks import STACK, stack_dtype
from polars_rasteret.schema import numpy_dtype, pixel_dtype, polars_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.pixels.points.point_sampler import PointValues
    from polars_rasteret.pixels.points.sampling import Sampling
    from polars_rasteret.pixels.reading import BandAnswer, BandRows


def point_column(band: BandAnswer, name: str) -> pl.Series:
    """Return a column of one value per row, in the pixel dtype or unscaled as Float64; null where the pixel is null."""
    # Rows that are not read have windows of no pixels, so values are fewer than rows.
    is_valid = band.is_read
    values = band.answer.values
    if not is_valid.all() or len(values) != len(is_valid):
        position = band.answer.offset[:-1]
        has_pixel = band.answer.offset[1:] > position
        whole = np.zeros(len(is_valid), values.dtype)
        whole[has_pixel] = values[position[has_pixel]]
        valid = np.zeros(len(is_valid), np.bool_)
        if band.answer.valid is not None:
            valid[has_pixel] = band.answer.valid[position[has_pixel]]
        values, is_valid = whole, valid & is_valid
    elif band.answer.valid is not None:
        is_valid = band.answer.valid
    if band.rows.unscale:
        scale, offset = band.rows.scale_and_offset()
        values = values * scale + offset
    return scalar_series(name, values, is_valid)


def sampled_columns(band: BandRows, found: PointValues, sampling: Sampling) -> dict[str, pl.Series]:
    """Return the columns of one band: values and, if asked for, distances and neighbourhoods."""
    name, values = band.column.name, found.values
    scale, offset = band.scale_and_offset() if band.unscale else (1.0, 0.0)
    if band.unscale:
        values = values * scale + offset
    columns = {name: scalar_series(name, values, found.valid)}
    if sampling.max_distance:
        columns[f"{name}_distance"] = scalar_series(f"{name}_distance", found.distance, found.valid)
    if found.around is not None and found.has_around is not None:
        around = found.around.values
        if band.unscale:
            around = around * np.reshape(scale, (-1, 1, 1)) + np.reshape(offset, (-1, 1, 1))
        columns[f"{name}_neighbourhood"] = array_series(
            f"{name}_neighbourhood",
            around.reshape(-1),
            around.shape[1:],
            is_valid=found.around.valid.reshape(-1),
            is_null=~found.has_around,
        )
    return columns


def unscaled_windows(band: BandAnswer) -> NDArray[Any]:
    """Return the flat values of windows that lie one after another; Float32 ``value * scale + offset`` when unscaled."""
    if not band.rows.unscale:
        return band.answer.values
    scale, offset = band.rows.scale_and_offset()
    n_pixels = np.diff(band.answer.offset)
    values = band.answer.values * np.repeat(scale, n_pixels) + np.repeat(offset, n_pixels)
    return _filled(values.astype(np.float32), band)


def _unscaled_arrays(band: BandAnswer) -> NDArray[Any]:
    """Return the values of windows of one shape, shape (n_rows, n_pixels); Float32 when unscaled."""
    values = band.answer.values.reshape(len(band.is_read), -1)
    if not band.rows.unscale:
        return values
    scale, offset = band.rows.scale_and_offset()
    return _filled((values * scale[:, None] + offset[:, None]).astype(np.float32), band)


def _filled(values: NDArray[Any], band: BandAnswer) -> NDArray[Any]:
    """Return values with the fill, in units of the answer, where the image has no pixel."""
    if band.outside is not None:
        values.reshape(-1)[band.outside] = band.fill
    return values


def window_struct_column(band: BandAnswer, name: str, *, masked: bool) -> pl.Series:
    """Return windows of various sizes as a Struct; null where nothing was read."""
    windows = band.rows.windows
    is_null = ~band.is_read
    height, width = windows.height, windows.width
    if band.grids is not None:
        height, width, transform = band.grids.height, band.grids.width, band.grids.transform
        crs = band.grids.crs.tolist()
    else:
        transform = window_transform(windows.grids.transform, windows.row_start, windows.col_start)
        crs = windows.grids.where(~is_null).crs.tolist()
    values, offset = unscaled_windows(band), band.answer.offset
    return window_struct(
        name,
        values,
        offset,
        height=height,
        width=width,
        transform=transform,
        crs=crs,
        is_valid=band.answer.valid if masked else None,
        is_null=is_null,
    )


def window_array_column(band: BandAnswer, name: str, shape: tuple[int, int], *, masked: bool) -> pl.Series:
    """Return windows of one shape as arrays; null where nothing was read."""
    is_valid = band.answer.valid if masked else None
    return array_series(name, _unscaled_arrays(band).reshape(-1), shape, is_valid=is_valid, is_null=~band.is_read)


def grid_columns(grids: AnswerGrids) -> dict[str, pl.Series]:
    """Return transform and CRS of the grid that all bands of a row share."""
    has_transform: NDArray[np.bool_] = np.asarray(np.isfinite(grids.transform).all(axis=1))
    return {
        "transform": array_series("transform", grids.transform.reshape(-1), (6,), is_null=~has_transform),
        "raster_crs": pl.Series("raster_crs", grids.crs.tolist(), dtype=pl.String),
    }


def valid_columns(bands: Sequence[BandAnswer], shape: tuple[int, int], *, stack: bool) -> dict[str, pl.Series]:
    """Return which pixels of windows of one shape are valid, per band; null where nothing was read.

    With `stack`, the bands were read into one array, unless they are unscaled.
    """
    columns = {}
    for at, band in enumerate(bands):
        valid = band.answer.valid
        assert valid is not None
        if stack and not any(one.rows.unscale for one in bands):
            whole = bands[0].answer.valid
            assert whole is not None
            valid = whole.reshape(len(band.is_read), len(bands), shape[0] * shape[1])[:, at].reshape(-1)
        name = f"{band.rows.column.name}_valid"
        columns[name] = array_series(name, valid, shape, is_null=~band.is_read)
    return columns


def stacked_column(bands: Sequence[BandAnswer], name: str, shape: tuple[int, int], *, masked: bool) -> pl.Series:
    """Return the bands of each row as one array ``(bands, *shape)``; null where none was read.

    In a row where only some bands were read, all elements of the other bands are null. The bands were read with ``stack``, so
    they lie in one array already, unless they are unscaled.
    """
    n_rows, n_bands, n_pixels = len(bands[0].is_read), len(bands), shape[0] * shape[1]
    is_read = np.stack([band.is_read for band in bands], axis=1)
    any_read: NDArray[np.bool_] = np.asarray(is_read.any(axis=1))
    values, valid = bands[0].answer.values, bands[0].answer.valid if masked else None
    if any(band.rows.unscale for band in bands):
        values = np.stack([_unscaled_arrays(band) for band in bands], axis=1).reshape(-1)
        if masked:
            valid = np.stack([_validity(band, n_pixels) for band in bands], axis=1).reshape(-1)
    if not (is_read | ~any_read[:, None]).all():
        whole = (
            np.ones((n_rows, n_bands, n_pixels), np.bool_)
            if valid is None
            else valid.reshape(n_rows, n_bands, n_pixels)
        )
        valid = (whole & is_read[:, :, None]).reshape(-1)
    return array_series(name, values, (n_bands, *shape), is_valid=valid, is_null=~any_read)


def _validity(band: BandAnswer, n_pixels: int) -> NDArray[np.bool_]:
    assert band.answer.valid is not None
    return band.answer.valid.reshape(-1, n_pixels)


def point_dtype(raster: pl.DataType, *, is_float: bool) -> pl.DataType:
    """Return the dtype of a band's values at points, from the dtype of its raster column."""
    return pl.Float64() if is_float else pixel_dtype(raster)


def window_outputs(
    bands: Mapping[str, pl.DataType],
    unscale: AbstractSet[str],
    shape: tuple[int, int] | None,
    *,
    stack: bool,
    has_valid: bool,
) -> dict[str, pl.DataType]:
    """Return the columns that windows become, with their dtypes.

    Parameters
    ----------
    bands, unscale
        Raster columns with their dtypes, and the bands whose values are unscaled.
    shape
        Of every window; None: each has its own.
    stack, has_valid
        Whether all bands come as one array, and whether each band has a column that says which pixels are valid.
    """
    outputs: dict[str, pl.DataType] = {}
    if stack:
        assert shape is not None
        outputs[STACK] = pl.Array(polars_dtype(window_stack_dtype(bands, unscale)), (len(bands), *shape))
    for band, dtype in bands.items() if not stack else ():
        pixel = pl.Float32() if band in unscale else pixel_dtype(dtype)
        outputs[band] = pl.Struct(window_struct_fields(pl.List(pixel))) if shape is None else pl.Array(pixel, shape)
    if has_valid and shape is not None:
        outputs.update({f"{band}_valid": pl.Array(pl.Boolean(), shape) for band in bands})
    return outputs


def window_stack_dtype(bands: Mapping[str, pl.DataType], unscale: AbstractSet[str]) -> np.dtype[np.generic]:
    """Return the dtype of a stack of windows."""
    return stack_dtype(
        {
            band: np.dtype(np.float32) if band in unscale else numpy_dtype(pixel_dtype(dtype))
            for band, dtype in bands.items()
        }
    )


def window_columns(
    answers: Sequence[BandAnswer], shape: tuple[int, int] | None, *, stack: bool, masked: bool | str
) -> dict[str, pl.Series]:
    """Return the columns that windows become, as `window_outputs` names them.

    Parameters
    ----------
    answers
        Of the bands wanted.
    shape, stack
        As in `window_outputs`.
    masked
        True: null pixels are null elements; ``"column"``: columns of their own say which pixels are valid.
    """
    has_nulls = masked is True
    named = {one.rows.column.name: one for one in answers}
    if shape is None:
        return {name: window_struct_column(one, name, masked=has_nulls) for name, one in named.items()}
    if stack:
        columns = {STACK: stacked_column(answers, STACK, shape, masked=has_nulls)}
    else:
        columns = {name: window_array_column(one, name, shape, masked=has_nulls) for name, one in named.items()}
    if masked == "column":
        columns.update(valid_columns(answers, shape, stack=stack))
    return columns
