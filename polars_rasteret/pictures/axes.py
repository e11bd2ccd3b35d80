"""On which axes of matplotlib is a picture drawn, and what is told where matplotlib is missing?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import UsageError, missing_extra

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_PANEL_INCHES = 3.0
_TITLE_INCHES = 0.35


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``; raise `UsageError` with the extra to install where matplotlib is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise missing_extra("plot", "matplotlib", "plot") from error
    return plt


def check_axes(ax: Any) -> None:
    """Raise `UsageError` when `ax` is neither None nor an Axes of matplotlib."""
    if ax is not None and not (hasattr(ax, "imshow") and hasattr(ax, "figure")):
        raise UsageError(f"plot: ax is a {type(ax).__name__}; expected an Axes of matplotlib, or None for a new figure")


def panels(n_panels: int, columns: int, aspect: float) -> NDArray[np.object_]:
    """Return the axes of a new figure, one for each panel, in rows of `columns`.

    Parameters
    ----------
    aspect
        Height of a panel divided by its width.
    """
    n_columns = min(columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    size = (_PANEL_INCHES * n_columns, (_PANEL_INCHES * aspect + _TITLE_INCHES) * n_rows)
    _, grid = pyplot().subplots(n_rows, n_columns, figsize=size, squeeze=False, layout="constrained")
    every: NDArray[np.object_] = grid.ravel()
    for unused in every[n_panels:]:
        unused.remove()
    return every[:n_panels]


def map_axes(ax: Axes | None) -> Axes:
    """Return axes for longitudes and latitudes: `ax`, or those of a new figure."""
    if ax is None:
        _, ax = pyplot().subplots(layout="constrained")
    assert ax is not None
    ax.set_xlabel("longitude")
    ax.set_ylabel("latitude")
    ax.locator_params(nbins=5)
    ax.ticklabel_format(useOffset=False)
    return ax


def frame_map(ax: Axes, bounds: NDArray[np.float64]) -> None:
    """Show the bounds ``(xmin, ymin, xmax, ymax)`` with a margin, and degrees as long as they are in their middle."""
    xmin, ymin, xmax, ymax = (float(side) for side in bounds)
    margin = 0.05 * max(xmax - xmin, ymax - ymin) or 0.01
    ax.set_xlim(xmin - margin, xmax + margin)
    ax.set_ylim(ymin - margin, ymax + margin)
    # Near a pole a degree of longitude is nearly nothing; beyond 80 degrees the map is not stretched further.
    ax.set_aspect(1 / math.cos(math.radians(min(abs(ymin + ymax) / 2, 80))))
