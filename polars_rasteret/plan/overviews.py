"""Which overview does a resampled window read?

The choice is GDAL's (`GDALBandGetBestOverviewLevel2`), so that a decimated read gives the pixels that rasterio gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

NEAREST_OVERSAMPLING = 1.2
"""Factor by which an overview may be coarser than the answer for nearest neighbour; other methods allow no coarser one."""
_NEARLY = 0.1
"""Reduction factors that differ by less are equal, because the sizes of overviews are rounded up."""
_WHOLE = 1e-6
"""Share of a pixel by which a window may miss a whole number of pixels and still count as whole."""


def overview_levels(
    level_sizes: Sequence[tuple[int, int]],
    window_size: tuple[NDArray[np.float64], NDArray[np.float64]],
    answer_size: tuple[Ints, Ints],
    *,
    is_nearest: bool,
) -> Ints:
    """Return the level that each window is read from: the coarsest that is about as fine as the answer.

    Parameters
    ----------
    level_sizes
        ``(height, width)`` of each image, full resolution first.
    window_size
        Heights and widths of the windows in pixels of full resolution, shape (n,); fractions are cut off, as in rasterio.
    answer_size
        Heights and widths of the answers in pixels, shape (n,).
    is_nearest
        Whether pixels are chosen rather than mixed.

    Returns
    -------
    ndarray of int64, shape (n,)
        Level of each window: 0 is full resolution, then the overviews.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = [(1000, 1200), (500, 600), (250, 300)]
    >>> window, answer = np.array([512.0, 512.0, 512.0]), np.array([512, 256, 100])
    >>> overview_levels(sizes, (window, window), (answer, answer), is_nearest=True)
    array([0, 1, 2])
    """
    height, width = (np.maximum(np.floor(size + _WHOLE), 1) for size in window_size)
    by_height, by_width = height / answer_size[0], width / answer_size[1]
    # The axis that is reduced least decides, because it shows most detail. An answer of one row has no detail in its rows.
    wanted = np.where((by_width < by_height) | (answer_size[0] == 1), by_width, by_height)
    level, best = np.zeros(len(wanted), np.int64), np.zeros(len(wanted))
    is_settled = (by_height <= 1) & (by_width <= 1)
    limit = wanted * (NEAREST_OVERSAMPLING if is_nearest else 1.0) + _NEARLY
    full_height, full_width = level_sizes[0]
    for at, (level_height, level_width) in enumerate(level_sizes[1:], 1):
        factor = min(full_height / level_height, full_width / level_width)
        if level_height > full_height or level_width > full_width:
            continue
        is_better = ~is_settled & (factor < limit) & (factor > best)
        level[is_better], best[is_better] = at, factor
        is_settled |= is_better & (np.abs(wanted - factor) < _NEARLY)
    return level
