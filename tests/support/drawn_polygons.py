"""Polygons in pixel coordinates that tests of coverage share: random ones, ones on a lattice of pixels, and nasty ones."""

from __future__ import annotations

import numpy as np
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine

GRIDS = {
    "utm": (32632, Affine(10, 0, 399_960, 0, -10, 4_700_040)),
    "degrees": (4326, Affine(0.01, 0, 7.3, 0, -0.01, 46.1)),
    "third of an arc second": (4326, Affine(1 / 10_800, 0, -105.3, 0, -1 / 10_800, 40.2)),
    "south-up": (32632, Affine(30, 0, 500_000, 0, 30, 4_000_000)),
}


def on_map(geometry, grid: Affine):
    """Move a geometry from pixels (x is the column, y the row) to map coordinates."""
    a, b, c, d, e, f = grid[:6]
    return shapely.transform(geometry, lambda xy: np.stack([xy @ [a, b] + c, xy @ [d, e] + f], axis=1))


def differences(geometry, got, grid: Affine, *, all_touched):
    """Pixels of a mask that differ from GDAL's, and how many more differ because GDAL wrote them wrongly.

    `all_touched` steps beyond the right edge of a grid now and then. What GDAL writes there lands in the next rows.
    """
    height, width = got.shape
    wanted = geometry_mask([geometry], got.shape, grid, all_touched=all_touched, invert=True)
    wrong = [(int(row), int(col)) for row, col in np.argwhere(wanted != got)]
    if not wrong or not all_touched:
        return wrong, 0
    row, col = np.nonzero(geometry_mask([geometry], (height, 3 * width + 3), grid, all_touched=True, invert=True))
    landed = set((row * width + col)[col >= width].tolist())
    misplaced = [one for one in wrong if wanted[one] and one[0] * width + one[1] in landed]
    return [one for one in wrong if one not in misplaced], len(misplaced)


def blob(rng, x, y, radius, n):
    """Vertices around a place, in order of their angle."""
    angle = np.sort(rng.uniform(0, 2 * np.pi, n))
    reach = radius * rng.uniform(0.3, 1.2, n)
    return np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1)


def random_polygon(rng, height, width):
    """A polygon within or partly outside of a grid: small, many-sided, with a hole, in parts, crossing itself, or huge."""
    x, y = rng.uniform(-2, width + 2), rng.uniform(-2, height + 2)
    match rng.integers(6):
        case 0:
            return shapely.Polygon(blob(rng, x, y, rng.uniform(0.2, 2), 6))
        case 1:
            return shapely.Polygon(blob(rng, x, y, rng.uniform(2, 12), int(rng.integers(4, 40))))
        case 2:
            return shapely.Polygon(blob(rng, x, y, 8, 20), [blob(rng, x, y, 2, 6)])
        case 3:
            places = zip(rng.uniform(0, width, 4), rng.uniform(0, height, 4), rng.uniform(0.2, 5, 4), strict=True)
            return shapely.MultiPolygon([shapely.Polygon(blob(rng, *place, 8)) for place in places])
        case 4:
            return shapely.Polygon(rng.uniform(-5, 30, (int(rng.integers(3, 9)), 2)))
        case _:
            return shapely.Polygon(rng.uniform(-60, 90, (3, 2)))


def lattice_polygon(rng, height, width):
    """A polygon whose vertices lie on corners, halves or quarters of pixels."""
    d = int(rng.choice([1, 2, 4]))
    match rng.integers(4):
        case 0:
            x, y = rng.integers(-4 * d, min(height, width) * d, 2)
            return shapely.box(x / d, y / d, (x + rng.integers(1, 20)) / d, (y + rng.integers(1, 20)) / d)
        case 1:
            place = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 12)
            return shapely.Polygon(np.round(blob(rng, *place, int(rng.integers(4, 20))) * d) / d)
        case 2:
            places = zip(rng.uniform(0, width, 3), rng.uniform(0, height, 3), rng.uniform(2, 8, 3), strict=True)
            return shapely.MultiPolygon([shapely.Polygon(np.round(blob(rng, *place, 9) * d) / d) for place in places])
        case _:
            return shapely.Polygon(rng.integers(-3 * d, (width + 3) * d, (int(rng.integers(3, 9)), 2)) / d)


def nasty_polygons(height, width):
    """Polygons that cross, touch or repeat themselves, have no area, or lie along borders and centres of pixels."""
    polygon, box = shapely.Polygon, shapely.box
    star = [(10 + 8 * np.sin(0.8 * np.pi * k), 10 - 8 * np.cos(0.8 * np.pi * k)) for k in range(5)]
    shapes = [
        polygon([(2, 2), (12, 12), (12, 2), (2, 12)]),  # a bow tie
        polygon([(2.5, 2.5), (12.5, 2.5), (2.5, 9.5), (12.5, 9.5)]),  # level edges on centres that run opposite ways
        polygon(star),
        polygon([*star, *star]),  # drawn twice
        polygon([(3, 3), (9, 3), (9, 9), (3, 9), (3, 3), (3, 3), (9, 3), (9, 3)]),
        polygon([(3.5, 3.5), (3.5, 3.5), (9.5, 3.5), (9.5, 3.5), (6, 8), (6, 8)]),
        polygon([(1, 1), (9, 1), (5, 1)]),  # no area
        polygon([(4, 4), (4, 4), (4, 4)]),
        polygon([(2.5, 4.5), (11.5, 4.5), (2.5, 4.5)]),
        polygon([(2, 2), (10, 2), (10, 6), (18, 6), (10, 6), (10, 10), (2, 10)]),  # a spike
        polygon([(2, 2), (10, 2), (10, 10), (2, 10)], [[(2, 4), (6, 5), (6, 7)]]),  # the hole touches the shell
        polygon([(2, 2), (10, 2), (10, 10), (2, 10)], [[(6, 6), (14, 6), (14, 14), (6, 14)]]),  # it crosses the shell
        polygon([(2, 2), (10, 2), (10, 10), (2, 10)], [[(14, 14), (18, 14), (18, 18)]]),  # it lies outside
        polygon([(2, 2), (10, 2), (10, 10), (2, 10)], [[(2, 2), (10, 2), (10, 10), (2, 10)]]),  # it is the shell
        polygon([(2, 2), (16, 2), (16, 16), (2, 16)], [[(4, 4), (9, 4), (9, 9)], [(5, 4), (12, 5), (8, 12)]]),
        shapely.MultiPolygon([box(2, 2, 9, 9), box(6, 6, 14, 14)]),  # parts overlap
        shapely.MultiPolygon([box(2, 2, 14, 14), box(4, 4, 8, 8)]),  # one in the other
        shapely.MultiPolygon([box(2, 2, 9, 9), box(2, 2, 9, 9)]),
        shapely.MultiPolygon([box(2.5, 2.5, 9.5, 9.5), box(9.5, 2.5, 12.5, 9.5)]),
        shapely.GeometryCollection([box(2, 2, 9, 9), shapely.MultiPolygon([box(6, 6, 12, 8), box(7, 7, 8, 15)])]),
        box(0, 0, width, height),
        box(-5, -5, width + 5, height + 5),
        box(width - 0.5, -3, width + 3, height + 3),
        box(width - 3, 2, width, 8),
        box(2, height - 2.5, 8, height + 9),
        box(3.2, 3.3, 3.4, 3.45),
        box(3.49999, 3.49999, 3.50001, 3.50001),
        box(2, 3.9999, 15, 4.0001),
        box(4.99995, 2, 5.00005, 12),
        polygon([(-1e4, -1e4), (1e4, 10), (-1e4, 1e4)]),
        polygon([(0, 0), (width, 0), (0, height)]),
        polygon([(1.5, 1.5), (18.5, 1.50001), (18.5, 12.5), (1.5, 12.5)]),
        polygon([(3, 8), (8, 3), (13, 8), (8, 13)]),  # diagonals through corners
        polygon([(3.5, 8.5), (8.5, 3.5), (13.5, 8.5), (8.5, 13.5)]),
        polygon([(2, 2), (2.005, 12), (2.01, 2)]),
    ]
    return [*shapes, *shapely.reverse([one for one in shapes if one.geom_type != "GeometryCollection"])]


def assert_canonical(runs):
    """Runs come in order, do not overlap, and are not empty."""
    order = np.lexsort((runs.col_start, runs.row, runs.zone))
    assert (order == np.arange(len(runs))).all()
    same_row = (runs.zone[1:] == runs.zone[:-1]) & (runs.row[1:] == runs.row[:-1])
    assert (runs.col_start[1:] >= runs.col_stop[:-1])[same_row].all()
    assert (runs.col_stop > runs.col_start).all()
    assert ((runs.weight > 0) & (runs.weight <= 1)).all()
