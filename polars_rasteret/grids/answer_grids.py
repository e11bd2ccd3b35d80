"""Which pixel grid does the answer of each row have?

Either the pixels of one of its bands, or a grid of its own that covers an extent exactly. The windows that bands read to fill the
answer belong to `source_windows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.grids.choosing import grid_bands
from polars_rasteret.grids.pixel_grid import PixelGrids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.grids.bands import BandOnGrids

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

_LARGEST = 2**31
"""Pixels of a side of an answer at most; larger answers are refused for their bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerGrids:
    """Pixel grid of each row's answer; one entry per row."""

    has_grid: Booleans
    """Whether the row has an answer."""
    height: Ints
    width: Ints
    transform: Floats
    """Transform of each answer, shape (n, 6); NaN without georeferencing."""
    crs: NDArray[np.object_]
    image: PixelGrids
    """Grid of the image that gives the answer its extent and CRS."""
    extent: Floats
    """Extent of the answer in pixels of that image, as in `Windows`."""
    is_unresampled: Booleans
    """Whether the answer has the pixels of that image."""


def answer_grids(
    bands: Sequence[BandOnGrids],
    grid: str,
    *,
    shape: tuple[int, int] | None,
    resolution: tuple[float, float] | None,
) -> AnswerGrids:
    """Return the grid of each row's answer.

    Parameters
    ----------
    bands
        Bands whose windows the answers cover, with the same rows.
    grid
        Index of the band that gives each row its extent and CRS, as from `grid_bands`.
    shape
        ``(height, width)`` of every answer; None: from `resolution`, else the pixels of the window.
    resolution
        Size of a pixel in x and y, in units of the grid's CRS.
    """
    n_rows = len(bands[0].reference_id)
    its_grids = [band.grids.where(band.is_read) for band in bands]
    chosen = grid_bands(its_grids, [band.name for band in bands], grid)
    extent, grid_id = np.zeros((n_rows, 4)), np.full(n_rows, -1, np.int64)
    is_unresampled = np.zeros(n_rows, np.bool_)
    for at, band in enumerate(bands):
        rows = np.flatnonzero(chosen == at)
        extent[rows] = band.windows.extents()[rows]
        is_unresampled[rows] = band.windows.unresampled()[rows]
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
        is_unresampled=has_grid & is_unresampled,
    )


def _sizes_at(resolution: tuple[float, float], sizes: Floats, transform: Floats, has_grid: Booleans) -> Floats:
    """Return the number of pixels of size `resolution` along the sides of extents."""
    if not np.isfinite(transform[has_grid]).all():
        raise UsageError(
            "resolution= is in units of the raster's CRS, and a raster has no georeferencing; pass shape=(height, width)"
        )
    a, b, _, d, e, _ = transform.T
    return np.stack(
        [sizes[:, 0] * np.hypot(b, e) / resolution[1], sizes[:, 1] * np.hypot(a, d) / resolution[0]], axis=1
    )
