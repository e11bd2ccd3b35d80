"""On which pixel grid do the records of a cube meet?

Where all images are in one CRS and no other resolution is asked for, it is their own lattice, so that their pixels stay as they
are. Else pixel borders are multiples of the resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, hypot
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX
from polars_rasteret.grids.choosing import COARSEST
from polars_rasteret.grids.default_grid import default_grid
from polars_rasteret.grids.pixel_grid import PixelGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

_MOST_PIXELS_PER_SIDE = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Pixel borders without end: a corner of a pixel, and the size of a pixel (negative where coordinates fall)."""

    crs: str | None
    x: float
    y: float
    size_x: float
    size_y: float

    def grid(self, what: str, bounds: Sequence[float]) -> PixelGrid:
        """Return the smallest grid of this lattice that holds bounds; a border that is off by rounding counts as met.

        Raises
        ------
        UsageError
            When a side would have more than 2**31 pixels.
        """
        west, south, east, north = bounds
        col = _outer((west - self.x) / self.size_x, (east - self.x) / self.size_x)
        row = _outer((south - self.y) / self.size_y, (north - self.y) / self.size_y)
        width, height = col[1] - col[0], row[1] - row[0]
        if max(width, height) > _MOST_PIXELS_PER_SIDE:
            raise UsageError(
                f"{what}: a grid of {height:,} x {width:,} pixels; expected at most 2**31 a side; pass smaller bounds, or a "
                "coarser resolution= in units of the CRS"
            )
        transform = (self.size_x, 0.0, self.x + col[0] * self.size_x, 0.0, self.size_y, self.y + row[0] * self.size_y)
        return PixelGrid(self.crs, transform, width, height)


def _outer(one: float, other: float) -> tuple[int, int]:
    """Return the smallest range of pixels, at least one, that holds two positions."""
    low, high = min(one, other), max(one, other)
    first, last = floor(low + BORDER_TOLERANCE_PX), ceil(high - BORDER_TOLERANCE_PX)
    return first, max(last, first + 1)


def common_lattice(
    what: str,
    frame: pl.DataFrame,
    bands: Sequence[str],
    crs: str | None,
    *,
    grid: str,
    resolution: tuple[float, float] | None,
    may_turn: bool,
) -> Lattice:
    """Return the lattice on which records meet.

    Parameters
    ----------
    what
        For messages.
    frame, bands
        Records in their order, and the bands of the cube.
    crs
        CRS of the lattice.
    grid
        ``"finest"``, ``"coarsest"`` or a band, whose pixels have the size that is used.
    resolution
        Size of a pixel in x and y; None: as `grid` says.
    may_turn
        Whether rotated images are resampled onto a lattice that is not rotated; else they are refused.

    Raises
    ------
    UsageError
        For rotated images without `may_turn`, and where no image has a transform.
    """
    images = _images(frame, [grid] if grid in bands else bands)
    every = images if grid not in bands else _images(frame, bands)
    if not may_turn and (turned := [one for one in every if one.transform[1] or one.transform[3]]):
        raise UsageError(
            f"{what}: {len(turned)} of {len(every)} pixel grids are rotated, such as {turned[0].transform}, so their pixels have "
            "no x and y of their own; pass target_crs=, and they are resampled onto a grid that is not rotated"
        )
    if not images:
        raise UsageError(f"{what}: no image of {', '.join(bands)} has a transform; there is no place for its pixels")
    in_crs = [one for one in images if one.crs == crs and not (one.transform[1] or one.transform[3])]
    if resolution is not None:
        for one in in_crs:
            a, _, c, _, e, f = one.transform
            if (abs(a), abs(e)) == resolution:
                return Lattice(crs=crs, x=c, y=f, size_x=a, size_y=e)
        return Lattice(crs=crs, x=0.0, y=0.0, size_x=resolution[0], size_y=-resolution[1])
    pick = max if grid == COARSEST else min
    if len(in_crs) == len(images):  # the first of those with the size that is chosen: images keep their order
        one = pick(in_crs, key=lambda image: abs(image.transform[0] * image.transform[4]))
        a, _, c, _, e, f = one.transform
        return Lattice(crs=crs, x=c, y=f, size_x=a, size_y=e)
    assert crs is not None
    sizes = [_size(one, crs) for one in images]
    size_x, size_y = pick(sizes, key=lambda size: size[0] * size[1])
    return Lattice(crs=crs, x=0.0, y=0.0, size_x=size_x, size_y=-size_y)


def _size(image: PixelGrid, crs: str) -> tuple[float, float]:
    """Return the size of an image's pixels in a CRS; where the CRS differs, as GDAL suggests."""
    if image.crs != crs:
        image = default_grid(image, crs, None, label=f"an image in {image.crs}")
    a, b, _, d, e, _ = image.transform
    return hypot(a, d), hypot(b, e)


def _images(frame: pl.DataFrame, bands: Sequence[str]) -> list[PixelGrid]:
    """Return the distinct grids of images that have a transform, in the order of the records."""
    found: dict[PixelGrid, None] = {}
    columns = [frame[band].struct.unnest().select("crs", "transform", "width", "height").rows() for band in bands]
    for images in zip(*columns, strict=True):
        for crs, transform, width, height in images:
            if transform is None or not width or not height or not np.isfinite(np.array(transform, np.float64)).all():
                continue
            found[PixelGrid(crs, tuple(transform), width, height)] = None
    return list(found)


def united_bounds(bounds: NDArray[np.float64]) -> tuple[float, float, float, float] | None:
    """Return the bounds that hold all bounds, shape (n, 4); None without any."""
    has_place = np.isfinite(bounds).all(axis=1)
    if not has_place.any():
        return None
    low, high = bounds[has_place, :2].min(axis=0), bounds[has_place, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
