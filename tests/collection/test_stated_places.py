"""Do questions of place take what geometries state about their CRS, and several geometries at once?"""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import polars as pl
import pytest
import shapely
from pyproj import Transformer

import polars_rasteret as pr
from polars_rasteret.errors import UsageError

HERE = shapely.box(500_010, 4_999_400, 500_100, 4_999_900)  # inside the images, in their CRS
AWAY = shapely.box(700_010, 4_999_400, 700_100, 4_999_900)
LONLAT = Transformer.from_crs(32632, 4326, always_xy=True)


@pytest.fixture(scope="module")
def scenes():
    return pr.testing.example_scenes()


def lonlat(geometry):
    return shapely.transform(geometry, lambda xy: np.stack(LONLAT.transform(*xy.T), axis=1))


def with_srid(geometry, srid):
    return shapely.set_srid(geometry, srid)


FORMS = {
    "shapely": with_srid,
    "ewkb": lambda one, srid: shapely.to_wkb(with_srid(one, srid), include_srid=True),
    "list": lambda one, srid: [with_srid(one, srid), with_srid(one, srid)],
    "list of ewkb": lambda one, srid: [shapely.to_wkb(with_srid(one, srid), include_srid=True)],
    "series": lambda one, srid: pl.Series([shapely.to_wkb(with_srid(one, srid), include_srid=True)]),
    "geoarrow": lambda one, srid: pl.DataFrame(gpd.GeoDataFrame(geometry=[one], crs=srid).to_arrow(index=False))[
        "geometry"
    ],
    "geodataframe": lambda one, srid: gpd.GeoDataFrame(geometry=[one], crs=srid),
}


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("form", FORMS)
def test_a_stated_crs_is_taken_and_a_contradicting_one_is_an_error(scenes, form, engine):
    made = FORMS[form]
    for place, expected in ((HERE, 2), (AWAY, 0)):
        for geometry, srid in ((place, 32632), (lonlat(place), 4326)):
            for words in ({}, {"crs": srid}):
                assert scenes.raster.intersects(made(geometry, srid), **words).collect(engine=engine).height == expected
            assert scenes.raster.subset(geometries=made(geometry, srid)).collect(engine=engine).height == expected
            with pytest.raises(UsageError, match=f"contradicts.*EPSG:{srid}"):
                scenes.raster.intersects(made(geometry, srid), crs=32633)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
@pytest.mark.parametrize("kind", [list, tuple, np.array, pl.Series])
def test_a_record_that_meets_any_of_several_geometries_stays(scenes, kind, engine):
    def asked(*geometries, **words):
        given = [shapely.to_wkb(one) for one in geometries] if kind is pl.Series else geometries
        return scenes.raster.intersects(kind(given), **words).collect(engine=engine).height

    assert asked(AWAY, HERE, crs=32632) == asked(lonlat(AWAY), lonlat(HERE)) == 2
    assert asked(AWAY, crs=32632) == asked(lonlat(AWAY)) == 0
    with pytest.raises(UsageError, match="no longitude and latitude"):
        asked(HERE, AWAY)


def test_four_numbers_are_a_box_and_no_geometries(scenes):
    for box in ((9.0, 45.1, 9.1, 45.2), [9, 45, 9.1, 46], np.array([9.0, 45.1, 9.1, 45.2])):
        assert scenes.raster.intersects(box).collect().height == 2
    with pytest.raises(UsageError, match="four numbers"):
        scenes.raster.intersects((9.0, 45.1, 9.1))
    with pytest.raises(UsageError, match="no geometry"):
        scenes.raster.intersects([None, shapely.Polygon()])
