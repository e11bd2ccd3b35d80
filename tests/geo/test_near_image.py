"""Are zones that reach far beyond an image answered, as pixels whose centres are moved into the CRS of the zone say?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyproj
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support.recorded import Store, noise, tiff

SIZE = 96
IMAGES = {
    "utm": (32632, 500_000.0, 5_000_000.0),
    "utm, beside its middle": (32632, 300_000.0, 5_000_000.0),
    "utm, south": (32756, 300_000.0, 6_200_000.0),
    "web": (3857, 1_000_000.0, 5_600_000.0),
    "polar": (3031, -1_200_000.0, 900_000.0),
}
WIDE = 45.5
"""Latitude of zones of which a part covers the first image."""
ZONES = {
    "the Earth": (shapely.box(-180, -90, 180, 90), 4326),
    "the north": (shapely.box(-180, 0, 180, 90), 4326),
    "the east, from a line through the first image": (shapely.box(9.0021, -90, 180, 90), 4326),
    "north of a line": (shapely.box(-170, 45.1487, 170, 89), 4326),
    "a continent with a hole": (
        shapely.box(-30, 20, 60, 75).difference(shapely.box(9.001, 45.149, 9.003, 45.151)),
        4326,
    ),
    "the world of the web": (shapely.box(-2e7, -2e7, 2e7, 2e7), 3857),
    "everything in utm": (shapely.box(-1e12, -1e12, 1e12, 1e12), 32632),
    "much in utm": (shapely.box(-1e7, -1e7, 1e7, 1e7), 32632),
    "half of utm": (shapely.box(500_123, -1e7, 1e7, 1e7), 32632),
}


@pytest.fixture(scope="module")
def scenes():
    store = Store()
    rows = [
        {
            "id": name,
            "href": store.put(f"{at}.tif", tiff(noise(at, height=SIZE, width=SIZE), x=x, y=y, epsg=epsg, tile=32)),
        }
        for at, (name, (epsg, x, y)) in enumerate(IMAGES.items())
    ]
    table = pl.DataFrame(rows).with_columns(datetime=pl.lit(None, pl.Datetime("us", "UTC")))
    yield pr.build_from_table(table, bands={"red": "href"}, on_error="raise").collect().lazy()
    store.close()


def centres_inside(image, zone, crs):
    """Return which pixels have their centre in a zone; in UTM only near the zone, where the projection can be undone."""
    epsg, x, y = IMAGES[image]
    xs, ys = np.meshgrid(x + 10 * (np.arange(SIZE) + 0.5), y - 10 * (np.arange(SIZE) + 0.5))
    if epsg != crs:
        xs, ys = pyproj.Transformer.from_crs(epsg, crs, always_xy=True).transform(xs, ys)
    return shapely.contains_xy(zone, xs, ys)


@pytest.mark.parametrize("name", ZONES)
def test_far_reaching_zones_cover_the_pixels_in_them(scenes, name):
    zone, crs = ZONES[name]
    table = pl.DataFrame({"geometry": [shapely.to_wkb(zone)]})
    found = scenes.raster.zonal_stats(table, "red", ["count"], coverage="center", crs=crs).collect()
    windows = scenes.raster.read_windows(table, "red", coverage="center", masked=True, crs=crs).collect()
    exact = scenes.raster.zonal_stats(table, "red", ["count"], crs=crs).collect()
    rows = scenes.raster.pixels(table, "red", coverage="center", crs=crs).group_by("record_id").len().collect()
    counts = dict(zip(found["record_id"], found["red_count"], strict=True))
    exacts = dict(zip(exact["record_id"], exact["red_count"], strict=True))
    for image in IMAGES:
        inside = centres_inside(image, zone, crs)
        assert (counts.get(image) or 0) == inside.sum(), image
        assert abs((exacts.get(image) or 0) - inside.sum()) <= 3 * SIZE, image
        if inside.all():
            assert exacts[image] == pytest.approx(SIZE * SIZE, abs=1e-6)
        if inside.any():
            (pixels,) = windows.filter(record_id=image)["red"].struct.field("pixels").to_list()
            assert sum(one is not None for one in pixels) == inside.sum()
            assert rows.filter(record_id=image)["len"].item() == inside.sum()


@pytest.mark.parametrize("verb", ["zonal_stats", "read_windows", "pixels", "pair"])
@pytest.mark.parametrize(
    ("reach", "crs", "said"),
    [
        (1e300, 32632, "geometry 1 reaches over .*expected finite coordinates within 1e"),
        (1.7e308, "native", "geometry 1 reaches over .*expected finite coordinates within 1e"),
        (1e200, 4326, "geometry 1 reaches over .*expected finite coordinates within 1e"),
        (1e9, 4326, "geometry 1 reaches over .*expected at most 100 turns around the Earth"),
    ],
)
def test_coordinates_that_are_no_places_are_refused_with_their_row(scenes, verb, reach, crs, said):
    table = pl.DataFrame({"geometry": shapely.to_wkb([shapely.box(0, 0, 1, 1), shapely.box(-reach, -1, reach, 1)])})
    words = {"pair": {}, "zonal_stats": {"bands": "red", "stats": ["count"]}}.get(verb, {"bands": "red"})
    with pytest.raises(UsageError, match=said):
        getattr(scenes.raster, verb)(table, crs=crs, **words).collect()


def test_one_row_in_another_crs_leaves_the_others_their_answers(scenes):
    zone = shapely.box(9.0, 45.14, 9.01, 45.16)
    table = pl.DataFrame({"geometry": shapely.to_wkb([shapely.box(500_000, 5e6, 500_020, 5_000_020), zone])})
    found = scenes.raster.zonal_stats(table, "red", ["count"], crs=4326, unmatched="null").collect()
    alone = scenes.raster.zonal_stats(table[1:], "red", ["count"], crs=4326).collect()
    assert found["red_count"].to_list() == [None, *alone["red_count"]]
    assert alone["red_count"].sum() > 0
