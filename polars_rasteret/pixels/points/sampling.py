"""Which arguments choose the value of a point, and which of them can be combined?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from polars_rasteret.arguments import check_choice
from polars_rasteret.errors import UsageError

_MAX_DISTANCE = 1000
"""Pixels; with more, the neighbourhood of one point is larger than an answer should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Method and search distance for the values of points."""

    method: Literal["nearest", "bilinear", "cubic"] = "nearest"
    max_distance: int = 0
    joint: bool = True
    neighbourhood: Literal["off", "always", "if_center_nodata"] = "off"
    grid: str = "finest"

    @property
    def is_plain(self) -> bool:
        """Whether only the pixel that holds the point is read."""
        return self.method == "nearest" and not self.max_distance and self.neighbourhood == "off"

    @property
    def costs_vary(self) -> bool:
        """Whether neighbourhoods are read only where a pixel is null."""
        return bool(self.max_distance) or self.neighbourhood == "if_center_nodata"

    @property
    def size(self) -> int:
        """Pixels per side of the neighbourhood."""
        return 2 * self.max_distance + 1


def checked_sampling(
    what: str,
    *,
    method: Any,
    max_distance_pixels: Any,
    joint: bool,
    return_neighbourhood: Any = "off",
    grid: str = "finest",
) -> Sampling:
    """Return the checked sampling of a caller's arguments.

    Raises
    ------
    UsageError
        For unknown values, a distance that is no whole number, and a search around interpolated points.
    """
    check_choice(what, "method", method, ("nearest", "bilinear", "cubic"))
    check_choice(what, "return_neighbourhood", return_neighbourhood, ("off", "always", "if_center_nodata"))
    reach = max_distance_pixels
    if isinstance(reach, bool) or not isinstance(reach, int | np.integer) or not 0 <= reach <= _MAX_DISTANCE:
        raise UsageError(
            f"{what}: max_distance_pixels={reach!r}; expected a whole number of pixels from 0 to {_MAX_DISTANCE}"
        )
    if method != "nearest" and (reach or return_neighbourhood != "off"):
        raise UsageError(
            f"{what}: max_distance_pixels and return_neighbourhood go with method='nearest'; {method} leaves null neighbours "
            "out by itself"
        )
    return Sampling(method=method, max_distance=int(reach), joint=joint, neighbourhood=return_neighbourhood, grid=grid)
