"""What of a geometry has an area, with every place in it once?

Only exact areas need this. GDAL's masks take rings as the caller drew them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray


def areal(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return valid polygons and multipolygons that cover what geometries cover.

    Rings that cross themselves or each other count by even-odd. Parts of a multipolygon or collection are united, so that no
    place is covered twice. Lines, points, null and empty geometries become None, and so do polygons with a coordinate that is not
    finite.

    Parameters
    ----------
    geometries
        Shapely geometries, shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> two = shapely.MultiPolygon([shapely.box(0, 0, 2, 1), shapely.box(1, 0, 3, 1)])
    >>> shapely.area(areal(np.array([two, shapely.Point(0, 0), None])))
    array([ 3., nan, nan])
    """
    kinds = shapely.get_type_id(geometries)
    is_polygon = (kinds == shapely.GeometryType.POLYGON) | (kinds == shapely.GeometryType.MULTIPOLYGON)
    result = geometries.copy()
    result[~is_polygon | shapely.is_empty(geometries)] = None
    # Parts of a collection may overlap, and the collection is valid all the same.
    is_wrong = (is_polygon & ~shapely.is_valid(geometries)) | (kinds == shapely.GeometryType.GEOMETRYCOLLECTION)
    for at in np.flatnonzero(is_wrong).tolist():
        result[at] = _united(geometries[at])
    return result


def _united(geometry: object) -> object:
    """Return the union of all polygons in a geometry; None where there is none."""
    parts = np.array([geometry], object)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts = shapely.get_parts(parts)
    polygons = parts[shapely.get_dimensions(parts) == 2]
    if not np.isfinite(shapely.get_coordinates(polygons)).all():
        return None
    is_valid = shapely.is_valid(polygons)
    union = shapely.union_all([*polygons[is_valid], *(_even_odd(one) for one in polygons[~is_valid])])
    return None if shapely.is_empty(union) else union


def _even_odd(polygon: object) -> object:
    """Return what the rings of a polygon enclose by the even-odd rule.

    `shapely.make_valid` differs from it where edges lie on each other.
    """
    rings = shapely.get_rings(polygon)
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all(rings)]))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    a = np.flatnonzero(ring[1:] == ring[:-1])
    x_a, y_a, x_b, y_b = xy[a, 0], xy[a, 1], xy[a + 1, 0], xy[a + 1, 1]
    x, y = inside[:, :1], inside[:, 1:]
    passes = (y_a <= y) != (y_b <= y)
    with np.errstate(divide="ignore", invalid="ignore"):
        passes &= x_a + (y - y_a) * (x_b - x_a) / (y_b - y_a) < x
    return shapely.union_all(faces[passes.sum(axis=1) % 2 == 1])
