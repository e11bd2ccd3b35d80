"""Which pixels of an image are around each zone, and which targets are no zones?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import windows_of_areas

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.product import Targets


def zone_windows(what: str, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
    """Return the pixels around each zone.

    Parameters
    ----------
    what
        Verb, for messages.
    grids, targets, target
        As in `Product.windows`.

    Raises
    ------
    UsageError
        For points and lines.
    """
    if isinstance(targets, Points):
        raise UsageError(
            f"{what}: the zones are points (columns of x and y); expected a column of polygons or boxes: geometry=. For points "
            "use sample_points"
        )
    if len(wrong := targets.without_area()):
        raise UsageError(
            f"{what}: row {wrong[0]} of the zones is a point or a line, which has no area; expected polygons. For points use "
            "sample_points; for surroundings of points or lines pass their buffers"
        )
    return windows_of_areas(grids, targets, target)
