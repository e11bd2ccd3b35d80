"""What does rasterio say of the pixels of a file, and where on its grid does a point lie?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, lru_cache
from typing import Any, Self

import numpy as np
import pyproj
import rasterio
from rasterio.io import MemoryFile

Place = tuple[Fraction, Fraction]
"""A position on a grid: row and column with their fractions; pixel ``i`` spans ``[i, i + 1)``."""


@dataclass(frozen=True, eq=False)
class Plane:
    """One band of one record as rasterio reads it."""

    values: np.ndarray
    is_valid: np.ndarray
    transform: tuple[float, ...]
    crs: str
    scale: float
    offset: float
    nodata: float | None = None
    """A float also where pixels are whole numbers."""

    @property
    def grid(self) -> tuple[Any, ...]:
        return (self.crs, self.transform, self.values.shape)

    @property
    def pixel_size(self) -> float:
        """Area of a pixel."""
        a, b, _, d, e, _ = self.transform
        return abs(a * e - b * d)

    # Worlds are asked many questions about the same points, and exact fractions are slow.

    @lru_cache(maxsize=100_000)
    def place(self, x: float | None, y: float | None, crs: str) -> Place | None:
        found = moved(x, y, self.crs if crs == "native" else crs, self.crs)
        return None if found is None else self.place_of(*map(Fraction, found))

    @cached_property
    def affine(self) -> tuple[Fraction, ...]:
        return tuple(map(Fraction, self.transform))

    @lru_cache(maxsize=100_000)
    def place_of(self, x: Fraction, y: Fraction) -> Place:
        a, b, c, d, e, f = self.affine
        if b == d == 0:
            return (y - f) / e, (x - c) / a
        determinant = a * e - b * d
        return (a * (y - f) - d * (x - c)) / determinant, (e * (x - c) - b * (y - f)) / determinant

    @lru_cache(maxsize=100_000)
    def center(self, row: int, col: int) -> tuple[Fraction, Fraction]:
        a, b, c, d, e, f = self.affine
        half = Fraction(1, 2)
        return a * (col + half) + b * (row + half) + c, d * (col + half) + e * (row + half) + f

    def pixel(self, row: int, col: int) -> int | float | None:
        """Value of a pixel, None where it is null: nodata, masked, NaN or outside of the image."""
        height, width = self.values.shape
        if not (0 <= row < height and 0 <= col < width and self.is_valid[row, col]):
            return None
        return self.values[row, col].item()

    def holds(self, place: Place | tuple[int, int] | None) -> bool:
        height, width = self.values.shape
        return place is not None and 0 <= place[0] < height and 0 <= place[1] < width


def planes_of(source: bytes | str, crs: str | None = None) -> list[Plane]:
    """Read all bands of a file; `crs` names its CRS where rasterio words it otherwise than the caller."""
    with MemoryFile(source) if isinstance(source, bytes) else _Path(source) as file, file.open() as dataset:
        found = []
        for band in range(1, dataset.count + 1):
            values = dataset.read(band)
            is_valid = dataset.read_masks(band) != 0
            if values.dtype.kind == "f":
                is_valid &= ~np.isnan(values)
            scale, offset = dataset.scales[band - 1], dataset.offsets[band - 1]
            name = crs or dataset.crs.to_string()
            transform = tuple(dataset.transform[:6])
            found.append(Plane(values, is_valid, transform, name, scale, offset, dataset.nodata))
        return found


@dataclass
class _Path:
    path: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def open(self) -> Any:
        return rasterio.open(self.path)


@cache
def transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def moved(x: float | None, y: float | None, source: str, target: str) -> tuple[float, float] | None:
    if x is None or y is None:
        return None
    if source != target:
        x, y = transformer(source, target).transform(x, y)
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def linear_weights(part: float) -> dict[int, float]:
    return {0: 1 - part, 1: part}


def cubic_weights(part: float) -> dict[int, float]:
    """Cubic convolution with a = -0.5 (Catmull-Rom)."""

    def kernel(away: float) -> float:
        away = abs(away)
        if away < 1:
            return 1.5 * away**3 - 2.5 * away**2 + 1
        return -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2 if away < 2 else 0.0

    return {step: kernel(step - part) for step in (-1, 0, 1, 2)}
