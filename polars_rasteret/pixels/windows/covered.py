"""Which pixels of a window does its area not cover, and what stands there?

They are filled, or null, as pixels outside of the image are. A point covers its whole window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.values import fill_value as value_outside
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import window_transform
from polars_rasteret.geo.coverage.gdal_masks import gdal_runs
from polars_rasteret.geo.crs import NATIVE, x_period
from polars_rasteret.geo.near_image import outlines_on_grids
from polars_rasteret.geo.projected_outlines import met_by_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.pixels.reading import BandAnswer

    Ints = NDArray[np.int64]


def blank_uncovered(
    answers: Sequence[BandAnswer],
    coverage: str,
    fill: float | None,
    *,
    pixels_per_row: int | None,
) -> dict[int, int]:
    """Blank the pixels that areas do not cover, in place; return how many they cover in rows where that is not all.

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
        rows = np.flatnonzero(band.is_read & ~areas.is_drawn_point[area])
        keys = list(zip(grids.grid_id[rows].tolist(), rows.tolist(), strict=True))
        new = [key for key in keys if key not in covered]
        of_new = np.array([row for _, row in new], np.int64)
        covered.update(zip(new, _masks(band, of_new, areas, area[of_new], coverage), strict=True))
        for key in keys:
            row, blank = key[1], ~covered[key]
            start = int(answer.offset[row]) if pixels_per_row is None else row * pixels_per_row
            place = slice(start, start + len(blank))
            if band.outside is not None:
                band.outside[place] |= blank
            else:
                answer.values[place][blank] = fills[int(band.rows.reference_id[row])]
            if answer.valid is not None:
                answer.valid[place][blank] = False
    return {row: int(pixels.sum()) for (_, row), pixels in covered.items()}


def _masks(band: BandAnswer, rows: Ints, areas: Areas, area: Ints, coverage: str) -> list[NDArray[np.bool_]]:
    """Return which pixels of the answer of each of `rows` its area covers, flat."""
    column, windows = band.rows.column, band.rows.windows
    reference = band.rows.reference_id[rows]
    if band.grids is not None:
        crs, transform = band.grids.crs[rows], band.grids.transform[rows]
        height, width = band.grids.height[rows], band.grids.width[rows]
    else:
        crs = windows.grids.crs[rows]
        transform = window_transform(windows.grids.transform[rows], windows.row_start[rows], windows.col_start[rows])
        height, width = windows.height[rows], windows.width[rows]
    masks: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)] * len(rows)
    for one in dict.fromkeys(crs.tolist()):
        at = np.array([number for number, other in enumerate(crs.tolist()) if other == one], np.int64)
        grid = transform[at], height[at], width[at]
        outlines = outlines_on_grids(areas, area[at], one, *grid)
        has_place = np.isfinite(outlines.x) & np.isfinite(outlines.y)
        if not has_place.all():
            lost = int(outlines.zone_of_line[outlines.line_of_vertex[~has_place]][0])
            raise UsageError(
                f"{column.name}: coverage={coverage!r}: a part of the area has no place in {one}, the CRS of "
                f"{column.references[int(reference[at[lost]])].href}; cut the area to the region of the images first"
            )
        if areas.crs != NATIVE and one is not None and (period := x_period(one)) is not None:
            outlines = met_by_images(outlines, *grid, period)
        runs = gdal_runs(outlines, *grid, all_touched=coverage == "all_touched")
        pixels = np.split(runs.masks(height[at], width[at]), np.cumsum(height[at] * width[at])[:-1])
        for number, mask in zip(at.tolist(), pixels, strict=True):
            masks[number] = mask
    return masks
