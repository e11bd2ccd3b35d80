"""What of an area that reaches far beyond an image can cover pixels of the image?

Far from an image its projection may fold or end: the whole Earth has no outline in a UTM zone. Such areas are cut to the
neighbourhood of the image before they are transformed. Pixels do not belong here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.antimeridian import split_at_antimeridian
from polars_rasteret.geo.coverage.areal import areal
from polars_rasteret.geo.crs import NATIVE, is_geographic, metres_per_unit
from polars_rasteret.geo.footprints import image_polygons
from polars_rasteret.geo.geometry import blamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.coverage.outlines import Outlines

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_FAR_DEGREES, _FAR_METRES = 5.0, 500_000.0
_FAR_SIZES = 10
"""An area reaches far when it goes beyond an image by more than this and by more than so many sizes of the image."""
_MARGIN_SIZES = 2
_LARGE_METRES = 5_000_000.0
"""An image that is larger may have no outline in a projected CRS; areas are not cut to it."""
_STEPS_PER_SIZE = 32
"""What is left of such an area reaches beyond the image by so many of its sizes; its edges get so many vertices per size."""
_TOLERANCE_PX = 1e-3
"""Pixels by which an outline may miss the curve of an edge."""

_NONE = (np.zeros(0, np.int64), np.zeros(0, object), 0.0)


def outlines_on_grid(
    areas: Areas,
    index: Ints,
    crs: str | None,
    transform: Sequence[float] | Floats,
    size: tuple[int, int],
    *,
    exact: bool,
) -> Outlines:
    """Return the outlines of areas in the CRS of an image; of those that reach far beyond it, what is near.

    Parameters
    ----------
    areas, index
        Zone ``i`` is area ``index[i]``.
    crs, transform, size
        Grid of the image, and its height and width.
    exact
        Whether outlines are prepared for exact areas, as by `Areas.areal_outlines`.
    """
    large = _large(areas, index, crs)
    at, parts, step = (
        _near(areas, index[large], str(crs), np.asarray(transform, np.float64), size) if len(large) else _NONE
    )
    if len(at):
        areas, index = areas.with_parts(index, large[at], parts, np.full(len(at), step)), np.arange(len(index))
    tolerance = np.full(len(index), outline_tolerance(np.asarray(transform, np.float64)))
    return (areas.areal_outlines if exact else areas.outlines)(crs or NATIVE, index, tolerance)


def outlines_on_grids(  # noqa: PLR0917 - one argument per column
    areas: Areas, index: Ints, crs: str | None, transform: Floats, height: Ints, width: Ints
) -> Outlines:
    """Return `outlines_on_grid`, not prepared for exact areas, where each zone has an image of its own.

    Parameters
    ----------
    areas, index
        Zone ``i`` is area ``index[i]``.
    crs, transform, height, width
        CRS of all images, and the grid of each; shapes (n, 6), (n,), (n,).
    """

    def outlines_of(rows: Ints) -> Outlines:
        return _outlines_on_grids(areas, index[rows], crs, transform[rows], height[rows], width[rows])

    return blamed(index, outlines_of)


def _outlines_on_grids(  # noqa: PLR0917 - one argument per column
    areas: Areas, index: Ints, crs: str | None, transform: Floats, height: Ints, width: Ints
) -> Outlines:
    cut: list[int] = []
    parts, steps = [], []
    for row in _large(areas, index, crs).tolist():
        size = int(height[row]), int(width[row])
        at, part, step = _near(areas, index[row : row + 1], str(crs), transform[row], size)
        if len(at):
            cut.append(row)
            parts.append(part)
            steps.append(step)
    if cut:
        areas = areas.with_parts(index, np.array(cut), np.concatenate(parts), np.array(steps))
        index = np.arange(len(index))
    return areas.outlines(crs or NATIVE, index, outline_tolerance(transform))


def outline_tolerance(transform: Floats) -> Floats:
    """Return the map units by which outlines may miss the curves of their edges on grids: a small part of a pixel."""
    across, down = (np.hypot(transform[..., at], transform[..., at + 3]) for at in (0, 1))
    return _TOLERANCE_PX * np.minimum(across, down)


def _large(areas: Areas, index: Ints, crs: str | None) -> Ints:
    """Return which of some areas may reach far beyond an image whose projection follows them nearby only."""
    if crs is None or areas.crs == NATIVE or areas.vertices.is_in(crs):
        return np.zeros(0, np.int64)
    bounds = areas.bounds[index]
    with np.errstate(invalid="ignore"):
        return np.flatnonzero((bounds[:, 2:] - bounds[:, :2] > _far(areas)).any(axis=1))


def _far(areas: Areas) -> float:
    return _FAR_DEGREES if is_geographic(areas.crs) else _FAR_METRES / metres_per_unit(areas.crs)


def _near(
    areas: Areas, index: Ints, crs: str, transform: Floats, size: tuple[int, int]
) -> tuple[Ints, NDArray[np.object_], float]:
    """Return which areas reach far beyond an image, what of them is near, and the length of pieces of its edges."""
    bounds, is_lonlat = areas.bounds[index], is_geographic(areas.crs)
    image = image_polygons(crs, areas.crs, transform[None], np.array([size[1]]), np.array([size[0]]))[0]
    if image is None:
        return _NONE
    image = shapely.make_valid(image)
    side = float(np.sqrt(shapely.area(image)))
    reach = (np.abs(transform[[0, 3]]) * size[1] + np.abs(transform[[1, 4]]) * size[0]).max() * metres_per_unit(crs)
    if not side > 0 or (not is_lonlat and reach > _LARGE_METRES):
        return _NONE
    far = max(_far(areas), _FAR_SIZES * side)
    west, south, east, north = shapely.bounds(image)
    with np.errstate(invalid="ignore"):
        reaches_far = (bounds < [west - far, south - far, np.inf, np.inf]).any(axis=1)
        reaches_far |= (bounds > [np.inf, np.inf, east + far, north + far]).any(axis=1)
    reaches_far &= np.isfinite(bounds).all(axis=1)
    at = np.flatnonzero(reaches_far)
    shapes = areal(areas.geometries[index[at]])
    if is_lonlat:
        for number in np.flatnonzero((bounds[at, 0] < -180) | (bounds[at, 2] > 180)).tolist():
            shapes[number] = split_at_antimeridian(shapes[number])
    margin = _MARGIN_SIZES * side
    parts = shapely.intersection(shapes, shapely.box(west - margin, south - margin, east + margin, north + margin))
    return at, parts, side / _STEPS_PER_SIZE
