"""Are statistics of real polygons over real images those of exactextract and NumPy, however they are asked?"""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
import rasterio
import rasterio.features
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from rasterio.coords import BoundingBox
from rasterio.transform import Affine

import polars_rasteret as pr
from tests.support.recorded import Store, tiff

ROOT = Path(__file__).resolve().parents[2]
BUNDLED, SHARED = ROOT / "tests" / "data", ROOT.parent / "shared" / "data"
PAIRS = [
    (None, "pygeoapi__ne_110m_lakes.geojson"),
    ("rasterio__world.byte.tif", "geopandas__naturalearth_lowres.shp"),
    ("rasterio__world.byte.tif", "pygeoapi__ne_110m_lakes.geojson"),
    ("rasterio__world.byte.tif", "sf__nc.shp"),
    ("python-rasterstats__slope.tif", "python-rasterstats__polygons.shp"),
    ("python-rasterstats__slope_nodata.tif", "python-rasterstats__polygons.shp"),
]
ASKED = ["count", "sum", "mean", "var", "std", "min", "max", "majority", "minority", "variety"]
THEIRS = ["count", "sum", "mean", "variance", "stdev", "min", "max", "mode", "minority", "variety"]
NEARLY = {"count": 1e-7, "sum": 1e-7, "mean": 1e-7, "var": 1e-6, "std": 1e-6}
"""Shares by which exactextract may differ: its fractions of pixels are of single precision."""


def found_file(folder, name):
    for data in (BUNDLED, SHARED):
        if (data / folder / name).exists():
            return data / folder / name
    pytest.skip(f"{name} is not here: it is among the files beside the project")


@pytest.mark.parametrize(("image", "outlines"), PAIRS)
def test_statistics_are_those_of_exactextract(image, outlines):
    if image is None:  # a grid of half degrees; pixels repeat, and some are nodata
        pixels, nodata, epsg = np.random.default_rng(4).integers(0, 40, (360, 720)).astype(np.float64), 7.0, 4326
        transform, bounds = Affine(0.5, 0, -180, 0, -0.5, 90), BoundingBox(-180, -90, 180, 90)
    else:
        with rasterio.open(found_file("tiff", image)) as file:
            pixels, nodata, epsg = file.read(1).astype(np.float64), file.nodata, file.crs.to_epsg()
            transform, bounds = file.transform, file.bounds
    zones = gpd.read_file(found_file("vector", outlines)).geometry.to_numpy()
    zones = np.array([one if shapely.is_valid(one) else shapely.make_valid(one) for one in zones], object)
    table = pl.DataFrame({"zone": range(len(zones)), "geometry": shapely.to_wkb(zones)})
    # The file is written again with float64 pixels: exactextract reads these.
    store = Store()
    data = tiff(pixels[None], tile=64, nodata=nodata)
    scenes = pr.build_from_files([store.put("pixels.tif", data)], bands=["v"], on_error="raise").collect()
    place = pl.lit(list(transform)[:6], pl.Array(pl.Float64, 6)).alias("transform")
    where = [place, pl.lit(f"EPSG:{epsg}").alias("crs")]
    scenes = scenes.select("id", pl.col("v").struct.with_fields(where)).lazy()
    found = scenes.raster.zonal_stats(table, "v", ASKED, crs=epsg, record_columns=[]).collect()
    store.close()
    source = NumPyRasterSource(pixels, bounds.left, bounds.bottom, bounds.right, bounds.top, nodata=nodata)
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(one), "properties": {}} for one in zones]
    expected = [one["properties"] for one in exact_extract(source, features, THEIRS)]
    n_compared = 0
    for row, theirs in zip(found.iter_rows(named=True), expected, strict=True):
        count = row["v_count"] or 0.0
        if theirs["count"] == 0:
            assert count == 0
            continue
        n_compared += 1
        scale = max(abs(theirs["min"]), abs(theirs["max"]))
        for ours, name in zip(ASKED, THEIRS, strict=True):
            if ours in NEARLY:
                slack = 1e-9 * scale**2 if ours == "var" else 1e-9 * scale
                assert row[f"v_{ours}"] == pytest.approx(theirs[name], rel=NEARLY[ours], abs=slack), (row["zone"], ours)
            else:
                assert row[f"v_{ours}"] == theirs[name], (row["zone"], ours)
    assert n_compared >= 2


SIZE = 200


def drawn(n_zones, seed):
    rng = np.random.default_rng(seed)
    angle = (np.arange(9) + rng.uniform(0.1, 0.9, (n_zones, 9))) * 2 * np.pi / 9
    reach = rng.uniform(20, 500, (n_zones, 1)) * rng.uniform(0.6, 1.4, (n_zones, 9))
    middle = np.stack(
        [500_000 + rng.uniform(-100, 2_100, n_zones), 5_000_000 - rng.uniform(-100, 2_100, n_zones)], axis=1
    )
    return shapely.polygons(
        np.stack([middle[:, :1] + reach * np.cos(angle), middle[:, 1:] + reach * np.sin(angle)], axis=2)
    )


@pytest.fixture(scope="module")
def distinct():
    """Pixels that do not repeat, in tiles of two sizes."""
    rng = np.random.default_rng(3)
    pixels = rng.permutation(SIZE * SIZE).reshape(1, SIZE, SIZE).astype(np.float64) * 1.25
    store = Store()
    hrefs = [store.put(f"{tile}.tif", tiff(pixels, tile=tile)) for tile in (32, 128)]
    scenes = pr.build_from_files(hrefs, bands=["v"], on_error="raise").collect()
    yield pixels[0], scenes
    store.close()


def test_quantiles_are_those_of_numpy_for_centres_and_of_exactextract_for_shares(distinct):
    pixels, scenes = distinct
    zones = drawn(40, 1)
    table = pl.DataFrame({"geometry": shapely.to_wkb(zones)})
    shares = (0.0, 0.1, 0.5, 0.77, 1.0)
    asked = [f"quantile({q})" for q in shares]
    scene = scenes.head(1).lazy()
    transform = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    centred = scene.raster.zonal_stats(table, "v", asked, coverage="center", crs=32632, record_columns=[]).collect()
    exact = scene.raster.zonal_stats(table, "v", asked, crs=32632, record_columns=[]).collect()
    names = [name for name in centred.columns if name.startswith("v_q")]
    source = NumPyRasterSource(pixels, 500_000, 5_000_000 - 10 * SIZE, 500_000 + 10 * SIZE, 5_000_000)
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(one), "properties": {}} for one in zones]
    theirs = exact_extract(source, features, [f"quantile(q={q})" for q in shares])
    for at, zone in enumerate(zones):
        inside = rasterio.features.rasterize([(zone, 1)], pixels.shape, transform=transform).astype(bool)
        values = centred.select(names).row(at)
        if inside.any():
            np.testing.assert_allclose(values, np.quantile(pixels[inside], shares), rtol=1e-12)
        else:
            assert values.count(None) == len(values)
        expected = [theirs[at]["properties"][f"quantile_{round(100 * q)}"] for q in shares]
        if expected[0] is not None and np.isfinite(expected[0]):
            # Shares of single precision move a quantile by a little of the step to the next value.
            np.testing.assert_allclose(exact.select(names).row(at), expected, rtol=1e-5)


def test_quantiles_of_shares_that_single_precision_holds_are_those_of_exactextract(distinct):
    pixels, scenes = distinct
    rng = np.random.default_rng(8)
    # Corners lie on quarters of pixels and edges along the grid: shares are sixteenths, which exactextract's numbers hold.
    zones = []
    for _ in range(60):
        x, y = rng.integers(-40, 4 * SIZE, 2)
        wide, high = rng.integers(1, 160, 2)
        shape = shapely.box(x, y, x + wide, y + high)
        if min(wide, high) > 8:
            shape -= shapely.box(x + 2, y + 3, x + wide // 2, y + high // 2)  # a hole
            shape -= shapely.box(x + wide - 3, y + high - 2, x + wide, y + high)  # and a notch
        zones.append(shapely.transform(shape, lambda xy: [500_000, 5_000_000] + xy * [2.5, -2.5]))
    shares = (0.0, 0.1, 0.25, 0.5, 0.77, 0.99, 1.0)
    asked = [f"quantile({q})" for q in shares]
    table = pl.DataFrame({"geometry": shapely.to_wkb(zones)})
    source = NumPyRasterSource(pixels, 500_000, 5_000_000 - 10 * SIZE, 500_000 + 10 * SIZE, 5_000_000)
    features = [{"type": "Feature", "geometry": shapely.geometry.mapping(one), "properties": {}} for one in zones]
    theirs = exact_extract(source, features, [f"quantile(q={q})" for q in shares])
    n_compared = 0
    for scene in (scenes.head(1), scenes.tail(1)):
        exact = scene.lazy().raster.zonal_stats(table, "v", asked, crs=32632, record_columns=[]).collect()
        ours = exact.select(cs.starts_with("v_q")).rows()
        for values, of_zone in zip(ours, theirs, strict=True):
            expected = [of_zone["properties"][f"quantile_{round(100 * q)}"] for q in shares]
            if expected[0] is None or not np.isfinite(expected[0]):
                assert values.count(None) == len(values)
            else:
                n_compared += 1
                np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert n_compared > 80


def test_statistics_do_not_depend_on_tiles_units_order_or_other_zones(distinct):
    _, scenes = distinct
    zones = drawn(60, 2)
    table = pl.DataFrame({"zone": range(len(zones)), "geometry": shapely.to_wkb(zones)})
    stats = ["count", "sum", "mean", "var", "min", "max", "median", "majority", "variety"]

    def asked(scene, rows, **options):
        with pr.options(**options):
            return (
                scenes[scene].lazy().raster.zonal_stats(rows, "v", stats, crs=32632, record_columns=[]).collect()
            ).drop("geometry")

    whole = asked(0, table)
    others = [
        asked(1, table),
        asked(0, table.reverse()).sort("zone"),
        asked(0, table, max_answer_bytes=20_000),
        pl.concat([asked(0, table[at]) for at in range(len(zones))]),
    ]
    for other in others:
        for name in whole.columns:
            if name in {"v_sum", "v_mean", "v_var", "v_count", "v_median"}:
                one, two = (frame[name].to_numpy() for frame in (whole, other))
                np.testing.assert_allclose(one, two, rtol=1e-12)
            else:
                assert whole[name].equals(other[name]), name
