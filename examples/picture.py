"""Draw NDVI of each record, with the sampled points, into one PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from imagecodecs import png_encode

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_BARE, _MIDDLE, _GREEN = (np.array(rgb, np.float64) for rgb in ((140, 81, 10), (246, 232, 195), (0, 104, 55)))
_POINT = np.array((214, 40, 40), np.uint8)
_HEIGHT = 256


def ndvi_colours(ndvi: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour NDVI from brown (-0.5) over sand (0) to green (0.5); no value is grey."""
    green = np.clip(ndvi / 0.5, 0, 1)[..., None]
    brown = np.clip(-ndvi / 0.5, 0, 1)[..., None]
    colours = _MIDDLE + green * (_GREEN - _MIDDLE) + brown * (_BARE - _MIDDLE)
    colours[np.isnan(ndvi)] = 200
    return colours.astype(np.uint8)


def draw(records: list[dict[str, Any]], path: Path) -> None:
    """Draw records side by side.

    Parameters
    ----------
    records
        Each with ``ndvi`` (2-D, NaN where there is none) and ``points`` (list of row, col).
    path
        Of the PNG.
    """
    panels = []
    for record in records:
        panel = ndvi_colours(record["ndvi"])
        for row, col in record["points"]:
            panel[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = 255
            panel[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2] = _POINT
        frame = np.full((_HEIGHT, panel.shape[1] + 8, 3), 255, np.uint8)
        frame[: panel.shape[0], : panel.shape[1]] = panel[:_HEIGHT]
        panels.append(frame)
    path.write_bytes(png_encode(np.concatenate(panels, axis=1)))
