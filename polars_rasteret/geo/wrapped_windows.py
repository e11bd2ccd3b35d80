"""Which pixel windows do areas have on images whose x repeats after a period around the Earth?

Areas come in pieces (`AreaPieces`). Each piece is moved by whole periods to where most of it lies on the image, as said in
`antimeridian`. Images in CRSs whose x does not repeat belong to `area_windows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates, pixel_coordinates
from polars_rasteret.geo.areas import reduced_runs
from polars_rasteret.geo.boxes import EPSILON
from polars_rasteret.geo.turns import image_span, periods_to_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import AreaPieces

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

_FAR_PX = 2**31
"""No image has so many pixels. Such positions come from coordinates near the singularity of a projection."""


@dataclass(slots=True)
class _Found:
    """Best placement found so far of each piece on its image."""

    extent: Floats
    """First and last row, first and last column in fractions of pixels, shape (n, 4)."""
    window: Floats
    """Row start and stop, column start and stop in whole pixels, shape (n, 4)."""
    overlap: Floats
    """Pixels of the piece's bounds on the image; -inf where the piece does not meet the image."""
    n_periods: Ints
    """Periods by which the piece is moved in x."""


def wrapped_windows(
    pieces: AreaPieces, index: Ints, transform: Floats, width: Ints, height: Ints, *, period: float
) -> tuple[Ints, Floats]:
    """Return the pixel windows of areas on images, and their extents in fractions of pixels.

    Parameters
    ----------
    pieces
        Pieces of all areas, in the CRS of the images.
    index
        Index of the area of each row, shape (k,).
    transform, width, height
        Grid and size of the image of each row; shapes (k, 6), (k,), (k,).
    period
        Units of x after which x repeats.

    Returns
    -------
    windows : int64, shape (k, 4)
        ``row_start, row_stop, col_start, col_stop`` of the smallest window that holds the bounds of the area, not clipped to
        the image. All zero where the area does not meet the image.
    extents : float64, shape (k, 4)
        First and last row, first and last column of the bounds. Zero where the area does not meet the image.
    """
    n_pieces = pieces.first[index + 1] - pieces.first[index]
    at = np.repeat(np.arange(len(index)), n_pieces)
    start = np.concatenate([[0], np.cumsum(n_pieces)]).astype(np.int64)
    piece = np.arange(len(at)) - np.repeat(start[:-1] - pieces.first[index], n_pieces)
    found = _best(pieces, piece, transform[at], width[at], height[at], period=period)
    most = np.maximum.reduceat(found.overlap, start[:-1]) if len(at) else np.zeros(0)
    is_met = most >= 0
    # Pieces that do not meet the image move with the piece that overlaps it most: a window holds all pieces of its area.
    apart = np.flatnonzero((found.overlap < 0) & is_met[at])
    if len(apart):
        rows = np.flatnonzero(found.overlap == most[at])
        n_periods = np.zeros(len(index))
        n_periods[at[rows[::-1]]] = found.n_periods[rows[::-1]]
        found.extent[apart] = _extents(pieces, piece[apart], transform[at[apart]], period * n_periods[at[apart]])
        found.window[apart] = _smallest(found.extent[apart], pieces.tolerance[piece[apart]])
    windows, extents = (_enclosing(one, start) for one in (found.window, found.extent))
    is_met &= np.isfinite(windows).all(axis=1)
    windows, extents = np.where(is_met[:, None], windows, 0), np.where(is_met[:, None], extents, 0.0)
    return windows.astype(np.int64), whole_where_nearly(extents)


def whole_where_nearly(extents: Floats) -> Floats:
    """Return extents where values within `BORDER_TOLERANCE_PX` of a whole number are that number.

    Box corners are often pixel corners that went through a projection.
    """
    whole = np.round(extents)
    return np.where(np.abs(extents - whole) <= BORDER_TOLERANCE_PX, whole, extents)


def _best(pieces: AreaPieces, piece: Ints, transform: Floats, width: Ints, height: Ints, *, period: float) -> _Found:
    """Return the placement of each piece with the greatest overlap on its image; ties go to the fewest periods."""
    n_rows = len(piece)
    low, high = pieces.bounds[piece, 0], pieces.bounds[piece, 2]
    west, east = image_span(transform, width, height)
    first, last = periods_to_image(low, high, west, east, period)
    found = _Found(
        extent=np.full((n_rows, 4), np.nan),
        window=np.full((n_rows, 4), np.nan),
        overlap=np.full(n_rows, -np.inf),
        n_periods=first.copy(),
    )
    goes_round = high - low >= period * (1 - EPSILON)
    for more in range(int((last - first).max(initial=0)) + 1):
        rows = np.flatnonzero(first + more <= last)
        n_periods = first[rows] + more
        image = transform[rows], width[rows], height[rows]
        extent = _extents(pieces, piece[rows], image[0], period * n_periods.astype(np.float64))
        window = _smallest(extent, pieces.tolerance[piece[rows]])
        overlap = _overlap(
            pieces, piece[rows], image, period * n_periods.astype(np.float64), extent=extent, window=window
        )
        best = found.overlap[rows]
        with np.errstate(invalid="ignore"):  # both overlaps are -inf
            is_tie = (overlap == best) | (np.abs(overlap - best) <= BORDER_TOLERANCE_PX * np.maximum(overlap, 1))
        is_better = np.where(is_tie, np.abs(n_periods) < np.abs(found.n_periods[rows]), overlap > best)
        if more == 0:
            is_better[:] = True
        whole = goes_round[rows] & (overlap >= 0) & (best >= 0)  # an area around the Earth meets both ends of the image
        together = _union(found.window[rows], window)
        chosen = rows[is_better]
        found.extent[chosen], found.window[chosen] = extent[is_better], window[is_better]
        found.overlap[chosen], found.n_periods[chosen] = overlap[is_better], n_periods[is_better]
        found.window[rows[whole]] = together[whole]
    return found


def _extents(pieces: AreaPieces, piece: Ints, transform: Floats, shift: Floats) -> Floats:
    """Return ``first_row, last_row, first_col, last_col`` of pieces, shape (n, 4); NaN where a piece has no place."""
    if not transform[:, 1].any() and not transform[:, 3].any():
        x, y = (pieces.bounds[piece][:, sides] for sides in ((0, 2), (1, 3)))
        row, col = pixel_coordinates(transform[:, None, :], x + shift[:, None], y)
        extent = np.stack([row.min(axis=1), row.max(axis=1), col.min(axis=1), col.max(axis=1)], axis=1)
    else:
        n = pieces.start[piece + 1] - pieces.start[piece]
        start = np.concatenate([[0], np.cumsum(n)]).astype(np.int64)
        owner = np.repeat(np.arange(len(piece)), n)
        at = np.arange(start[-1]) - np.repeat(start[:-1] - pieces.start[piece], n)
        row, col = pixel_coordinates(transform[owner], pieces.x[at] + shift[owner], pieces.y[at])
        sides = [(row, np.minimum), (row, np.maximum), (col, np.minimum), (col, np.maximum)]
        extent = np.stack([reduced_runs(reduce, one, start) for one, reduce in sides], axis=1)
    has_place = (np.abs(extent) < _FAR_PX).all(axis=1)
    return np.where(has_place[:, None], extent, np.nan)


def _smallest(extent: Floats, tolerance: Floats) -> Floats:
    first = np.floor(extent[:, 0::2] + tolerance[:, None])
    # A line or point on a pixel border still touches the pixel that starts there.
    last = np.maximum(np.ceil(extent[:, 1::2] - tolerance[:, None]), first + 1)
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)


def _overlap(
    pieces: AreaPieces, piece: Ints, image: tuple[Floats, Ints, Ints], shift: Floats, *, extent: Floats, window: Floats
) -> Floats:
    """Return the number of pixels of each piece's bounds on its image; -inf where the piece does not meet the image."""
    transform, width, height = image
    edges = np.stack([height, width], axis=1)
    in_image = np.minimum(window[:, 1::2], edges) - np.maximum(window[:, 0::2], 0)
    is_met: Booleans = np.asarray((in_image > 0).all(axis=1))
    is_inside = (window[:, 0::2] >= 0).all(axis=1) & (window[:, 1::2] <= edges).all(axis=1)
    todo = np.flatnonzero(is_met & ~is_inside & ~pieces.is_box[piece])
    if len(todo):  # the bounds may meet an image that the area does not
        row, col = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
        x, y = map_coordinates(transform[todo, None, :], row * height[todo, None], col * width[todo, None])
        outlines = shapely.polygons(np.stack([x - shift[todo, None], y], axis=2))
        is_met[todo] = shapely.intersects(pieces.shapes()[piece[todo]], outlines)
    sides = np.maximum(np.minimum(extent[:, 1::2], edges) - np.maximum(extent[:, 0::2], 0), 0)
    is_flat = (extent[:, 1::2] == extent[:, 0::2]).any(axis=1)
    sides = np.where(is_flat[:, None], in_image, sides)
    return np.where(is_met, sides.prod(axis=1), -np.inf)


def _union(one: Floats, two: Floats) -> Floats:
    first, last = np.fmin(one[:, 0::2], two[:, 0::2]), np.fmax(one[:, 1::2], two[:, 1::2])
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)


def _enclosing(sides: Floats, start: Ints) -> Floats:
    """Return windows or extents that enclose those of all pieces of an area, one per area."""
    if not len(sides):
        return np.zeros((0, 4))
    reduce = (np.fmin, np.fmax, np.fmin, np.fmax)
    return np.stack([one.reduceat(sides[:, side], start[:-1]) for side, one in enumerate(reduce)], axis=1)
