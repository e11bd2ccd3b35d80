"""Which pixels of one image do many zones cover, by which rule, and how many pixels do whole zones cover?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import pixel_coordinates, window_transform
from polars_rasteret.geo.coverage.exact import exact_runs
from polars_rasteret.geo.coverage.gdal_masks import gdal_runs
from polars_rasteret.geo.coverage.kept_weights import kept_runs, kept_totals
from polars_rasteret.geo.crs import NATIVE, x_period
from polars_rasteret.geo.geometry import blamed
from polars_rasteret.geo.near_image import outline_tolerance, outlines_on_grid
from polars_rasteret.geo.projected_outlines import met_by_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.coverage.outlines import Outlines
    from polars_rasteret.geo.coverage.runs import Runs

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

COVERAGES = ("exact", "center", "all_touched")
"""The share of each pixel that a zone covers, or as GDAL rasterises: whole pixels by their centres, or wherever it passes."""


def zone_runs(
    areas: Areas,
    area: Ints,
    crs: str | None,
    transform: Sequence[float],
    *,
    size: tuple[int, int],
    coverage: str,
) -> Runs:
    """Return the pixels of a grid that areas cover; see `kept_weights` for what is computed once.

    Parameters
    ----------
    areas, area
        Zone ``i`` is area ``area[i]``.
    crs, transform, size
        Grid of the image, and its height and width; what lies beside the image is left out.
    coverage
        One of `COVERAGES`.
    """
    key = "runs", areas.digest(area), crs, tuple(transform), size, coverage

    def runs_of(rows: Ints) -> Runs:
        return _zone_runs(areas, area[rows], crs, transform, size=size, coverage=coverage)

    return kept_runs(key, len(area), lambda: blamed(area, runs_of))


def _zone_runs(
    areas: Areas, area: Ints, crs: str | None, transform: Sequence[float], *, size: tuple[int, int], coverage: str
) -> Runs:
    outlines = outlines_on_grid(areas, area, crs, transform, size, exact=coverage == "exact")
    _check_places(outlines, crs, coverage)
    n_zones = len(area)
    transforms = np.broadcast_to(np.array(transform), (n_zones, 6))
    height, width = (np.full(n_zones, side, np.int64) for side in size)
    if areas.crs != NATIVE and crs is not None and (period := x_period(crs)) is not None:
        outlines = met_by_images(outlines, transforms, height, width, period)
    return _runs(outlines, transforms, height, width, coverage)


def whole_coverage(areas: Areas, area: Ints, crs: str | None, transform: Sequence[float], *, coverage: str) -> Floats:
    """Return how many pixels of a grid areas cover, the parts beside the image included; parameters as in `zone_runs`."""
    key = "whole", areas.digest(area), crs, tuple(transform), coverage

    def totals_of(rows: Ints) -> Floats:
        return _whole_coverage(areas, area[rows], crs, transform, coverage)

    return kept_totals(key, lambda: blamed(area, totals_of))


def _whole_coverage(areas: Areas, area: Ints, crs: str | None, transform: Sequence[float], coverage: str) -> Floats:
    transforms = np.broadcast_to(np.array(transform), (len(area), 6))
    outlined = areas.areal_outlines if coverage == "exact" else areas.outlines
    outlines = outlined(crs or NATIVE, area, outline_tolerance(transforms))
    _check_places(outlines, crs, coverage)
    zone = outlines.zone_of_line[outlines.line_of_vertex]
    row, col = pixel_coordinates(transforms[zone], outlines.x, outlines.y)
    first, stop = np.full((2, len(area)), np.inf), np.full((2, len(area)), -np.inf)
    for side, along in enumerate((row, col)):
        np.minimum.at(first[side], zone, np.floor(along) - 1)
        np.maximum.at(stop[side], zone, np.ceil(along) + 1)
    is_there = np.isfinite(first).all(axis=0)
    start, size = (np.where(is_there, one, 0).astype(np.int64) for one in (first, stop - first))
    runs = _runs(outlines, window_transform(transforms, start[0], start[1]), size[0], size[1], coverage)
    n_cells = runs.col_stop - runs.col_start
    return np.bincount(runs.zone, weights=runs.weight * n_cells, minlength=len(area)).astype(np.float64)


def _check_places(outlines: Outlines, crs: str | None, coverage: str) -> None:
    """Raise `UsageError` when a part of an area has no place in the CRS of a grid."""
    has_place = np.isfinite(outlines.x) & np.isfinite(outlines.y)
    if not has_place.all():
        raise UsageError(
            f"coverage={coverage!r}: a part of a zone has no place in {crs}, the CRS of an image; cut the zone to the "
            "region of the images first"
        )


def _runs(outlines: Outlines, transform: Floats, height: Ints, width: Ints, coverage: str) -> Runs:
    if coverage == "exact":
        return exact_runs(outlines, transform, height, width)
    return gdal_runs(outlines, transform, height, width, all_touched=coverage == "all_touched")
