"""Where do the answers of rows lie on the images of a band?

An answer may have the pixel borders of the image, other ones with parallel axes, or be reprojected. The choice of pixels that are
read belongs to `source_windows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import is_known
from polars_rasteret.grids.reprojection import extent_and_step, pixel_positions
from polars_rasteret.grids.world_copies import columns_per_period, shift_to_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.bands import BandOnGrids
    from polars_rasteret.grids.pixel_grid import PixelGrids

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Places of answers on the images of a band, in pixels of full resolution."""

    is_read: Booleans
    faults: Mapping[int, UsageError]
    others: Ints
    """Rows whose answer has the pixel borders of another grid."""
    is_reprojected: Booleans
    extent: Floats
    """``first_row, last_row, first_col, last_col``, shape (n, 4)."""
    pixels: Floats
    """Height and width of the part of the image that the answer shows, shape (n, 2)."""
    image_size: Ints
    """Height and width of the image, shape (n, 2)."""


def placement(band: BandOnGrids, grids: PixelGrids, answers: AnswerGrids, answer_size: Ints) -> Placement:
    """Return the places of answers on the images of a band.

    Parameters
    ----------
    band, grids
        Band, and the grid of each of its rows.
    answers
        Grid of each row's answer.
    answer_size
        Height and width of each answer, at least 1; shape (n, 2).
    """
    is_read = band.is_read & answers.has_grid
    rows = np.flatnonzero(is_read)
    extent, is_reprojected = answers.extent.copy(), np.zeros(len(is_read), np.bool_)
    image_size = np.ones((len(is_read), 2), np.int64)
    image_size[rows] = np.stack([grids.height[rows], grids.width[rows]], axis=1)
    others = rows[grids.lattice_id[rows] != answers.image.lattice_id[rows]] if len(rows) else rows
    faults = _unrelated(band, grids, answers, others) if len(others) else {}
    if faults:
        is_read[list(faults)] = False
        others = others[is_read[others]]
    if len(others):
        extent[others], is_parallel = _moved(answers, grids.transform, others)
        is_reprojected[others] = ~(is_parallel & (grids.crs[others] == answers.crs[others]))
        period = columns_per_period(grids.taken(others))
        extent[others, 2:] += shift_to_image(extent[others], period, image_size[others, 1])[:, None]
    pixels = np.stack([extent[:, 1] - extent[:, 0], extent[:, 3] - extent[:, 2]], axis=1)
    known: dict[tuple[object, ...], tuple[list[float], list[float]]] = {}  # many records lie on one grid
    for row in np.flatnonzero(is_reprojected).tolist():
        key = (grids.grid_id[row], answers.crs[row], answers.transform[row].tobytes(), *answer_size[row].tolist())
        if key not in known:
            positions = pixel_positions(answers, row, grids.grid(row))
            known[key] = extent_and_step(positions, (int(image_size[row, 0]), int(image_size[row, 1])))
        extent[row], step = known[key]
        pixels[row] = step * answer_size[row]
    return Placement(
        is_read=is_read,
        faults=faults,
        others=others,
        is_reprojected=is_reprojected,
        extent=extent,
        pixels=pixels,
        image_size=image_size,
    )


def _unrelated(band: BandOnGrids, grids: PixelGrids, answers: AnswerGrids, rows: Ints) -> dict[int, UsageError]:
    """Return the faults of rows whose answer and band are on different grids, one of them without georeferencing."""
    own_crs, answer_crs = grids.crs[rows], answers.crs[rows]
    unplaced = ~(np.isfinite(grids.transform[rows]) & np.isfinite(answers.image.transform[rows])).all(axis=1)
    unnamed = (own_crs != answer_crs) & np.array(
        [not (is_known(one) and is_known(other)) for one, other in zip(own_crs, answer_crs, strict=True)], np.bool_
    )
    return {
        row: UsageError(
            f"{band.label(row)} lies on another pixel grid than the band it is to line up with, and one of them has no "
            "georeferencing to bring it there; read these bands in separate calls"
        )
        for row in rows[unplaced | unnamed].tolist()
    }


def _moved(answers: AnswerGrids, transform: Floats, rows: Ints) -> tuple[Floats, Booleans]:
    """Return the extents of answers in pixels of another image of the same CRS, and whether the axes of both are parallel."""
    row_start, row_stop, col_start, col_stop = answers.extent[rows].T

    def moved(row: Floats, col: Floats) -> tuple[Floats, Floats]:
        return pixel_coordinates(transform[rows], *map_coordinates(answers.image.transform[rows], row, col))

    first, last, corner = moved(row_start, col_start), moved(row_stop, col_stop), moved(row_start, col_stop)
    extent = np.stack([first[0], last[0], first[1], last[1]], axis=1)
    whole = np.round(extent)
    extent = np.where(np.abs(extent - whole) <= BORDER_TOLERANCE_PX, whole, extent)
    is_parallel = (np.abs(corner[0] - first[0]) < BORDER_TOLERANCE_PX) & (
        np.abs(corner[1] - last[1]) < BORDER_TOLERANCE_PX
    )
    return extent, is_parallel & (last[0] > first[0]) & (last[1] > first[1])
