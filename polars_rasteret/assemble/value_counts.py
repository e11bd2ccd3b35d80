"""How often does each value occur among weighted pixels, and which value is at a quantile?

Pixels are kept as rows ``(group, value, weight, number of pixels)``, sorted and without repetition: a million pixels of an
8-bit image take a few hundred rows. Rows of parts (tiles) are merged. Sums and means are in `moments`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_SMALL_BYTES = 2
"""Bytes of integers that are counted without sorting them."""
_SPARSE = 4
"""Counters per pixel up to which they are laid out; where values are sparser, sorting them is quicker."""
_SAME_SHARE = 1e-12
"""Shares of a group's weight that differ by less are the same: weights went through sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCounts:
    """Distinct pairs of value and weight in each group, sorted by group, value and weight."""

    group: Ints
    value: NDArray[Any]
    weight: Floats
    """Weight of one pixel."""
    n_pixels: Ints

    @classmethod
    def merged(cls, parts: Sequence[ValueCounts]) -> ValueCounts:
        """Return the counts of all parts together; at least one part is needed."""
        return _counted(
            np.concatenate([one.group for one in parts]),
            np.concatenate([one.value for one in parts]),
            np.concatenate([one.weight for one in parts]),
            np.concatenate([one.n_pixels for one in parts]),
        )

    def by_value(self) -> ValueShares:
        """Return the weight of each distinct value in each group."""
        is_new = np.ones(len(self.group), np.bool_)
        is_new[1:] = (self.group[1:] != self.group[:-1]) | (self.value[1:] != self.value[:-1])
        start = np.flatnonzero(is_new)
        together = np.add.reduceat(self.weight * self.n_pixels, start) if len(start) else np.zeros(0)
        return ValueShares(group=self.group[start], value=self.value[start], weight=together)

    def quantiles(self, n_groups: int, q: float) -> Floats:
        """Return the value at a quantile of each group; NaN without a pixel.

        Pixels are sorted by value and weight. Pixel ``k`` of ``n`` stands at ``k * its weight + (n - 1) * weight before``, and
        values between two pixels are interpolated. With equal weights this is NumPy's linear quantile.

        Parameters
        ----------
        n_groups
            Number of groups, with and without pixels.
        q
            Quantile, 0 to 1.
        """
        result = np.full(n_groups, np.nan)
        if not len(self.group):
            return result
        start = np.flatnonzero(np.diff(self.group, prepend=-1))
        size = np.diff(start, append=len(self.group))
        pixels_before, n_pixels = _running_sums(self.n_pixels, start, size)
        weight_before, weight = _running_sums(self.weight * self.n_pixels, start, size)
        steps = np.repeat(n_pixels - 1, size)
        first = pixels_before * self.weight + steps * weight_before
        last = (pixels_before + self.n_pixels - 1) * self.weight + steps * (
            weight_before + self.weight * (self.n_pixels - 1)
        )
        target = q * weight * (n_pixels - 1)
        row = start + np.maximum(np.add.reduceat(first <= np.repeat(target, size), start) - 1, 0)
        following = np.minimum(row + 1, start + size - 1)
        low, high = self.value[row].astype(np.float64), self.value[following].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (target - last[row]) / (first[following] - last[row])
        is_between = (following > row) & (target > last[row])
        # Not low + share * (high - low): the difference of two numbers of a dtype may be too large for it.
        between = low * (1 - share) + high * share
        result[self.group[start]] = np.where(is_between & (low != high), between, low)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueShares:
    """Distinct values of each group and their weights, sorted by group and value."""

    group: Ints
    value: NDArray[Any]
    weight: Floats
    """Sum of the weights of the pixels that have the value."""

    def variety(self, n_groups: int) -> Ints:
        """Return the number of distinct values of each group."""
        return np.bincount(self.group, minlength=n_groups).astype(np.int64)

    def fractions(self) -> Floats:
        """Return the share of each value in the weight of its group."""
        start, size = self._groups()
        together = np.add.reduceat(self.weight, start) if len(start) else np.zeros(0)
        shares: Floats = self.weight / np.repeat(together, size)
        return shares

    def majority(self) -> tuple[Ints, NDArray[Any]]:
        """Return the groups that have pixels, and of each the value of the largest weight; ties go to the larger value."""
        return self._extreme(is_largest=True)

    def minority(self) -> tuple[Ints, NDArray[Any]]:
        """Return the groups that have pixels, and of each the value of the smallest weight; ties go to the smaller value."""
        return self._extreme(is_largest=False)

    def _groups(self) -> tuple[Ints, Ints]:
        start = np.flatnonzero(np.diff(self.group, prepend=-1))
        return start, np.diff(start, append=len(self.group))

    def _extreme(self, *, is_largest: bool) -> tuple[Ints, NDArray[Any]]:
        start, size = self._groups()
        if not len(start):
            return self.group, self.value
        tolerance = np.add.reduceat(self.weight, start) * _SAME_SHARE
        if is_largest:
            bound = np.maximum.reduceat(self.weight, start) - tolerance
            is_tied = self.weight >= np.repeat(bound, size)
            chosen = np.maximum.reduceat(np.where(is_tied, np.arange(len(is_tied)), -1), start)
        else:
            bound = np.minimum.reduceat(self.weight, start) + tolerance
            is_tied = self.weight <= np.repeat(bound, size)
            chosen = np.minimum.reduceat(np.where(is_tied, np.arange(len(is_tied)), len(is_tied)), start)
        return self.group[start], self.value[chosen]


def value_counts(group: Ints, value: NDArray[Any], weight: Floats) -> ValueCounts:
    """Return how often each pair of value and weight occurs in each group.

    Parameters
    ----------
    group, value, weight
        One entry per valid pixel, shape (n_pixels,), in any order; no value is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> found = value_counts(np.array([0, 0, 0]), np.array([7, 7, 5]), np.array([1.0, 1.0, 0.5]))
    >>> found.value.tolist(), found.weight.tolist(), found.n_pixels.tolist()
    ([5, 7], [0.5, 1.0], [1, 2])
    """
    if value.dtype.kind not in "iu" or value.dtype.itemsize > _SMALL_BYTES or not len(group):
        return _counted(group, value, weight, np.ones(len(group), np.int64))
    is_one = weight == 1
    if is_one.all():
        return _histogram(group, value)
    others = ~is_one
    parts = _counted(group[others], value[others], weight[others], np.ones(int(others.sum()), np.int64))
    return ValueCounts.merged([parts, _histogram(group[is_one], value[is_one])]) if is_one.any() else parts


def _histogram(group: Ints, value: NDArray[Any]) -> ValueCounts:
    """Return how often each small integer occurs in each group; all pixels have the weight 1."""
    low, n_values = int(value.min()), int(value.max()) - int(value.min()) + 1
    first, n_groups = int(group.min()), int(group.max()) - int(group.min()) + 1
    code = (group - first) * n_values + (value.astype(np.int64) - low)
    if n_groups * n_values <= _SPARSE * len(code):
        count = np.bincount(code, minlength=n_groups * n_values)
        distinct = np.flatnonzero(count)
        count = count[distinct]
    else:
        distinct, count = np.unique(code, return_counts=True)
    return ValueCounts(
        group=distinct // n_values + first,
        value=(distinct % n_values + low).astype(value.dtype),
        weight=np.ones(len(distinct)),
        n_pixels=count,
    )


def _counted(group: Ints, value: NDArray[Any], weight: Floats, n_pixels: Ints) -> ValueCounts:
    order = np.lexsort((weight, value, group))
    group, value, weight, n_pixels = group[order], value[order], weight[order], n_pixels[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (group[1:] != group[:-1]) | (value[1:] != value[:-1]) | (weight[1:] != weight[:-1])
    start = np.flatnonzero(is_new)
    return ValueCounts(
        group=group[start],
        value=value[start],
        weight=weight[start],
        n_pixels=np.add.reduceat(n_pixels, start) if len(start) else n_pixels,
    )


def _running_sums(numbers: NDArray[Any], start: Ints, size: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the sum of the numbers before each one in its group, and the sum of each group.

    One running sum over all groups would carry the rounding errors of large groups into small ones.
    """
    before = np.zeros_like(numbers)
    together = np.zeros(len(start), numbers.dtype)
    length_class = np.ceil(np.log2(size)).astype(np.int64)
    for one in np.unique(length_class).tolist():
        of_class = np.flatnonzero(length_class == one)
        across = np.arange(1 << one)
        is_there = across < size[of_class, None]
        at = np.where(is_there, start[of_class, None] + across, 0)
        sums = np.cumsum(np.where(is_there, numbers[at], 0), axis=1)
        together[of_class] = sums[:, -1]
        sums[:, 1:], sums[:, 0] = sums[:, :-1].copy(), 0
        before[at[is_there]] = sums[is_there]
    return before, together
