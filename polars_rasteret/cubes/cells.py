"""Into which windows is a block cut, so that each is read and filled by itself?

Cells follow the tiles of the images, so that a tile belongs to few cells. Nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack_images import StackImages

    Ints = NDArray[np.int64]
    Window = tuple[int, int, int, int]

_LEAST_SIDE = 128
"""Pixels of a cell's side at least, so that strips and small tiles do not make too many cells."""


def tile_borders(images: StackImages, records: Ints, window: Window) -> tuple[Ints, Ints]:
    """Return the rows and the columns of the common grid, within a window, where tiles of the images begin.

    The largest tiles of all bands decide, in the first of the records that may have a pixel in the window.
    """
    best: tuple[float, Ints, Ints] = (0.0, np.zeros(0, np.int64), np.zeros(0, np.int64))
    windows = np.tile(np.array(window, np.int64), (len(records), 1))
    for band, column in images.columns.items():
        met = records[images.meets(band, records, windows)]
        if not len(met):
            continue
        reference = int(column.reference_id[met[0]])
        box, level = images.boxes[band][reference], int(images.levels[band][reference])
        if not np.isfinite(box).all():
            continue
        image = column.references[reference].tiles.images[level]
        height = (box[1] - box[0]) / image.height * image.tile_height
        width = (box[3] - box[2]) / image.width * image.tile_width
        if height * width > best[0]:
            borders = _borders(box[0], height, window[:2]), _borders(box[2], width, window[2:])
            best = (height * width, *borders)
    return best[1:]


def _borders(first: float, step: float, span: tuple[int, int]) -> Ints:
    """Return the borders ``first + k * step`` strictly within a span, rounded."""
    step *= max(1, int(np.ceil(_LEAST_SIDE / max(step, 1e-9))))
    k = np.arange(np.floor((span[0] - first) / step), np.ceil((span[1] - first) / step) + 1)
    borders = np.unique(np.round(first + k * step).astype(np.int64))
    return borders[(borders > span[0]) & (borders < span[1])]


def tile_cells(window: Window, borders: tuple[Ints, Ints]) -> Ints:
    """Return the cells between borders of rows and of columns, row by row; shape (n, 4), like `window`."""
    rows = np.concatenate([[window[0]], borders[0], [window[1]]])
    cols = np.concatenate([[window[2]], borders[1], [window[3]]])
    row, col = (one.ravel() for one in np.meshgrid(np.arange(len(rows) - 1), np.arange(len(cols) - 1), indexing="ij"))
    return np.stack([rows[row], rows[row + 1], cols[col], cols[col + 1]], axis=1).astype(np.int64)


def small_cells(window: Window, borders: tuple[Ints, Ints], max_pixels: float) -> Ints:
    """Return cells of at most some pixels, cut at borders where there are any; shape (n, 4).

    Examples
    --------
    >>> import numpy as np
    >>> small_cells((0, 100, 0, 10), (np.array([40]), np.array([])), 600).tolist()
    [[0, 40, 0, 10], [40, 100, 0, 10]]
    """
    height, width = window[1] - window[0], window[3] - window[2]
    if height * width <= max_pixels or height * width <= 1:
        return np.array([window], np.int64)
    across = _cut(window[0], window[1], borders[0]) if height > 1 else None
    down = _cut(window[2], window[3], borders[1]) if width > 1 else None
    # Whole rows of tiles lie side by side in a file; a cut through tiles comes last.
    if across is not None and (across[1] or down is None or not down[1]):
        parts = [(window[0], across[0], *window[2:]), (across[0], window[1], *window[2:])]
    else:
        assert down is not None
        parts = [(*window[:2], window[2], down[0]), (*window[:2], down[0], window[3])]
    return np.concatenate([small_cells(one, borders, max_pixels) for one in parts])


def _cut(start: int, stop: int, borders: Ints) -> tuple[int, bool]:
    """Return where a span is cut in two, and whether that is at a border."""
    middle = (start + stop) // 2
    inside = borders[(borders > start) & (borders < stop)]
    return (int(inside[np.abs(inside - middle).argmin()]), True) if len(inside) else (middle, False)
