"""Which windows of which rasters are read, and how large will the answer be?

Every verb and expression describes its read with these values. Nothing is looked up, fetched or decoded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import BandTiles

    Ints = NDArray[np.int64]


_MANY_REFERENCES = 1_000


@bundle(kw_only=False)
class PixelReference:
    """One distinct raster value: the file and tiles of one band of one record."""

    href: str
    band_index: int
    tiles: BandTiles
    nodata: int | float | np.generic | None = None
    """Nodata value in the result dtype that replaces the file's own; None: the file's own, kept in `tiles`."""


@bundle
class Out:
    """Arrays that the pixels of windows are written into, such as those of one band in a stack of bands."""

    values: NDArray[Any]
    """Flat array in the result dtype; window ``i`` begins at ``i * stride``."""
    valid: NDArray[np.bool_] | None
    """Valid mask, laid out like `values`; all false before the read."""
    stride: int
    """Pixels from the beginning of one window to the next."""


@bundle
class WindowRead:
    """Windows of many references, read into one output column. A point is a 1x1 window.

    Reads of the same windows on the same grids are planned once (fastest when they share the arrays).
    """

    label: str
    """Band name for messages."""
    references: Sequence[PixelReference]
    reference_id: Ints
    """Index of the reference of each window, shape (n,); -1: nothing is read and all pixels are null."""
    row_start: Ints
    """First row of each window, shape (n,), in pixels of its level."""
    col_start: Ints
    """First column of each window, shape (n,)."""
    height: Ints
    """Rows of each window, shape (n,)."""
    width: Ints
    """Columns of each window, shape (n,)."""
    level: Ints | int = 0
    """Level of each window, or one level for all: 0 is full resolution, then the overviews."""
    dtype: np.dtype[Any]
    """Result dtype; it holds every value of the native dtypes."""
    fill: int | float | np.generic | None = None
    """Value of pixels outside the image; None: the reference's nodata, else 0."""
    want_valid: bool = True
    """Whether to return a valid mask: pixels inside the image that are neither masked nor nodata nor NaN."""
    out: Out | None = None
    """Arrays to write into; None: new ones."""

    def __post_init__(self) -> None:
        n_windows = len(self.reference_id)
        for name in ("row_start", "col_start", "height", "width"):
            if len(getattr(self, name)) != n_windows:
                raise UsageError(
                    f"{self.label}: {name} has {len(getattr(self, name))} entries, reference_id has {n_windows}"
                )
        if n_windows and (int(self.height.min()) < 0 or int(self.width.min()) < 0):
            raise UsageError(f"{self.label}: a window has a negative height or width")


def used_references(references: Sequence[PixelReference], reference_id: Ints) -> tuple[Sequence[PixelReference], Ints]:
    """Return the references that windows have, and the index of each window into these: planning looks at every reference.

    Where they are few, or half of them are used, they are returned as they are.

    Examples
    --------
    >>> import numpy as np
    >>> few, index = used_references(["a", "b"] * 1000, np.array([7, -1, 4, 7]))
    >>> few, index.tolist()
    (['a', 'b'], [1, -1, 0, 1])
    """
    n = len(references)
    if n < _MANY_REFERENCES:
        return references, reference_id
    is_used = np.zeros(n + 1, np.bool_)  # the last is of -1
    is_used[reference_id] = True
    used = np.flatnonzero(is_used[:n])
    if 2 * len(used) >= n:
        return references, reference_id
    place = np.full(n + 1, -1)
    place[used] = np.arange(len(used))
    return [references[one] for one in used.tolist()], place[reference_id]


def pixel_offsets(read: WindowRead) -> Ints:
    """Return the index in the flat answer where each window begins, and the end of the answer; shape (n + 1,)."""
    offset = np.zeros(len(read.reference_id) + 1, np.int64)
    np.cumsum(read.height * read.width, out=offset[1:])
    return offset


def window_starts(read: WindowRead, offset: Ints) -> Ints:
    """Return the index where each window begins in the arrays that are written, shape (n,)."""
    return offset[:-1] if read.out is None else np.arange(len(read.reference_id)) * read.out.stride


def answer_bytes(read: WindowRead) -> float:
    """Return the bytes of the answer (as a float, because absurdly large windows must not overflow)."""
    n_pixels = float(np.dot(read.height.astype(np.float64), read.width.astype(np.float64)))
    return n_pixels * (read.dtype.itemsize + read.want_valid)
