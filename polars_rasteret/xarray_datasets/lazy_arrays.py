"""How does xarray ask a cube for pixels?

This is the only module that knows xarray's indexing: what its guide for backends imports has no public name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from xarray.backends import BackendArray
from xarray.core.indexing import (
    IndexingSupport,
    LazilyIndexedArray,
    VectorizedIndexer,
    explicit_indexing_adapter,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.xarray_datasets.cube_pixels import CubePixels

    Ints = NDArray[np.int64]


def lazily_indexed(pixels: CubePixels) -> LazilyIndexedArray:
    """Return an array of xarray that reads pixels when values are asked for; slicing it reads nothing."""
    return LazilyIndexedArray(_CubeArray(pixels))


def pixels_of(variable: Any) -> CubePixels | None:
    """Return the pixels behind a variable that is not in memory; None for any other variable."""
    found: Any = getattr(variable, "_data", None)
    while found is not None and not isinstance(found, _CubeArray):
        found = getattr(found, "array", None)
    return None if found is None else found.pixels


class _CubeArray(BackendArray):
    """Pixels of a cube as xarray asks for them."""

    def __init__(self, pixels: CubePixels) -> None:
        self.pixels = pixels
        self.shape = pixels.shape
        self.dtype = pixels.dtype

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, VectorizedIndexer):
            return self._outer(key.tuple)
        if (places := _places(key, self.shape)) is not None:
            return self._at_places(places)
        return explicit_indexing_adapter(key, self.shape, IndexingSupport.OUTER, self._outer)

    async def async_getitem(self, key: Any) -> Any:
        return await asyncio.to_thread(self.__getitem__, key)

    def _outer(self, key: tuple[Any, ...]) -> NDArray[Any]:
        index = [_index(one, size) for one, size in zip(key, self.shape, strict=True)]
        values = self.pixels.read(index)
        # An axis that is asked for by a number has no place in the answer.
        whole = tuple(0 if isinstance(one, (int, np.integer)) else slice(None) for one in key)
        return values[whole]

    def _at_places(self, places: _Places) -> NDArray[Any]:
        slices = [one for one in places.before if one.is_slice]
        values = np.empty((*(len(one.indices) for one in slices), len(places.rows)), self.dtype)
        given = [one.indices for one in places.before if not one.is_slice]
        # Places of equal indices along the other axes are read together.
        groups, group = (
            np.unique(np.stack(given), axis=1, return_inverse=True)
            if given
            else (np.zeros((0, 1), np.int64), np.zeros(len(places.rows), np.int64))
        )
        for number in range(groups.shape[1] if len(places.rows) else 0):
            at = np.flatnonzero(group.ravel() == number)
            each = iter(groups[:, number].tolist())
            before = [one.indices if one.is_slice else np.array([next(each)]) for one in places.before]
            found = self.pixels.read_places(before, places.rows[at], places.cols[at])
            values[..., at] = found.reshape(*values.shape[:-1], len(at))
        values = values.reshape(*values.shape[:-1], *places.shape)
        # xarray wants the axes of pointwise keys first.
        return np.moveaxis(values, range(len(slices)), range(-len(slices), 0)) if slices else values


class _Axis(NamedTuple):
    """What a key asks for along an axis before y."""

    indices: Ints
    is_slice: bool
    """Whether all places are asked for at each index; else each place has an index of its own."""


class _Places(NamedTuple):
    """A key of single places."""

    before: list[_Axis]
    rows: Ints
    cols: Ints
    shape: tuple[int, ...]


def _places(key: VectorizedIndexer, shape: tuple[int, ...]) -> _Places | None:
    """Return the parts of a key whose y and x are given place by place; None for other keys."""
    *_, y, x = key.tuple
    if isinstance(y, slice) or isinstance(x, slice):
        return None
    given = [_wrapped(one, size) for one, size in zip(key.tuple, shape, strict=True) if not isinstance(one, slice)]
    *others, rows, cols = np.broadcast_arrays(*given)
    each = iter(others)
    before = [
        _Axis(_index(one, size), is_slice=True) if isinstance(one, slice) else _Axis(next(each).ravel(), is_slice=False)
        for one, size in zip(key.tuple[:-2], shape[:-2], strict=True)
    ]
    return _Places(before, rows.ravel(), cols.ravel(), rows.shape)


def _index(key: Any, size: int) -> Ints:
    """Return the indices along an axis that a number, a slice or an array asks for, shape (n,)."""
    if isinstance(key, slice):
        return np.arange(*key.indices(size))
    return _wrapped(np.atleast_1d(key), size)


def _wrapped(key: Any, size: int) -> Ints:
    """Return indices counted from the start, where negative ones count from the end."""
    index = np.asarray(key, np.int64)
    if index.size and (int(index.min()) < -size or int(index.max()) >= size):
        raise IndexError(f"index {int(index.min())} to {int(index.max())} is out of bounds for an axis of size {size}")
    return np.where(index < 0, index + size, index)
