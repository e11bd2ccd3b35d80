"""Where do windows of one size lie that cover whole images, side by side or overlapping?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.grids.choosing import grid_bands
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IMAGE = "\0image"
"""Column with the row of the record whose image a window is in."""


def windows_over_images(
    records: pl.DataFrame, bands: Sequence[str], *, shape: tuple[int, int], stride: tuple[int, int], grid: str
) -> pl.DataFrame:
    """Return the middle of each window, by record, then row by row.

    The last windows of a row or column begin before the image ends, and may reach beyond it.

    Parameters
    ----------
    records
        Records with raster columns.
    bands
        Bands of a window; the band that `grid` chooses has the pixels that are counted.
    shape, stride
        Height and width of a window, and the pixels from one window to the next.
    grid
        As in `grids.choosing.grid_bands`.

    Returns
    -------
    polars.DataFrame
        ``x``, ``y`` in the CRS of the record: the centre of the pixel ``(height // 2, width // 2)``; and `IMAGE`.

    Raises
    ------
    UsageError
        When an image has no transform.
    """
    columns = raster_columns_of(records[band].alias(band) for band in bands)
    grids = [column.grids.taken(column.reference_id) for column in columns]
    chosen = grid_bands(grids, bands, grid)
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]] = []
    for at in np.flatnonzero(chosen >= 0).tolist():
        image = grids[chosen[at]].grid(at)
        if not np.isfinite(image.transform).all():
            column = columns[chosen[at]]
            href = column.references[column.reference_id[at]].href
            raise UsageError(f"to_torch: {href} has no transform, so its windows have no place; leave this record out")
        row = _starts(image.height, shape[0], stride[0]) + shape[0] // 2 + 0.5
        col = _starts(image.width, shape[1], stride[1]) + shape[1] // 2 + 0.5
        rows, cols = (one.reshape(-1) for one in np.meshgrid(row, col, indexing="ij"))
        x, y = map_coordinates(np.array([image.transform]), rows, cols)
        parts.append((x, y, np.full(len(x), at, np.int64)))
    empty = np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
    columns_of_windows = (np.concatenate(one) for one in zip(empty, *parts, strict=True))
    return pl.DataFrame(dict(zip(("x", "y", IMAGE), columns_of_windows, strict=True)))


def _starts(size: int, window: int, stride: int) -> NDArray[np.int64]:
    """Return where windows begin along one side of an image, up to the first that reaches its end; all begin inside.

    Examples
    --------
    >>> _starts(10, 4, 4).tolist(), _starts(10, 4, 3).tolist(), _starts(3, 4, 4).tolist(), _starts(10, 1, 6).tolist()
    ([0, 4, 8], [0, 3, 6], [0], [0, 6])
    """
    n_windows = max(-((window - size) // stride), 0) + 1
    return np.arange(min(n_windows, -(-size // stride)), dtype=np.int64) * stride
