"""Which pixels of a window does its area not cover, and what stands there?

They are filled, or null, as pixels outside of the image are. A point covers its whole window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.values import fill_value as value_outside
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_coordinates, window_transform
from polars_rasteret.geo.antimeridian import image_span, periods_to_image
from polars_rasteret.geo.coverage import covered_pixels
from polars_rasteret.geo.crs import NATIVE, x_period

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.pixels.reading import BandAnswer


def blank_uncovered(
    answers: Sequence[BandAnswer],
    coverage: str,
    fill: float | None,
    *,
    pixels_per_row: int | None,
) -> dict[int, int]:
    """Blank what the areas do not cover, in place; give how many pixels of each row they do, where that is not all.

    Parameters
    ----------
    answers
        Of the bands; their windows know the area of each row.
    coverage
        ``"center"`` or ``"all_touched"``.
    fill
        What stands there; None: nodata, else 0.
    pixels_per_row
        From one row to the next in the arrays of the answers; None: they lie as their offsets say.
    """
    covered: dict[tuple[int, int], NDArray[np.bool_]] = {}  # bands on one grid share it
    for band in answers:
        areas, area = band.rows.windows.areas, band.rows.windows.area
        if areas is None or area is None:
            continue
        column, answer = band.rows.column, band.answer
        raw = None if band.rows.unscale else fill
        fills = [
            value_outside(one.tiles, one.nodata, raw, answer.values.dtype, label=column.name)
            for one in column.references
        ]
        # What an answer covers of its area follows from the grid that it was taken from.
        grids = band.rows.windows.grids if band.grids is None else band.grids.image
        for row in np.flatnonzero(band.is_read & ~areas.is_point[area]).tolist():
            one = int(grids.grid_id[row]), row
            if one not in covered:
                covered[one] = _covered(band, row, areas, int(area[row]), coverage)
            blank = ~covered[one]
            start = int(answer.offset[row]) if pixels_per_row is None else row * pixels_per_row
            place = slice(start, start + len(blank))
            if band.outside is not None:
                band.outside[place] |= blank
            else:
                answer.values[place][blank] = fills[int(band.rows.reference_id[row])]
            if answer.valid is not None:
                answer.valid[place][blank] = False
    return {row: int(pixels.sum()) for (_, row), pixels in covered.items()}


def _covered(band: BandAnswer, row: int, areas: Areas, target: int, coverage: str) -> NDArray[np.bool_]:
    reference = int(band.rows.reference_id[row])
    column, windows = band.rows.column, band.rows.windows
    if band.grids is not None:
        crs, transform = band.grids.crs[row], band.grids.transform[row]
        height, width = int(band.grids.height[row]), int(band.grids.width[row])
    else:
        one = slice(row, row + 1)
        crs = windows.grids.crs[row]
        transform = window_transform(windows.grids.transform[row], windows.row_start[one], windows.col_start[one])[0]
        height, width = int(windows.height[row]), int(windows.width[row])
    lines = areas.outline(crs or NATIVE, target)
    if not all(np.isfinite(x).all() and np.isfinite(y).all() for x, y, _ in lines):
        raise UsageError(
            f"{column.name}: coverage={coverage!r}: a part of the area has no place in {crs}, the CRS of "
            f"{column.references[reference].href}; cut the area to the region of the images first"
        )
    covered = np.zeros((height, width), np.bool_)
    for shift in _shifts(
        lines, None if areas.crs == NATIVE or crs is None else x_period(crs), transform, (height, width)
    ):
        on_grid = [(*pixel_coordinates(transform, x + shift, y), is_ring) for x, y, is_ring in lines]
        covered |= covered_pixels(on_grid, height, width, all_touched=coverage == "all_touched")
    return covered.reshape(-1)


def _shifts(
    lines: Sequence[tuple[NDArray[np.float64], NDArray[np.float64], bool]],
    period: float | None,
    transform: NDArray[np.float64],
    size: tuple[int, int],
) -> list[float]:
    """Return the shifts in x, whole periods, at which an area may meet a grid; only 0 where x does not repeat."""
    if period is None or not lines:
        return [0.0]
    x = np.concatenate([one for one, _, _ in lines])
    west, east = image_span(transform[None], np.array([size[1]]), np.array([size[0]]))
    first, last = periods_to_image(x.min(initial=np.inf), x.max(initial=-np.inf), west, east, period)
    return [period * n_periods for n_periods in range(int(first[0]), int(last[0]) + 1)]
