"""Which pixel windows do areas have on the grids of images?

An area that reaches beyond an image is cut to the image first. Windows on images whose x wraps around the Earth are computed in
`wrapped_windows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, pixel_coordinates
from polars_rasteret.geo.antimeridian import split_at_antimeridian
from polars_rasteret.geo.areas import Areas, reduced_runs
from polars_rasteret.geo.crs import NATIVE, is_geographic, x_period
from polars_rasteret.geo.footprints import boxes_meet_images, image_polygons
from polars_rasteret.geo.wrapped_windows import whole_where_nearly, wrapped_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEGMENTS_PER_IMAGE = 64
"""Chords along the side of an image, in outlines of areas that were cut to the image."""
_REACH = 0.01
"""An image's outline is widened by this share of its size before areas are cut to it, because the outline bends, too."""


def area_windows(  # noqa: PLR0917 - one argument per column
    areas: Areas,
    crs: str,
    index: NDArray[np.int64],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the smallest pixel windows that hold all of the areas that may lie on the images, and their extents.

    Parameters
    ----------
    areas
        All areas.
    crs
        CRS of the grids.
    index
        Index of the area of each row, shape (k,).
    transform, width, height
        Grid and size of the image of each row; shapes (k, 6), (k,), (k,).

    Returns
    -------
    windows : int64, shape (k, 4)
        ``row_start, row_stop, col_start, col_stop``, not clipped to the image. All zero where the area does not meet the image.
    extents : float64, shape (k, 4)
        First and last row, first and last column of the outline in fractions of pixels. Where an outline has no width, no height
        or no place on the grid, the extent equals the window.
    """
    if areas.crs != NATIVE and (period := x_period(crs)) is not None:
        pieces = areas.pieces_in(crs, period)
        windows, extents = wrapped_windows(pieces, index, transform, width, height, period=period)
        has_place = np.isfinite(pieces.bounds[pieces.first[index]]).all(axis=1)
        has_place &= ~areas.may_fold[index]
        off_earth = np.flatnonzero(~has_place & np.isfinite(areas.bounds[index]).all(axis=1))
        if len(off_earth):  # only a corner may be off the Earth; the part of the area on the image may have a place
            extents[off_earth] = 0
            image = transform[off_earth], width[off_earth], height[off_earth]
            windows[off_earth] = _cut_windows(areas, crs, index[off_earth], *image)
        flat = ~(extents[:, 1::2] - extents[:, 0::2] > BORDER_TOLERANCE_PX)
        return windows, np.where(np.repeat(flat, 2, axis=1), windows, extents)
    windows, extents, has_place = outline_windows(areas, crs, index, transform)
    apart, there = areas.rows_apart(crs, index)
    row_start, row_stop, col_start, col_stop = windows.T
    is_inside = has_place & (row_start >= 0) & (row_stop <= height) & (col_start >= 0) & (col_stop <= width)
    # Areas that reach beyond the image are cut to the image. Far away, an outline may leave the domain of the projection, and
    # its few vertices do not follow its curves. Also, the bounds of a polygon may meet an image that the polygon does not.
    is_plain = areas.is_box[index] if areas.vertices.is_in(crs) else np.zeros(len(index), np.bool_)
    is_point = areas.tolerance[index] == 0
    exists = np.isfinite(areas.bounds[index]).all(axis=1) & ~np.isin(np.arange(len(index)), apart)
    todo = np.flatnonzero(exists & ~is_inside & ~(is_plain & has_place) & ~is_point)
    if len(todo):
        cut = _cut_windows(areas, crs, index[todo], transform[todo], width[todo], height[todo])
        whole = _both(windows[todo], cut)
        whole = np.where(has_place[todo, None], whole, cut)
        windows[todo] = np.where(cut.any(axis=1, keepdims=True), whole, 0)
    flat = ~(extents[:, 1::2] - extents[:, 0::2] > BORDER_TOLERANCE_PX) | ~has_place[:, None]
    if there is not None:
        windows[apart], extents[apart] = area_windows(
            there[0], crs, there[1], transform[apart], width[apart], height[apart]
        )
        flat = flat & ~np.isin(np.arange(len(index)), apart)[:, None]
    return windows, np.where(np.repeat(flat, 2, axis=1), windows, extents)


def outline_windows(
    areas: Areas, crs: str, index: NDArray[np.int64], transform: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the windows that hold whole outlines, their extents, and whether all vertices have a place in `crs`."""
    n_coordinates = areas.first_vertex[index + 1] - areas.first_vertex[index]
    start = np.concatenate([[0], np.cumsum(n_coordinates)]).astype(np.int64)
    owner = np.repeat(np.arange(len(index)), n_coordinates)
    at = np.arange(start[-1]) - np.repeat(start[:-1] - areas.first_vertex[index], n_coordinates)
    x, y = areas.vertices.in_crs(crs, at)
    row, col = pixel_coordinates(transform[owner], x, y)
    (low_row, high_row), (low_col, high_col) = areas.extremes_in(crs, row, at), areas.extremes_in(crs, col, at)
    first_row, last_row = reduced_runs(np.minimum, low_row, start), reduced_runs(np.maximum, high_row, start)
    first_col, last_col = reduced_runs(np.minimum, low_col, start), reduced_runs(np.maximum, high_col, start)
    # No image has 2**31 pixels. Such positions come from coordinates near the singularity of a projection. NaN fails, too.
    has_place = np.ones(len(index), np.bool_)
    for edge in (first_row, last_row, first_col, last_col):
        has_place &= np.abs(edge) < 2**31
    windows = np.zeros((len(index), 4), np.int64)
    tolerance = areas.tolerance[index[has_place]]
    windows[has_place, 0] = np.floor(first_row[has_place] + tolerance)
    windows[has_place, 1] = np.ceil(last_row[has_place] - tolerance)
    windows[has_place, 2] = np.floor(first_col[has_place] + tolerance)
    windows[has_place, 3] = np.ceil(last_col[has_place] - tolerance)
    # A line or point on a pixel border still touches the pixel that starts there.
    windows[has_place, 1] = np.maximum(windows[has_place, 1], windows[has_place, 0] + 1)
    windows[has_place, 3] = np.maximum(windows[has_place, 3], windows[has_place, 2] + 1)
    extents = np.where(has_place[:, None], np.stack([first_row, last_row, first_col, last_col], axis=1), 0.0)
    return windows, whole_where_nearly(extents), has_place


def _cut_windows(  # noqa: PLR0917 - one argument per column
    areas: Areas,
    crs: str,
    index: NDArray[np.int64],
    transform: NDArray[np.float64],
    width: NDArray[np.int64],
    height: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the windows of the parts of the areas that lie on the images."""
    images = image_polygons(crs, areas.crs, transform, width, height)
    shapes = areas.geometries[index]
    if is_geographic(areas.crs):
        for at in np.flatnonzero((areas.bounds[index, 0] < -180) | (areas.bounds[index, 2] > 180)):
            shapes[at] = split_at_antimeridian(shapes[at])
    windows = np.stack([np.zeros_like(height), height, np.zeros_like(width), width], axis=1)
    has_image = ~shapely.is_missing(images)
    # Images without a place in the CRS of the areas are read whole where both meet on the Earth.
    if len(lost := np.flatnonzero(~has_image)):
        there = boxes_meet_images(
            areas.crs, areas.bounds[index[lost]], (crs, transform[lost], width[lost], height[lost])
        )
        windows[lost[~there]] = 0
    images, shapes = shapely.make_valid(images[has_image]), shapely.make_valid(shapes[has_image])
    size = np.sqrt(shapely.area(images))
    parts = shapely.intersection(shapes, shapely.buffer(images, _REACH * size))
    cut = Areas(shapely.to_wkb(parts), areas.crs, size / _SEGMENTS_PER_IMAGE, is_cut=areas.is_cut)
    found, _, has_place = outline_windows(cut, crs, np.arange(len(parts), dtype=np.int64), transform[has_image])
    is_met = shapely.intersects(shapes, images)
    whole = windows[has_image]
    windows[has_image] = np.where(is_met[:, None], np.where(has_place[:, None], found, whole), 0)
    return windows


def _both(one: NDArray[np.int64], two: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return windows that hold both windows of each row."""
    first, last = np.minimum(one[:, 0::2], two[:, 0::2]), np.maximum(one[:, 1::2], two[:, 1::2])
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)
