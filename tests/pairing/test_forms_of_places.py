"""Do places in every form give the same answer: boxes, WKB, GeoJSON, shapely, GeoArrow, tables of other libraries?"""

from __future__ import annotations

import json

import duckdb
import geoarrow.pyarrow as ga
import geopandas
import numpy as np
import polars as pl
import pyarrow as pa
import pyproj
import pytest
import shapely
from polars.testing import assert_frame_equal
from shapely.geometry import mapping

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.pairing.geometry_columns import wkb_array
from tests.support.engines import ENGINES

UTM, LONLAT = "EPSG:32632", "EPSG:4326"
BOXES = [(500_003.0, 4_999_981.0, 500_017.0, 4_999_997.0), (500_000.0, 4_999_970.0, 500_040.0, 4_999_991.0)]
SHAPES = [shapely.box(*one) for one in BOXES]
SPOTS = [shapely.Point(500_005, 4_999_995), shapely.Point(500_015, 4_999_985)]
VERBS = {
    "zonal_stats": lambda lf, places, **words: lf.raster.zonal_stats(
        places, ["red"], ["count", "mean", "max"], **words
    ),
    "read_windows": lambda lf, places, **words: lf.raster.read_windows(places, ["red"], **words),
    "pixels": lambda lf, places, **words: lf.raster.pixels(places, ["red"], **words),
    "pair": lambda lf, places, **words: lf.raster.pair(places, **words),
    "sample_points": lambda lf, places, **words: lf.raster.sample_points(places, ["red"], **words),
}
AREA_VERBS = [name for name in VERBS if name != "sample_points"]


def _wkb(shapes):
    return [one if one is None else one.wkb for one in shapes]


def _geoarrow(shapes, native: bool):
    array = ga.with_crs(ga.as_wkb(_wkb(shapes)), UTM)
    return ga.as_geoarrow(array) if native else array


def _ewkb(shapes):
    return [shapely.to_wkb(shapely.set_srid(one, 32632), include_srid=True) for one in shapes]


def _old_crs(code: str) -> dict[str, object]:
    return {"type": "name", "properties": {"name": code}}


def _geojson(shapes, what: str):
    crs = {"crs": _old_crs("urn:ogc:def:crs:EPSG::32632")}
    if what == "geometry":
        return [{**mapping(one), **crs} for one in shapes]
    features = [{"type": "Feature", "properties": None, "geometry": mapping(one)} for one in shapes]
    if what == "feature":
        return [{**one, **crs} for one in features]
    return json.loads(json.dumps({"type": "FeatureCollection", "features": features, **crs}))


FORMS = {  # with the CRS in the argument, and where a form can state it, without
    "wkb": lambda shapes: (_wkb(shapes), True),
    "bytearrays": lambda shapes: ([bytearray(one) for one in _wkb(shapes)], True),
    "ewkb": lambda shapes: (_ewkb(shapes), False),
    "array": lambda shapes: (np.array(shapes, dtype=object), True),
    "tuple": lambda shapes: (tuple(shapes), True),
    "series": lambda shapes: (pl.Series(_wkb(shapes)), True),
    "column": lambda shapes: (pl.LazyFrame({"where": _wkb(shapes)}).rename({"where": "geometry"}), True),
    "geojson geometries": lambda shapes: (_geojson(shapes, "geometry"), False),
    "geojson features": lambda shapes: (_geojson(shapes, "feature"), False),
    "geojson collection": lambda shapes: (_geojson(shapes, "collection"), False),
    "geoseries": lambda shapes: (geopandas.GeoSeries(shapes, crs=UTM), False),
    "geodataframe": lambda shapes: (geopandas.GeoDataFrame(geometry=shapes, crs=UTM), False),
    "geodataframe without crs": lambda shapes: (geopandas.GeoDataFrame(geometry=shapes), True),
    "geoarrow wkb": lambda shapes: (_geoarrow(shapes, native=False), False),
    "geoarrow native": lambda shapes: (_geoarrow(shapes, native=True), False),
    "geoarrow wkt": lambda shapes: (ga.with_crs(ga.as_wkt(_geoarrow(shapes, native=True)), UTM), False),
    "geoarrow table": lambda shapes: (pa.table({"geometry": _geoarrow(shapes, native=True)}), False),
    "reader": lambda shapes: (pa.table({"geometry": _wkb(shapes)}).to_reader(), True),
    "pandas": lambda shapes: (pl.DataFrame({"geometry": _wkb(shapes)}).to_pandas(), True),
    "duckdb": lambda shapes: (_relation(_wkb(shapes)), True),
}


def _relation(wkb):
    table = pa.table({"geometry": wkb})  # DuckDB finds it by its name
    return duckdb.connect().from_arrow(table)


@pytest.fixture(scope="module")
def scenes():
    return pr.testing.example_scenes()


def _answer(lf, verb: str, places, engine: str, **words) -> pl.DataFrame:
    answer = VERBS[verb](lf, places, **words).collect(engine=engine)
    return answer.drop("geometry", strict=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("verb", VERBS)
def test_every_form_gives_one_answer(scenes, verb, engine):
    shapes = SPOTS if verb == "sample_points" else SHAPES
    wanted = _answer(scenes, verb, shapes, engine, crs=UTM)
    assert len(wanted) == (32 if verb == "pixels" else 4)
    assert wanted.null_count().sum_horizontal().item() == 0
    for name, form in FORMS.items():
        places, needs_crs = form(shapes)
        got = _answer(scenes, verb, places, engine, **({"crs": UTM} if needs_crs else {}))
        assert got.equals(wanted), name
        if needs_crs:
            with pytest.raises(UsageError, match="CRS of the coordinates is not known"):
                _answer(scenes, verb, form(shapes)[0], engine)
        else:
            with pytest.raises(UsageError, match="contradicts"):
                _answer(scenes, verb, form(shapes)[0], engine, crs=3857)


def _load(scenes, places, **words):
    return pr.open(scenes.head(1)).load(places, ["red"], **words)


def _read(scenes, places, **words):
    """The first place alone, where places can be told apart without knowing their form."""
    one = places[0] if isinstance(places, list | tuple | np.ndarray) else places
    return [pr.open(scenes.head(1)).read(["red"], geometry=one, **words)]


def _cube(scenes, places, **words):
    return list(scenes.raster.to_xarray(places, ["red"], **words)["red"].to_numpy())


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("asked", [_load, _read, _cube])
def test_every_form_gives_handles_and_cubes_one_answer(scenes, asked, name):
    shapes = SHAPES[:1] if asked is _read else SHAPES
    wanted = asked(scenes, shapes, crs=UTM)
    assert len(wanted) == len(shapes)
    places, needs_crs = FORMS[name](shapes)
    got = asked(scenes, places, **({"crs": UTM} if needs_crs else {}))
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    if needs_crs:
        with pytest.raises(UsageError, match="CRS of the coordinates is not known"):
            asked(scenes, FORMS[name](shapes)[0])
    else:
        with pytest.raises(UsageError, match="contradicts"):
            asked(scenes, FORMS[name](shapes)[0], crs=3857)


def test_a_handle_reads_one_geometry_and_loads_several(scenes):
    scene = pr.open(scenes.head(1))
    with pytest.raises(UsageError, match="geometry has 2 geometries; expected one"):
        scene.read(geometry=_geojson(SHAPES, "collection"))
    to_lonlat = pyproj.Transformer.from_crs(UTM, LONLAT, always_xy=True).transform
    lonlat = shapely.transform(SHAPES[1], to_lonlat, interleaved=False)
    wanted = scene.read("red", geometry=lonlat, crs=LONLAT)
    np.testing.assert_array_equal(scene.read("red", geometry=mapping(lonlat)), wanted)  # as RFC 7946 says
    np.testing.assert_array_equal(scene.read("red", geometry=lonlat.wkt, crs=LONLAT), wanted)
    with pytest.raises(UsageError, match="contradicts"):
        scene.read("red", geometry=mapping(lonlat), crs=UTM)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("verb", AREA_VERBS)
def test_boxes_are_their_polygons(scenes, verb, engine):
    wanted = _answer(scenes, verb, SHAPES, engine, crs=UTM)
    for boxes in (BOXES, [list(one) for one in BOXES], np.array(BOXES)):
        assert_frame_equal(_answer(scenes, verb, boxes, engine, crs=UTM), wanted)
    one = _answer(scenes, verb, SHAPES[:1], engine, crs=UTM)
    for single in (BOXES[0], np.array(BOXES[0]), SHAPES[0], SHAPES[0].wkb, _geojson(SHAPES[:1], "geometry")[0]):
        words = {} if isinstance(single, dict) else {"crs": UTM}
        assert_frame_equal(_answer(scenes, verb, single, engine, **words), one)
    words = {"crs": UTM, "unmatched": "null"}
    with_none = _answer(scenes, verb, [BOXES[0], None], engine, **words)
    assert_frame_equal(with_none, _answer(scenes, verb, [SHAPES[0], None], engine, **words))
    n_pixels = (4 if verb == "pixels" else 1) * 2
    assert len(with_none) == n_pixels + 1


@pytest.mark.parametrize("verb", AREA_VERBS)
def test_a_geojson_is_in_longitude_and_latitude(scenes, verb):
    to_lonlat = pyproj.Transformer.from_crs(UTM, LONLAT, always_xy=True).transform
    lonlat = [shapely.transform(one, to_lonlat, interleaved=False) for one in SHAPES]
    wanted = _answer(scenes, verb, lonlat, "in-memory", crs=LONLAT)
    geojson = [mapping(one) for one in lonlat]
    for words in ({}, {"crs": LONLAT}, {"crs": "OGC:CRS84"}):
        assert_frame_equal(_answer(scenes, verb, geojson, "in-memory", **words), wanted)
    with pytest.raises(UsageError, match="contradicts"):
        _answer(scenes, verb, geojson, "in-memory", crs=UTM)


def test_properties_and_ids_of_features_are_columns(scenes):
    features = [
        {"type": "Feature", "id": at, "properties": {"crop": crop, "area": area}, "geometry": mapping(one)}
        for at, (crop, area, one) in enumerate(zip(["oats", None], [1.5, 2.0], SHAPES, strict=True))
    ]
    features.append({"type": "Feature", "properties": {"crop": "rye"}, "geometry": None})
    collection = {"type": "FeatureCollection", "crs": _old_crs("EPSG:32632"), "features": features}
    got = scenes.raster.zonal_stats(collection, ["red"], ["count"], match="latest").collect()
    assert got.select("id", "crop", "area").rows() == [(0, "oats", 1.5), (1, None, 2.0), (None, "rye", None)]
    assert got["red_count"].is_null().to_list() == [False, False, True]


KINDS = {
    "points": [shapely.Point(1, 2), None, shapely.Point(3, 4)],
    "lines": [shapely.LineString([(1, 2), (3, 4)]), None, shapely.LineString([(0, 0), (5, 5), (6, 7)])],
    "polygons": [
        shapely.box(0, 0, 9, 9).difference(shapely.box(1, 1, 2, 2)),
        None,
        shapely.Polygon(),
        shapely.box(1, 1, 3, 4),
    ],
    "multipoints": [shapely.MultiPoint([(1, 2), (3, 4)]), None],
    "multilines": [shapely.MultiLineString([[(1, 2), (3, 4)], [(0, 0), (5, 5), (6, 7)]]), None],
    "multipolygons": [
        None,
        shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 4, 4)]),
        shapely.MultiPolygon(),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coordinates", [ga.CoordType.SEPARATED, ga.CoordType.INTERLEAVED])
def test_native_geoarrow_columns_hold_their_geometries(kind, coordinates):
    shapes = KINDS[kind]
    array = ga.with_coord_type(ga.as_geoarrow(ga.as_wkb(_wkb(shapes))), coordinates)
    series = pl.concat([pl.Series("g", array), pl.Series("g", array)])
    for part in (series, series.slice(1), series.slice(0, 0), series.reverse()):
        twice = shapes + shapes
        wanted = {len(series): twice, len(series) - 1: twice[1:], 0: []}[len(part)]
        got = shapely.from_wkb(wkb_array(part, UTM))
        assert [shapely.to_wkt(one) if one else None for one in got] == [
            shapely.to_wkt(one) if one else None
            for one in (wanted[::-1] if part is not series and len(part) == len(series) else wanted)
        ]


def test_empty_null_and_high_geometries(scenes):
    high = [shapely.force_3d(one, 7.0) for one in SHAPES]
    wanted = _answer(scenes, "zonal_stats", SHAPES, "in-memory", crs=UTM)
    assert_frame_equal(_answer(scenes, "zonal_stats", high, "in-memory", crs=UTM), wanted)
    none = _answer(scenes, "zonal_stats", [None, shapely.Polygon()], "in-memory", crs=UTM)
    assert none["red_count"].to_list() == [None, None]
    assert len(_answer(scenes, "zonal_stats", [], "in-memory", crs=UTM)) == 0
    together = shapely.GeometryCollection([SHAPES[0], SHAPES[1], SPOTS[0]])
    union = _answer(scenes, "zonal_stats", [shapely.union_all(SHAPES)], "in-memory", crs=UTM)
    assert_frame_equal(_answer(scenes, "zonal_stats", [together], "in-memory", crs=UTM), union)


@pytest.mark.parametrize("verb", VERBS)
def test_edges_on_a_sphere_are_refused_by_name(scenes, verb):
    shapes = SPOTS if verb == "sample_points" else SHAPES
    for native in (False, True):
        with pytest.raises(UsageError, match="edges='spherical'"):
            _answer(scenes, verb, ga.with_edge_type(_geoarrow(shapes, native), ga.EdgeType.SPHERICAL), "in-memory")


@pytest.mark.parametrize(
    ("verb", "places", "words", "said"),
    [
        ("zonal_stats", SPOTS, {"crs": UTM}, "sample_points"),
        (
            "zonal_stats",
            [SHAPES[0], shapely.LineString([(500_000, 4_999_990), (500_020, 4_999_980)])],
            {"crs": UTM},
            "buffers",
        ),
        ("sample_points", SHAPES, {"crs": UTM}, "read_windows"),
        ("sample_points", BOXES, {"crs": UTM}, "read_windows"),
        ("zonal_stats", [BOXES[0], SHAPES[0]], {"crs": UTM}, "boxes are mixed with a Polygon"),
        ("zonal_stats", [(5, 9, 6, 8)], {"crs": UTM}, "ymin <= ymax"),
        ("zonal_stats", [(6, 8, 5, 9)], {"crs": UTM}, "antimeridian"),
        ("zonal_stats", "POLYGON EMPTY", {"crs": UTM}, "expected a LazyFrame"),
        ("zonal_stats", [b"no geometry"], {"crs": UTM}, "not WKB"),
        ("zonal_stats", {"type": "Polygon"}, {}, "place 0"),
        ("zonal_stats", {"type": "Polygon", "coordinates": [[[0, 0], [1]]]}, {}, "place 0"),
        ("zonal_stats", {"type": "FeatureCollection"}, {}, "no list of features"),
        ("zonal_stats", {"type": "FeatureCollection", "features": [mapping(SHAPES[0])]}, {}, "no Feature"),
        ("zonal_stats", [{**mapping(SHAPES[0]), "crs": {"type": "link"}}], {}, "name of a CRS"),
        ("zonal_stats", [*_ewkb(SHAPES), SHAPES[0].wkb], {}, "others state no CRS"),
        ("zonal_stats", [mapping(SHAPES[0]), SHAPES[0]], {}, "others state no CRS"),
    ],
)
def test_places_that_are_not_understood(scenes, verb, places, words, said):
    with pytest.raises(UsageError, match=said):
        _answer(scenes, verb, places, "in-memory", **words)
