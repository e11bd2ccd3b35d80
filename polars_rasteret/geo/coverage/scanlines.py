"""How are the rows of many owners numbered one after another?

Owners are zones or parts of zones. One number per owner and row makes a sort by owner, row and column a sort of integers.
What is found on the rows stands in `exact` and `gdal_fill`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanlines:
    """Rows of many owners, numbered from 0 without gaps; an owner without rows has no numbers."""

    first_row: Ints
    """First row of each owner."""
    start: Ints
    """Number of the first row of each owner, and one more entry: how many rows there are."""

    @classmethod
    def holding(cls, owner: Ints, row: Ints, n_owners: int) -> Scanlines:
        """Return the rows of each owner from the first to the last of `row`.

        Examples
        --------
        >>> import numpy as np
        >>> lines = Scanlines.holding(np.array([1, 0, 0]), np.array([2, 8, 7]), 2)
        >>> lines.of(np.array([0, 1]), np.array([8, 2])), lines.owner_and_row(np.array([1, 2]))
        (array([1, 2]), (array([0, 1]), array([8, 2])))
        """
        stop, first = np.zeros(n_owners, np.int64), np.full(n_owners, np.iinfo(np.int64).max)
        np.maximum.at(stop, owner, row + 1)
        np.minimum.at(first, owner, row)
        first = np.minimum(first, stop)
        return cls(first_row=first, start=np.concatenate([[0], np.cumsum(stop - first)]).astype(np.int64))

    def of(self, owner: Ints, row: Ints) -> Ints:
        """Return the number of each row of an owner."""
        return row + (self.start[:-1] - self.first_row)[owner]

    def owner_and_row(self, number: Ints) -> tuple[Ints, Ints]:
        """Return the owner and the row of each number."""
        owner = np.repeat(np.arange(len(self.first_row)), np.diff(self.start))[number]
        return owner, number - (self.start[:-1] - self.first_row)[owner]


def spread(first: Ints, stop: Ints) -> tuple[Ints, Ints]:
    """Return one entry per owner and integer in ``first:stop``: the owner and the integer.

    Examples
    --------
    >>> import numpy as np
    >>> spread(np.array([3, 5, 0]), np.array([5, 5, 1]))
    (array([0, 0, 2]), array([3, 4, 0]))
    """
    count = np.maximum(stop - first, 0)
    owner = np.repeat(np.arange(len(count)), count)
    before = np.cumsum(count) - count
    return owner, np.arange(len(owner)) + (first - before)[owner]
