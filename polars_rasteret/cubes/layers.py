"""What are the pixels of some records in some windows of the common grid?

Records on the common grid are copied bit for bit, others are resampled. How several records become one must not be decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.geo.affine import window_transform
from polars_rasteret.grids.answer_grids import AnswerGrids
from polars_rasteret.grids.source_windows import source_windows
from polars_rasteret.grids.windows import Windows
from polars_rasteret.pixels.reading import BandRows
from polars_rasteret.pixels.windows.aligned_bands import AlignedBand
from polars_rasteret.pixels.windows.resampled import begin_onto_grids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack import Stack
    from polars_rasteret.cubes.stack_images import StackImages
    from polars_rasteret.options import ReadOptions

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

ADVICE = "read fewer bands or steps at once, or raise pr.options(max_answer_bytes=...)"
"""Next step for the message when a read would be too large."""


@dataclass(frozen=True, slots=True)
class CubeRead:
    """One read of a cube: the stack, its images, and the options that are in force."""

    stack: Stack
    images: StackImages
    options: ReadOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Pixels of one band in rows of records and windows."""

    values: NDArray[Any]
    """Flat raw pixels, in the dtype of the files."""
    valid: Booleans
    """Like `values`; all false where a row was not read."""
    offset: Ints
    """Where the pixels of each row begin, and the end of the last; rows that were not read have none."""

    def row(self, at: int) -> tuple[NDArray[Any], Booleans] | None:
        """Return the flat pixels and the valid mask of a row; None for a row that was not read."""
        first, stop = int(self.offset[at]), int(self.offset[at + 1])
        return None if first == stop else (self.values[first:stop], self.valid[first:stop])


def read_layers(
    read: CubeRead, rows: tuple[Ints, Ints], wanted: Mapping[str, Booleans]
) -> tuple[dict[str, Layers], dict[int, str]]:
    """Read the pixels of records in windows, for some bands at once.

    Parameters
    ----------
    read
        The read that these rows belong to.
    rows
        Record of each row, shape (n,), and its window on the common grid, shape (n, 4).
    wanted
        Per band to read, which rows are wanted.

    Returns
    -------
    layers
        Pixels by band.
    errors
        Reasons of failures by row, with ``on_error="null"``.
    """
    bands = aligned_layers(read, rows, wanted)
    height, width = rows[1][:, 1] - rows[1][:, 0], rows[1][:, 3] - rows[1][:, 2]
    is_regular = len(height) > 0 and bool((height == height[0]).all() and (width == width[0]).all())
    # Windows of one size are written right into their places; rows that are not wanted then take memory as well.
    is_regular &= all(one.sources.is_read.all() for one in bands)
    answers, errors = begin_onto_grids(
        bands,
        read.options,
        want_valid=True,
        advice=ADVICE,
        shape=(int(height[0]), int(width[0])) if is_regular else None,
        spending=read.stack.spending,
    ).answers()
    layers = {}
    for name, band in zip(wanted, answers, strict=True):
        assert band.answer.valid is not None
        layers[name] = Layers(values=band.answer.values, valid=band.answer.valid, offset=band.answer.offset)
    return layers, errors


def aligned_layers(read: CubeRead, rows: tuple[Ints, Ints], wanted: Mapping[str, Booleans]) -> list[AlignedBand]:
    """Return some bands with the windows of images that are read for rows of records and windows."""
    stack, images = read.stack, read.images
    record, window = rows
    zero = np.zeros(len(record), np.int64)
    common = images.common.taken(zero)
    transform = np.array(stack.grid.transform)
    answers = AnswerGrids(
        has_grid=np.ones(len(record), np.bool_),
        height=window[:, 1] - window[:, 0],
        width=window[:, 3] - window[:, 2],
        transform=window_transform(transform, window[:, 0], window[:, 2]),
        crs=common.crs,
        image=common,
        extent=window.astype(np.float64),
        is_unresampled=np.zeros(len(record), np.bool_),
    )
    bands: list[AlignedBand] = []
    for name, is_wanted in wanted.items():
        column, method = images.columns[name], stack.method(name)
        reference_id = column.reference_id[record]
        windows = Windows(
            grids=column.grids_of(reference_id),
            row_start=zero,
            col_start=zero,
            height=zero,
            width=zero,
            is_met=is_wanted & images.meets(name, record, window),
        )
        reference_id, faults = column.readable(reference_id, windows)
        faults = {row: fault for row, fault in faults.items() if is_wanted[row]}
        band = BandRows(column=column, reference_id=reference_id, row=record, windows=windows, faults=faults)
        reduction = images.reduction(name, reference_id)
        same = next((one for one in bands if one.method == method and _reads_the_same(one, band)), None)
        if same is not None and not reduction.level.any() and not same.sources.level.any() and not same.sources.faults:
            sources = same.sources
        else:
            sources = source_windows(band, answers, method, reduction)
        bands.append(AlignedBand(rows=band, grids=answers, method=method, sources=sources))
    return bands


def _reads_the_same(one: AlignedBand, band: BandRows) -> bool:
    """Return whether two bands lie on the same grids and are wanted in the same rows."""
    grids = one.rows.windows.grids.grid_id, band.windows.grids.grid_id
    return np.array_equal(*grids) and np.array_equal(one.rows.is_read, band.is_read)


def raw_or_unscaled(read: CubeRead, band: str, record: int, values: NDArray[Any]) -> NDArray[Any]:
    """Return pixels as they are; as Float64 ``value * scale + offset`` where the cube unscales the band."""
    if band not in read.stack.unscale:
        return values
    scale, offset = read.images.scales[band]
    unscaled: NDArray[Any] = values * scale[record] + offset[record]
    return unscaled
