"""On which pixel grid does an image lie, and which images lie on the same one?

A question has one table of its distinct grids. Columns hold the id that a grid has there, so "are these on the same grid?" is a
comparison of integers. Nothing is said here of bands, windows or pixels.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polars_rasteret.bundles import bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_TRANSFORM_BYTES = 6 * 8
_Key = tuple[str | None, bytes, int, int]
"""CRS, bytes of the transform (equal for equal numbers), width and height."""


class PixelGrid(NamedTuple):
    """The pixel grid of one image."""

    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    """``a, b, c, d, e, f``, as in rasterio; NaN without georeferencing."""
    width: int
    height: int


class GridColumns:
    """The fields of the grids of a table, as arrays.

    Each has one entry more than there are grids: the last, which the id -1 picks, stands for no grid.
    """

    def __init__(self, keys: Sequence[_Key], transform: Floats) -> None:
        self._keys = keys
        self.transform = np.concatenate([transform, np.full((1, 6), np.nan)])
        """Affine transform, shape (n + 1, 6); NaN without georeferencing."""

    @cached_property
    def crs(self) -> NDArray[np.object_]:
        """Normalized CRS; None where nobody knows it."""
        crs = np.empty(len(self._keys) + 1, dtype=object)
        crs[:-1] = [key[0] for key in self._keys]
        return crs

    @cached_property
    def width(self) -> Ints:
        """Columns of the image."""
        return np.array([*(key[2] for key in self._keys), 0], np.int64)

    @cached_property
    def height(self) -> Ints:
        """Rows of the image."""
        return np.array([*(key[3] for key in self._keys), 0], np.int64)

    @cached_property
    def crs_names(self) -> list[str | None]:
        """The distinct CRSs; `crs_id` counts them."""
        return list(dict.fromkeys(key[0] for key in self._keys))

    @cached_property
    def crs_id(self) -> Ints:
        """Number of the CRS, dense from 0; -1 for no grid."""
        number = {name: at for at, name in enumerate(self.crs_names)}
        return np.array([*(number[key[0]] for key in self._keys), -1], np.int64)

    @cached_property
    def lattice_id(self) -> Ints:
        """Number of the lattice, dense from 0; -1 for no grid.

        Grids of one lattice have their pixel borders in the same places, counted from the same corner. Their CRS and transform
        are equal; their sizes may differ. Without georeferencing, equal sizes have to do.
        """
        known: dict[tuple[object, ...], int] = {}
        has_transform = np.isfinite(self.transform[:-1]).all(axis=1).tolist()
        keys = [
            (crs, transform) if is_placed else (crs, width, height)
            for (crs, transform, width, height), is_placed in zip(self._keys, has_transform, strict=True)
        ]
        return np.array([*(known.setdefault(key, len(known)) for key in keys), -1], np.int64)


class GridTable:
    """The distinct pixel grids of one question; the id of a grid is its row, dense from 0."""

    def __init__(self) -> None:
        self._ids: dict[_Key, int] = {}
        self._columns = GridColumns([], np.zeros((0, 6)))

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def columns(self) -> GridColumns:
        """The fields of the grids that are known so far."""
        return self._columns

    def add(self, crs: Sequence[str | None], transform: Floats, width: Ints, height: Ints) -> PixelGrids:
        """Return the grids of some images; grids that are new here are added to the table.

        Parameters
        ----------
        crs, transform, width, height
            Of each image; shapes (n,), (n, 6), (n,), (n,).
        """
        # Equal numbers get equal bytes: there is one zero, and one NaN.
        packed = np.where(np.isnan(transform), np.nan, transform + 0.0).tobytes()
        ids, n_known = self._ids, len(self._ids)
        starts = range(0, len(packed), _TRANSFORM_BYTES)
        images = zip(crs, starts, width.tolist(), height.tolist(), strict=True)
        number = [
            ids.setdefault((name, packed[start : start + _TRANSFORM_BYTES], *size), len(ids))
            for name, start, *size in images
        ]
        grid_id = np.array(number, np.int64)
        if len(ids) > n_known:
            is_new = grid_id > np.maximum.accumulate(np.concatenate([[n_known - 1], grid_id[:-1]]))
            self._columns = GridColumns(list(ids), np.concatenate([self._columns.transform[:-1], transform[is_new]]))
        return PixelGrids(table=self, grid_id=grid_id)


@bundle(slots=False)
class PixelGrids:
    """A column of pixel grids, such as the grid of each row of a batch."""

    table: GridTable
    """The grids of the question. Ids of one table compare, whatever band or row they are of."""
    grid_id: Ints
    """Shape (n,); -1 for no grid."""

    def __len__(self) -> int:
        return len(self.grid_id)

    def taken(self, index: NDArray[np.int64]) -> PixelGrids:
        """Return the grids of some entries; an index of -1 gives no grid."""
        if not len(self.grid_id):
            return PixelGrids(table=self.table, grid_id=np.full(len(index), -1, np.int64))
        return PixelGrids(table=self.table, grid_id=np.where(index >= 0, self.grid_id[index], -1))

    def where(self, is_kept: NDArray[np.bool_]) -> PixelGrids:
        """Return the same column with no grid in the entries that are not kept."""
        if is_kept.all():
            return self
        return PixelGrids(table=self.table, grid_id=np.where(is_kept, self.grid_id, -1))

    def grid(self, at: int) -> PixelGrid:
        """Return the grid of one entry."""
        columns, one = self.table.columns, int(self.grid_id[at])
        a, b, c, d, e, f = columns.transform[one].tolist()
        return PixelGrid(columns.crs[one], (a, b, c, d, e, f), int(columns.width[one]), int(columns.height[one]))

    @cached_property
    def crs(self) -> NDArray[np.object_]:
        """CRS of each entry; None where nobody knows it, and for no grid."""
        return self.table.columns.crs[self.grid_id]

    @cached_property
    def transform(self) -> Floats:
        """Transform of each entry, shape (n, 6); NaN without georeferencing, and for no grid."""
        return self.table.columns.transform[self.grid_id]

    def transforms(self, index: NDArray[np.int64]) -> Floats:
        """Return the transforms of some entries, shape (k, 6); quicker than a part of `transform`."""
        return self.table.columns.transform[self.grid_id[index]]

    @cached_property
    def width(self) -> Ints:
        """Columns of the image of each entry; 0 for no grid."""
        return self.table.columns.width[self.grid_id]

    @cached_property
    def height(self) -> Ints:
        """Rows of the image of each entry; 0 for no grid."""
        return self.table.columns.height[self.grid_id]

    @cached_property
    def lattice_id(self) -> Ints:
        """Lattice of each entry, as in `GridColumns.lattice_id`."""
        return self.table.columns.lattice_id[self.grid_id]


def first_equal(columns: Sequence[PixelGrids]) -> list[int]:
    """Return for each column the first column that has the same grids, entry by entry.

    Examples
    --------
    >>> images = ["EPSG:4326", "EPSG:4326"], np.array([[1.0, 0, 0, 0, -1, 0], [2, 0, 0, 0, -2, 0]]), np.array([9, 9])
    >>> grids = GridTable().add(*images, images[2])
    >>> first_equal([grids, grids.taken(np.array([1, 0])), grids.taken(np.array([0, 1]))])
    [0, 1, 0]
    """
    result: list[int] = []
    for at, one in enumerate(columns):
        assert one.table is columns[0].table, "grids of two questions have no common ids"
        same = (
            before
            for before in dict.fromkeys(result)
            if one.grid_id is columns[before].grid_id or np.array_equal(one.grid_id, columns[before].grid_id)
        )
        result.append(next(same, at))
    return result


def first_on_same_grid(columns: Sequence[PixelGrids]) -> list[Ints]:
    """Return for each entry of each column the first column whose grid is the same in that entry; -1 for no grid.

    Returns
    -------
    list of ndarray of int64
        Per column, shape (n,).
    """
    labels: list[Ints] = []
    for at, first in enumerate(first_equal(columns)):
        if first < at:
            labels.append(labels[first])
            continue
        own = columns[at].grid_id
        label = np.where(own >= 0, at, -1)
        for before in reversed(range(at)):
            label = np.where((columns[before].grid_id == own) & (own >= 0), labels[before], label)
        labels.append(label)
    return labels
