"""Which boxes of longitude and latitude meet on a round Earth?

A box is ``xmin, ymin, xmax, ymax`` in degrees, in one of two forms. *Wrapped*, as in GeoJSON and ``bbox`` columns: within
-180..180, and a box with ``xmin > xmax`` crosses the antimeridian. *Unwrapped*: ``xmax >= xmin`` always, at any longitude.
`cut_boxes` accepts both forms and returns pieces that can be compared number by number; every comparison of boxes uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPSILON = 1e-9
"""Degrees by which two equal coordinates may differ through rounding."""


def cut_boxes(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return boxes cut at the antimeridian into pieces within -180..180.

    Parameters
    ----------
    boxes
        Wrapped or unwrapped, shape (n, 4). A box that is not finite gives one piece that is not finite.

    Returns
    -------
    pieces : float64, shape (m, 4)
        Pieces with ``xmax >= xmin``.
    owner : int64, shape (m,)
        Index of the box of each piece.

    Examples
    --------
    >>> import numpy as np
    >>> pieces, owner = cut_boxes(np.array([[170.0, -10, -170, 10], [190, -10, 200, 10]]))
    >>> pieces[:, ::2].tolist(), owner.tolist()
    ([[170.0, 180.0], [-170.0, -160.0], [-180.0, -170.0]], [0, 1, 0])
    """
    owner = np.arange(len(boxes), dtype=np.int64)
    is_plain = ~(boxes[:, 0] > boxes[:, 2]) & ~(boxes[:, 0] < -180) & ~(boxes[:, 2] > 180)
    if is_plain.all():
        return boxes, owner
    whole = unwrap_bounds(boxes)
    has_place = np.isfinite(boxes).all(axis=1)
    whole[~has_place] = np.nan
    goes_round = whole[:, 2] - whole[:, 0] >= 360 - EPSILON
    with np.errstate(invalid="ignore"):
        start = np.where(goes_round, -180.0, whole[:, 0] - 360 * np.floor((whole[:, 0] + 180) / 360))
        stop = np.where(goes_round, 180.0, start + (whole[:, 2] - whole[:, 0]))
    first = np.where(
        is_plain[:, None], boxes, np.stack([start, whole[:, 1], np.minimum(stop, 180.0), whole[:, 3]], axis=1)
    )
    beyond = np.flatnonzero(~is_plain & (stop > 180))
    rest = whole[beyond]
    rest[:, 0], rest[:, 2] = -180.0, stop[beyond] - 360
    return np.concatenate([first, rest]), np.concatenate([owner, beyond])


def widened(boxes: NDArray[np.float64], *, share: float, degrees: float) -> NDArray[np.float64]:
    """Return boxes widened on all sides by a share of their longer side plus some degrees; unwrapped, shape (n, 4)."""
    result = unwrap_bounds(boxes)
    more = degrees + share * np.maximum(result[:, 2] - result[:, 0], result[:, 3] - result[:, 1])
    result += more[:, None] * np.array([-1.0, -1.0, 1.0, 1.0])
    return result


def unwrap_bounds(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unwrapped bounds, shape (n, 4): 360 is added to xmax where bounds cross the antimeridian."""
    result = np.array(bounds, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # of infinities
        result[:, 2] += np.where(result[:, 0] > result[:, 2], 360 * np.ceil((result[:, 0] - result[:, 2]) / 360), 0)
    return result


def wrap_bounds(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return wrapped bounds, shape (n, 4), of unwrapped ones: xmin > xmax where bounds cross the antimeridian."""
    result = np.array(bounds, dtype=np.float64)
    xmin, xmax = result[:, 0], result[:, 2]
    everywhere = xmax - xmin >= 360 - EPSILON
    low = xmin - 360 * np.floor((xmin + 180) / 360)
    high = xmax - 360 * np.ceil((xmax - 180) / 360)
    inside = (xmin >= -180) & (xmax <= 180)
    # A box that crosses has xmin in the east and xmax in the west, so a filter needs two comparisons only. The rare box too wide
    # for that becomes -180..180.
    everywhere |= ~inside & (low > high) & ((low < 0) | (high > 0))
    result[:, 0] = np.where(everywhere, -180.0, np.where(inside, xmin, low))
    result[:, 2] = np.where(everywhere, 180.0, np.where(inside, xmax, high))
    return result


def merge_bounds(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest bounds on a round Earth that enclose both bounds of each row, shape (n, 4); NaN rows are empty."""
    one, two = unwrap_bounds(first), unwrap_bounds(second)
    apart = (one[:, 0] + one[:, 2]) / 2 - (two[:, 0] + two[:, 2]) / 2
    shift = np.nan_to_num(360 * np.round(apart / 360))
    two[:, 0::2] += shift[:, None]
    merged = np.concatenate([np.fmin(one[:, :2], two[:, :2]), np.fmax(one[:, 2:], two[:, 2:])], axis=1)
    known = ~np.isnan(merged).any(axis=1)
    merged[known] = wrap_bounds(merged[known])
    return merged
