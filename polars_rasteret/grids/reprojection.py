"""Where in an image are the pixels of an answer whose axes are not parallel to the image's?

The answer is in another CRS, or rotated. Each pixel centre is transformed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.antimeridian import x_near_image
from polars_rasteret.geo.crs import transform_xy, x_period

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.pixel_grid import PixelGrid

    Floats = NDArray[np.float64]


def pixel_positions(answers: AnswerGrids, row: int, image: PixelGrid) -> tuple[Floats, Floats]:
    """Return the position of each pixel centre of an answer in an image.

    Parameters
    ----------
    answers, row
        Grids of the answers, and the row of one answer.
    image
        Grid of the image.

    Returns
    -------
    (row, col) : float64, shape (height, width)
        Positions in pixels of full resolution; not finite for a centre without a place in the image's CRS.
    """
    down, across = np.arange(answers.height[row]) + 0.5, np.arange(answers.width[row]) + 0.5
    x, y = map_coordinates(answers.transform[row], down[:, None], across[None, :])
    crs, own_crs = answers.crs[row], image.crs
    if crs != own_crs:
        assert crs is not None
        assert own_crs is not None
        moved_x, moved_y = transform_xy(crs, own_crs, x.ravel(), y.ravel())
        x, y = moved_x.reshape(x.shape), moved_y.reshape(y.shape)
    transform = np.array(image.transform)
    if own_crs is not None and (period := x_period(own_crs)) is not None:
        width, height = (np.full(x.size, one, np.int64) for one in (image.width, image.height))
        each = np.broadcast_to(transform, (x.size, 6))
        x = x_near_image(each, width, height, x.ravel(), y.ravel(), period=period).reshape(x.shape)
    return pixel_coordinates(transform, x, y)


def extent_and_step(positions: tuple[Floats, Floats], image_size: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Return the part of an image that positions span, and the distance from one position to the next.

    Returns
    -------
    extent, step
        ``first_row, last_row, first_col, last_col`` of the positions in the image (-1, outside it, when there are none). Then
        rows and columns from one pixel of the answer to the next.
    """
    row, col = positions
    with np.errstate(invalid="ignore"):
        inside = (row >= 0) & (row < image_size[0]) & (col >= 0) & (col < image_size[1])
        # Half of the answer may lie beyond where projections fold: the middle of all distances tells.
        step = [float(np.hypot(_distance(one, 0), _distance(one, 1))) or 1.0 for one in (row, col)]
    if not inside.any():
        return [-1.0, -1.0, -1.0, -1.0], step
    row, col = row[inside], col[inside]
    return [float(row.min()), float(row.max()), float(col.min()), float(col.max())], step


def _distance(coordinate: Floats, axis: int) -> float:
    apart = np.abs(np.diff(coordinate, axis=axis))
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if apart.size else 0.0
