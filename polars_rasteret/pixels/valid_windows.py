"""Which pixels of windows does a ``valid=`` expression accept, and how many are valid in each row?

The expression is evaluated pixel by pixel, on the grid that all bands of a row share. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandAnswer
    from polars_rasteret.pixels.valid_mask import ValidMask

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRows:
    """Pixels of all rows, one row after another."""

    size: Ints
    """Number of pixels of each row."""

    def row_of_pixel(self) -> Ints:
        """Return the row of each pixel."""
        return np.repeat(np.arange(len(self.size)), self.size)

    def has_pixels(self, band: BandAnswer) -> Booleans:
        """Return for each pixel whether it is in the arrays of a band."""
        return np.repeat(np.diff(band.answer.offset) > 0, self.size)

    def valid_of(self, band: BandAnswer, stride: int | None) -> Booleans:
        """Return which pixels of a band are valid; pixels that were not read are not valid."""
        valid = np.zeros(int(self.size.sum()), np.bool_)
        valid[self.has_pixels(band)] = _validity(band, stride).reshape(-1)
        return valid & np.repeat(band.is_read, self.size)

    def any_of_row(self, pixels: Booleans) -> Booleans:
        """Return for each row whether any of its pixels is true."""
        return self.count(pixels) > 0

    def count(self, pixels: Booleans) -> Ints:
        """Return the number of true pixels of each row."""
        return np.bincount(self.row_of_pixel()[pixels], minlength=len(self.size)).astype(np.int64)


def accepted_pixels(
    valid_mask: ValidMask, rows: PixelRows, answers: Sequence[BandAnswer], stride: int | None
) -> Booleans:
    """Return which pixels the valid mask accepts.

    Parameters
    ----------
    valid_mask
        Valid mask of the batch.
    rows
        Pixels of the grids that the bands share.
    answers
        Answers of the bands that the expression names.
    stride
        As in `refuse_pixels`.
    """
    bands = {}
    for band in answers:
        is_there = rows.has_pixels(band)
        values = np.zeros(len(is_there), band.answer.values.dtype)
        values[is_there] = band.answer.values[: int(is_there.sum())]
        bands[band.rows.column.name] = (values, rows.valid_of(band, stride))
    return valid_mask.of_pixels(rows.row_of_pixel(), bands)


def refuse_pixels(band: BandAnswer, rows: PixelRows, accepted: Booleans, stride: int | None) -> None:
    """Set pixels that were not accepted to not valid, in place.

    Parameters
    ----------
    band, rows, accepted
        Answer of a band, the pixels of the grids, and which of them are accepted.
    stride
        Pixels from one row to the next in the arrays of the answer, when all rows have the same size; None: rows lie side by
        side.
    """
    valid = _validity(band, stride)
    np.logical_and(valid, accepted[rows.has_pixels(band)].reshape(valid.shape), out=valid)


def _validity(band: BandAnswer, stride: int | None) -> Booleans:
    """Return the valid mask of a band's pixels, as a view: in a stack, pixels of other bands lie between them."""
    answer = band.answer
    assert answer.valid is not None
    if stride is None:
        return answer.valid[: answer.offset[-1]]
    size = np.diff(answer.offset)
    return np.ndarray((len(size), int(size[0]) if len(size) else 0), np.bool_, answer.valid, strides=(stride, 1))
