"""How do the outlines of many zones lie in memory, and how do they lie on pixel grids?

Vertices are columns; lines, parts and zones are runs of them. No geometry objects follow from here on, and no outline is mended:
`areal` prepares geometries whose exact area counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.geo.coverage.scanlines import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Lines and rings of many zones, in map coordinates.

    A zone has parts (polygons or lines). A part has lines: the rings of a polygon, the outer one first, or one line. A line has
    vertices. All of them are sorted by their owner.
    """

    x: Floats
    y: Floats
    """Of each vertex."""
    line_start: Ints
    """First vertex of each line, and one more entry: how many vertices there are."""
    part: Ints
    """Part of each line."""
    zone: Ints
    """Zone of each part."""
    is_ring: Booleans
    """Whether each line encloses an area. The last vertex of a ring is its first."""
    n_zones: int

    @property
    def zone_of_line(self) -> Ints:
        """Return the zone of each line."""
        return self.zone[self.part]

    @property
    def line_of_vertex(self) -> Ints:
        """Return the line of each vertex."""
        return np.repeat(np.arange(len(self.part)), np.diff(self.line_start))

    def zones(self, first: int, stop: int) -> Outlines:
        """Return the outlines of the zones ``first:stop``, which are numbered from 0 again."""
        part_first, part_stop = np.searchsorted(self.zone, [first, stop])
        first_line, stop_line = np.searchsorted(self.part, [part_first, part_stop])
        start = self.line_start[first_line : stop_line + 1]
        vertices = slice(start[0], start[-1])
        return Outlines(
            x=self.x[vertices],
            y=self.y[vertices],
            line_start=start - start[0],
            part=self.part[first_line:stop_line] - part_first,
            zone=self.zone[part_first:part_stop] - first,
            is_ring=self.is_ring[first_line:stop_line],
            n_zones=stop - first,
        )

    def picked(self, index: Ints) -> Outlines:
        """Return the outlines of the zones `index`, in this order; a zone may be picked several times."""
        bounds = np.searchsorted(self.zone, [index, index + 1])
        zone, part = spread(bounds[0], bounds[1])
        bounds = np.searchsorted(self.part, [part, part + 1])
        part_of_line, line = spread(bounds[0], bounds[1])
        first = self.line_start[line]
        _, vertex = spread(first, self.line_start[line + 1])
        n_vertices = self.line_start[line + 1] - first
        return Outlines(
            x=self.x[vertex],
            y=self.y[vertex],
            line_start=np.concatenate([[0], np.cumsum(n_vertices)]).astype(np.int64),
            part=part_of_line,
            zone=zone,
            is_ring=self.is_ring[line],
            n_zones=len(index),
        )


def outlines_of(geometries: NDArray[np.object_]) -> Outlines:
    """Return the outlines of geometries, one zone each.

    Parameters
    ----------
    geometries
        Shapely geometries, shape (n_zones,). Null and empty geometries and points have no outline.
    """
    parts, zone = geometries, np.arange(len(geometries))
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():  # collections hold collections
        parts, owner = shapely.get_parts(parts, return_index=True)
        zone = zone[owner]
    has_outline = (shapely.get_dimensions(parts) > 0) & ~shapely.is_empty(parts)
    parts, zone = parts[has_outline], zone[has_outline]
    is_area = shapely.get_dimensions(parts) == 2
    if is_area.all():
        lines, part = shapely.get_rings(parts, return_index=True)
    else:
        rings, part_of_ring = shapely.get_rings(parts[is_area], return_index=True)
        part = np.concatenate([np.flatnonzero(is_area)[part_of_ring], np.flatnonzero(~is_area)])
        order = np.argsort(part, kind="stable")
        lines, part = np.concatenate([rings, parts[~is_area]])[order], part[order]
    xy = shapely.get_coordinates(lines)
    n_vertices = shapely.get_num_coordinates(lines).astype(np.int64)
    return Outlines(
        x=np.ascontiguousarray(xy[:, 0]),
        y=np.ascontiguousarray(xy[:, 1]),
        line_start=np.concatenate([[0], np.cumsum(n_vertices)]).astype(np.int64),
        part=part,
        zone=zone,
        is_ring=is_area[part],
        n_zones=len(geometries),
    )


def both_outlines(one: Outlines, other: Outlines) -> Outlines:
    """Return the outlines of the zones of `one`, then of those of `other`."""
    return Outlines(
        x=np.concatenate([one.x, other.x]),
        y=np.concatenate([one.y, other.y]),
        line_start=np.concatenate([one.line_start, one.line_start[-1] + other.line_start[1:]]),
        part=np.concatenate([one.part, len(one.zone) + other.part]),
        zone=np.concatenate([one.zone, one.n_zones + other.zone]),
        is_ring=np.concatenate([one.is_ring, other.is_ring]),
        n_zones=one.n_zones + other.n_zones,
    )
