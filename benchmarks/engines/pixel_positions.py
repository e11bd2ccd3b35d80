"""Which pixels of which record do points hit?

The planning that engines without a point sampler need, written once for them. It counts as part of their read: they
call it under the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from workloads import Points


@dataclass(frozen=True, slots=True)
class TileHits:
    """The points that fall into one tile; rows and columns count from the tile's corner."""

    tile_row: int
    tile_col: int
    point: NDArray[np.intp]
    row: NDArray[np.int64]
    col: NDArray[np.int64]


def project(workload: Points) -> dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Give x and y of all points in each CRS that a record has."""
    from pyproj import Transformer

    codes = sorted({record.epsg for record in workload.records})
    return {
        code: Transformer.from_crs(4326, code, always_xy=True).transform(workload.lon, workload.lat) for code in codes
    }


def tile_hits(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    transform: tuple[float, ...],
    shape: tuple[int, int],
    tile_shape: tuple[int, int],
) -> Iterator[TileHits]:
    """Group the points inside an image by tile, tiles in file order; `transform` is the affine a, b, c, d, e, f."""
    width, _, left, _, height, top = transform[:6]
    row, col = np.floor((y - top) / height), np.floor((x - left) / width)
    point = np.flatnonzero((row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1]))
    row, col = row[point].astype(np.int64), col[point].astype(np.int64)
    tile = row // tile_shape[0] * 1_000_000 + col // tile_shape[1]
    order = np.argsort(tile, kind="stable")
    point, row, col, tile = point[order], row[order], col[order], tile[order]
    for hits in np.split(np.arange(len(tile)), np.flatnonzero(np.diff(tile)) + 1):
        if len(hits):
            yield TileHits(
                int(tile[hits[0]] // 1_000_000),
                int(tile[hits[0]] % 1_000_000),
                point[hits],
                row[hits] % tile_shape[0],
                col[hits] % tile_shape[1],
            )
