"""Where do the caller's points and areas lie in the CRS of each record?

One set of targets meets records of many CRSs, but each target only some of them: coordinates are moved once per CRS,
and only those that are asked for. What lies over the seam of the Earth is placed by `seam` and `placements`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates, pixel_coordinates
from polars_rasteret.geo.bends import middles_of_edges, reaches
from polars_rasteret.geo.crs import LONLAT, LONLAT_NAMES, NATIVE, is_geographic, period_of, transform_xy, turn_of
from polars_rasteret.geo.footprints import are_met, lonlat_rings, ring_fractions
from polars_rasteret.geo.geometry import mended, parsed
from polars_rasteret.geo.placements import Pieces, placed_windows, reduced, whole_where_nearly
from polars_rasteret.geo.seam import joined_at_seam, single_parts, split_at_antimeridian, unrolled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Reach = tuple[NDArray[np.float64], NDArray[np.float64]]

_SEGMENTS_PER_IMAGE = 64  # of what is cut to an image
_REACH = 0.01
"""An image's outline is widened by this share of its size before areas are cut to it: it has bends of its own."""
_SEGMENTS_PER_SIDE = 20  # a straight edge bends in another CRS; this many chords follow it


class Points:
    """Points in one CRS, given in others on demand.

    Parameters
    ----------
    x, y
        float64, shape (n,); NaN for a point that is not there.
    crs
        Normalized CRS of the coordinates, or ``"native"``: they count as being in whatever CRS is asked for.
    """

    def __init__(self, x: NDArray[np.float64], y: NDArray[np.float64], crs: str) -> None:
        self.x, self.y, self.crs = x, y, crs
        self._moved: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]] = {}

    def __len__(self) -> int:
        return len(self.x)

    def is_in(self, crs: str) -> bool:
        """Say whether the coordinates are those of `crs` as they are."""
        return self.crs in (NATIVE, crs) or {self.crs, crs} <= LONLAT_NAMES

    def in_crs(self, crs: str, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the coordinates of the points `index` in `crs`; not finite where they have no place there."""
        if self.is_in(crs):
            return self.x[index], self.y[index]
        if crs not in self._moved:
            n = len(self.x)
            self._moved[crs] = (np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.bool_))
        x, y, is_moved = self._moved[crs]
        wanted = np.zeros(len(self.x), np.bool_)
        wanted[index] = True
        todo = np.flatnonzero(wanted & ~is_moved)
        if len(todo):
            x[todo], y[todo] = transform_xy(self.crs, crs, self.x[todo], self.y[todo])
            is_moved[todo] = True
        return x[index], y[index]


class Areas:
    """Outlines of geometries in one CRS, made pixel windows of grids in others.

    Parameters
    ----------
    wkb
        Object array of WKB or EWKB bytes; None and empty geometries have no window.
    crs
        Normalized CRS of the coordinates, or ``"native"``.
    step
        Between points of the outlines, per geometry; None: a share of its size.
    """

    def __init__(self, wkb: NDArray[np.object_], crs: str, step: NDArray[np.float64] | None = None) -> None:
        geometries = parsed(wkb)
        is_finite = np.isfinite(shapely.bounds(geometries)).all(axis=-1)
        crossing = np.flatnonzero(is_finite & ~shapely.is_valid(geometries))
        if len(crossing):  # adding points to a polygon that crosses itself would drop parts of it
            geometries = geometries.copy()
            geometries[crossing] = mended(geometries[crossing], crossing)
        if (turn := turn_of(crs)) is not None:
            geometries = joined_at_seam(geometries, turn)
        self.crs = crs
        self._geometries = geometries
        self._pieces: dict[str, Pieces] = {}
        self._is_middle: NDArray[np.bool_] | None = None
        self.bounds: NDArray[np.float64] = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
        # A point is in one pixel exactly; a box may begin a rounding error before the pixel it begins with.
        self.is_point: NDArray[np.bool_] = shapely.get_type_id(geometries) == shapely.GeometryType.POINT
        is_point = self.is_point
        self._tolerance = np.where(is_point, 0.0, BORDER_TOLERANCE_PX)
        # Only the outline matters for a window; straight edges get points because they bend in another CRS.
        with np.errstate(invalid="ignore"):  # geometries of infinities
            sizes = self.bounds[:, 2:] - self.bounds[:, :2]
        longest = np.nanmax(sizes, axis=1, initial=0)
        has_length = np.isfinite(longest) & (longest > 0)
        box_area = np.prod(np.where(np.isfinite(sizes), sizes, 0), axis=1)
        self._is_box = is_point | (np.abs(shapely.area(geometries) - box_area) <= 1e-9 * box_area)
        dense = geometries.copy()
        step = longest / _SEGMENTS_PER_SIDE if step is None else step
        dense[has_length] = shapely.segmentize(geometries[has_length], step[has_length])
        self._dense = dense
        xy, owner = shapely.get_coordinates(dense, return_index=True)
        self._points = Points(np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1]), crs)
        counts = np.bincount(owner, minlength=len(geometries)) if len(geometries) else np.zeros(0, np.int64)
        self._start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.bounds)

    def points(self, index: NDArray[np.int64]) -> tuple[Points, NDArray[np.int64]]:
        """Give points, and which of them each of the geometries `index`, all points that are not empty, is."""
        return self._points, self._start[index]

    def outline(self, crs: str, index: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64], bool]]:
        """Give the lines of one geometry in `crs`: x, y, and whether they enclose something, per ring or line.

        Coordinates may be infinite where they have no place in `crs`.
        """
        turn = period_of(crs)
        run = slice(self._start[index], self._start[index + 1])
        if turn is None:
            x, y = self._points.in_crs(crs, np.arange(run.start, run.stop))
        else:
            x, y = self._continuous(crs, turn)
            x, y = x[run], y[run]
        lines, start = [], 0
        for part in single_parts(self._dense[index : index + 1]):
            is_area = shapely.get_dimensions(part) == 2
            for line in shapely.get_rings(part) if is_area else [part]:
                stop = start + shapely.get_num_coordinates(line)
                along_x, along_y = x[start:stop], y[start:stop]
                if turn is not None and is_area and is_geographic(crs) and _winds(along_x, turn):
                    pole = np.copysign(turn / 4, along_y.mean())
                    along_x = np.concatenate([along_x, along_x[[-1, 0, 0]]])
                    along_y = np.concatenate([along_y, [pole, pole, along_y[0]]])
                lines.append((along_x, along_y, bool(is_area)))
                start = stop
        return lines

    def bounds_in(self, crs: str) -> NDArray[np.float64]:
        """Give the bounds of every geometry in `crs`, shape ``(n, 4)``; NaN where there is none.

        Those over the seam of a geographic CRS run on beyond it: xmax is never less than xmin.
        """
        if (turn := turn_of(crs)) is None:
            index = np.arange(len(self._points), dtype=np.int64)
            x, y = self._points.in_crs(crs, index)
            return _bounds((x, x), (y, y), self._start)
        pieces = self._in_pieces(crs, turn)
        sides = (np.fmin, np.fmin, np.fmax, np.fmax)
        return np.stack([reduced(one, pieces.bounds[:, side], pieces.first) for side, one in enumerate(sides)], axis=1)

    def _continuous(self, crs: str, turn: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the coordinates of all outlines in a CRS whose x repeats, without jumps at its seam."""
        x, y = self._points.in_crs(crs, np.arange(len(self._points), dtype=np.int64))
        if self._points.is_in(crs):
            return x, y
        own_x, own_y = self._points.x, self._points.y

        def between(at: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
            along_x, along_y = (one[at, None] * (1 - shares) + one[at + 1, None] * shares for one in (own_x, own_y))
            moved, _ = transform_xy(self.crs, crs, along_x.ravel(), along_y.ravel())
            return moved.reshape(along_x.shape)

        owner = np.repeat(np.arange(len(self)), np.diff(self._start))
        return unrolled(x, owner, turn, between), y

    def _reaches(
        self, crs: str, values: NDArray[np.float64], at: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give how low and how high the outlines reach around the vertices `at`, in a coordinate of `crs`."""
        if self._points.is_in(crs):
            return values, values
        if self._is_middle is None:
            self._is_middle = middles_of_edges(self._points.x, self._points.y, self._start)
        return reaches(values, self._is_middle[at])

    def _in_pieces(self, crs: str, turn: float) -> Pieces:
        """Give the areas in a CRS whose x repeats, in pieces that move together.

        What takes more than half the Earth is placed part by part, everything else as a whole.
        """
        crs = LONLAT if crs in LONLAT_NAMES else crs
        if crs not in self._pieces:
            self._pieces[crs] = self._made_pieces(crs, turn)
        return self._pieces[crs]

    def _made_pieces(self, crs: str, turn: float) -> Pieces:
        x, y = self._continuous(crs, turn)
        every = np.arange(len(x))
        reach = self._reaches(crs, x, every), self._reaches(crs, y, every)
        bounds = _bounds(*reach, self._start)
        bounds[~np.isfinite(bounds).all(axis=1)] = np.nan
        width = bounds[:, 2] - bounds[:, 0]
        is_own = self._points.is_in(crs)
        is_box = self._is_box.copy() if is_own else self.is_point.copy()
        if not is_own and is_geographic(crs):
            for at in np.flatnonzero(width > turn / 2).tolist():  # around a pole, outlines do not close
                around = np.concatenate([np.zeros(0), *(one for _, one, is_ring in self.outline(crs, at) if is_ring)])
                if len(around) and np.abs(around).max() == turn / 4:
                    is_box[at] = True
                    bounds[at, 1], bounds[at, 3] = around.min(), around.max()
        apart: NDArray[np.bool_] = (width > turn / 2) & ~is_box & (shapely.get_num_geometries(self._dense) > 1)
        if not apart.any():
            n_pieces, start = np.ones(len(self), np.int64), self._start
        else:
            parts = [single_parts(self._dense[at : at + 1]) if apart[at] else None for at in range(len(self))]
            n_pieces = np.array([1 if one is None else len(one) for one in parts], np.int64)
            sizes = [
                np.diff(self._start[at : at + 2]) if one is None else shapely.get_num_coordinates(one)
                for at, one in enumerate(parts)
            ]
            start = np.concatenate([[0], *(np.cumsum(one) + self._start[at] for at, one in enumerate(sizes))])
            is_whole = np.repeat(~apart, n_pieces)
            of_pieces = _bounds(*reach, start.astype(np.int64))
            of_pieces[~np.isfinite(of_pieces).all(axis=1)] = np.nan
            bounds = np.where(is_whole[:, None], np.repeat(bounds, n_pieces, axis=0), of_pieces)
            is_box = np.repeat(is_box & ~apart, n_pieces)

        def shapes() -> NDArray[np.object_]:
            made = self._dense
            if not is_own:
                has_place = np.isfinite(np.stack([x, y], axis=1))
                made = shapely.set_coordinates(made.copy(), np.where(has_place, np.stack([x, y], axis=1), 0))
            if not apart.any():
                return made
            each = [single_parts(made[at : at + 1]) if apart[at] else made[at : at + 1] for at in range(len(made))]
            return np.concatenate(each)

        return Pieces(
            x=x,
            y=y,
            start=start.astype(np.int64),
            bounds=bounds,
            first=np.concatenate([[0], np.cumsum(n_pieces)]).astype(np.int64),
            is_box=is_box,
            tolerance=np.repeat(self._tolerance, n_pieces),
            shapes=shapes,
        )

    def windows(
        self,
        crs: str,
        index: NDArray[np.int64],
        transform: NDArray[np.float64],
        width: NDArray[np.int64],
        height: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Give the smallest pixel window that holds what of each geometry may lie on its grid.

        Parameters
        ----------
        crs
            CRS of the grids.
        index
            Which geometry, shape (k,).
        transform, width, height
            Grid of each, and the size of the image on it; shapes (k, 6), (k,), (k,).

        Returns
        -------
        ndarray of int64, shape (k, 4)
            ``row_start, row_stop, col_start, col_stop``, not clipped to the image; all zero where the geometry does not meet it.
        """
        return self.windows_and_extents(crs, index, transform, width, height)[0]

    def windows_and_extents(
        self,
        crs: str,
        index: NDArray[np.int64],
        transform: NDArray[np.float64],
        width: NDArray[np.int64],
        height: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give the `windows`, and the same in fractions of pixels: exactly from border to border of the outlines.

        Where a geometry has no width or no height, and where it has no place on the grid, the extent is that of the window.
        """
        if self.crs != NATIVE and (turn := period_of(crs)) is not None:
            pieces = self._in_pieces(crs, turn)
            windows, extents = placed_windows(pieces, index, transform, width, height, turn=turn)
            has_place = np.isfinite(pieces.bounds[pieces.first[index]]).all(axis=1)
            off_earth = np.flatnonzero(~has_place & np.isfinite(self.bounds[index]).all(axis=1))
            if len(off_earth):  # a corner is: what of the area is on the image may have a place all the same
                image = transform[off_earth], width[off_earth], height[off_earth]
                windows[off_earth] = self._cut_windows(crs, index[off_earth], *image)
            flat = ~(extents[:, 1::2] - extents[:, 0::2] > BORDER_TOLERANCE_PX)
            return windows, np.where(np.repeat(flat, 2, axis=1), windows, extents)
        windows, extents, has_place = self.outline_windows(crs, index, transform)
        row_start, row_stop, col_start, col_stop = windows.T
        is_inside = has_place & (row_start >= 0) & (row_stop <= height) & (col_start >= 0) & (col_stop <= width)
        # What reaches beyond the image is cut there, too: far away, the outline may leave the domain of the projection, its few
        # points say little of its bends, and the box around a polygon may meet an image that the polygon does not.
        is_plain = self._is_box[index] if self._points.is_in(crs) else np.zeros(len(index), np.bool_)
        is_point = self._tolerance[index] == 0
        exists = np.isfinite(self.bounds[index]).all(axis=1)
        todo = np.flatnonzero(exists & ~is_inside & ~is_plain & ~is_point)
        if len(todo):
            cut = self._cut_windows(crs, index[todo], transform[todo], width[todo], height[todo])
            whole = _both(windows[todo], cut)
            whole = np.where(has_place[todo, None], whole, cut)
            windows[todo] = np.where(cut.any(axis=1, keepdims=True), whole, 0)
        flat = ~(extents[:, 1::2] - extents[:, 0::2] > BORDER_TOLERANCE_PX) | ~has_place[:, None]
        return windows, np.where(np.repeat(flat, 2, axis=1), windows, extents)

    def _cut_windows(
        self,
        crs: str,
        index: NDArray[np.int64],
        transform: NDArray[np.float64],
        width: NDArray[np.int64],
        height: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Give the windows of the parts that lie on the images."""
        col, row = ring_fractions()
        x, y = map_coordinates(transform[:, None, :], row * height[:, None], col * width[:, None])
        if not self._points.is_in(crs):
            moved = transform_xy(crs, self.crs, x.ravel(), y.ravel())
            x, y = moved[0].reshape(x.shape), moved[1].reshape(y.shape)
        areas = self._geometries[index]
        if is_geographic(self.crs):
            images = lonlat_rings(x, y)[0]
            for at in np.flatnonzero((self.bounds[index, 0] < -180) | (self.bounds[index, 2] > 180)):
                areas[at] = split_at_antimeridian(areas[at])
        else:
            images = np.full(len(index), None, dtype=object)
            known = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
            images[known] = shapely.polygons(np.stack([x[known], y[known]], axis=2))
        windows = np.stack([np.zeros_like(height), height, np.zeros_like(width), width], axis=1)
        has_image = ~shapely.is_missing(images)
        if len(lost := np.flatnonzero(~has_image)):  # they are taken whole, where they share a place with the area
            there = are_met(self.crs, self.bounds[index[lost]], (crs, transform[lost], width[lost], height[lost]))
            windows[lost[~there]] = 0
        images, areas = shapely.make_valid(images[has_image]), shapely.make_valid(areas[has_image])
        size = np.sqrt(shapely.area(images))
        parts = shapely.intersection(areas, shapely.buffer(images, _REACH * size))
        cut = Areas(shapely.to_wkb(parts), self.crs, size / _SEGMENTS_PER_IMAGE)
        found, _, has_place = cut.outline_windows(crs, np.arange(len(parts), dtype=np.int64), transform[has_image])
        is_met = shapely.intersects(areas, images)
        whole = windows[has_image]
        windows[has_image] = np.where(is_met[:, None], np.where(has_place[:, None], found, whole), 0)
        return windows

    def outline_windows(
        self, crs: str, index: NDArray[np.int64], transform: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        """Give the windows that hold the outlines, their extents, and whether every point of an outline has a place."""
        n_coordinates = self._start[index + 1] - self._start[index]
        start = np.concatenate([[0], np.cumsum(n_coordinates)]).astype(np.int64)
        owner = np.repeat(np.arange(len(index)), n_coordinates)
        at = np.arange(start[-1]) - np.repeat(start[:-1] - self._start[index], n_coordinates)
        x, y = self._points.in_crs(crs, at)
        row, col = pixel_coordinates(transform[owner], x, y)
        (low_row, high_row), (low_col, high_col) = self._reaches(crs, row, at), self._reaches(crs, col, at)
        first_row, last_row = reduced(np.minimum, low_row, start), reduced(np.maximum, high_row, start)
        first_col, last_col = reduced(np.minimum, low_col, start), reduced(np.maximum, high_col, start)
        # Beyond 2**31 pixels there is no image; such positions come from a projection's far end. NaN and infinities fail, too.
        has_place = np.ones(len(index), np.bool_)
        for edge in (first_row, last_row, first_col, last_col):
            has_place &= np.abs(edge) < 2**31
        windows = np.zeros((len(index), 4), np.int64)
        tolerance = self._tolerance[index[has_place]]
        windows[has_place, 0] = np.floor(first_row[has_place] + tolerance)
        windows[has_place, 1] = np.ceil(last_row[has_place] - tolerance)
        windows[has_place, 2] = np.floor(first_col[has_place] + tolerance)
        windows[has_place, 3] = np.ceil(last_col[has_place] - tolerance)
        # A line or point on a pixel border still touches the pixel that starts there.
        windows[has_place, 1] = np.maximum(windows[has_place, 1], windows[has_place, 0] + 1)
        windows[has_place, 3] = np.maximum(windows[has_place, 3], windows[has_place, 2] + 1)
        extents = np.where(has_place[:, None], np.stack([first_row, last_row, first_col, last_col], axis=1), 0.0)
        return windows, whole_where_nearly(extents), has_place


def _bounds(x: _Reach, y: _Reach, start: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the bounds of runs of vertices, of each of which is known how low and how high it reaches."""
    sides = [(np.fmin, x[0]), (np.fmin, y[0]), (np.fmax, x[1]), (np.fmax, y[1])]
    return np.stack([reduced(reduce, one, start) for reduce, one in sides], axis=1)


def _both(one: NDArray[np.int64], two: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give windows that hold both."""
    first, last = np.minimum(one[:, 0::2], two[:, 0::2]), np.maximum(one[:, 1::2], two[:, 1::2])
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)


def _winds(x: NDArray[np.float64], turn: float) -> bool:
    """Say whether a ring goes around a pole."""
    return len(x) > 0 and bool(np.isfinite(x).all() and abs(x[-1] - x[0]) > turn / 2)
