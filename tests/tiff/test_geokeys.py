"""Do GeoKeys give the CRS that GDAL reads from the same file?

GDAL's reading is that of rasterio 1.4 (GDAL 3.10). Places that are equal in both need equal bases (datum, ellipsoid, prime
meridian) and equal projections. Comparing places on WGS 84 instead would compare which datum shift PROJ picks for which name.
"""

from __future__ import annotations

import logging
import math
import warnings

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import WktVersion
from rasterio.io import MemoryFile

import polars_rasteret as pr
from tests.support.tiff_driver import Driver
from tests.support.tiff_writer import ASCII, DOUBLE, LONG, SHORT, tiff_of

USER = 32767
# What stays refused though GDAL gives a CRS, and why.
REFUSED = {
    "a prime meridian at": "in an angular unit other than degrees; GDAL converts the number twice",
    "a Mercator projection beside the code": "GDAL leaves parameters of the code in it",
    "a Mercator projection with a latitude of origin and": "PROJ cannot compute what GDAL makes of it",
    "a projection that PROJ cannot compute": "nor what GDAL makes of it; besides a UTM zone on a sphere",
    "a local or geocentric CRS": "coordinates are no places on Earth in two dimensions",
    "a projected CRS without": "a local CRS to GDAL",
    "projection method": "a local CRS to GDAL",
    "Invalid projection: EPSG:": "a local CRS to GDAL",
}


def key_tags(keys: dict[int, object]) -> dict[int, tuple[int, object]]:
    entries: list[int] = []
    doubles: list[float] = []
    text = ""
    for key, value in sorted(keys.items()):
        if isinstance(value, int):
            entries += [key, 0, 1, value]
        elif isinstance(value, str):
            entries += [key, 34737, len(value) + 1, len(text)]
            text += value + "|"
        else:
            values = value if isinstance(value, tuple) else (value,)
            entries += [key, 34736, len(values), len(doubles)]
            doubles += values
    tags: dict[int, tuple[int, object]] = {34735: (SHORT, [1, 1, 0, len(keys), *entries])}
    tags |= {34736: (DOUBLE, doubles)} if doubles else {}
    return tags | ({34737: (ASCII, text.encode() + b"\0")} if text else {})


def file_of(keys: dict[int, object]) -> bytes:
    tags = {256: (LONG, [1]), 257: (LONG, [1]), 258: (SHORT, [8]), 259: (SHORT, [1]), 262: (SHORT, [1])}
    tags |= {277: (SHORT, [1]), 278: (LONG, [1]), 33550: (DOUBLE, [1, 1, 0]), 33922: (DOUBLE, [0, 0, 0, 100, 200, 0])}
    return tiff_of([b"\0"], tags | key_tags(keys))


def of_gdal(data: bytes) -> tuple[CRS | None, int | None]:
    """Give GDAL's CRS, None where it is local or none, and the code that rasterio finds for it."""
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    with MemoryFile(data) as memory, memory.open() as file:
        if not file.crs:
            return None, None
        crs = CRS.from_wkt(file.crs.to_wkt(version=WktVersion.WKT2_2019))
        return None if crs.type_name == "Engineering CRS" else crs, file.crs.to_epsg()


def base_of(crs: CRS) -> tuple[str, list[float]]:
    base = crs.geodetic_crs
    name = base.datum.name.removesuffix(" ensemble").replace("unknown", "unnamed")
    shift = crs.coordinate_operation.towgs84 if crs.is_bound else []
    longitude = math.degrees(base.prime_meridian.longitude * base.prime_meridian.unit_conversion_factor)
    return name, [base.ellipsoid.semi_major_metre, base.ellipsoid.semi_minor_metre, longitude * 1e5, *shift]


def is_computable(crs: CRS) -> bool:
    try:
        Transformer.from_crs(crs, crs.geodetic_crs)
    except ProjError:
        return False
    return True


def places(crs: CRS, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Give coordinates of places around the origin of a projection."""
    rng = np.random.default_rng(7)
    unit = math.degrees(crs.axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        return rng.uniform(-170, 170, n) / unit, rng.uniform(-80, 80, n) / unit
    lon = lat = 0.0
    for one in crs.coordinate_operation.params:
        angle = math.degrees(one.value * one.unit_conversion_factor)
        lon = angle if "longitude" in one.name.lower() else lon
        lat = angle if "latitude" in one.name.lower() else lat
    base = crs.geodetic_crs
    unit = math.degrees(base.axis_info[0].unit_conversion_factor)
    around = lon + rng.uniform(-8, 8, n), np.clip(np.clip(lat, -85, 85) + rng.uniform(-8, 8, n), -88, 88)
    return Transformer.from_crs(base, crs, always_xy=True).transform(*(one / unit for one in around))


def assert_same_place(ours: CRS, theirs: CRS) -> None:
    name, numbers = base_of(ours)
    expected_name, expected = base_of(theirs)
    assert name.lower().replace(" ", "_") == expected_name.lower().replace(" ", "_")
    np.testing.assert_allclose(numbers, expected, rtol=0, atol=1e-3)
    if theirs.is_bound:
        ours, theirs = ours.source_crs, theirs.source_crs
    x, y = places(theirs)
    away = Transformer.from_crs(ours, theirs, always_xy=True).transform(x, y)
    seen = np.isfinite(x) & np.isfinite(y) & np.isfinite(away[0]) & np.isfinite(away[1])
    assert seen.sum() > len(x) / 2 or not np.isfinite(x).any()
    off = np.hypot(away[0] - x, away[1] - y)[seen]
    tolerance = 0.0
    if not theirs.is_geographic:  # some projections do not come back to where they were
        there = Transformer.from_crs(theirs, theirs.geodetic_crs, always_xy=True)
        back = there.transform(*there.transform(x, y), direction="INVERSE")
        tolerance = 4 * float(np.max(np.hypot(back[0] - x, back[1] - y)[seen], initial=0))
    metres = theirs.axis_info[0].unit_conversion_factor * (6_378_137 if theirs.is_geographic else 1)
    assert np.max(off, initial=0) * metres < 0.02 + tolerance * metres


def assert_read_as_gdal(keys: dict[int, object]) -> None:
    data = file_of(keys)
    file = Driver(data).parse("a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, epsg = of_gdal(data)
    if theirs is None:
        assert file.crs is None
        return
    if file.crs is None:
        assert file.crs_refusal is not None
        assert any(form in file.crs_refusal for form in REFUSED), file.crs_refusal
        is_listed = any(form in file.crs_refusal for form in list(REFUSED)[:2] + list(REFUSED)[4:])
        assert is_listed or not is_computable(theirs) or theirs.ellipsoid.inverse_flattening == 0
        return
    assert file.crs_refusal is None
    if file.crs != f"EPSG:{epsg}":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same_place(CRS(file.crs), theirs)


BASE = {1024: 1, 2048: USER, 3072: USER, 3074: USER}
WGS84 = {**BASE, 2048: 4326}
LAMBERT_SUD = {**BASE, 2050: 6275, 2051: 8903, 2054: 9105, 2056: 7011, 2061: 2.5969213, 3075: 9, 3076: 9001, 3081: 49.0}
LISTED = {
    "Lambert Sud France in grads": LAMBERT_SUD | {3080: 0.0, 3092: 0.999877499, 3082: 600_000.0, 3083: 200_000.0},
    "Mercator with a latitude of origin": {**WGS84, 3075: 7, 3080: -2.0, 3081: 49.0, 3076: 9001},
    "Mercator with a latitude of origin and a scale": {**WGS84, 3075: 7, 3081: 49.0, 3092: 0.9},
    "Mercator with a standard parallel": {**WGS84, 3075: 7, 3080: -2.0, 3078: 40.0},
    "a datum without ellipsoid": {1024: 2, 2048: USER, 2050: 6326},
    "a datum ensemble without ellipsoid": {1024: 2, 2048: USER, 2050: 6258},
    "no datum at all": {1024: 2, 2048: USER},
    "an unknown datum": {1024: 2, 2048: USER, 2050: 6999},
    "an unknown ellipsoid": {1024: 2, 2048: USER, 2056: 7999},
    "half an ellipsoid": {1024: 2, 2048: USER, 2050: 6267, 2057: 6_378_200.0},
    "no model": {3072: 32631},
    "no model, in feet": {3072: 32631, 3076: 9002},
    "model 32767": {1024: USER, 3072: 32631},
    "model 0": {1024: 0, 3072: 32631},
    "no model, geographic": {2048: 4326},
    "geocentric": {1024: 3, 2048: 4326},
    "an unknown code": {1024: 1, 3072: 60_000},
    "a code and another base": {1024: 1, 3072: 32631, 2048: 4267},
    "a code and another datum": {1024: 1, 3072: 32631, 2050: 6267},
    "a code and another projection": {1024: 1, 3072: 32631, 3075: 1, 3080: 5.0, 3092: 0.9996},
    "a code and Mercator": {1024: 1, 3072: 2154, 3075: 7},
    "a code and its own base": {1024: 1, 3072: 27700, 2048: 4277, 3076: 9001},
    "Web Mercator and another datum": {1024: 1, 3072: 3857, 2050: 6267},
    "a code in another prime meridian": {1024: 2, 2048: 4267, 2051: 8903},
    "Paris in degrees": {**WGS84, 2048: 4807, 2054: 9102, 3075: 1, 3080: 3.0, 3081: 10.0},
    "a prime meridian in grads": {1024: 2, 2048: USER, 2050: 6326, 2051: USER, 2061: 2.5, 2054: 9105},
    "a prime meridian in degrees": {1024: 2, 2048: USER, 2050: 6326, 2061: 2.5},
    "US survey miles": {**WGS84, 3075: 1, 3076: 9035, 3082: 500.0},
    "a size of units without their code": {**WGS84, 3075: 1, 3077: 0.5, 3082: 500_000.0},
    "an unknown unit": {**WGS84, 3075: 1, 3076: 9999, 3082: 500_000.0},
    "one parallel of two": {**WGS84, 3075: 8, 3078: 40.0, 3085: 30.0},
    "an unknown method": {**WGS84, 3075: 6, 3080: 3.0},
    "an unknown projection": {**WGS84, 3074: 12_345},
    "a shift to WGS 84": {1024: 2, 2048: USER, 2056: 7004, 2062: (598.1, 73.7, 418.2)},
    "a shift beside a code": {1024: 2, 2048: 4314, 2062: (598.1, 73.7, 418.2)},
    **{
        f"method {method} of a false origin": {
            **WGS84,
            3075: method,
            3078: 20.0,
            3084: 5.0,
            3085: 10.0,
            3086: 1e5,
            3087: 2e5,
        }
        for method in (17, 19, 20, 23, 24, 25)
    },
}


@pytest.mark.parametrize("what", LISTED)
def test_the_crs_is_that_of_gdal(what):
    assert_read_as_gdal(LISTED[what])


ELLIPSOIDS = [7001, 7004, 7008, 7011, 7012, 7019, 7022, 7024, 7030, 7043, 7048, USER]
DATUMS = [6218, 6230, 6258, 6267, 6269, 6275, 6277, 6313, 6314, 6322, 6326, 6807, USER]
BASES = [4218, 4230, 4258, 4267, 4269, 4275, 4277, 4313, 4314, 4322, 4326, 4807, 4979]
CODES = [2056, 2154, 2263, 3031, 3035, 3395, 3857, 21781, 26745, 27571, 27700, 28992, 31370, 32631, 32733]
PROJECTIONS = [10405, 14204, 16031, 16133, 16261, 17005, 18007, 18081, 19916, 19992]
LENGTHS = [9001, 9002, 9003, 9005, 9014, 9030, 9035, 9036, 9040, 9042, 9084, 9095]
ANGLES = {9101: math.pi / 180, 9102: 1.0, 9103: 60.0, 9104: 3600.0, 9105: 10 / 9, 9106: 10 / 9, 9110: 1.0, 9122: 1.0}
METHODS = [1, 3, 4, *range(7, 29), 9815]


def maybe(keys: dict[int, st.SearchStrategy]) -> st.SearchStrategy[dict[int, object]]:
    return st.fixed_dictionaries({}, optional=keys)


@st.composite
def geo_keys(draw: st.DrawFn) -> dict[int, object]:
    how = draw(st.sampled_from(["geographic", "method", "method", "method", "projection", "code"]))
    keys: dict[int, object] = {1024: 2 if how == "geographic" else 1, 1025: draw(st.sampled_from([1, 2]))}
    if how == "code" and draw(st.booleans()):
        keys[1024] = USER
    has_base = how != "code" or draw(st.booleans())
    if has_base:
        keys[2048] = draw(st.sampled_from([USER, USER, *BASES]))
        if keys[2048] == USER:
            axes = {2057: st.sampled_from([6_378_137.0, 6_377_397.155, 6_370_000.0])}
            axes |= (
                {2058: st.just(6_356_078.963)}
                if draw(st.booleans())
                else {2059: st.sampled_from([0.0, 290.0, 298.257])}
            )
            keys |= draw(maybe({2050: st.sampled_from(DATUMS), 2056: st.sampled_from(ELLIPSOIDS)} | axes))
            keys |= draw(
                maybe({2062: st.sampled_from([(100.0, -50.0, 30.0), (598.1, 73.7, 418.2, 0.2, 0.05, -2.4, 6.7)])})
            )
            keys |= draw(maybe({2049: st.sampled_from(["NTF", "GCS Name = foo|Datum = bar|"])}))
        keys |= draw(maybe({2054: st.sampled_from(sorted(ANGLES)), 2051: st.sampled_from([*range(8901, 8914), USER])}))
        if keys.get(2051) == USER:
            keys[2061] = draw(st.floats(-20, 20).map(lambda value: round(value, 3)))
        if keys.get(2051) == 8903 or keys[2048] == 4807:
            keys.pop(2054, None)  # rasterio hands WKT on in which Paris lies elsewhere
    keys |= draw(maybe({3076: st.sampled_from([*LENGTHS, USER]), 3077: st.sampled_from([0.5, 0.3048, 2.0])}))
    if how == "geographic":
        return keys
    keys[3072] = draw(st.sampled_from(CODES)) if how == "code" else USER
    if how == "projection":
        keys[3074] = draw(st.sampled_from(PROJECTIONS))
    if how == "method" or (how == "code" and keys[3072] != 27571 and draw(st.booleans())):
        grads = keys.get(2048) == 4807
        unit = 10 / 9 if grads else ANGLES[int(keys.get(2054, 9102))]
        method = keys[3075] = draw(st.sampled_from(METHODS))
        keys |= draw(maybe({3074: st.just(USER)}))
        lat = draw(st.floats(-60, 60).map(lambda value: round(value, 2)))
        lon = draw(st.floats(-120, 120).map(lambda value: round(value, 2)))
        lat = draw(st.sampled_from([-90.0, 90.0, 71.0, -71.0])) if method == 15 else lat
        lat, lon = (-41.0, 173.0) if method == 26 else (lat, lon)
        parallel = math.copysign(30, lat) * unit
        keys |= draw(maybe(dict.fromkeys((3081, 3085, 3089), st.just(lat * unit))))
        keys |= draw(maybe(dict.fromkeys((3080, 3084, 3088, 3095), st.just(lon * unit))))
        keys |= draw(maybe({key: st.just(1000.0 * (key - 3000)) for key in (3082, 3083, 3086, 3087, 3090, 3091)}))
        keys |= draw(maybe(dict.fromkeys((3092, 3093), st.sampled_from([0.9996, 1.0]))))
        keys |= draw(maybe({3078: st.just(parallel), 3079: st.just(parallel * 1.5)}))
        keys |= {3094: 35.0} | draw(maybe({3096: st.just(36.0 * unit)})) if method in {3, 4, 9815} else {}
    return keys


@settings(max_examples=50, deadline=None)
@given(geo_keys())
def test_drawn_keys_give_the_crs_of_gdal(keys):
    assert_read_as_gdal(keys)


@pytest.mark.slow
@settings(max_examples=3_000, deadline=None)
@given(geo_keys())
def test_thousands_of_drawn_keys_give_the_crs_of_gdal(keys):
    assert_read_as_gdal(keys)


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_crs_that_is_not_read_is_told_in_header_error_and_pixels_are_read(tmp_path, engine):
    told = {"local": {1024: 0, 3072: 32631}, "method": {**WGS84, 3075: 6}}
    for name, keys in told.items():
        (tmp_path / f"{name}.tif").write_bytes(file_of(keys))
    (tmp_path / "none.tif").write_bytes(file_of({1025: 1}))
    (tmp_path / "utm.tif").write_bytes(file_of({3072: 32631}))
    scenes = pr.build_from_files(str(tmp_path / "*.tif"), bands=["b"]).sort("id")
    found = scenes.select("id", "header_error", "proj:code").collect(engine=engine)
    assert found["proj:code"].to_list() == [None, None, None, "EPSG:32631"]
    reasons = dict(zip(found["id"], found["header_error"], strict=True))
    assert (reasons["none"], reasons["utm"]) == (None, None)
    assert "a local or geocentric CRS (GTModelType 0)" in reasons["local"]
    assert "projection method 6 (key 3075)" in reasons["method"]
    values = scenes.select(pl.col("b").raster.sample_points(100.5, 199.5, crs="native")).collect(engine=engine)
    assert values.to_series().to_list() == [0, 0, 0, 0]
