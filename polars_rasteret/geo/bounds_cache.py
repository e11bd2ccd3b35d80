"""Which bounds of images, in longitude and latitude, were computed before?

Every query on a collection without ``bbox`` needs the bounds of its images. The cache is keyed by the content of a pixel grid.
So an equal copy, or another filter of the same collection, finds the bounds, too. Footprints are not kept: they are large.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.footprints import image_footprints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_GRIDS = 500_000
"""Grids kept per process, of 120 bytes each. More grids empty the cache first."""

_ODD = np.array(
    [
        0xA30FEBCFD9C2825F,
        0x4510BDF882D9D723,
        0x0A7D3DA94ECDE8B9,
        0x043B27B61342F01F,
        0xD0327A782CDE513B,
        0xE9AA5979A6401C4F,
        0x9B4C7B7180EDB27F,
        0xBAC0495FF8829A45,
        0x8B2B01E7A1DC7FBF,
        0xEF60E8078F56BFED,
    ],
    np.uint64,
)
"""Odd numbers, drawn once: drawing them here would import numpy.random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Cached bounds of some grids, sorted by the hash of the grid."""

    hashes: NDArray[np.uint64]
    keys: NDArray[np.int64]
    """CRS (as a digest), transform, width and height of each grid, shape (n, 10)."""
    bounds: NDArray[np.float64]
    """Bounds of each grid, shape (n, 4)."""

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], keys: NDArray[np.int64], bounds: NDArray[np.float64]) -> _Run:
        order = np.argsort(hashes, kind="stable")
        return cls(hashes=hashes[order], keys=keys[order], bounds=bounds[order])

    def __len__(self) -> int:
        return len(self.hashes)


# The tuple is replaced, never changed in place. So a thread may look up while others add; of two threads that add at the same
# time, one may lose its bounds.
_runs: tuple[_Run, ...] = ()


def cached_bounds(
    crs: Sequence[str | None],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the bounds of images in longitude and latitude, as `image_footprints` does; computed once per process and grid.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.array([[1.0, 0, 10, 0, -1, 50]])
    >>> cached_bounds(["EPSG:4326"], grid, np.array([20]), np.array([5])).tolist()
    [[10.0, 45.0, 30.0, 50.0]]
    """
    bounds = np.full((len(crs), 4), np.nan)
    keys = _keys(crs, transform, width, height)
    mixed = keys.view(np.uint64) * _ODD
    hashes = (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64) * _ODD[0]
    missing = np.arange(len(crs))
    for run in _runs:
        at = np.minimum(np.searchsorted(run.hashes, hashes[missing]), len(run) - 1)
        found = (run.hashes[at] == hashes[missing]) & (run.keys[at] == keys[missing]).all(axis=1)
        bounds[missing[found]] = run.bounds[at[found]]
        missing = missing[~found]
    if len(missing):
        _, first, number = np.unique(
            keys[missing].view(f"V{keys.itemsize * keys.shape[1]}").ravel(), return_index=True, return_inverse=True
        )
        new = missing[first]
        made = image_footprints([crs[one] for one in new], transform[new], width[new], height[new]).bounds
        bounds[missing] = made[number]
        _remember(_Run.of(hashes[new], keys[new], made))
    return bounds


def _keys(
    crs: Sequence[str | None],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> NDArray[np.int64]:
    keys = np.empty((len(crs), 10), np.int64)
    names = dict.fromkeys(crs)
    numbers = {name: number for number, name in enumerate(names)}
    digests = [hashlib.blake2b(repr(name).encode(), digest_size=16).digest() for name in names]
    of_name = np.frombuffer(b"".join(digests), np.int64).reshape(-1, 2)
    keys[:, :2] = of_name[np.fromiter((numbers[name] for name in crs), np.int64, len(crs))]
    keys[:, 2:8] = np.ascontiguousarray(transform, np.float64).view(np.int64)
    keys[:, 8], keys[:, 9] = width, height
    return keys


def _remember(run: _Run) -> None:
    global _runs  # noqa: PLW0603 - one memory per process
    if sum(map(len, _runs)) + len(run) > MAX_GRIDS:
        _runs = ()
        run = _Run(hashes=run.hashes[:MAX_GRIDS], keys=run.keys[:MAX_GRIDS], bounds=run.bounds[:MAX_GRIDS])
    runs = list(_runs)
    # Each run is more than twice as long as the next one. So runs are few, and both adding and looking up are cheap.
    while runs and len(runs[-1]) <= 2 * len(run):
        last = runs.pop()
        parts = zip((last.hashes, last.keys, last.bounds), (run.hashes, run.keys, run.bounds), strict=True)
        run = _Run.of(*(np.concatenate(both) for both in parts))
    _runs = (*runs, run)
