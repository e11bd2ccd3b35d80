"""What is asked: which windows of which rasters, and how large will the answer be?

These values are what every face of the package turns its question into. Nothing is looked up, fetched or decoded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from polars_rasteret.tiff.tile_table import BandTiles

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PixelReference:
    """One distinct raster value: where the pixels of a band are and how to read them."""

    href: str
    band_index: int
    tiles: BandTiles
    nodata: int | float | np.generic | None = None
    """Override in the result dtype; None: the file's own, kept in `tiles`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Out:
    """Where the pixels of windows go that share a larger array, such as a stack of bands."""

    values: NDArray[Any]
    """Flat, result dtype; window ``i`` begins at ``i * stride``."""
    valid: NDArray[np.bool_] | None
    """Like `values`; all false before."""
    stride: int
    """Pixels from the beginning of one window to the next."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowRead:
    """One output column: windows of many references. A point is a 1x1 window.

    Reads of the same windows on the same grids are planned once (fastest when they share the arrays).
    """

    label: str
    """Band name for messages."""
    references: Sequence[PixelReference]
    reference_id: Ints
    """Shape (n,); -1: nothing to read, all invalid."""
    row_start: Ints
    col_start: Ints
    height: Ints
    width: Ints
    level: Ints | int = 0
    """Image index: 0 is full resolution, then the overviews."""
    dtype: np.dtype[Any]
    """Result dtype; holds every value of the native dtypes."""
    fill: int | float | np.generic | None = None
    """Outside the image: this, else the reference's nodata, else 0."""
    want_valid: bool = True
    """Also say which pixels are inside and neither masked nor nodata nor NaN."""
    out: Out | None = None
    """Write into these arrays instead of new ones."""

    def __post_init__(self) -> None:
        n_windows = len(self.reference_id)
        for name in ("row_start", "col_start", "height", "width"):
            if len(getattr(self, name)) != n_windows:
                raise UsageError(
                    f"{self.label}: {name} has {len(getattr(self, name))} entries, reference_id has {n_windows}"
                )
        if n_windows and (int(self.height.min()) < 0 or int(self.width.min()) < 0):
            raise UsageError(f"{self.label}: a window has a negative height or width")


def pixel_offsets(read: WindowRead) -> Ints:
    """Give where each window begins in the flat answer, and its end: shape (n + 1,)."""
    offset = np.zeros(len(read.reference_id) + 1, np.int64)
    np.cumsum(read.height * read.width, out=offset[1:])
    return offset


def window_starts(read: WindowRead, offset: Ints) -> Ints:
    """Give where each window begins in the arrays that are written, shape (n,)."""
    return offset[:-1] if read.out is None else np.arange(len(read.reference_id)) * read.out.stride


def answer_bytes(read: WindowRead) -> float:
    """Give the size of the answer (a float: absurd windows must not overflow)."""
    n_pixels = float(np.dot(read.height.astype(np.float64), read.width.astype(np.float64)))
    return n_pixels * (read.dtype.itemsize + read.want_valid)
