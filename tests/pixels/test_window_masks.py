"""Do windows keep the pixels of polygons that GDAL's rules keep, on every kind of grid?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyproj
import pytest
import shapely
from rasterio.features import geometry_mask
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from tests.support.drawn_polygons import GRIDS, differences, lattice_polygon, nasty_polygons, on_map, random_polygon
from tests.support.gdal_release import skip_newer

PREFIX = "memory://window_masks/"
HEIGHT, WIDTH = 26, 24
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.ShapeSkipWarning")


def file_on(grid) -> bytes:
    epsg, transform = GRIDS[grid]
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": f"EPSG:{epsg}", "transform": transform}
    with MemoryFile() as memory:
        with memory.open(**profile, height=HEIGHT, width=WIDTH) as sink:
            sink.write(np.ones((HEIGHT, WIDTH), np.uint16), 1)
        return bytes(memory.read())


@pytest.fixture(scope="module", params=GRIDS)
def scene(request):
    grid = request.param
    href = f"{PREFIX}{list(GRIDS).index(grid)}.tif"
    pr.configure_store(PREFIX, store=pr.testing.MemorySource({href: file_on(grid)}))
    table = pl.DataFrame({"id": [grid], "href": [href]})
    return (*GRIDS[grid], pr.build_from_table(table, bands={"b": "href"}).collect().lazy())


def masks_read(scene, geometries, coverage):
    """Read a window for each polygon; give the number of its polygon, which pixels are not null, and its transform."""
    epsg, _, records = scene
    aois = pl.LazyFrame({"number": range(len(geometries)), "geometry": shapely.to_wkb(geometries)})
    got = records.raster.read_windows(aois, ["b"], crs=epsg, coverage=coverage, masked=True, unmatched="drop").collect()
    assert got.height > len(geometries) / 3
    got = got.filter(pl.col("b").is_not_null())
    kept = got["b"].struct.field("pixels").explode().is_not_null().to_numpy()
    shapes = got["b"].struct.unnest().select("height", "width").to_numpy()
    parts = np.split(kept, np.cumsum(shapes.prod(axis=1))[:-1])
    transforms = got["b"].struct.field("transform")
    for number, part, shape, transform in zip(got["number"], parts, shapes, transforms, strict=True):
        yield number, part.reshape(shape), Affine(*transform)


def polygons(kind, n=500):
    if kind == "nasty":
        return nasty_polygons(HEIGHT, WIDTH)
    rng = np.random.default_rng(11)
    make = {"random": random_polygon, "lattice": lattice_polygon}[kind]
    return [make(rng, HEIGHT, WIDTH) for _ in range(n)]


@pytest.mark.parametrize("coverage", ["center", "all_touched"])
@pytest.mark.parametrize("kind", ["random", "lattice", "nasty"])
def test_windows_have_the_masks_of_rasterio(scene, kind, coverage):
    if kind == "lattice" and coverage == "all_touched":
        skip_newer("touched corners")
    check_masks(scene, polygons(kind), coverage)


def check_masks(scene, drawn, coverage):
    geometries = np.array([on_map(one, scene[1]) for one in drawn])
    n_misplaced = 0
    for number, kept, transform in masks_read(scene, geometries, coverage):
        wrong, misplaced = differences(geometries[number], kept, transform, all_touched=coverage == "all_touched")
        assert not wrong, geometries[number].wkt
        n_misplaced += misplaced
    assert n_misplaced < len(drawn) / 20


@pytest.mark.parametrize("coverage", ["center", "all_touched"])
def test_polygons_in_another_crs_keep_the_shape_that_was_drawn(scene, coverage):
    epsg, grid, records = scene
    other = 4326 if epsg != 4326 else 3857
    to_other = pyproj.Transformer.from_crs(epsg, other, always_xy=True)
    to_image = pyproj.Transformer.from_crs(other, epsg, always_xy=True)
    drawn = [
        shapely.Polygon([(2.1, 2.2), (12.3, 12.4), (12.2, 2.1), (2.2, 12.3)]),
        shapely.MultiPolygon([shapely.box(2.1, 2.2, 9.3, 9.1), shapely.box(6.2, 6.1, 14.3, 14.4)]),
        shapely.Polygon([(2.2, 2.1), (16.1, 2.2), (16.3, 16.1), (2.1, 16.2)], [[(4, 4), (12.2, 5.1), (8.3, 12.2)]]),
    ]
    moved = [shapely.transform(on_map(one, grid), to_other.transform, interleaved=False) for one in drawn]
    aois = pl.LazyFrame({"number": range(3), "geometry": shapely.to_wkb(np.array(moved))})
    got = records.raster.read_windows(aois, ["b"], crs=other, coverage=coverage, masked=True).collect()
    assert got.height == 3
    for number, window in got.select("number", "b").iter_rows():
        shape = window["height"], window["width"]
        kept = np.array([one is not None for one in window["pixels"]], bool).reshape(shape)
        rings = shapely.transform(moved[number], to_image.transform, interleaved=False)
        how = {"transform": Affine(*window["transform"]), "all_touched": coverage == "all_touched", "invert": True}
        np.testing.assert_array_equal(kept, geometry_mask([rings], shape, **how))


@pytest.mark.parametrize("coverage", ["center", "all_touched"])
def test_geometries_without_an_outline_cover_nothing_and_points_their_pixel(scene, coverage):
    epsg, grid, records = scene
    points = [
        shapely.MultiPoint([(2.5, 2.5), (5.5, 4.5)]),
        shapely.Point(3.5, 4.5),
        shapely.LineString([(1.5, 1.5), (4.5, 1.5)]),
    ]
    geometries = np.array([on_map(one, grid) for one in points])
    kept = {number: mask for number, mask, _ in masks_read((epsg, grid, records), geometries, coverage)}
    assert not kept[0].any()
    assert kept[1].all()
    assert kept[2].all() if coverage == "all_touched" else not kept[2].any()
