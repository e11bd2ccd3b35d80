"""How do the decoded pixels of a tile reach the flat answers?

These functions run on decode threads for every tile, so each call costs microseconds: one fancy index for points, one copy
per rectangle. Different tiles write different pixels, so no lock is needed. `plan.tiles` decides which pieces a tile has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import validity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_MANY_PIECES = 16
"""From this many pieces on, small pieces are gathered pixel by pixel, with one fancy index."""
_SMALL_PIECE = 256
"""Pixels of a small piece at most, on average."""


def place_points(
    plane: NDArray[Any],
    where: tuple[Ints, Ints, Ints],
    values: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    nodata: np.generic | None,
) -> None:
    """Write single pixels of one tile into the flat answer.

    Parameters
    ----------
    plane
        Native dtype, shape (n_rows, n_cols): decoded rows of one band of one tile.
    where
        Three arrays with one entry per pixel: row in `plane`, column in `plane`, index into the flat answer.
    values, valid
        The flat answer in the result dtype, and its valid mask; None: no valid mask is wanted.
    nodata
        Native value that means nodata; None: no value does.
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
    """Write rectangles of one tile into the flat answer.

    Parameters
    ----------
    plane, values, valid, nodata
        As in `place_points`.
    where
        Three arrays with one entry per rectangle: first row in `plane`, first column in `plane`, index of the first pixel in
        the flat answer.
    shape
        Three arrays with one entry per rectangle: height, width, and pixels from one row of the answer to the next.
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
    """Return the row, the column and the index into the flat answer of each pixel of the rectangles."""
    row, col, destination = where
    height, width, stride = shape
    n_pixels = height * width
    one = np.repeat(np.arange(len(row)), n_pixels)
    place = np.arange(len(one)) - np.repeat(np.cumsum(n_pixels) - n_pixels, n_pixels)
    down = place // width[one]
    across = place - down * width[one]
    return row[one] + down, col[one] + across, destination[one] + down * stride[one] + across
