"""What are the outlines of areas in the CRS of each record?

Straight edges bend in another CRS, so outlines get more vertices before they are transformed, once per CRS. Pixel windows of
areas do not belong here: `area_windows`, and `wrapped_windows` where x wraps around the Earth.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX
from polars_rasteret.geo.antimeridian import joined_at_antimeridian, single_parts, unwrapped_x, within_a_turn
from polars_rasteret.geo.coverage.areal import areal
from polars_rasteret.geo.coverage.outlines import both_outlines, outlines_of
from polars_rasteret.geo.crs import (
    LONLAT,
    LONLAT_NAMES,
    NATIVE,
    is_geographic,
    longitude_period,
    metres_per_unit,
    projection_method,
    transform_xy,
    x_period,
)
from polars_rasteret.geo.curved_edges import edge_extremes, edge_midpoints
from polars_rasteret.geo.geometry import check_reach, made_valid, parsed
from polars_rasteret.geo.map_seams import cut_at_seams, geometries_of, map_seams, meet_seams
from polars_rasteret.geo.points import Points
from polars_rasteret.geo.projected_outlines import densified, projected, y_of_pole

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.outlines import Outlines

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

_SEGMENTS_PER_SIDE = 20
"""Chords that follow an edge as long as the geometry, because the edge bends in another CRS."""
_TOLERANCE_DEGREES = 1e-6
"""Degrees by which outlines may miss the curves of their edges where areas are cut in longitude and latitude."""
_MAX_SEGMENTS_PER_SIDE = 200
"""Chords that follow such an edge of a narrow geometry, so that its short edges have two chords, and a midpoint between them."""
_LARGE_METRES = 10_000_000.0
"""Length of a side from which on an area in a projected CRS may lie anywhere on the Earth."""
_DIGESTED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaPieces:
    """Areas in one CRS whose x repeats, cut into pieces that may be moved by whole periods; continuous in x.

    An area is one piece. Only an area of several parts that takes more than half the Earth has one piece per part.
    """

    x: Floats
    y: Floats
    start: Ints
    """Index of the first vertex of each piece; one entry more than pieces."""
    bounds: Floats
    """Bounds of each piece, shape (n, 4); NaN where the piece has no place in the CRS."""
    first: Ints
    """Index of the first piece of each area; one entry more than areas."""
    is_box: Booleans
    """Whether a piece is a box, equal to its bounds."""
    tolerance: Floats
    """Pixels that a piece may reach beyond its window."""
    shapes: Callable[[], NDArray[np.object_]]
    """Function that returns the pieces as shapely geometries."""


class Areas:
    """Outlines of geometries in one CRS, transformed to other CRSs on demand and kept.

    Parameters
    ----------
    wkb
        Object array of WKB or EWKB bytes; None and empty geometries have no window.
    crs
        Normalized CRS of the coordinates, or ``"native"``.
    step
        Greatest distance between two vertices of the outline of each geometry, in units of `crs`. None: a twentieth of the
        geometry's longer side, less for narrow geometries.
    is_cut
        Whether the geometries are cut at the seams of a map already, and must not be joined there.

    Raises
    ------
    UsageError
        When a value is not WKB, or coordinates are infinite or too large to be places. The message has the index of the geometry.
    """

    def __init__(self, wkb: NDArray[np.object_], crs: str, step: Floats | None = None, *, is_cut: bool = False) -> None:
        drawn = geometries = parsed(wkb)
        period = longitude_period(crs)
        check_reach(geometries, crs, period)
        is_finite = np.isfinite(shapely.bounds(geometries)).all(axis=-1)
        crossing = np.flatnonzero(is_finite & ~shapely.is_valid(geometries))
        if len(crossing):  # adding points to a polygon that crosses itself would drop parts of it
            geometries = geometries.copy()
            geometries[crossing] = made_valid(geometries[crossing], crossing)
        self.is_cut = is_cut
        if period is not None and not is_cut:
            joined = joined_at_antimeridian(geometries, period)
            if joined is not geometries:
                is_joined = [one is not other for one, other in zip(joined, geometries, strict=True)]
                drawn, geometries = np.where(is_joined, joined, drawn), joined
        self.crs = crs
        self._drawn = drawn
        self.is_drawn_point: Booleans = shapely.get_type_id(drawn) == shapely.GeometryType.POINT
        self.geometries = geometries
        self._pieces: dict[str, AreaPieces] = {}
        self._apart: dict[str, tuple[Ints, Areas] | None] = {}
        self._is_midpoint: Booleans | None = None
        self.bounds: Floats = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
        # A polygon of one place is a point once it is valid. A box may begin a rounding error before its first pixel.
        self.is_point: Booleans = shapely.get_type_id(geometries) == shapely.GeometryType.POINT
        is_point = self.is_point
        self.tolerance = np.where(is_point, 0.0, BORDER_TOLERANCE_PX)
        # Only the outline matters for a window. Straight edges get more vertices because they are curved in another CRS.
        with np.errstate(invalid="ignore"):  # geometries of infinities
            sizes = self.bounds[:, 2:] - self.bounds[:, :2]
        longest = np.nanmax(sizes, axis=1, initial=0)
        has_length = np.isfinite(longest) & (longest > 0)
        box_area = np.prod(np.where(np.isfinite(sizes), sizes, 0), axis=1)
        self.is_box = is_point | (np.abs(shapely.area(geometries) - box_area) <= 1e-9 * box_area)
        dense = geometries.copy()
        step = _steps(longest, np.min(sizes, axis=1, initial=np.inf)) if step is None else step
        self._step = step
        dense[has_length] = shapely.segmentize(geometries[has_length], step[has_length])
        self._dense = dense
        xy, owner = shapely.get_coordinates(dense, return_index=True)
        self.vertices = Points(np.ascontiguousarray(xy[:, 0]), np.ascontiguousarray(xy[:, 1]), crs)
        counts = np.bincount(owner, minlength=len(geometries)) if len(geometries) else np.zeros(0, np.int64)
        self.first_vertex = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.bounds)

    def points(self, index: Ints) -> tuple[Points, Ints]:
        """Return all vertices, and the index of the vertex of each geometry in `index`; these must be points, not empty."""
        return self.vertices, self.first_vertex[index]

    def without_area(self) -> Ints:
        """Return the geometries that are points or lines."""
        dimensions = shapely.get_dimensions(self._drawn)
        return np.flatnonzero((dimensions >= 0) & (dimensions < 2) & ~shapely.is_empty(self._drawn))

    @cached_property
    def may_fold(self) -> Booleans:
        """Whether an area is so large that its projected CRS may fold within it: its outline then says little elsewhere."""
        if self.crs == NATIVE or x_period(self.crs) is not None or projection_method(self.crs).startswith("Polar"):
            return np.zeros(len(self), np.bool_)
        with np.errstate(invalid="ignore", over="ignore"):
            longest = (self.bounds[:, 2:] - self.bounds[:, :2]).max(axis=1, initial=0)
            result: Booleans = longest * metres_per_unit(self.crs) > _LARGE_METRES
        return result

    def with_parts(self, index: Ints, at: Ints, parts: NDArray[np.object_], step: Floats) -> Areas:
        """Return the areas of `index`, of which those at `at` are replaced by parts, whose edges are cut into steps."""
        drawn, steps = self._drawn[index].copy(), self._step[index].copy()
        drawn[at], steps[at] = parts, step
        wkb = np.empty(len(drawn), object)
        wkb[:] = list(shapely.to_wkb(drawn))
        return Areas(wkb, self.crs, steps)

    def digest(self, index: Ints) -> bytes:
        """Return what stands for the outlines of the geometries `index`: equal areas in equal order have one digest."""
        told = hashlib.blake2b(repr((self.crs, self.is_cut)).encode(), digest_size=32)
        told.update(self._step[index].tobytes())
        for first in range(0, len(index), _DIGESTED_AT_ONCE):
            wkb = shapely.to_wkb(self._drawn[index[first : first + _DIGESTED_AT_ONCE]])
            told.update(b"".join([b"\xff" if one is None else one for one in wkb]))
        return told.digest()

    def outlines(self, crs: str, index: Ints, tolerance: Floats | None = None) -> Outlines:
        """Return the rings and lines of the geometries `index` in `crs`, one zone each.

        In the CRS of the areas they are as the caller drew them. In another CRS, edges have more vertices, and coordinates are
        infinite where they have no place in `crs`.

        Parameters
        ----------
        crs, index
            CRS of the result, and which areas.
        tolerance
            Units of `crs` by which the edges of each may miss their curves; None: whatever a twentieth of the area's side gives.
        """
        return self._outlines_in(crs, self._drawn[index], index, tolerance)

    def areal_outlines(self, crs: str, index: Ints, tolerance: Floats | None = None) -> Outlines:
        """Return `outlines` prepared for exact areas: rings do not cross, parts do not overlap, and lines are left out."""
        return self._outlines_in(crs, areal(self._drawn[index]), index, tolerance)

    def _outlines_in(
        self, crs: str, geometries: NDArray[np.object_], index: Ints, tolerance: Floats | None = None
    ) -> Outlines:
        if self.vertices.is_in(crs):
            return outlines_of(geometries)
        if x_period(crs) is None and self.crs != NATIVE:  # parts that lie on each other there would count as holes
            geometries = within_a_turn(geometries, x_period(self.crs))
        at, there = self.rows_apart(crs, index)
        if len(at):
            geometries = geometries.copy()
            geometries[at] = None
        outlines = projected(densified(outlines_of(geometries), self._step[index]), self.crs, crs, tolerance)
        if there is None:
            return outlines
        which = np.arange(len(index), dtype=np.int64)
        which[at] = len(index) + np.arange(len(at))
        others = there[0].outlines(crs, there[1], None if tolerance is None else tolerance[at])
        return both_outlines(outlines, others).picked(which)

    def rows_apart(self, crs: str, index: Ints) -> tuple[Ints, tuple[Areas, Ints] | None]:
        """Return which of the areas `index` are cut at a seam of a map, and those areas, cut, with an index of their own."""
        if (apart := self.apart(crs)) is None:
            return index[:0], None
        cut, areas = apart
        at = np.flatnonzero(np.isin(index, cut))
        return at, (areas, np.searchsorted(cut, index[at])) if len(at) else None

    def apart(self, crs: str) -> tuple[Ints, Areas] | None:
        """Return the areas that lie on both sides of a seam of a map, and these areas cut there; None where none does.

        Cut areas are in longitude and latitude.
        """
        if crs not in self._apart:
            self._apart[crs] = self._made_apart(crs)
        return self._apart[crs]

    def _made_apart(self, crs: str) -> tuple[Ints, Areas] | None:
        if NATIVE in (self.crs, crs) or self.is_cut or self.vertices.is_in(crs) or x_period(crs) is not None:
            return None
        own = self.crs if is_geographic(self.crs) else LONLAT
        period, seams = longitude_period(own), map_seams(own, crs)
        if period is None or not seams:
            return None
        cut = meet_seams(self.bounds if own == self.crs else self.bounds_in(LONLAT), seams, period)
        if own == self.crs:
            shapes, step = self.geometries[cut], self._step[cut]
        else:
            cut = cut[~self.may_fold[cut]]
            outlines = self._outlines_in(LONLAT, self.geometries[cut], cut, np.full(len(cut), _TOLERANCE_DEGREES))
            lost = outlines.zone_of_line[outlines.line_of_vertex[~np.isfinite(outlines.x + outlines.y)]]
            if len(lost):
                raise UsageError(
                    f"geometry {cut[lost[0]]} goes over a seam of {crs[:80]}, the CRS of an image, and has no outline in "
                    "longitude and latitude; pass it in longitude and latitude (crs=4326)"
                )
            shapes, step = geometries_of(outlines), None
        if not len(cut):
            return None
        wkb = np.empty(len(cut), object)
        wkb[:] = list(shapely.to_wkb(cut_at_seams(shapes, seams, period)))
        return cut, Areas(wkb, own, step, is_cut=True)

    def bounds_in(self, crs: str) -> Floats:
        """Return the bounds of every geometry in `crs`, shape ``(n, 4)``; NaN where a geometry has no place in `crs`.

        Bounds across the antimeridian run on beyond it: xmax is never less than xmin.
        """
        if (period := longitude_period(crs)) is None:
            index = np.arange(len(self.vertices), dtype=np.int64)
            x, y = self.vertices.in_crs(crs, index)
            bounds = _bounds((x, x), (y, y), self.first_vertex)
            if (apart := self.apart(crs)) is not None:
                bounds[apart[0]] = apart[1].bounds_in(crs)
            return bounds
        pieces = self.pieces_in(crs, period)
        sides = (np.fmin, np.fmin, np.fmax, np.fmax)
        return np.stack(
            [reduced_runs(one, pieces.bounds[:, side], pieces.first) for side, one in enumerate(sides)], axis=1
        )

    def _continuous(self, crs: str, period: float) -> tuple[Floats, Floats]:
        """Return x and y of all vertices in a CRS whose x repeats, without jumps of x at the antimeridian."""
        x, y = self.vertices.in_crs(crs, np.arange(len(self.vertices), dtype=np.int64))
        if self.vertices.is_in(crs):
            return x, y
        own_x, own_y = self.vertices.x, self.vertices.y

        def between(at: Ints, shares: Floats) -> Floats:
            along_x, along_y = (one[at, None] * (1 - shares) + one[at + 1, None] * shares for one in (own_x, own_y))
            moved, _ = transform_xy(self.crs, crs, along_x.ravel(), along_y.ravel())
            return moved.reshape(along_x.shape)

        owner = np.repeat(np.arange(len(self)), np.diff(self.first_vertex))
        return unwrapped_x(x, owner, period, between), y

    def extremes_in(self, crs: str, values: Floats, at: Ints) -> tuple[Floats, Floats]:
        """Return the lowest and the highest value of the outlines around the vertices `at`.

        `values` are the x, the y, or the pixel rows or columns of these vertices, computed from coordinates in `crs`.
        """
        if self.vertices.is_in(crs):
            return values, values
        if self._is_midpoint is None:
            self._is_midpoint = edge_midpoints(self.vertices.x, self.vertices.y, self.first_vertex)
        return edge_extremes(values, self._is_midpoint[at])

    def pieces_in(self, crs: str, period: float) -> AreaPieces:
        """Return the pieces of all areas in a CRS whose x repeats after `period`."""
        crs = LONLAT if crs in LONLAT_NAMES else crs
        if crs not in self._pieces:
            self._pieces[crs] = self._made_pieces(crs, period)
        return self._pieces[crs]

    def _made_pieces(self, crs: str, period: float) -> AreaPieces:
        x, y = self._continuous(crs, period)
        every = np.arange(len(x))
        reach = self.extremes_in(crs, x, every), self.extremes_in(crs, y, every)
        bounds = _bounds(*reach, self.first_vertex)
        bounds[~np.isfinite(bounds).all(axis=1)] = np.nan
        of_areas, width = bounds, bounds[:, 2] - bounds[:, 0]
        is_own = self.vertices.is_in(crs)
        is_box = self.is_box.copy() if is_own else self.is_point.copy()
        around_pole: list[int] = []
        if not is_own:
            for at in np.flatnonzero(width > period / 2).tolist():  # around a pole, outlines do not close
                outlines = self.outlines(crs, np.array([at]))
                around = outlines.y[outlines.is_ring[outlines.line_of_vertex]]
                if len(around) and np.abs(around).max() == abs(y_of_pole(crs)):
                    around_pole.append(at)
                    is_box[at] = True
                    bounds[at, 1], bounds[at, 3] = around.min(), around.max()
        apart: Booleans = (width > period / 2) & ~is_box & (shapely.get_num_geometries(self._dense) > 1)
        if not apart.any():
            n_pieces, start = np.ones(len(self), np.int64), self.first_vertex
        else:
            parts = [single_parts(self._dense[at : at + 1]) if apart[at] else None for at in range(len(self))]
            n_pieces = np.array([1 if one is None else len(one) for one in parts], np.int64)
            sizes = [
                np.diff(self.first_vertex[at : at + 2]) if one is None else shapely.get_num_coordinates(one)
                for at, one in enumerate(parts)
            ]
            start = np.concatenate([[0], *(np.cumsum(one) + self.first_vertex[at] for at, one in enumerate(sizes))])
            is_whole = np.repeat(~apart, n_pieces)
            of_pieces = _bounds(*reach, start.astype(np.int64))
            of_pieces[~np.isfinite(of_pieces).all(axis=1)] = np.nan
            bounds = np.where(is_whole[:, None], np.repeat(bounds, n_pieces, axis=0), of_pieces)
            is_box = np.repeat(is_box & ~apart, n_pieces)

        def shapes() -> NDArray[np.object_]:
            made = self._dense
            if not is_own:
                made = made.copy()
                made[around_pole] = shapely.box(*of_areas[around_pole].T)
                keeps = ~np.isin(np.arange(len(made)), around_pole)
                xy = np.stack([x, y], axis=1)[np.repeat(keeps, np.diff(self.first_vertex))]
                made[keeps] = shapely.set_coordinates(made[keeps], np.where(np.isfinite(xy), xy, 0))
            if not apart.any():
                return made
            each = [single_parts(made[at : at + 1]) if apart[at] else made[at : at + 1] for at in range(len(made))]
            return np.concatenate(each)

        return AreaPieces(
            x=x,
            y=y,
            start=start.astype(np.int64),
            bounds=bounds,
            first=np.concatenate([[0], np.cumsum(n_pieces)]).astype(np.int64),
            is_box=is_box,
            tolerance=np.repeat(self.tolerance, n_pieces),
            shapes=shapes,
        )


def _bounds(x: tuple[Floats, Floats], y: tuple[Floats, Floats], start: Ints) -> Floats:
    """Return the bounds of runs of vertices from the lowest and highest x and y around each vertex, shape (n_runs, 4)."""
    sides = [(np.fmin, x[0]), (np.fmin, y[0]), (np.fmax, x[1]), (np.fmax, y[1])]
    return np.stack([reduced_runs(reduce, one, start) for reduce, one in sides], axis=1)


def _steps(longest: Floats, shortest: Floats) -> Floats:
    """Return the greatest distance between two vertices of each outline, from the sides of the geometry's bounds."""
    step = longest / _SEGMENTS_PER_SIDE
    is_narrow = (shortest / 2 < step) & (shortest / 2 >= longest / _MAX_SEGMENTS_PER_SIDE)
    return np.where(is_narrow, shortest / 2, step)


def reduced_runs(reduce: np.ufunc, values: Floats, start: Ints) -> Floats:
    """Return `values` reduced over each run ``start[i]:start[i + 1]``, shape (n_runs,); NaN for an empty run."""
    result = np.full(len(start) - 1, np.nan)
    filled = np.flatnonzero(start[1:] > start[:-1])
    if len(filled):
        with np.errstate(invalid="ignore"):
            result[filled] = reduce.reduceat(values, start[filled])
    return result
