"""Which facts of a band are needed to compute grids of answers and windows?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows


class BandOnGrids(Protocol):
    """A band whose rows have pixel grids, and windows on them."""

    @property
    def name(self) -> str:
        """Name of the band."""
        ...

    @property
    def reference_id(self) -> NDArray[np.int64]:
        """Index of the raster of each row; -1 without a raster. Rows of one raster have the same overviews."""
        ...

    @property
    def grids(self) -> PixelGrids:
        """Grid of each row."""
        ...

    @property
    def windows(self) -> Windows:
        """Window of each row."""
        ...

    @property
    def is_read(self) -> NDArray[np.bool_]:
        """Whether each row has a raster and its window meets it."""
        ...

    def level_sizes(self, reference: int) -> Sequence[tuple[int, int]]:
        """Return ``(height, width)`` of the images of a raster: full resolution, then the overviews."""
        ...

    def label(self, row: int) -> str:
        """Return the words that name the band and the file of a row in a message."""
        ...
