"""Do zones cover the pixels in them on maps that are torn along meridians, and on maps that are not?

Every pixel centre is moved into the CRS of the zone, by pyproj, and asked there whether the zone holds it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import normalize_crs
from polars_rasteret.geo.map_seams import map_seams

PREFIX = "memory://map-seams/"
HALF = np.pi * 6_378_137.0
SINUSOIDAL = "+proj=sinu +R=6371007.181 +units=m +no_defs"
IMAGES = {
    # CRS, left, top, pixel, columns, rows.
    "sinusoidal": (SINUSOIDAL, -20_015_110.0, 10_007_556.0, 420_000.0, 96, 48),
    "sinusoidal, east": (SINUSOIDAL, 18.4e6, -1.1e6, 30_000.0, 48, 48),
    "sinusoidal, west": (SINUSOIDAL, -19.4e6, -1.1e6, 30_000.0, 48, 48),
    "mollweide": ("ESRI:54009", -18_040_096.0, 9_020_048.0, 376_000.0, 96, 48),
    "mollweide of the east": ("+proj=moll +lon_0=150", -18_040_096.0, 9_020_048.0, 376_000.0, 96, 48),
    "equal earth": ("EPSG:8857", -17_243_960.0, 8_392_928.0, 350_000.0, 98, 48),
    "goode": ("+proj=igh", -20_037_508.0, 8_683_260.0, 361_000.0, 111, 48),
    "web": ("EPSG:3857", -HALF, HALF, HALF / 48, 96, 96),
    "lonlat": ("EPSG:4326", -180.0, 90.0, 3.75, 96, 48),
    "lonlat from Greenwich": ("EPSG:4326", 0.0, 90.0, 3.75, 96, 48),
    "north": ("EPSG:3413", -4e6, 4e6, 125_000.0, 64, 64),
    "south": ("EPSG:3031", -4e6, 4e6, 125_000.0, 64, 64),
}
GOES_ON = {"web", "lonlat", "lonlat from Greenwich"}
"""Images whose x repeats."""


def lonlat_of(crs, xs, ys):
    """Longitudes and latitudes of map coordinates; NaN off the Earth, where projecting them again leads elsewhere."""
    if crs == "EPSG:4326":
        return xs, ys
    to_lonlat = pyproj.Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    lon, lat = to_lonlat.transform(xs, ys)
    back_x, back_y = to_lonlat.transform(lon, lat, direction="INVERSE")
    with np.errstate(invalid="ignore"):
        is_on = np.hypot(back_x - xs, back_y - ys) < 1_000
    return np.where(is_on, lon, np.nan), np.where(is_on, lat, np.nan)


def centres(image, right=0.0, down=0.0):
    crs, x, y, pixel, width, height = IMAGES[image]
    col, row = np.meshgrid(np.arange(width) + 0.5 + right, np.arange(height) + 0.5 + down)
    return lonlat_of(crs, x + pixel * col, y - pixel * row)


CENTRES = {image: centres(image) for image in IMAGES}


def holds(zone, crs, lon, lat):
    """Whether a zone holds places; in UTM only places where the projection can be undone."""
    if crs != 4326:
        near = np.abs(lon) > 150 if crs in {32660, 32760, 32601} else np.isfinite(lon)
        x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
        turns = (-2 * HALF, 0, 2 * HALF) if crs == 3857 else (0,)
        return np.any([shapely.contains_xy(zone, x + turn, y) for turn in turns], axis=0) & near
    return np.any([shapely.contains_xy(zone, lon + turn, lat) for turn in (-360, 0, 360)], axis=0)


def is_decided(zone, crs, image):
    """Whether the places around a pixel centre, a hundredth of a pixel away, all lie in the zone, or all beside it."""
    around = [
        holds(zone, crs, *centres(image, 0.01 * right, 0.01 * down)) for right in (-1, 0, 1) for down in (-1, 0, 1)
    ]
    return np.all(around, axis=0) | ~np.any(around, axis=0)


@pytest.fixture(scope="module")
def scenes():
    files, rows = {}, []
    for at, (name, (crs, x, y, pixel, width, height)) in enumerate(IMAGES.items()):
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width, "crs": crs}
        with MemoryFile() as memory:
            with memory.open(**profile, transform=Affine(pixel, 0, x, 0, -pixel, y)) as sink:
                sink.write(np.ones((height, width), np.uint8), 1)
            files[f"{PREFIX}{at}.tif"] = bytes(memory.read())
        rows.append({"id": name, "href": f"{PREFIX}{at}.tif"})
    pr.configure_store(PREFIX, store=pr.testing.MemorySource(files))
    return pr.build_from_table(pl.DataFrame(rows), bands={"v": "href"}, on_error="raise").collect().lazy()


def check_zones(scenes, zones, crs):
    table = pl.DataFrame({"zone": range(len(zones)), "geometry": [shapely.to_wkb(zone) for zone in zones]})
    rows = scenes.raster.pixels(table, "v", coverage="center", crs=crs).select("zone", "record_id", "row", "col")
    found = rows.collect().partition_by("zone", "record_id", as_dict=True)
    counts = scenes.raster.zonal_stats(table, "v", ["count"], coverage="center", crs=crs).collect()
    exact = scenes.raster.zonal_stats(table, "v", ["count"], crs=crs).collect()
    windows = scenes.raster.read_windows(table, "v", coverage="center", masked=True, crs=crs).collect()
    n_found = {(zone, image): n for zone, image, n in counts.select("zone", "record_id", "v_count").iter_rows()}
    n_exact = {(zone, image): n for zone, image, n in exact.select("zone", "record_id", "v_count").iter_rows()}
    read = windows.select("zone", "record_id", pl.col("v").struct.field("pixels").list.drop_nulls().list.len())
    n_read = {(zone, image): n for zone, image, n in read.iter_rows()}
    for at, zone in enumerate(zones):
        for image in IMAGES:
            inside = holds(zone, crs, *CENTRES[image])
            given = np.zeros(inside.shape, bool)
            if (pixels := found.get((at, image))) is not None:
                given[pixels["row"], pixels["col"]] = True
            if not (given == inside).all():
                assert not ((given != inside) & is_decided(zone, crs, image)).any(), (image, shapely.to_wkt(zone))
            assert given.sum() == (n_found.get((at, image)) or 0), image
            if image in GOES_ON:  # a window is at one place
                assert n_read.get((at, image), 0) <= given.sum(), image
            elif (n := n_read.get((at, image), 0)) != given.sum():
                assert abs(n - given.sum()) <= (~is_decided(zone, crs, image)).sum(), image
            if inside.sum() > 20:
                around = [np.roll(inside, step, axis) for axis in (0, 1) for step in (-1, 1)]
                n_edge = (inside & ~np.all(around, axis=0)).sum()
                assert abs(n_exact[at, image] - inside.sum()) <= n_edge + 4, (image, shapely.to_wkt(zone))


@st.composite
def lonlat_zones(draw):
    """Boxes and triangles, often over a seam, often up to a pole."""
    seam = draw(st.sampled_from([180.0, -180.0, -30.0, -40.0, 80.0]))
    west = seam - draw(st.floats(-3, 60))
    east = west + draw(st.floats(2, 120))
    south = draw(st.sampled_from([-90.0, -60.5, -21.0, 5.0, 33.3]))
    north = min(90.0, south + draw(st.floats(2, 110)))
    if draw(st.booleans()):
        return shapely.box(west, south, east, north)
    middle = draw(st.floats(west, east))
    return shapely.Polygon([(west, south), (east, draw(st.floats(south, north))), (middle, north)])


@examples(max_examples=3, deadline=None)
@given(st.lists(lonlat_zones(), min_size=3, max_size=3))
def test_zones_of_longitudes_and_latitudes_cover_the_pixels_in_them_on_every_map(scenes, zones):
    check_zones(scenes, [zone for zone in zones if shapely.area(zone) > 1e-6], 4326)


@pytest.mark.slow
@examples(max_examples=600, deadline=None)
@given(st.lists(lonlat_zones(), min_size=3, max_size=3))
def test_many_zones_of_longitudes_and_latitudes_cover_the_pixels_in_them_on_every_map(scenes, zones):
    check_zones(scenes, [zone for zone in zones if shapely.area(zone) > 1e-6], 4326)


ELSEWHERE = {
    "utm, over 180 degrees": (32660, shapely.box(300_000, 2_000_000, 1_300_000, 4_500_000)),
    "utm of the south, over 180 degrees": (32760, shapely.box(400_000, 7_000_000, 1_400_000, 9_500_000)),
    "polar, most of the Earth": (3031, shapely.box(-2e7, -2e7, 2e7, 2e7)),
    "polar, around the pole": (3031, shapely.Point(300_000, -100_000).buffer(3_000_000)),
    "polar, beside the pole": (3413, shapely.box(-2_500_000, 400_000, 1_500_000, 3_500_000)),
    "web, over the end of the map": (3857, shapely.box(HALF - 3e6, -6e6, HALF + 4e6, 2e6)),
}


WIDE = [
    shapely.box(-1.3 * HALF, 3e6, 1.4 * HALF, 9e6),
    shapely.box(-1.7 * HALF, -9e6, 2.4 * HALF, -3e6),
    shapely.Polygon([(-1.3 * HALF, 1e6), (1.9 * HALF, 2e6), (0.4 * HALF, 1e7)]),
    shapely.box(-HALF, -HALF, HALF, HALF),
]
"""Zones on the web map that go around the Earth, and on over places where they have been."""


@pytest.mark.parametrize("coverage", ["center", "exact"])
@pytest.mark.parametrize("image", ["north", "south"])
def test_zones_around_the_earth_count_a_pixel_once_on_maps_of_the_poles(scenes, image, coverage):
    table = pl.DataFrame({"geometry": shapely.to_wkb(WIDE)})
    words = {"coverage": coverage, "crs": 3857, "unmatched": "null"}
    counts = scenes.filter(id=image).raster.zonal_stats(table, "v", ["count"], **words).collect()["v_count"]
    n_with_pixels = 0
    for zone, count in zip(WIDE, counts.fill_null(0), strict=True):
        inside = holds(zone, 3857, *CENTRES[image])
        around = [np.roll(inside, step, axis) for axis in (0, 1) for step in (-1, 1)]
        n_edge = (inside & ~np.all(around, axis=0)).sum() / 2  # cells that an edge cuts are in it by half
        n_open = (~is_decided(zone, 3857, image)).sum() if coverage == "center" else n_edge
        assert abs(count - inside.sum()) <= n_open, shapely.to_wkt(zone)
        n_with_pixels += inside.sum() > 1_000
    assert n_with_pixels >= 2


NO_OUTLINE = {
    # What goes around a place that a map shows at infinity, or in a belt around a pole, is refused; it gave other pixels.
    "all but one pole, on the map of that pole": (3031, shapely.box(-2e7, -2e7, 2e7, 2e7), "north", "has no place in"),
    "a belt around a pole": (
        3031,
        shapely.Point(0, 0).buffer(8e6) - shapely.Point(0, 0).buffer(3e6),
        "web",
        "has no place",
    ),
    "a belt, over a seam": (
        3031,
        shapely.Point(0, 0).buffer(8e6) - shapely.Point(0, 0).buffer(3e6),
        "goode",
        "geometry 1 ",
    ),
    "an edge through a pole": (3031, shapely.box(0, -1.2e7, 1.2e7, 1.2e7), "web", "geometry 1 has no outline"),
}


@pytest.mark.parametrize("verb", ["zonal_stats", "pixels", "read_windows"])
@pytest.mark.parametrize("name", NO_OUTLINE)
def test_zones_without_an_outline_on_a_map_are_refused_by_every_verb(scenes, name, verb):
    crs, zone, image, said = NO_OUTLINE[name]
    table = pl.DataFrame({"geometry": [shapely.to_wkb(shapely.box(2e6, 2e6, 2.1e6, 2.1e6)), shapely.to_wkb(zone)]})
    words = {"stats": ["count"]} if verb == "zonal_stats" else {"coverage": "center"}
    with pytest.raises(UsageError, match=said):
        getattr(scenes.filter(id=image).raster, verb)(table, "v", crs=crs, **words).collect()


@pytest.mark.parametrize("name", ELSEWHERE)
def test_zones_in_other_crss_cover_the_pixels_in_them_on_every_map(scenes, name):
    crs, zone = ELSEWHERE[name]
    if name == "polar, most of the Earth":  # refused on the map of the other pole
        scenes = scenes.filter(pl.col("id") != "north")
    check_zones(scenes, [zone], crs)


def test_zones_cut_at_the_antimeridian_are_the_same_as_in_one_piece(scenes):
    whole = shapely.box(170, -50, 190, 20)
    cut = shapely.MultiPolygon([shapely.box(170, -50, 180, 20), shapely.box(-180, -50, -170, 20)])
    table = pl.DataFrame({"zone": [0, 1], "geometry": [shapely.to_wkb(whole), shapely.to_wkb(cut)]})
    found = scenes.raster.zonal_stats(table, "v", ["count", "valid_fraction"], crs=4326).collect()
    one, other = (found.filter(zone=at).drop("zone", "geometry") for at in (0, 1))
    assert one["record_id"].to_list() == other["record_id"].to_list()
    for column in ("v_count", "v_valid_fraction"):
        np.testing.assert_allclose(one[column], other[column], rtol=1e-5, atol=1e-9)
    assert one["v_count"].sum() > 100


@pytest.mark.parametrize(
    ("crs", "wanted"),
    [
        (SINUSOIDAL, [180, 180]),
        ("ESRI:54009", [180, 180]),
        ("+proj=moll +lon_0=150", [-30, -30]),
        ("EPSG:5070", [84, 84]),
        ("+proj=igh", [-100, -20, 80, 180, -40, 180]),
        ("EPSG:32632", []),
        ("EPSG:3031", []),
        ("EPSG:3035", []),
        ("+proj=geos +h=35785831", []),
    ],
)
def test_the_seams_of_a_map_are_where_it_is_defined_to_end(crs, wanted):
    seams = map_seams("EPSG:4326", normalize_crs(crs))
    assert [round((west + east) / 2, 9) for west, _, east, _ in seams] == wanted
    assert [south < 0 for _, south, _, _ in seams] == sorted((south < 0 for _, south, _, _ in seams), reverse=True)
