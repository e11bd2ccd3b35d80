"""Where in an image are the pixels of an answer whose axes are not parallel to the image's?

The answer is in another CRS, or rotated. Each pixel centre is transformed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.affine import map_coordinates, pixel_coordinates
from polars_rasteret.geo.crs import transform_xy, x_period
from polars_rasteret.geo.turns import x_near_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.pixel_grid import PixelGrid

    Floats = NDArray[np.float64]

_LEAST_INTERPOLATED = 4096
"""Pixels of an answer from which on positions are interpolated."""
_NODES, _TESTS = 8, 7
"""Nodes of an interpolation along an axis, and places along an axis at which it is tested."""
_OFF_PX = 1e-6
"""Pixels by which an interpolated position may be off."""
_SAMPLES = 9
"""Places along each side of a grid where its pixels are measured."""


def pixel_positions(
    answers: AnswerGrids, row: int, image: PixelGrid, *, corners: bool = False
) -> tuple[Floats, Floats]:
    """Return the position of each pixel centre of an answer in an image.

    Parameters
    ----------
    answers, row
        Grids of the answers, and the row of one answer.
    image
        Grid of the image.
    corners
        True: the positions of the corners of all pixels instead, shape (height + 1, width + 1).

    Returns
    -------
    (row, col) : float64, shape (height, width)
        Positions in pixels of full resolution; not finite for a centre without a place in the image's CRS.
    """
    height, width = int(answers.height[row]) + corners, int(answers.width[row]) + corners
    within = 0.0 if corners else 0.5
    result = np.empty((height, width)), np.empty((height, width))

    def positions(down: Floats, across: Floats) -> tuple[Floats, Floats]:
        x, y = map_coordinates(answers.transform[row], down, across)
        return positions_of(answers.crs[row], x, y, image)

    parts = [(0, height, 0, width)]
    while parts:
        top, bottom, left, right = parts.pop()
        place = slice(top, bottom), slice(left, right)
        down: Floats = np.arange(top, bottom, dtype=np.float64) + within
        across: Floats = np.arange(left, right, dtype=np.float64) + within
        if down.size * across.size > _LEAST_INTERPOLATED:
            found = _interpolated(positions, down, across)
            if found is None:  # projections may fold here, or longitudes jump
                row_middle, col_middle = (top + bottom) // 2, (left + right) // 2
                rows = [(top, row_middle), (row_middle, bottom)] if len(down) > _NODES else [(top, bottom)]
                cols = [(left, col_middle), (col_middle, right)] if len(across) > _NODES else [(left, right)]
                parts += [(*some_rows, *some_cols) for some_rows in rows for some_cols in cols]
                continue
        else:
            found = positions(down[:, None], across[None, :])
        result[0][place], result[1][place] = found
    return result


def _interpolated(
    positions: Callable[[Floats, Floats], tuple[Floats, Floats]], down: Floats, across: Floats
) -> tuple[Floats, Floats] | None:
    """Return positions between those of few nodes; None where they would be off by more than `_OFF_PX` pixels.

    A transform of coordinates takes a microsecond per point. Between Chebyshev nodes, polynomials come as near as rounding.
    """
    axes = [_chebyshev(one) for one in (down, across)]
    (row_nodes, row_tests, _), (col_nodes, col_tests, _) = axes
    at_nodes = positions(row_nodes[:, None], col_nodes[None, :])
    at_tests = positions(row_tests[:, None], col_tests[None, :])
    if not all(np.isfinite(one).all() for one in (*at_nodes, *at_tests)):
        return None
    (_, _, down_basis), (_, _, across_basis) = axes
    for known, expected in zip(at_nodes, at_tests, strict=True):
        found = down_basis(row_tests) @ known @ across_basis(col_tests).T
        if not np.abs(found - expected).max() <= _OFF_PX:
            return None
    rows, cols = down_basis(down), across_basis(across)
    return rows @ at_nodes[0] @ cols.T, rows @ at_nodes[1] @ cols.T


def _chebyshev(along: Floats) -> tuple[Floats, Floats, Callable[[Floats], Floats]]:
    """Return nodes and places for tests along an axis, and the weights of the nodes at some places, shape (n, n_nodes)."""
    middle, half = float(along[0] + along[-1]) / 2, max(float(along[-1] - along[0]) / 2, 0.5)
    nodes: Floats = np.cos((np.arange(_NODES) + 0.5) * np.pi / _NODES)
    inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, _NODES - 1))
    tests: Floats = np.linspace(-0.97, 0.99, _TESTS)

    def basis(places: Floats) -> Floats:
        weights: Floats = np.polynomial.chebyshev.chebvander((places - middle) / half, _NODES - 1) @ inverse
        return weights

    return np.asarray(middle + half * nodes, np.float64), np.asarray(middle + half * tests, np.float64), basis


def positions_of(crs: str | None, x: Floats, y: Floats, image: PixelGrid) -> tuple[Floats, Floats]:
    """Return the position of map coordinates in an image, in pixels of full resolution.

    Parameters
    ----------
    crs, x, y
        Coordinates of any shape, and their CRS.
    image
        Grid of the image.

    Returns
    -------
    (row, col) : float64, shape of `x`
        Not finite for a coordinate without a place in the image's CRS.
    """
    own_crs = image.crs
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


def pixels_per_pixel(image: PixelGrid, grid: PixelGrid, box: Floats) -> Floats:
    """Return how many rows and columns of an image a pixel of a grid spans, shape (2,); the median where that varies.

    Parameters
    ----------
    image, grid
        The two grids, in any CRSs.
    box
        ``row_start, row_stop, col_start, col_stop`` of the image in pixels of the grid; may be infinite.
    """
    if image.crs == grid.crs:  # the same everywhere: no sample is needed
        (a, b, _, d, e, _), (grid_a, grid_b, _, grid_d, grid_e, _) = image.transform, grid.transform
        if not (b or d or grid_b or grid_d) and a and e and np.isfinite([a, e, grid_a, grid_e]).all():
            return np.array([abs(grid_e / e), abs(grid_a / a)])
    lower, upper = np.zeros(2), np.array([grid.height, grid.width], np.float64)
    inner = np.clip(box[[0, 2]], lower, upper), np.clip(box[[1, 3]], lower, upper)
    first, last = (lower, upper) if (inner[1] <= inner[0]).any() else inner
    places = first + (last - first) * np.linspace(0.05, 0.95, _SAMPLES)[:, None]
    row, col = (one.ravel() for one in np.meshgrid(places[:, 0], places[:, 1], indexing="ij"))
    is_placed = np.isfinite(image.transform).all() and np.isfinite(grid.transform).all()
    if not is_placed or (image.crs != grid.crs and (image.crs is None or grid.crs is None)):
        return np.ones(2)
    own, below, beside = (
        np.stack(positions_of(grid.crs, *map_coordinates(np.array(grid.transform), row + down, col + across), image))
        for down, across in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    spans = np.hypot(below - own, beside - own)
    spans = spans[:, np.isfinite(spans).all(axis=0)]
    return np.median(spans, axis=1) if spans.size else np.ones(2)


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
