"""How far do outlines reach between their vertices?

A straight edge bends in another CRS. Where three vertices follow each other at equal distances on one straight edge, the parabola
through them tells how far the edge reaches beyond; its error is far below that of the chords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NEARLY = 1e-6
"""Share of its length by which an edge may miss its middle vertex."""


def edge_midpoints(x: Floats, y: Floats, start: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which vertices lie midway between their neighbours on a straight edge.

    Parameters
    ----------
    x, y
        Vertices of outlines in the CRS in which their edges are straight.
    start
        Where each outline begins; one more than there are outlines.
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
    """Give how low and how high outlines reach around each vertex, in a coordinate in which their edges are bent.

    Parameters
    ----------
    values
        Of the vertices.
    is_midpoint
        As `edge_midpoints` says.

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
        at = np.flatnonzero(is_midpoint[1:-1] & (np.abs(across) <= 2 * np.abs(bend)))  # few: where an outline turns
        if not len(at):
            return values, values
        across, bend, at = across[at], bend[at], at + 1
        value = values[at]
        peak = value - across**2 / (8 * bend)
    peak = np.where(np.isfinite(peak), peak, value)
    low, high = values.copy(), values.copy()
    low[at], high[at] = np.fmin(value, peak), np.fmax(value, peak)
    return low, high
