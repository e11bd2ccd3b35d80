"""Which pixels of records may fill a cube, by their nodata and by ``valid=``?

Bands that ``valid=`` names are read first, others only in rows where it leaves a pixel that is still wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.cubes.layers import read_layers
from polars_rasteret.pixels.reading import add_reasons
from polars_rasteret.pixels.valid_mask import ValidExpr, ValidMask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from polars_rasteret.cubes.layers import CubeRead, Layers
    from polars_rasteret.cubes.stack import Stack

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

_PIXELS_AT_ONCE = 4_000_000
"""Pixels for which ``valid=`` is evaluated at a time."""


def read_masked_layers(
    read: CubeRead,
    rows: tuple[Ints, Ints],
    wanted: Mapping[str, Booleans],
    leaves_any: Callable[[str, int, Booleans], bool],
) -> tuple[dict[str, Layers], dict[int, str]]:
    """Read the pixels of records in windows; pixels that ``valid=`` does not accept are not valid.

    Parameters
    ----------
    read, rows, wanted
        As in `read_layers`.
    leaves_any
        ``leaves_any(band, row, accepted)``: whether the accepted pixels of a row hold one that is wanted of a band. The band is
        read in such rows only.

    Returns
    -------
    layers, errors
        As in `read_layers`, for the bands in `wanted`.
    """
    stack = read.stack
    if not stack.mask_bands:
        return read_layers(read, rows, wanted)
    every = np.ones(len(rows[0]), np.bool_)
    if read.options.dry_run is not None:  # what may be read at most: no pixel is known
        all_bands = {**dict.fromkeys(stack.mask_bands, every), **wanted}
        return read_layers(read, rows, all_bands)
    masks, errors = read_layers(read, rows, dict.fromkeys(stack.mask_bands, every))
    accepted = accepted_pixels(stack, rows, masks)
    start = np.concatenate([[0], np.cumsum(_sizes(rows[1]))])
    parts = [accepted[start[row] : start[row + 1]] for row in range(len(rows[0]))]
    needed = {
        band: np.array([bool(one) and leaves_any(band, row, parts[row]) for row, one in enumerate(which)], np.bool_)
        for band, which in wanted.items()
    }
    # What was read for the mask is not read again.
    others = {band: which for band, which in needed.items() if band not in masks}
    layers, reasons = read_layers(read, rows, others) if others else ({}, {})
    add_reasons(errors, reasons)
    layers |= {band: masks[band] for band in wanted if band in masks}
    for layer in layers.values():
        for row, part in enumerate(parts):
            first, stop = layer.offset[row : row + 2].tolist()
            if first < stop:
                layer.valid[first:stop] &= part
    return layers, errors


def accepted_pixels(stack: Stack, rows: tuple[Ints, Ints], masks: Mapping[str, Layers]) -> Booleans:
    """Return which pixels ``valid=`` accepts, flat: row after row, each with the pixels of its window.

    A band of the expression is null where its pixel is null.
    """
    assert stack.valid is not None
    valid_mask = mask_of(stack)
    record, sizes = rows[0], _sizes(rows[1])
    start = np.concatenate([[0], np.cumsum(sizes)])
    accepted = np.zeros(int(start[-1]), np.bool_)
    first = 0
    while first < len(record):
        stop = max(int(np.searchsorted(start, start[first] + _PIXELS_AT_ONCE, side="right")) - 1, first + 1)
        place = slice(int(start[first]), int(start[stop]))
        bands = {name: _pixels(layers, first, stop, sizes) for name, layers in masks.items()}
        accepted[place] = valid_mask.of_pixels(np.repeat(record[first:stop], sizes[first:stop]), bands)
        first = stop
    return accepted


def mask_of(stack: Stack) -> ValidMask:
    """Return the valid mask of a stack's expression, on the records of the stack."""
    assert stack.valid is not None
    context = pl.DataFrame({"\0row": np.arange(len(stack.step))}) if stack.context is None else stack.context
    return ValidMask(ValidExpr(expr=stack.valid, bands=stack.mask_bands, targets=(), records={}), context)


def _sizes(window: Ints) -> Ints:
    return (window[:, 1] - window[:, 0]) * (window[:, 3] - window[:, 2])


def _pixels(layers: Layers, first: int, stop: int, sizes: Ints) -> tuple[NDArray[Any], Booleans]:
    """Return values and valid mask of a run of rows; rows that were not read have null pixels."""
    read = np.diff(layers.offset[first : stop + 1])
    part = slice(int(layers.offset[first]), int(layers.offset[stop]))
    if np.array_equal(read, sizes[first:stop]):
        return layers.values[part], layers.valid[part]
    is_read = np.repeat(read > 0, sizes[first:stop])
    values, valid = np.zeros(len(is_read), layers.values.dtype), np.zeros(len(is_read), np.bool_)
    values[is_read], valid[is_read] = layers.values[part], layers.valid[part]
    return values, valid
