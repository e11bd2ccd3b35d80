"""Which grid does the answer of each row have, and what does each band read to fill it?

An answer has the pixels of one of its bands as they are, or a grid of its own that covers an extent exactly. Columns in, columns
out: nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.resample import Axis, reach, source_spans
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import is_known
from polars_rasteret.grids.choosing import grid_bands
from polars_rasteret.grids.pixel_grid import PixelGrids
from polars_rasteret.grids.reprojection import places, spread
from polars_rasteret.grids.wrapped_images import N_COPIES, are_met_again, nearest_turns, runs_on, turns_in_pixels
from polars_rasteret.hrefs import shown
from polars_rasteret.plan.overviews import overview_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandRows

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_LARGEST = 2**31
"""Of a side of an answer, in pixels; larger ones are refused for their bytes."""
_NEARLY_WHOLE_PX = 1e-3
"""Pixel sizes went through text: a turn that is so near to whole pixels is meant to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGrids:
    """The grid of each row's answer; one entry per row."""

    has_grid: Booleans
    """Whether the row has an answer at all."""
    height: Ints
    width: Ints
    transform: Floats
    """Shape (n, 6); NaN without georeferencing."""
    crs: NDArray[np.object_]
    extent: Floats
    """What the answer covers, in pixels of the image that it was taken from, as in `Windows`."""
    image: PixelGrids
    """The grid of that image."""
    as_is: Booleans
    """Whether the answer has the pixels of that image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What one band reads for each row; windows are in pixels of `level`."""

    is_read: Booleans
    faults: Mapping[int, UsageError]
    """Rows that cannot be read because nobody can say how this grid lies to that of the answer."""
    is_plain: Booleans
    """The window is the answer."""
    is_free: Booleans
    """The axes of the answer are not those of the image: each pixel has a place of its own."""
    level: Ints
    row_start: Ints
    col_start: Ints
    height: Ints
    width: Ints
    axes: Floats
    """Shape (n, 4): row of the first border and rows per pixel of the answer, then the same for columns."""
    level_size: Ints
    """Shape (n, 2): height and width of the image read from."""
    period: Ints
    """Columns of `level` from one copy of the image to the next where the answer runs on over the seam of the Earth, and windows
    and axes count columns along the copies; 0 elsewhere."""

    def n_pixels(self) -> Ints:
        """Give the pixels read for each row."""
        return np.where(self.is_read, self.height * self.width, 0)


def answer_grids(
    bands: Sequence[BandRows],
    grid: str,
    *,
    shape: tuple[int, int] | None,
    resolution: tuple[float, float] | None,
) -> AnswerGrids:
    """Give the grid of each row.

    Parameters
    ----------
    bands
        Whose windows say what is covered.
    grid
        Whose band's extent and CRS each row takes, as in `grid_bands`.
    shape
        Of every answer; None: what `resolution` says, else the pixels of the window.
    resolution
        Size of a pixel in x and y, in units of the CRS of the grid.
    """
    n_rows = len(bands[0].reference_id)
    its_grids = [band.grids.where(band.is_read) for band in bands]
    chosen = grid_bands(its_grids, [band.column.name for band in bands], grid)
    extent, grid_id = np.zeros((n_rows, 4)), np.full(n_rows, -1, np.int64)
    as_is = np.zeros(n_rows, np.bool_)
    for at, band in enumerate(bands):
        rows = np.flatnonzero(chosen == at)
        extent[rows] = band.windows.extents()[rows]
        as_is[rows] = band.windows.are_as_is()[rows]
        grid_id[rows] = its_grids[at].grid_id[rows]
    image = PixelGrids(table=its_grids[0].table, grid_id=grid_id)
    base = image.transform
    sizes = np.stack([extent[:, 1] - extent[:, 0], extent[:, 3] - extent[:, 2]], axis=1)
    has_grid = chosen >= 0
    if shape is not None:
        height, width = (np.where(has_grid, one, 0) for one in shape)
    else:
        pixels = sizes if resolution is None else _sizes_at(resolution, sizes, base, has_grid)
        height, width = np.where(has_grid[:, None], np.clip(np.round(pixels), 1, _LARGEST), 0).astype(np.int64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        step_y, step_x = sizes[:, 0] / height, sizes[:, 1] / width
        transform = np.stack(
            [
                base[:, 0] * step_x,
                base[:, 1] * step_y,
                base[:, 2],
                base[:, 3] * step_x,
                base[:, 4] * step_y,
                base[:, 5],
            ],
            axis=1,
        )
    transform[:, 2], transform[:, 5] = map_coordinates(base, extent[:, 0], extent[:, 2])
    return AnswerGrids(
        has_grid=has_grid,
        height=height.astype(np.int64),
        width=width.astype(np.int64),
        transform=np.where(has_grid[:, None], transform, np.nan),
        crs=image.crs,
        extent=extent,
        image=image,
        as_is=has_grid & as_is,
    )


def _sizes_at(resolution: tuple[float, float], sizes: Floats, transform: Floats, has_grid: Booleans) -> Floats:
    """Give how many pixels of a resolution the extents have."""
    if not np.isfinite(transform[has_grid]).all():
        raise UsageError(
            "resolution= is in units of the raster's CRS, and a raster has no georeferencing; pass shape=(height, width)"
        )
    a, b, _, d, e, _ = transform.T
    return np.stack(
        [sizes[:, 0] * np.hypot(b, e) / resolution[1], sizes[:, 1] * np.hypot(a, d) / resolution[0]], axis=1
    )


def sources_of(band: BandRows, grids: AnswerGrids, method: str) -> Sources:
    """Say what one band reads for the answers of all rows.

    Rows in which the grid of the answer and that of the band cannot be related are faults.
    """
    n_rows = len(band.reference_id)
    is_read = band.is_read & grids.has_grid
    at = np.flatnonzero(is_read)
    column, own = band.column, band.grids
    extent = grids.extent.copy()
    is_free = np.zeros(n_rows, np.bool_)
    faults: dict[int, UsageError] = {}
    full, size = np.ones((n_rows, 2), np.int64), np.ones((n_rows, 2), np.int64)
    others = at[:0]
    if len(at):
        full[at] = size[at] = np.stack([own.height[at], own.width[at]], axis=1)
        others = at[own.lattice_id[at] != grids.image.lattice_id[at]]
        is_same = own.crs[others] == grids.crs[others]
        if len(others) and (faults := _unrelated(band, grids, others)):
            related = ~np.isin(others, list(faults))
            is_read[others[~related]] = False
            others, is_same = others[related], is_same[related]
        if len(others):
            extent[others], is_parallel = _mapped(grids, own.transform, others)
            is_free[others] = ~(is_parallel & is_same)
            extent[others, 2:] += nearest_turns(extent[others], turns_in_pixels(band, others), full[others, 1])[:, None]
    pixels = np.stack([extent[:, 1] - extent[:, 0], extent[:, 3] - extent[:, 2]], axis=1)
    answer = np.maximum(np.stack([grids.height, grids.width], axis=1), 1)
    for row in np.flatnonzero(is_free).tolist():
        image_size = int(full[row, 0]), int(full[row, 1])
        extent[row], step = spread(places(grids, row, own.grid(row)), image_size)
        pixels[row] = step * answer[row]
    level = np.zeros(n_rows, np.int64)
    may_be_coarse = np.flatnonzero(is_read & ~grids.as_is & (pixels > answer).any(axis=1))
    for one in np.unique(band.reference_id[may_be_coarse]).tolist():
        rows = may_be_coarse[band.reference_id[may_be_coarse] == one]
        images = column.references[one].tiles.images
        sizes = [(image.height, image.width) for image in images]
        level[rows] = overview_levels(
            sizes,
            (pixels[rows, 0], pixels[rows, 1]),
            (answer[rows, 0], answer[rows, 1]),
            is_nearest=method == "nearest",
        )
        size[rows] = np.array(sizes, np.int64)[level[rows]]
    period = np.zeros(n_rows, np.int64)
    around = at if runs_on(band) else others
    around = around[~is_free[around]]
    if len(around):
        turn = turns_in_pixels(band, around)
        is_again = are_met_again(extent[around], turn, full[around, 1])
        for row, columns in zip(around[is_again].tolist(), turn[is_again].tolist(), strict=True):
            level[row], size[row], period[row] = _level_of_copies(band, row, int(level[row]), columns)
    scaled = extent / np.repeat(full / size, 2, axis=1)
    scaled[:, 2:] += period[:, None]
    steps = pixels / (full / size) / answer
    is_plain = is_read & ~is_free & (level == 0) & (pixels == answer).all(axis=1) & (extent % 1 == 0).all(axis=1)
    is_plain &= period == 0
    along_copies = np.where(period > 0, N_COPIES * period, size[:, 1])
    axes = np.stack([scaled[:, 0], steps[:, 0], scaled[:, 2], steps[:, 1]], axis=1)
    spans = []
    for at_start, along, n_source in ((0, 0, size[:, 0]), (2, 1, along_copies)):
        start, stop = source_spans(method, Axis(axes[:, at_start], axes[:, at_start + 1], answer[:, along], n_source))
        reaching = reach(method, steps[:, along])
        free_start = np.floor(scaled[:, at_start] - reaching) - 1
        free_stop = np.floor(scaled[:, at_start + 1] + reaching) + 2
        start = np.where(is_free, np.clip(free_start, 0, size[:, along]), start)
        stop = np.where(is_free, np.clip(free_stop, 0, size[:, along]), stop)
        spans += [start, np.maximum(start, stop)]
    row_start, row_stop, col_start, col_stop = spans
    # What is the answer itself may reach beyond the image: the engine fills there.
    row_start = np.where(is_plain, extent[:, 0], row_start).astype(np.int64)
    col_start = np.where(is_plain, extent[:, 2], col_start).astype(np.int64)
    return Sources(
        is_read=is_read,
        faults=faults,
        is_plain=is_plain,
        is_free=is_free,
        level=level,
        row_start=row_start,
        col_start=col_start,
        height=np.where(is_read, np.where(is_plain, grids.height, row_stop - row_start), 0).astype(np.int64),
        width=np.where(is_read, np.where(is_plain, grids.width, col_stop - col_start), 0).astype(np.int64),
        axes=axes,
        level_size=size,
        period=period,
    )


def _level_of_copies(band: BandRows, row: int, level: int, turn: float) -> tuple[int, tuple[int, int], int]:
    """Give the level read, its size, and its columns from one copy of an image to the next.

    A coarser level is taken only where its pixels, too, go into the turn.
    """
    images = band.column.references[int(band.reference_id[row])].tiles.images
    for one in range(level, -1, -1):
        columns = turn * images[one].width / images[0].width
        if one == 0 or abs(columns - round(columns)) < _NEARLY_WHOLE_PX:
            break
    # Pixels that do not go into the turn are half of one off at most, behind the seam only.
    return one, (images[one].height, images[one].width), round(columns)


def _unrelated(band: BandRows, grids: AnswerGrids, rows: Ints) -> dict[int, UsageError]:
    """Give the rows in which the grid of the answer and that of the band cannot be related."""
    own, own_crs = band.grids.transform[rows], band.grids.crs[rows]
    unplaced = ~(np.isfinite(own) & np.isfinite(grids.image.transform[rows])).all(axis=1)
    unnamed = (own_crs != grids.crs[rows]) & np.array(
        [not (is_known(one) and is_known(other)) for one, other in zip(own_crs, grids.crs[rows], strict=True)], np.bool_
    )
    return {
        row: UsageError(
            f"{band.column.name} of {shown(band.column.references[int(band.reference_id[row])].href)} lies on another pixel grid "
            "than the band it is to line up with, and one of them has no georeferencing to bring it there; read these bands in "
            "separate calls"
        )
        for row in rows[unplaced | unnamed].tolist()
    }


def _mapped(grids: AnswerGrids, transform: Floats, rows: Ints) -> tuple[Floats, Booleans]:
    """Give the extents of answers in pixels of another image of the same CRS, and whether its axes are parallel to theirs."""
    row_start, row_stop, col_start, col_stop = grids.extent[rows].T

    def moved(row: Floats, col: Floats) -> tuple[Floats, Floats]:
        return pixel_coordinates(transform[rows], *map_coordinates(grids.image.transform[rows], row, col))

    first, last, corner = moved(row_start, col_start), moved(row_stop, col_stop), moved(row_start, col_stop)
    extent = np.stack([first[0], last[0], first[1], last[1]], axis=1)
    whole = np.round(extent)
    extent = np.where(np.abs(extent - whole) <= BORDER_TOLERANCE_PX, whole, extent)
    is_parallel = (np.abs(corner[0] - first[0]) < BORDER_TOLERANCE_PX) & (
        np.abs(corner[1] - last[1]) < BORDER_TOLERANCE_PX
    )
    return extent, is_parallel & (last[0] > first[0]) & (last[1] > first[1])
