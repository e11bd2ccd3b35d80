"""How far does an outline reach beyond its vertices, when its edges are curved?

A straight edge is curved in another CRS. Where three vertices lie at equal distances on one straight edge, the edge between
them is taken for a parabola. The vertex of that parabola is a far better extreme than the vertices of the outline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NEARLY = 1e-6
"""An edge may pass its middle vertex at this share of the edge's length."""


def edge_midpoints(x: Floats, y: Floats, start: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which vertices lie midway between their neighbours on a straight edge, bool, shape (n_vertices,).

    Parameters
    ----------
    x, y
        Vertices of all outlines in the CRS in which the edges are straight.
    start
        Index of the first vertex of each outline; one entry more than outlines.
    """
    is_midpoint = np.zeros(len(x), np.bool_)
    if len(x) < 3:
        return is_midpoint
    with np.errstate(invalid="ignore"):
        miss = np.abs(x[:-2] - 2 * x[1:-1] + x[2:]) + np.abs(y[:-2] - 2 * y[1:-1] + y[2:])
        is_midpoint[1:-1] = miss <= _NEARLY * (np.abs(x[2:] - x[:-2]) + np.abs(y[2:] - y[:-2]))
    ends = np.concatenate([start[:-1], start[1:] - 1])
    is_midpoint[ends[(ends >= 0) & (ends < len(x))]] = False
    return is_midpoint


def edge_extremes(values: Floats, is_midpoint: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the lowest and the highest value of outlines around each vertex, for one coordinate of a CRS with curved edges.

    Parameters
    ----------
    values
        x or y of the vertices in that CRS.
    is_midpoint
        Result of `edge_midpoints`.

    Examples
    --------
    >>> import numpy as np
    >>> low, high = edge_extremes(np.array([0.0, 3.0, 4.0, 3.0]), np.array([False, True, True, False]))
    >>> high.tolist()
    [0.0, 4.0, 4.0, 3.0]
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        across = values[2:] - values[:-2]
        bend = values[:-2] - 2 * values[1:-1] + values[2:]
        at = np.flatnonzero(is_midpoint[1:-1] & (np.abs(across) <= 2 * np.abs(bend)))  # few: extremes of the outline
        if not len(at):
            return values, values
        across, bend, at = across[at], bend[at], at + 1
        value = values[at]
        peak = value - across**2 / (8 * bend)
    peak = np.where(np.isfinite(peak), peak, value)
    low, high = values.copy(), values.copy()
    low[at], high[at] = np.fmin(value, peak), np.fmax(value, peak)
    return low, high
