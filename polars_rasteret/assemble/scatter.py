"""How do the decoded pixels of a tile reach the flat answers?

Called on decode threads for every tile, so each call costs microseconds: one fancy index for points, one copy per
rectangle. Different tiles write different pixels, so no lock is needed. Which pieces a tile has was decided before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import validity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_MANY_PIECES = 16
_SMALL_PIECE = 256
"""At least so many pieces of at most so many pixels on average are gathered pixel by pixel, in one go."""


def place_points(
    plane: NDArray[Any],
    where: tuple[Ints, Ints, Ints],
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    nodata: np.generic | None,
) -> None:
    """Write single pixels.

    Parameters
    ----------
    plane
        Native dtype, shape (n_rows, n_cols): decoded rows of one band of one tile.
    where
        Per pixel: row and column in `plane`, and its place in the flat answer.
    values, valid
        The flat answer, result dtype, and its validity.
    nodata
        Native value that means nothing.
    """
    row, col, destination = where
    pixels = plane[row, col]
    values[destination] = pixels
    if valid is not None:
        is_valid = np.empty(len(pixels), np.bool_)
        validity(pixels, nodata, is_valid)
        valid[destination] = is_valid


def place_rectangles(  # noqa: PLR0917 - called once per tile
    plane: NDArray[Any],
    where: tuple[Ints, Ints, Ints],
    shape: tuple[Ints, Ints, Ints],
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    nodata: np.generic | None,
) -> None:
    """Write rectangles.

    Parameters
    ----------
    plane, values, valid, nodata
        As in `place_points`.
    where
        Per piece: first row and column in `plane`, and the place of its first pixel in the flat answer.
    shape
        Per piece: height, width, and pixels from one row of the answer to the next.
    """
    if len(where[0]) >= _MANY_PIECES and int(np.dot(shape[0], shape[1])) <= _SMALL_PIECE * len(where[0]):
        place_points(plane, _pixels_of(where, shape), values, valid, nodata)
        return
    dtype, itemsize = values.dtype, values.itemsize
    for row, col, start, height, width, stride in zip(*(one.tolist() for one in (*where, *shape)), strict=True):
        source = plane[row : row + height, col : col + width]
        size, strides = (height, width), (stride * itemsize, itemsize)
        np.ndarray(size, dtype, values, start * itemsize, strides)[...] = source
        if valid is not None:
            validity(source, nodata, np.ndarray(size, np.bool_, valid, start, (stride, 1)))


def _pixels_of(where: tuple[Ints, Ints, Ints], shape: tuple[Ints, Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    """Expand rectangles into the row, column and place of each pixel."""
    row, col, destination = where
    height, width, stride = shape
    n_pixels = height * width
    one = np.repeat(np.arange(len(row)), n_pixels)
    place = np.arange(len(one)) - np.repeat(np.cumsum(n_pixels) - n_pixels, n_pixels)
    down = place // width[one]
    across = place - down * width[one]
    return row[one] + down, col[one] + across, destination[one] + down * stride[one] + across
