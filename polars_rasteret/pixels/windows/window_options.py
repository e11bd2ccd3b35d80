"""Which pixels make up a window: which words say so, and where do windows lie?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import check_choice, check_fill, checked_resolution, checked_shape
from polars_rasteret.bundles import bundle
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import (
    overlapping,
    windows_of_areas,
    windows_of_points,
    windows_on_grids,
    with_own_grid,
)
from polars_rasteret.pixels.windows.resampling import check_resampling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows


@bundle
class WindowOptions:
    """Which pixels make up a window."""

    shape: tuple[int, int] | None = None
    """``(height, width)`` of every window; None: each has its own size."""
    resolution: tuple[float, float] | None = None
    """Size of a pixel in units of the CRS, ``(x, y)``."""
    grid: str | None
    """The grid that all bands of a row share, as in `grids.choosing`; None: each band keeps its own."""
    resampling: str | Mapping[str, str] = "nearest"
    coverage: str | None = None
    """Which pixels an area covers, as in `pixels.windows.covered`; None: all pixels of its window."""
    fill_value: float | None = None

    @property
    def has_grid(self) -> bool:
        """Whether windows have a grid of their own."""
        return self.shape is not None or self.resolution is not None

    def windows(
        self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64], *, clips_points: bool
    ) -> Windows:
        """Return the window around each point, or the pixels that each area covers.

        Parameters
        ----------
        grids, targets, target
            As in `Product.windows`.
        clips_points
            Whether a window around a point is met only where the image holds the point; else wherever any of its pixels lies in
            the image.
        """
        if isinstance(targets, Points):
            windows = windows_of_points(grids, targets, target, shape=self.shape or (1, 1))
            if not clips_points:
                return overlapping(windows)
            return windows if self.resolution is None else with_own_grid(windows)
        if self.has_grid:
            return windows_on_grids(grids, targets, target, shape=self.shape)
        return windows_of_areas(grids, targets, target)


def checked_window_options(
    what: str,
    *,
    shape: Any,
    resolution: Any,
    grid: str,
    resampling: Any,
    fill_value: Any,
    coverage: str | None = None,
    bands: Sequence[str],
) -> WindowOptions:
    """Return which pixels make up a window, from the words of a caller.

    Parameters
    ----------
    what
        The verb or expression, for messages.
    shape, resolution, grid, resampling, fill_value, coverage
        As in `namespaces.verbs`.
    bands
        Bands whose resampling may be named.

    Raises
    ------
    UsageError
        For words that are wrong, or do not go together.
    """
    check_choice(what, "coverage", coverage, (None, "center", "all_touched"))
    check_fill(what, fill_value)
    check_resampling(what, resampling, bands)
    size = checked_shape(what, shape)
    return WindowOptions(
        shape=size,
        resolution=checked_resolution(what, resolution, size),
        grid=grid,
        resampling=resampling,
        coverage=coverage,
        fill_value=fill_value,
    )
