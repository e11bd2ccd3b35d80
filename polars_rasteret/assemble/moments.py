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


def moments_of(values: NDArray[Any], valid: NDArray[np.bool_], weight: Floats, start: Ints) -> Moments:
    """Return the moments of groups of cells, for several images whose cells are the same.

    Parameters
    ----------
    values, valid
        Pixels and their valid mask, shape (n_images, n_cells); cells sorted by group.
    weight
        Weight of each cell, above 0, shape (n_cells,).
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
    at_once = max(1, _BLOCK // max(1, n_cells))
    for first in range(0, n_images if n_groups else 0, at_once):
        block, is_valid = values[first : first + at_once], valid[first : first + at_once]
        place = slice(first * n_groups, (first + len(block)) * n_groups)
        weights = np.where(is_valid, weight, 0.0)
        numbers = np.where(is_valid, block, 0).astype(np.float64)
        of_group = np.add.reduceat(weights, start, axis=1)
        total = np.add.reduceat(weights * numbers, start, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(of_group > 0, total / of_group, 0.0)
        # In two passes: the difference of large sums would lose the digits of a small variance.
        with np.errstate(invalid="ignore"):
            numbers -= np.repeat(mean, size, axis=1)
            squares = np.add.reduceat(weights * numbers * numbers, start, axis=1)
        result.weight[place], result.total[place] = of_group.ravel(), total.ravel()
        result.mean[place], result.squares[place] = mean.ravel(), squares.ravel()
        result.smallest[place] = np.minimum.reduceat(np.where(is_valid, block, high), start, axis=1).ravel()
        result.largest[place] = np.maximum.reduceat(np.where(is_valid, block, low), start, axis=1).ravel()
    return result


def _range(dtype: np.dtype[Any]) -> tuple[np.generic, np.generic]:
    """Return the smallest and the largest number of a dtype."""
    if dtype.kind == "f":
        return dtype.type(-np.inf), dtype.type(np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.min), dtype.type(limits.max)
