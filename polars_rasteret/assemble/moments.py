"""What are count, sum, mean, variance, minimum and maximum of weighted pixels, and of parts of them put together?

A group is the pixels of one zone in one image. Its pixels come in parts (tiles), whose moments are merged: the answer does not
depend on how a zone was cut. Values are counted one by one in `value_counts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_BLOCK = 600_000
"""Numbers that are reduced at once: larger blocks leave the processor's cache."""
_SMALL_BYTES = 2
"""Bytes of integers whose squares are below 2**32."""
_EXACT_CELLS = 1 << 19
"""Most squares of such integers whose sums are below 2**52."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of some groups, one entry per group; merged in place."""

    weight: Floats
    """Sum of the weights of valid pixels (``count``)."""
    total: Floats
    """Sum of weight times value (``sum``)."""
    mean: Floats
    """Weighted mean; 0 without a valid pixel."""
    squares: Floats
    """Sum of weight times squared distance from the mean."""
    smallest: NDArray[Any]
    """Smallest valid value in the pixel dtype; the largest number of the dtype without a valid pixel."""
    largest: NDArray[Any]
    """Largest valid value in the pixel dtype; the smallest number of the dtype without a valid pixel."""

    @classmethod
    def nothing(cls, n_groups: int, dtype: np.dtype[Any]) -> Moments:
        """Return the moments of groups without a pixel."""
        low, high = _range(dtype)
        return cls(
            weight=np.zeros(n_groups),
            total=np.zeros(n_groups),
            mean=np.zeros(n_groups),
            squares=np.zeros(n_groups),
            smallest=np.full(n_groups, high, dtype),
            largest=np.full(n_groups, low, dtype),
        )

    def taken(self, index: Ints) -> Moments:
        """Return the moments of some groups."""
        return Moments(
            weight=self.weight[index],
            total=self.total[index],
            mean=self.mean[index],
            squares=self.squares[index],
            smallest=self.smallest[index],
            largest=self.largest[index],
        )

    def add(self, group: Ints, part: Moments) -> None:
        """Merge the moments of further pixels into some groups.

        Parameters
        ----------
        group
            Group of each entry of `part`; no group comes twice.
        part
            Moments of pixels that are not among those merged before.
        """
        before, together = self.weight[group], self.weight[group] + part.weight
        apart = part.mean - self.mean[group]
        has_some = part.weight > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            # Chan, Golub and LeVeque: sums of squares around two means, brought to the common one.
            share = np.where(has_some, part.weight / together, 0.0)
            shift = np.where(before > 0, apart * apart * before * share, 0.0)
            mean = np.where(before > 0, self.mean[group] + apart * share, part.mean)
        self.squares[group] += np.where(has_some, part.squares + shift, 0.0)
        self.mean[group] = np.where(has_some, mean, self.mean[group])
        self.weight[group] = together
        self.total[group] += part.total
        self.smallest[group] = np.minimum(self.smallest[group], part.smallest)
        self.largest[group] = np.maximum(self.largest[group], part.largest)

    def variance(self) -> Floats:
        """Return the population variance of each group; NaN without a valid pixel."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.weight > 0, self.squares / self.weight, np.nan)


def moments_of(values: NDArray[Any], valid: NDArray[np.bool_] | None, weight: Floats | None, start: Ints) -> Moments:
    """Return the moments of groups of cells, for several images whose cells are the same.

    Parameters
    ----------
    values
        Pixels, shape (n_images, n_cells); cells sorted by group.
    valid
        Their valid mask; None: all are valid.
    weight
        Weight of each cell, above 0, shape (n_cells,); None: all are 1.
    start
        First cell of each group, ascending from 0, shape (n_groups,); no group is empty.

    Returns
    -------
    Moments
        Flat, image after image: entry ``image * n_groups + group``.

    Examples
    --------
    >>> import numpy as np
    >>> values, valid = np.array([[1, 2, 9]], np.uint8), np.array([[True, True, False]])
    >>> found = moments_of(values, valid, np.array([1.0, 0.5, 1.0]), np.array([0, 2]))
    >>> found.weight.tolist(), found.total.tolist()
    ([1.5, 0.0], [2.0, 0.0])
    """
    n_images, n_cells = values.shape
    n_groups = len(start)
    result = Moments.nothing(n_images * n_groups, values.dtype)
    low, high = _range(values.dtype)
    size = np.diff(start, append=n_cells)
    is_small = values.dtype.kind in "iu" and values.dtype.itemsize <= _SMALL_BYTES
    is_exact = weight is None and is_small and int(size.max(initial=0)) <= _EXACT_CELLS
    at_once = max(1, _BLOCK // max(1, n_cells))
    for first in range(0, n_images if n_groups else 0, at_once):
        block = values[first : first + at_once]
        is_valid = None if valid is None else valid[first : first + at_once]
        place = slice(first * n_groups, (first + len(block)) * n_groups)
        numbers = (block if is_valid is None else np.where(is_valid, block, 0)).astype(np.float64)
        weights: NDArray[Any]  # a single row where all images have the same
        if is_valid is None:
            weights = np.ones(n_cells, np.bool_) if weight is None else weight
        else:
            weights = is_valid if weight is None else np.where(is_valid, weight, 0.0)
        of_group = np.add.reduceat(weights, start, axis=-1, dtype=np.float64)
        of_group = np.broadcast_to(of_group, (len(block), n_groups))
        with np.errstate(divide="ignore", invalid="ignore"):
            total = np.add.reduceat(numbers if weight is None else weights * numbers, start, axis=1)
            mean = np.where(of_group > 0, total / of_group, 0.0)
            if is_exact:
                squares = _exact_squares(numbers, start, of_group, total, mean)
            else:
                # In two passes: the difference of large sums would lose the digits of a small variance.
                numbers -= np.repeat(mean, size, axis=1)
                numbers *= numbers
                squares = np.add.reduceat(weights * numbers, start, axis=1)
        result.weight[place], result.total[place] = of_group.ravel(), total.ravel()
        result.mean[place], result.squares[place] = mean.ravel(), squares.ravel()
        smallest, largest = block, block
        if is_valid is not None:
            smallest, largest = np.where(is_valid, block, high), np.where(is_valid, block, low)
        result.smallest[place] = np.minimum.reduceat(smallest, start, axis=1).ravel()
        result.largest[place] = np.maximum.reduceat(largest, start, axis=1).ravel()
    return result


def _exact_squares(numbers: Floats, start: Ints, of_group: Floats, total: Floats, mean: Floats) -> Floats:
    """Return the sums of squares around the means of small integers of weight 1, of which those not valid are 0.

    All sums are integers below 2**53, so they are exact, and the difference of large ones loses nothing.
    """
    numbers *= numbers
    around_zero = np.add.reduceat(numbers, start, axis=1)
    pivot = np.rint(mean)
    apart = total - of_group * pivot
    around_pivot = around_zero - 2 * pivot * total + of_group * pivot * pivot
    squares: Floats = around_pivot - np.where(of_group > 0, apart * apart / of_group, 0.0)
    return squares


def _range(dtype: np.dtype[Any]) -> tuple[np.generic, np.generic]:
    """Return the smallest and the largest number of a dtype."""
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min), dtype.type(limits.max)
